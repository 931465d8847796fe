# Perceptual hashes: 64 bits as +1 and -1, cosine = 1 - Hamming / 32. No weights; needs pip install 'mmdel[hash]'.
embedder = dict(type='mmdel.HashEmbedder', method='phash', pipeline=[dict(type='mmdel.LoadFrame', reduce_to=256)])
