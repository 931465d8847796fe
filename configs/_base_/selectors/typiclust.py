# The most typical image of each of as many clusters as images to keep.
selector = dict(type='mmdel.TypiClust')
