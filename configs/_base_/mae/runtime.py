default_scope = 'mmpretrain'
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=True, interval=20, max_keep_ckpts=-1),  # each tenth (Table 4)
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
custom_hooks = [
    # For --resume. Two of them, because the older one goes before the newer one is written.
    dict(
        type='CheckpointHook',
        by_epoch=False,
        interval=2500,
        max_keep_ckpts=2,
        save_last=False,
        filename_tmpl='latest_iter_{}.pth',
    ),
    dict(type='mmdel.PretrainedCheckHook'),
]
env_cfg = dict(
    cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='nccl')
)
visualizer = dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
log_level = 'INFO'
randomness = dict(seed=0, diff_rank_seed=True)
load_from = None
resume = False
