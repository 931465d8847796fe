# The paper's method on the paper's pre-training pool; the configs beside this folder set only eta.
_base_ = ['embedders/vit-base-p16_in1k.py']

default_scope = 'mmpretrain'
dataset = dict(
    type='mmdel.DataDEL',
    data_root='data/datadel',
    sources=('gastrovision', 'hyper-kvasir', 'kvasir-capsule'),
)
selector = dict(
    type='mmdel.MedDEL',
    epsilon=0.9,  # §4.1
    eta=0.8,  # Table 2
    keep='near',  # the prose of §3.2; 'far' is Algorithm 1 as printed
    rule='pairwise',
    scope='cluster',
    distance='cosine',
    max_iterations=1,
    clusterer=dict(type='mmdel.FaissKMeans', num_clusters='auto', num_iters=20, seed=0),
)
center = False  # the paper compares raw features
cache_dir = 'work_dirs/.embeddings'
