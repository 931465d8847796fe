"""A training whose images come out of the cache is the same training."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

CONFIG = Path(__file__).resolve().parents[2] / 'configs' / 'demo' / 'mae_tiny.py'
IMAGES, BATCH = 12, 4


class Losses(Hook):
    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(outputs['loss'].item())


@pytest.fixture
def one_thread():
    """The model is tiny; threads would only wait for each other and for the workers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def losses_of(one_thread, demo_data, tmp_path):
    """``losses_of(name, load)`` trains the tiny autoencoder for two epochs with two workers that decode through ``load``."""

    def train(name, load):
        cfg = Config.fromfile(CONFIG)
        cfg.train_dataloader.update(batch_size=BATCH, num_workers=2)
        cfg.train_dataloader.dataset.update(data_root=str(demo_data / 'pool'), indices=IMAGES)
        cfg.train_dataloader.dataset.pipeline[0] = load
        cfg.optim_wrapper.precision = 'float32'
        losses = Losses()
        cfg.update(work_dir=str(tmp_path / name), experiment_name=f'{tmp_path.name}-{name}', log_level='ERROR')
        cfg.train_cfg.max_epochs = 2
        cfg.update(custom_hooks=[], default_hooks=dict(checkpoint=None))
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            runner = Runner.from_cfg(cfg)
            runner.register_hook(losses)
            runner.train()
        return losses.seen

    return train


@pytest.mark.slow
def test_losses__do_not_depend_on_the_cache(losses_of, tmp_path):
    load = dict(type='mmdel.LoadFrame', skip_unreadable=True)
    cached = dict(type='mmdel.LoadCached', load=load, cache_dir=str(tmp_path / 'decoded'))
    expected = losses_of('stock', load)
    assert len(expected) == 2 * IMAGES / BATCH and len(set(expected)) == len(expected)
    assert losses_of('full cache', dict(cached, limit=500_000)) == expected
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / 'decoded').glob('??/*')}
    assert losses_of('growing cache', cached) == expected
    now = {path: path.stat().st_mtime_ns for path in (tmp_path / 'decoded').glob('??/*')}
    assert 0 < len(kept) < len(now) and kept.items() <= now.items()
