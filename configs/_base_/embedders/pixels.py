# 16x16 thumbnails: no weights and no download, an honest lower bound for every encoder.
embedder = dict(type='mmdel.PixelEmbedder', pipeline=[dict(type='mmdel.LoadFrame', reduce_to=64)])
