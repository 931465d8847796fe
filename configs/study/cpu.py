# The small study on real images, for two CPU cores. Pool: 2,122 frames of capsule endoscopy (WCEBleedGen) and the 800 training
# images of Kvasir-SEG; a tiny MAE learns from a part of them at equal compute, and is then tested on Kvasir-SEG's validation
# images, frozen (more sensitive to what pre-training learned) and, at 5 and 100 %, fine-tuned. First run gate.py: a study
# that cannot tell pre-training from a random encoder ranks nothing.
#
#     python tools/study.py configs/study/cpu.py --cfg-options data_root=DIR --dry-run
#     python tools/study.py configs/study/cpu.py --cfg-options data_root=DIR --jobs 2
#
# DIR holds wce/{bleeding,non_bleeding} and kvasir_seg/{train,val}/{images,masks}; weights is a ViT-S/14 of DINOv2's layout.
work_dir = 'work_dirs/study/cpu'
data_root = 'data/real'
weights = 'data/vit-small-p14.pth'
images = 2922

_pool = ('wce', 'kvasir_seg/train/images')
_encoder = dict(
    _delete_=True,
    type='mmdel.ViTEmbedder',
    backbone=dict(type='mmpretrain.VisionTransformer', arch='dinov2-small', patch_size=14, layer_scale_init_value=1e-5),
    checkpoint='{weights}',
    feature='avg_patch',
    out_index=6,
    input_size=224,
)
selection = dict(
    config='../demo/meddel_pixels.py',
    options={'dataset.data_root': '{data_root}', 'dataset.sources': _pool, 'embedder': _encoder},
)
selectors = {
    'random': dict(selector=dict(type='mmdel.RandomSelector', seed='{seed}')),
    'every n-th': dict(selector=dict(type='mmdel.EveryNth')),
    'MedDEL near': dict(selector=dict(type='mmdel.MedDEL', epsilon=None, scope='global', keep='near')),
    'Coverage': dict(selector=dict(type='mmdel.Coverage')),
}
ratios = (0.05, 0.1, 0.2)
seeds = (0, 1, 2, 3, 4)
baselines = ('random', 'every n-th')

pretraining = dict(
    config='../demo/mae_tiny.py',
    full_epochs=10,
    options={
        'train_dataloader.dataset.data_root': '{data_root}',
        'train_dataloader.dataset.sources': _pool,
        # 146 images fill 4.6 batches of 32: the last one, which is smaller, costs 9 % more steps than all images take;
        # with 64 it would be 30 %
        'train_dataloader.batch_size': 32,
        'train_dataloader.num_workers': 1,
        'optim_wrapper.precision': 'float32',
        'optim_wrapper.optimizer.lr': 7e-4,  # 1e-3 at batch 64, by the square root
    },
)

_polyps = {
    'optim_wrapper.precision': 'float32',
    'train_dataloader.num_workers': 1,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False,
}
for _loader, _split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
    _dataset = f'{_loader}_dataloader.dataset'
    _polyps[f'{_dataset}.data_root'] = '{data_root}/kvasir_seg'
    _polyps[f'{_dataset}.ann_file'] = ''
    _polyps[f'{_dataset}.data_prefix.img_path'] = f'{_split}/images'
    _polyps[f'{_dataset}.data_prefix.seg_map_path'] = f'{_split}/masks'
downstream = {
    'Kvasir-SEG, frozen': dict(
        config='../demo/segmentation_tiny.py', options={**_polyps, 'model.backbone.frozen_stages': 4}
    ),
    'Kvasir-SEG, fine-tuned': dict(config='../demo/segmentation_tiny.py', options=_polyps, ratios=(0.05, 1)),
}
references = {'all images': dict(kind='full'), 'random encoder': dict(kind='random')}

threads = 1  # fixed, so that --jobs does not change the last bits
# docs/training.md, both cores: 2,922 images x 20 epochs in 9 min 50 s, 300 x 16 in 1 min 7 s; one of two jobs has half of that
rates = dict(select=30, pretrain=50, finetune=36, evaluate=30)
box = 3
