# The method with the encoder that mae_tiny.py has trained: no download, features of one's own images.
default_scope = 'mmpretrain'
dataset = dict(
    type='mmdel.DataDEL', data_root='data/demo/pool', sources=('gastrovision', 'hyper-kvasir', 'kvasir-capsule')
)
embedder = dict(
    type='mmdel.ViTEmbedder',
    backbone=dict(
        type='mmpretrain.VisionTransformer',
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        patch_size=8,
    ),
    checkpoint='work_dirs/demo/mae_all/epoch_20.pth',
    feature='avg_patch',  # a masked autoencoder trains no class token
    input_size=96,
)
# greedy: every removed frame has a kept one above eta; pairwise, the paper's reading, lets chains of frames fall
selector = dict(type='mmdel.MedDEL', epsilon=0.9, eta=0.95, rule='greedy')
center = True
work_dir = 'work_dirs/demo/subset'
cache_dir = 'work_dirs/.embeddings'
