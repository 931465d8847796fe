# As many clusters as images to keep, one image from each.
selector = dict(type='mmdel.KMeansMedoids')
