"""Equal compute: the fewer images a subset has, the more epochs it is trained for (Table 2).

budget = equal_compute(cfg)       # the training set is an mmdel.MedDELDataset
set_epochs(cfg, budget.epochs)    # 20 % of the images: 1,000 epochs instead of 200
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from mmdel.errors import ConfigError
from mmdel.subset import Subset

FULL_EPOCHS = 200
"""Epochs on all images (Table 2)."""

_POINTS = ('begin', 'end', 'T_max', 'step_size', 'total_steps')


@dataclass(frozen=True)
class Budget:
    """How long to train.

    Args:
        epochs (int): Over the kept images.
        kept (int): Images that the subset serves.
        full (int): Readable images that it was chosen from.
        full_epochs (int): Epochs over those that cost as much.
    """

    epochs: int
    kept: int
    full: int
    full_epochs: int

    def __str__(self) -> str:
        return (
            f'{self.epochs:,} epochs of {self.kept:,} images ({self.epochs * self.kept:,} images in all) cost what '
            f'{self.full_epochs:,} epochs of {self.full:,} do ({self.full_epochs * self.full:,})'
        )


def equal_compute(cfg: Config, full_epochs: int = FULL_EPOCHS) -> Budget:
    """How many epochs over the subset of ``cfg`` cost as much as ``full_epochs`` over all images.

    Args:
        cfg (Config): A training config; every image of ``train_dataloader.dataset`` comes through a ``mmdel.MedDELDataset``.
        full_epochs (int): Defaults to 200.

    Raises:
        ConfigError: The dataset has no subset, or images that come round it.
        SubsetError: The subset cannot be read or cut.
    """
    if full_epochs < 1:
        raise ConfigError(f'Equal compute needs at least one epoch over all images, got {full_epochs}.')
    kept = full = 0
    for dataset in _subset_datasets(cfg.train_dataloader.dataset):
        subset = Subset.read(dataset['subset'])
        if dataset.get('eta') is not None or dataset.get('ratio') is not None:
            subset = subset.at(dataset.get('eta'), dataset.get('ratio'))
        kept += int(subset.keep.sum())
        full += int(subset.readable.sum())
    if not kept:
        raise ConfigError('Equal compute: the subset keeps no image.')
    return Budget(max(1, round(full_epochs * full / kept)), kept, full, full_epochs)


def set_epochs(cfg: Config, epochs: int) -> None:
    """Train for another number of epochs: schedules stretch in proportion, and checkpoints keep their share.

    Raises:
        ConfigError: The config does not count in epochs.
    """
    before = (cfg.get('train_cfg') or {}).get('max_epochs')
    if not before:
        raise ConfigError(
            'Equal compute sets epochs, and this config has no train_cfg.max_epochs. (With max_iters every subset costs the '
            'same already.)'
        )
    stretch = epochs / before
    schedulers = cfg.get('param_scheduler') or []
    for scheduler in [schedulers] if isinstance(schedulers, dict) else schedulers:
        if scheduler.get('by_epoch', True):
            # a warm-up that is rounded to no epoch at all is none that mmengine takes
            points = {key: scheduler[key] for key in _POINTS if scheduler.get(key)}
            scheduler.update({key: max(1, round(epoch * stretch)) for key, epoch in points.items()})
            if scheduler.get('milestones'):
                scheduler['milestones'] = [round(epoch * stretch) for epoch in scheduler['milestones']]
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint')
    if checkpoint and checkpoint.get('by_epoch', True):
        checkpoint['interval'] = max(1, round(checkpoint.get('interval', 1) * stretch))
    for key in ('val_interval', 'val_begin'):
        if key in cfg.train_cfg:
            cfg.train_cfg[key] = max(1, round(cfg.train_cfg[key] * stretch))
    cfg.train_cfg['max_epochs'] = epochs


def _subset_datasets(dataset: Any) -> Iterator[dict]:
    if dataset.get('type') in ('mmdel.MedDELDataset', 'MedDELDataset'):
        yield dataset
    elif dataset.get('dataset'):
        yield from _subset_datasets(dataset['dataset'])
    elif dataset.get('datasets'):
        for part in dataset['datasets']:
            yield from _subset_datasets(part)
    else:
        raise ConfigError(
            f'Equal compute needs a subset, and the images of {dataset.get("type")} come without one: wrap the dataset in '
            "dict(type='mmdel.MedDELDataset', subset='FILE.parquet', dataset=...)."
        )
