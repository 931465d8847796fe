# From an encoder that was pre-trained on a subset. Which one, and how much data it took, is said here and nowhere else.
_base_ = ['vit-base-p16_mlp.py', 'schedule_20k.py', 'runtime.py']

checkpoint = 'work_dirs/mae_vit-base-p16_1xb16-coslr-1000e_datadel-eta08/epoch_1000.pth'
retention = 0.2  # the paper's label; a subset file gives the exact share

model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')))
val_evaluator = dict(
    type='mmdel.NormDELEvaluator',
    metrics=[dict(type='mmdel.ClassIoUMetric', iou_metrics=['mIoU', 'mDice'])],
    retention=retention,
    key='mIoU',
    scale='percent',
    alpha=1.0,
)
test_evaluator = val_evaluator
