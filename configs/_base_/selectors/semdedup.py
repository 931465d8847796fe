# Where MedDEL comes from: no filter for far images, and of two similar ones the farther from the centroid stays.
selector = dict(type='mmdel.SemDeDup', eta=0.8)
