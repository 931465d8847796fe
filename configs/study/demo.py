# The smallest study that says something, on synthetic demo data: three readings of MedDEL, one ratio, two seeds. On two CPU cores
# it takes minutes. To start with your own images, copy this file and change data_root, the options and what is compared.
#
#     python tools/make_demo_data.py
#     python tools/study.py configs/study/demo.py --jobs 2
work_dir = 'work_dirs/study/demo'
data_root = 'data/demo'

selection = dict(config='../demo/meddel_pixels.py', options={'dataset.data_root': '{data_root}/pool'})
selectors = {
    'MedDEL near': dict(selector=dict(type='mmdel.MedDEL', epsilon=None, scope='global', keep='near')),
    'MedDEL far': dict(selector=dict(type='mmdel.MedDEL', epsilon=None, scope='global', keep='far')),
    'MedDEL in clusters': dict(
        selector=dict(type='mmdel.MedDEL', clusterer=dict(type='mmdel.FaissKMeans', seed='{seed}'))
    ),
}
ratios = (0.2,)
seeds = (0, 1)
baselines = ('MedDEL near',)

pretraining = dict(
    config='../demo/mae_tiny.py',
    full_epochs=4,
    options={'train_dataloader.dataset.data_root': '{data_root}/pool', 'optim_wrapper.precision': 'float32'},
)

_polyps = {
    'train_dataloader.dataset.data_root': '{data_root}/segmentation/kvasir-seg',
    'val_dataloader.dataset.data_root': '{data_root}/segmentation/kvasir-seg',
    'test_dataloader.dataset.data_root': '{data_root}/segmentation/kvasir-seg',
    'optim_wrapper.precision': 'float32',
    'train_dataloader.batch_size': 8,
    'train_cfg.max_iters': 150,
    'train_cfg.val_interval': 50,
    'param_scheduler.0.end': 15,
    'param_scheduler.1.begin': 15,
    'param_scheduler.1.end': 150,
}
downstream = {'polyps': dict(config='../demo/segmentation_tiny.py', options=_polyps)}
references = {'all images': dict(kind='full'), 'random encoder': dict(kind='random')}

threads = 1  # fixed, so that --jobs does not change the last bits
box = 3
