# The method on the synthetic demo data, with thumbnails for vectors: no download, no weights, an honest lower bound.
_base_ = ['../_base_/embedders/pixels.py']

default_scope = 'mmpretrain'
dataset = dict(
    type='mmdel.DataDEL',
    data_root='data/demo/pool',
    sources=('gastrovision', 'hyper-kvasir', 'kvasir-capsule'),
)
selector = dict(type='mmdel.MedDEL', epsilon=0.9, eta=0.95)
center = True  # all thumbnails share the dark corners and the light middle of a scope's picture
work_dir = 'work_dirs/demo'
cache_dir = 'work_dirs/.embeddings'
