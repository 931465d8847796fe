# Fine-tunes the encoder of mae_tiny.py for polyps. To start with your own masks, copy this file and change data_root; for a
# model of full size copy a config of ../segmentation.
_base_ = ['../_base_/segmentation/mae-pre.py', '../_base_/segmentation/kvasir-seg_512x512.py']

checkpoint = 'work_dirs/demo/mae_all/epoch_20.pth'
size, patch_size, width = 96, 8, 128
model = dict(
    data_preprocessor=dict(size=(size, size), test_cfg=dict(size_divisor=patch_size)),
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=width, num_layers=4, num_heads=4, feedforward_channels=4 * width),
        img_size=size,
        patch_size=patch_size,
        init_cfg=dict(checkpoint=checkpoint),
    ),
    decode_head=dict(
        in_channels=width,
        channels=width,
        # polyps cover 4 % of the pixels: cross-entropy alone takes long to find them
        loss_decode=[
            dict(type='CrossEntropyLoss', loss_weight=1.0, class_weight=[1.0, 5.0]),
            dict(type='LovaszLoss', reduction='none', loss_weight=1.0),
        ],
    ),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdel.LoadMask'),
    dict(type='Resize', scale=(size, size), keep_ratio=False),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='RandomFlip', prob=0.5, direction='vertical'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(size, size), keep_ratio=False),
    dict(type='mmdel.LoadMask'),
    dict(type='PackSegInputs'),
]
data_root = 'data/demo/segmentation/kvasir-seg'
train_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, ann_file='val.txt', pipeline=test_pipeline))

iterations = 300
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=iterations // 10),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=iterations // 10, end=iterations),
]
train_cfg = dict(max_iters=iterations, val_interval=iterations // 6)
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=iterations // 2, max_keep_ckpts=1, save_best=None, rule=None)
)
retention = 1.0
val_evaluator = dict(retention=retention)
test_evaluator = val_evaluator
work_dir = 'work_dirs/demo/segmentation_all'
