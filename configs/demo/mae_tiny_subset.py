# The same on a subset: tools/train.py --equal-compute 20 gives it as many epochs as cost what 20 over all frames do.
_base_ = ['mae_tiny.py']

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmdel.MedDELDataset',
        subset='work_dirs/demo/subset/subset.parquet',
        dataset=_base_.train_dataloader.dataset,
    )
)
work_dir = 'work_dirs/demo/mae_subset'
