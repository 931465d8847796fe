# The reference of Figure 4: an encoder trained with labels on ImageNet-1k, the one that configs/meddel_*.py select with.
# No NormDEL, because it has seen no share of the benchmark's data.
_base_ = ['vit-base-p16_mlp.py', 'schedule_20k.py', 'runtime.py']

checkpoint = 'https://mmassets.onedl.ai/mmclassification/v0/vit/vit-base-p16_pt-32xb128-mae_in1k_20220623-4c544545.pth'

model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')))
val_evaluator = dict(type='mmdel.ClassIoUMetric', iou_metrics=['mIoU', 'mDice'])
test_evaluator = val_evaluator
