"""Stock configs of mmpretrain and mmseg in their own layouts: choose from the config, train on the subset, score with NormDEL.

The projects are trained by their own `tools/train.py`, with the lines of the README and nothing else of mmdel. Models and
schedules are made small by further lines; two processes talk over gloo, since mmengine would select a GPU for each.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

import mmdel

ROOT = Path(mmdel.__file__).parents[1]
IMAGES, KEPT = 8, 4

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Project:
    """A stock config.

    Args:
        package (str): Which brings it.
        config (str): Below its `configs`.
        layout (str): Where its images lie, with `{}` for a number.
        mask (str): Where their masks lie; '' without.
        small (str): Lines that make it small.
        dataset (str): Lines of its own dataset; '' where the stock one is used.
    """

    package: str
    config: str
    layout: str
    mask: str
    small: str
    dataset: str = ''


CPU = """
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
default_hooks = dict(logger=dict(interval=1))
"""
SEGMENTATION = """
train_cfg = dict(max_iters=2, val_interval=2)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
norm_cfg = dict(type='BN')
"""

PROJECTS = {
    'MAE on ImageNet': Project(
        'mmpretrain',
        'mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py',
        'data/imagenet/train/n01440764/{}.JPEG',
        '',
        CPU
        + """
arch = dict(embed_dims=8, num_layers=1, num_heads=1, feedforward_channels=8)
model = dict(
    backbone=dict(arch=dict(_delete_=True, **arch)),
    neck=dict(embed_dim=8, decoder_embed_dim=8, decoder_depth=1, decoder_num_heads=1))
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
train_cfg = dict(max_epochs=1)
resume = False
""",
    ),
    'ResNet on CustomDataset': Project(
        'mmpretrain',
        'resnet/resnet18_8xb32_in1k.py',
        'data/polyps/train/adenoma/{}.png',
        '',
        CPU
        + """
model = dict(backbone=dict(depth=18, base_channels=8, stem_channels=8), head=dict(in_channels=64, num_classes=1, topk=1))
train_cfg = dict(max_epochs=1)
val_dataloader = val_cfg = val_evaluator = None
test_dataloader = test_cfg = test_evaluator = None
""",
        dataset="""
train_dataloader = dict(dataset=dict(
    _delete_=True, type='CustomDataset', data_root='data/polyps', data_prefix='train', pipeline=_base_.train_pipeline))
""",
    ),
    'UNet on DRIVE': Project(
        'mmseg',
        'unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64.py',
        'data/DRIVE/images/{}/{}.png',
        'data/DRIVE/annotations/{}/{}_manual1.png',
        CPU
        + SEGMENTATION
        + """
model = dict(
    backbone=dict(base_channels=8, norm_cfg=norm_cfg),
    decode_head=dict(in_channels=8, channels=8, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=16, channels=8, norm_cfg=norm_cfg))
""",
    ),
    'SegFormer on ADE20K': Project(
        'mmseg',
        'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
        'data/ade/ADEChallengeData2016/images/{}/ADE_{}.jpg',
        'data/ade/ADEChallengeData2016/annotations/{}/ADE_{}.png',
        CPU
        + SEGMENTATION
        + """
model = dict(
    backbone=dict(embed_dims=4, num_layers=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], init_cfg=dict(_delete_=True)),
    decode_head=dict(in_channels=[4, 4, 4, 4], channels=8, norm_cfg=norm_cfg))
""",
    ),
}

SUBSET = """
train_dataloader = dict(
    dataset=dict(
        _delete_=True, type='mmdel.MedDELDataset', dataset=_base_.train_dataloader.dataset,
        subset='work_dirs/choice/subset.parquet'))
"""
NORMDEL = """
val_evaluator = dict(
    _delete_=True, type='mmdel.NormDELEvaluator', metrics=_base_.val_evaluator, key={key!r}, scale='percent',
    retention='work_dirs/choice/subset.parquet')
