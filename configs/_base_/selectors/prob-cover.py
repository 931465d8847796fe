# As many images as possible within a fixed distance of a kept one.
selector = dict(type='mmdel.ProbCover')
