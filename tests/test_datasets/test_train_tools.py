"""mmdel inside the training tools of mmpretrain and mmseg, unmodified and without custom_imports."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

import mmdel

COMMON = """
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False, sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='mmdel.MedDELDataset', subset={subset!r},
        dataset=dict(type='RepeatDataset', times=2, dataset=dict({dataset}))))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
default_hooks = dict(logger=dict(type='LoggerHook', interval=1))
"""

MMPRETRAIN = """
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='VisionTransformer', img_size=32, patch_size=16,
        arch=dict(embed_dims=8, num_layers=1, num_heads=1, feedforward_channels=8)),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=8))
"""
CUSTOM = """
    type='CustomDataset', data_root={pool!r}, data_prefix='img', pipeline=[
        dict(type='LoadImageFromFile'), dict(type='Resize', scale=(32, 32)), dict(type='PackInputs')]
"""

MMSEG = """
default_scope = 'mmseg'
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', size=(32, 32), seg_pad_val=255),
    backbone=dict(
        type='mmpretrain.VisionTransformer', img_size=32, patch_size=16, out_type='featmap',
        arch=dict(embed_dims=8, num_layers=1, num_heads=1, feedforward_channels=8)),
    decode_head=dict(type='FCNHead', in_channels=8, channels=8, num_convs=0, concat_input=False, num_classes=2))
"""
SEGMENTATION = """
    type='BaseSegDataset', data_root={pool!r}, data_prefix=dict(img_path='img', seg_map_path='mask'),
    metainfo=dict(classes=['background', 'polyp']), pipeline=[
        dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='Resize', scale=(32, 32)),
        dict(type='PackSegInputs')]
"""


@pytest.mark.parametrize(
    ('package', 'model', 'dataset'), [('mmpretrain', MMPRETRAIN, CUSTOM), ('mmseg', MMSEG, SEGMENTATION)]
)
def test_train__with_a_subset_in_the_config(package, model, dataset, tmp_path, make_images, write_subset):
    names = [f'{name}/{number}' for name in 'ab' for number in range(3)]
    pool = make_images(tmp_path / 'pool', [f'img/{name}.jpg' for name in names])
    (pool / 'mask' / 'a').mkdir(parents=True)
    for name in names[:2]:
        cv2.imwrite(str(pool / 'mask' / f'{name}.png'), np.eye(4, dtype=np.uint8))
    kept, dropped = [f'{name}.jpg' for name in names[:2]], [f'{name}.jpg' for name in names[2:]]
    for name in dropped:
        (pool / 'img' / name).write_bytes(b'a dropped image that is served ends the training')
    config = COMMON.replace('{subset!r}', repr(write_subset(kept, dropped)))
    config = config.replace('{dataset}', dataset.replace('{pool!r}', repr(str(pool)))) + model
    (tmp_path / 'config.py').write_text(config)

    tool = Path(find_spec(package).submodule_search_locations[0], '.mim', 'tools', 'train.py')
    paths = [str(Path(mmdel.__file__).parents[1]), os.environ.get('PYTHONPATH', '')]
    run = subprocess.run(
        [sys.executable, str(tool), 'config.py', '--work-dir', 'work'],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=580,
    )
    output = run.stdout + run.stderr
    assert run.returncode == 0, output[-3000:]
    assert 'MedDELDataset: 2 of 6 images kept (subset.parquet, eta 0.5)' in output
    assert '[2/2]' in output
