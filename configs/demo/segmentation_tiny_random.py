# The same from a random encoder: what pre-training is worth.
_base_ = ['segmentation_tiny.py']

model = dict(backbone=dict(init_cfg=None))
val_evaluator = dict(_delete_=True, type='mmdel.ClassIoUMetric', iou_metrics=['mIoU', 'mDice'])
test_evaluator = val_evaluator
work_dir = 'work_dirs/demo/segmentation_random'
