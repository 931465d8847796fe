# AdamW and a cosine from 1.5e-4 (§4.1). Table 2 is here and nowhere else: each subset trains as long as it costs what 200
# epochs over all images do. Betas, weight decay and the length of the warm-up are not in the paper; MAE's own are taken.
table2_epochs = dict(eta10=200, eta09=400, eta085=600, eta08=1000, eta075=2000, eta07=4000)

optim_wrapper = dict(
    type='mmdel.AutoAmpOptimWrapper',
    # 1.5e-4 is the rate at batch 16, as the text says; MAE's rule of batch / 256 would make 9.4e-6 of it
    optimizer=dict(type='AdamW', lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            'ln': dict(decay_mult=0.0),
            'bias': dict(decay_mult=0.0),
            'pos_embed': dict(decay_mult=0.0),
            'mask_token': dict(decay_mult=0.0),
            'cls_token': dict(decay_mult=0.0),
        }
    ),
)
auto_scale_lr = dict(base_batch_size=16, enable=False)

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=10, convert_to_iter_based=True),
]
train_cfg = dict(type='mmdel.ResumableEpochTrainLoop', max_epochs=200)
