# A masked autoencoder that two CPU cores can train in minutes. To start with your own frames, copy this file and change
# data_root; for a model of full size copy a config of ../mae.
_base_ = [
    '../_base_/mae/vit-base-p16.py',
    '../_base_/mae/datadel_1xb16.py',
    '../_base_/mae/schedule.py',
    '../_base_/mae/runtime.py',
]

size, patch_size, width = 96, 8, 128
model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=width, num_layers=4, num_heads=4, feedforward_channels=4 * width),
        img_size=size,
        patch_size=patch_size,
    ),
    neck=dict(
        num_patches=(size // patch_size) ** 2,
        patch_size=patch_size,
        embed_dim=width,
        decoder_embed_dim=64,
        decoder_depth=1,
        decoder_num_heads=2,
    ),
    head=dict(patch_size=patch_size),
)

train_pipeline = _base_.train_pipeline
train_pipeline[1]['scale'] = size
train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    dataset=dict(data_root='data/demo/pool', pipeline=train_pipeline),
)

epochs = 20
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_epochs=epochs)
param_scheduler = _base_.param_scheduler
param_scheduler[0]['end'] = param_scheduler[1]['begin'] = epochs // 20
default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval=epochs // 10, max_keep_ckpts=1))
work_dir = 'work_dirs/demo/mae_all'
