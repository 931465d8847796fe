# The paper's method on the paper's pre-training pool; the configs beside this folder set only eta.
_base_ = ['embedders/vit-base-p16_in1k.py', 'selectors/meddel.py']

default_scope = 'mmpretrain'
dataset = dict(
    type='mmdel.DataDEL',
    data_root='data/datadel',
    sources=('gastrovision', 'hyper-kvasir', 'kvasir-capsule'),
)
center = False  # the paper compares raw features
cache_dir = 'work_dirs/.embeddings'
