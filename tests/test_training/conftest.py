"""A model, data and a runner that are as small as they can be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

IMAGES = 23


class Numbers(torch.utils.data.Dataset):
    metainfo: ClassVar = {'classes': ('number',)}

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {'inputs': torch.tensor([float(index)])}


class Line(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, inputs: torch.Tensor, mode: str = 'loss') -> dict[str, torch.Tensor]:
        return {'loss': self.line(inputs).square().mean() * 1e-4}


class Diary(Hook):
    """Which numbers were seen at which learning rate; may end the run in the middle."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.rows: list[tuple[float, tuple[int, ...]]] = []
        self.stop_after = stop_after

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if len(self.rows) == self.stop_after:
            raise KeyboardInterrupt
        numbers = tuple(int(number) for number in data_batch['inputs'])
        self.rows.append((runner.optim_wrapper.get_lr()['lr'][0], numbers))


@pytest.fixture
def make_runner(tmp_path: Path) -> Callable[..., tuple[Runner, Diary]]:
    """``make_runner(work_dir, stop_after=None, save_every=3, **changes)`` gives a runner over 3 epochs and its diary."""

    def make(
        work_dir: str,
        stop_after: int | None = None,
        save_every: int = 3,
        batch_size: int = 4,
        sampler: str = 'mmdel.ResumableSampler',
        **changes: Any,
    ) -> tuple[Runner, Diary]:
        torch.manual_seed(0)
        diary = Diary(stop_after)
        loader = dict(
            batch_size=batch_size,
            num_workers=0,
            sampler=dict(type=sampler, shuffle=True),
            dataset=Numbers(),
            collate_fn=dict(type='default_collate'),
        )
        config = dict(
            model=Line(),
            work_dir=str(tmp_path / work_dir),
            train_dataloader=loader,
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)),
            train_cfg=dict(type='mmdel.ResumableEpochTrainLoop', max_epochs=3),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
                dict(type='CosineAnnealingLR', by_epoch=True, begin=1, convert_to_iter_based=True),
            ],
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=save_every)),
            custom_hooks=[diary, dict(type='mmdel.PretrainedCheckHook')],
            randomness=dict(seed=3),
            log_level='ERROR',
            experiment_name=f'{tmp_path.name}-{work_dir}-{stop_after}-{len(changes)}-{id(diary)}',
        )
        config.update(changes)
        return Runner(**config), diary

    return make
