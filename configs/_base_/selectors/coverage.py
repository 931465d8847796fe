# The images that together resemble all images most.
selector = dict(type='mmdel.Coverage')
