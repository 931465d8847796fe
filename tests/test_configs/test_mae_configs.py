"""Every MAE and demo config builds: datasets on tiny folders with a subset, the model, optimizer, schedule, checkpoints."""

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, EVALUATOR, METRICS, MODELS, PARAM_SCHEDULERS, init_default_scope
from mmengine.runner import Runner
from PIL import Image

from mmdel.datadel.splits import write_splits
from mmdel.registry import EMBEDDERS
from mmdel.subset import Subset
from mmdel.training.equal_compute import set_epochs

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
TABLE_2 = {'eta10': 200, 'eta09': 400, 'eta085': 600, 'eta08': 1000, 'eta075': 2000, 'eta07': 4000}
MAE = [f'mae/mae_vit-base-p16_1xb16-coslr-{epochs}e_datadel-{eta}' for eta, epochs in TABLE_2.items()]
TINY = ['demo/mae_tiny', 'demo/mae_tiny_subset']
SEGMENTATION = ['demo/segmentation_tiny', 'demo/segmentation_tiny_random']
BATCHES = 10
"""Of an epoch, in the check of the schedule."""

_models = {}


def config(name):
    return Config.fromfile(CONFIGS / f'{name}.py')


def built(cfg):
    """The model of a config; ViT-Base is built once."""
    init_default_scope(cfg.default_scope)
    text = json.dumps(cfg.model.to_dict(), sort_keys=True, default=str)
    if text not in _models:
        _models[text] = MODELS.build(cfg.model)
    return _models[text]


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """The folders that the configs name, with two images each, one of them in every subset."""
    root = tmp_path_factory.mktemp('canonical')
    random = np.random.default_rng(0)

    def draw(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (48, 40, 3), np.uint8)).save(path)

    for pool in ('data/datadel', 'data/demo/pool'):
        keys = []
        for source in ('gastrovision', 'hyper-kvasir', 'kvasir-capsule'):
            keys += [f'{source}/{number}.jpg' for number in range(2)]
            for key in keys[-2:]:
                draw(root / pool / key)
        table = pa.table({'image': keys, 'rank': [0, 3, 1, 4, 2, 5]})
        metadata = {'images': 6, 'kept': 3, 'ratio': 0.5, 'eta': None, 'recut': 'ratio'}
        names = ['demo/subset'] if 'demo' in pool else [f'meddel_{eta}' for eta in TABLE_2 if eta != 'eta10']
        for name in names:
            (root / 'work_dirs' / name).mkdir(parents=True)
            Subset.from_ranking(table, metadata, (), 3).write(root / 'work_dirs' / name / 'subset.parquet')
    pairs = root / 'data/demo/segmentation/kvasir-seg'
    for number in range(3):
        draw(pairs / 'images' / f'{number}.jpg')
        draw(pairs / 'masks' / f'{number}.png')
    write_splits(pairs)
    return root


