# The pre-training images of DataDEL, 16 a batch (§4.1).
train_pipeline = [
    dict(type='mmdel.LoadFrame', skip_unreadable=True),  # one broken file does not end a run of days
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.2, 1.0), backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type='mmdel.ResumableSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmdel.DataDEL',
        data_root='data/datadel',
        sources=('gastrovision', 'hyper-kvasir', 'kvasir-capsule'),
        pipeline=train_pipeline,
    ),
)
