# Density-based pruning: dense clusters, and clusters close to others, keep fewer images.
selector = dict(type='mmdel.DensityQuota')
