# Hierarchical k-means: every branch of the tree gives equally many images.
selector = dict(type='mmdel.BalancedKMeans')
