# The image least similar to all chosen ones, again and again.
selector = dict(type='mmdel.KCenterGreedy')
