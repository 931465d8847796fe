_base_ = ['../_base_/mae/vit-base-p16_datadel.py']

epochs = _base_.table2_epochs['eta075']
train_cfg = dict(max_epochs=epochs)
param_scheduler = _base_.param_scheduler
param_scheduler[0]['end'] = param_scheduler[1]['begin'] = epochs // 20
default_hooks = dict(checkpoint=dict(interval=epochs // 10))
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmdel.MedDELDataset',
        subset='work_dirs/meddel_eta075/subset.parquet',
        dataset=_base_.train_dataloader.dataset,
    )
)