test_evaluator = val_evaluator
"""
TWO_PROCESSES = """
custom_imports = dict(imports=['no_gpu'])
env_cfg = dict(dist_cfg=dict(backend='gloo'))
model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None, find_unused_parameters=True)
"""


def stock(package: str, *parts: str) -> Path:
    return Path(find_spec(package).submodule_search_locations[0], '.mim', *parts)


def render(folder: Path, project: Project) -> None:
    """Images that fall into pairs of near-copies, and masks."""
    rng = np.random.default_rng(0)
    for part in ('training', 'validation'):
        for number in range(IMAGES):
            scene = np.random.default_rng(number // 2).integers(0, 256, (4, 4, 3), np.uint8)
            image = cv2.resize(scene, (96, 96)) ^ rng.integers(0, 2, (96, 96, 3), np.uint8)
            names = (part, number) if project.layout.count('{}') == 2 else (f'{number}_{part}',)
            if len(names) == 1 and part == 'validation':
                continue
            path = folder / project.layout.format(*names)
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
            if project.mask:
                path = folder / project.mask.format(*names)
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), np.eye(96, dtype=np.uint8))
    if 'imagenet' in project.layout:
        for number in range(999):  # mmpretrain counts the classes
            (folder / 'data' / 'imagenet' / 'train' / f'm{number:08d}').mkdir()


def python(folder: Path, *command: str) -> str:
    paths = [str(ROOT), str(folder), os.environ.get('PYTHONPATH', '')]
    run = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, paths)), 'CUDA_VISIBLE_DEVICES': ''},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert run.returncode == 0, (run.stdout + run.stderr)[-4000:]
    return run.stdout + run.stderr


@pytest.mark.parametrize('name', PROJECTS)
def test_stock_config__chosen_from_trained_and_scored_by_its_own_tools(name: str, tmp_path: Path) -> None:
    project = PROJECTS[name]
    base = stock(project.package, 'configs', project.config)
    if not base.is_file():
        pytest.skip(f'{project.package} is installed without its configs')
    render(tmp_path, project)
    (tmp_path / 'stock.py').write_text(f'_base_ = [{str(base)!r}]\n{project.dataset}')
    (tmp_path / 'small.py').write_text(f"_base_ = ['stock.py']\n{project.small}")
    key = {'UNet on DRIVE': 'mDice', 'SegFormer on ADE20K': 'mIoU'}.get(name)
    (tmp_path / 'mine.py').write_text("_base_ = ['small.py']\n" + SUBSET + (NORMDEL.format(key=key) if key else ''))

    chosen = python(
        tmp_path,
        str(ROOT / 'tools' / 'dedup.py'),
        str(ROOT / 'configs' / 'meddel_eta08.py'),
        *('--dataset-from', 'stock.py', '--encoder', 'pixels', '--ratio', '0.5'),
        *('--work-dir', 'work_dirs/choice', '--no-report', '--cfg-options', 'center=True', 'selector.scope=global'),
    )
    assert f'{KEPT / IMAGES:.4f} of {IMAGES} readable' in chosen

    train = str(stock(project.package, 'tools', 'train.py'))
    output = python(tmp_path, train, 'mine.py', '--work-dir', 'work_dirs/one')
    assert f'MedDELDataset: {KEPT} of {IMAGES} images kept' in output
    if key:
        scalars = next((tmp_path / 'work_dirs' / 'one').glob('*/vis_data/scalars.json')).read_text().splitlines()
        scores = [json.loads(line) for line in scalars if 'NormDEL' in line]
        assert [score['retention'] for score in scores] == [KEPT / IMAGES]
        assert 50 <= scores[0]['NormDEL'] <= 73.2

    (tmp_path / 'no_gpu.py').write_text('import torch\ntorch.cuda.set_device = lambda device: None\n')
    (tmp_path / 'two.py').write_text("_base_ = ['mine.py']\n" + TWO_PROCESSES)
    launch = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2')
    output = python(tmp_path, *launch, train, 'two.py', '--launcher', 'pytorch', '--work-dir', 'work_dirs/two')
    assert f'MedDELDataset: {KEPT} of {IMAGES} images kept' in output
    assert next((tmp_path / 'work_dirs' / 'two').glob('*_*.pth')).is_file()