@pytest.mark.parametrize('name', MAE + TINY)
def test_pretraining__builds_and_takes_a_batch(name, place, monkeypatch):
    monkeypatch.chdir(place)
    cfg = config(name)
    model = built(cfg)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) == (6 if name in (MAE[0], 'demo/mae_tiny') else 3)
    loader = cfg.train_dataloader | dict(num_workers=0, persistent_workers=False, pin_memory=False, batch_size=2)
    batch = model.data_preprocessor(next(iter(Runner.build_dataloader(loader, seed=0))))
    size = cfg.model.backbone.img_size
    assert batch['inputs'].shape == (2, 3, size, size)
    assert cfg.model.neck.num_patches == (size // cfg.model.backbone.patch_size) ** 2
    if name in (MAE[0], TINY[0]):
        losses = model(**batch, mode='loss')
        assert torch.isfinite(losses['loss'])
    assert not cfg.resume
    assert cfg.load_from is None


@pytest.mark.parametrize('name', MAE)
def test_paper__batch_optimizer_epochs_and_kept_checkpoints(name):
    cfg = config(name)
    epochs, eta = re.fullmatch(r'.*-(\d+)e_datadel-(\w+)', name).groups()
    assert cfg.train_cfg.max_epochs == int(epochs) == TABLE_2[eta]
    assert cfg.train_dataloader.batch_size == 16
    assert (cfg.optim_wrapper.optimizer.type, cfg.optim_wrapper.optimizer.lr) == ('AdamW', 1.5e-4)
    hook = cfg.default_hooks.checkpoint
    assert (hook.interval, hook.by_epoch, hook.max_keep_ckpts) == (TABLE_2[eta] // 10, True, -1)
    rolling = [each for each in cfg.custom_hooks if each.type == 'CheckpointHook']
    assert [each.interval <= 5000 and not each.by_epoch for each in rolling] == [True]
    if eta != 'eta10':
        assert cfg.train_dataloader.dataset.subset == f'work_dirs/meddel_{eta}/subset.parquet'
        assert (CONFIGS / f'meddel_{eta}.py').is_file()


@pytest.mark.parametrize(('name', 'stretched'), [(name, None) for name in MAE + TINY] + [(MAE[3], 137), (TINY[1], 100)])
def test_learning_rate__rises_for_5_percent_and_falls_to_zero_in_a_cosine(name, stretched):
    cfg = config(name)
    if stretched:
        set_epochs(cfg, stretched)
    epochs, peak = cfg.train_cfg.max_epochs, cfg.optim_wrapper.optimizer.lr
    wrapper = build_optim_wrapper(torch.nn.Linear(1, 1), dict(optimizer=cfg.optim_wrapper.optimizer))
    schedulers = []
    for each in cfg.param_scheduler:
        each = dict(each, end=each.get('end', epochs))  # as the runner fills it in
        schedulers.append(
            PARAM_SCHEDULERS.build(each, default_args=dict(optimizer=wrapper.optimizer, epoch_length=BATCHES))
        )
    rates = []
    for _ in range(epochs * BATCHES):
        rates.append(wrapper.get_lr()['lr'][0])
        wrapper.step()
        for scheduler in schedulers:
            scheduler.step()
    warm = round(epochs * 0.05) * BATCHES
    assert rates[0] == pytest.approx(peak * 1e-4)
    assert max(rates) == pytest.approx(peak, rel=1e-3)
    assert rates[: warm + 1] == sorted(rates[: warm + 1])
    assert rates[warm:] == sorted(rates[warm:], reverse=True)
    middle = rates[(warm + epochs * BATCHES) // 2]
    assert middle == pytest.approx(peak / 2, rel=0.02)
    assert rates[-1] < peak * 1e-3


@pytest.mark.parametrize('name', SEGMENTATION)
def test_demo_segmentation__builds(name, place, monkeypatch):
    monkeypatch.chdir(place)
    cfg = config(name)
    assert (cfg.model.backbone.init_cfg is None) == name.endswith('random')
    cfg.model.backbone.init_cfg = None
    model = built(cfg)
    sets = [DATASETS.build(cfg[f'{each}_dataloader'].dataset) for each in ('train', 'val', 'test')]
    assert [len(each) for each in sets] == [1, 1, 1]
    batch = model.data_preprocessor({key: [value] for key, value in sets[0][0].items()}, training=True)
    assert torch.isfinite(model(**batch, mode='loss')['decode.loss_ce'])
    assert type(build_optim_wrapper(model, cfg.optim_wrapper)).__name__ == 'AutoAmpOptimWrapper'
    evaluator = cfg.val_evaluator
    assert (EVALUATOR if 'metrics' in evaluator else METRICS).build(evaluator)


def test_demo_selection__embeds_with_the_encoder_that_the_demo_trains(place, monkeypatch):
    monkeypatch.chdir(place)
    cfg, mae, segmentation = config('demo/meddel_mae'), config(TINY[0]), config(SEGMENTATION[0])
    init_default_scope(cfg.default_scope)
    for backbone in (cfg.embedder.backbone, segmentation.model.backbone):
        assert dict(backbone.arch) == dict(mae.model.backbone.arch)
        assert backbone.patch_size == mae.model.backbone.patch_size
    assert cfg.embedder.input_size == mae.model.backbone.img_size == segmentation.model.backbone.img_size
    last = f'{mae.work_dir}/epoch_{mae.train_cfg.max_epochs}.pth'
    assert cfg.embedder.checkpoint == last == segmentation.model.backbone.init_cfg.checkpoint
    assert config(TINY[1]).train_dataloader.dataset.subset == f'{cfg.work_dir}/subset.parquet'
    os.makedirs(mae.work_dir)
    torch.save({'state_dict': built(mae).state_dict()}, last)
    assert EMBEDDERS.build(cfg.embedder)


def test_demo_tool__runs_these_configs():
    text = (CONFIGS.parent / 'mmdel' / 'cli' / 'demo.py').read_text()
    for path in (CONFIGS / 'demo').glob('*.py'):
        assert path.name in text or path.stem == 'meddel_pixels', sys.path
