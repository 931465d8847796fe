# Nearest to random points of random subspaces, minus what is near those.
selector = dict(type='mmdel.ZCore')
