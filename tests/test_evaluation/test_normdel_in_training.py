"""NormDEL through a training of mmengine: log line, JSON, TensorBoard, W&B, and the best checkpoint."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import Dataset

from mmdel.evaluation import normdel

ADDED = ('DEL', 'NormDEL', 'retention', 'alpha')
RIGHT = (10, 19, 14, 16)
"""How many of 20 pixels the model gets right at its four validations: the second is the best, the last is not."""


class Pixels(Dataset):
    """One image of 20 pixels, half of them polyp."""

    def __init__(self):
        self.metainfo = {'classes': ('background', 'polyp')}

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return torch.tensor([[0, 1] * 10])


class Scripted(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.validations = 0

    def forward(self, inputs, mode):
        if mode == 'loss':
            return {'loss': (self.weight - 1).square().sum()}
        labels = inputs[0]
        predicted = labels.clone()
        wrong = labels.numel() - RIGHT[self.validations]
        predicted[:, :wrong] = 1 - predicted[:, :wrong]
        self.validations += 1
        return [{'pred_sem_seg': {'data': predicted}, 'gt_sem_seg': {'data': labels}}]

    def train_step(self, data, optim_wrapper):
        return super().train_step({'inputs': data}, optim_wrapper)

    def val_step(self, data):
        return self.forward(data, 'predict')


class RecordedWandb(ModuleType):
    """What mmengine's backend calls of wandb; the package itself starts a service and brings thirty others."""

    def __init__(self):
        super().__init__('wandb')
        self.logged = []
        self.config = SimpleNamespace(update=lambda values, allow_val_change: None)
        self.run = SimpleNamespace(log_code=lambda name: None)

    def init(self, **options):
        self.options = options

    def log(self, values, commit):
        assert all(isinstance(value, (int, float)) or hasattr(value, 'item') for value in values.values())
        self.logged.append(dict(values))

    def join(self):
        pass


@pytest.fixture(scope='module')
def training(tmp_path_factory):
    """A training of four iterations with a validation after each."""
    work_dir = tmp_path_factory.mktemp('training')
    loader = dict(
        batch_size=1,
        num_workers=0,
        dataset=Pixels(),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
    )
    wandb = RecordedWandb()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'wandb', wandb)
        runner = Runner(
            model=Scripted(),
            work_dir=str(work_dir),
            train_dataloader={**loader, 'sampler': dict(type='InfiniteSampler', shuffle=False)},
            val_dataloader=loader,
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=4, val_interval=1),
            val_cfg=dict(type='ValLoop'),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            val_evaluator=dict(
                type='mmdel.NormDELEvaluator', metrics=dict(type='mmdel.ClassIoUMetric'), retention=0.2, alpha=2.0
            ),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
                checkpoint=dict(type='CheckpointHook', interval=4, by_epoch=False, save_best='NormDEL', rule='greater'),
            ),
            log_processor=dict(by_epoch=False),
            visualizer=dict(
                type='Visualizer',
                name='normdel_in_training',
                vis_backends=[dict(type=f'{kind}VisBackend') for kind in ('Local', 'Tensorboard', 'Wandb')],
            ),
            experiment_name='normdel_in_training',
        )
        runner.train()
        runner.visualizer.close()
    return SimpleNamespace(runner=runner, work_dir=work_dir, wandb=wandb)


def check(validations):
    """Each validation carries the four values, and they belong together."""
    assert len(validations) == len(RIGHT)
    for values in validations:
        assert (values['retention'], values['alpha']) == (pytest.approx(0.2), 2)
        assert values['NormDEL'] == pytest.approx(100 * normdel(values['mIoU'] / 100, 0.2, 2))
        assert values['mIoU'] == pytest.approx((values['IoU.background'] + values['IoU.polyp']) / 2, abs=0.011)
    assert [values['aAcc'] for values in validations] == [100 * right / 20 for right in RIGHT]


def test_json__of_every_validation(training):
    (file,) = training.work_dir.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    check([line for line in lines if 'mIoU' in line])


def test_tensorboard__of_every_validation(training):
    (folder,) = training.work_dir.glob('*/vis_data')
    events = EventAccumulator(str(folder))
    events.Reload()
    names = [*ADDED, 'mIoU', 'aAcc', 'IoU.background', 'IoU.polyp']
    curves = {name: events.Scalars(name) for name in names}
    assert [event.step for event in curves['NormDEL']] == [1, 2, 3, 4]
    check([{name: curves[name][number].value for name in names} for number in range(len(RIGHT))])


def test_wandb__of_every_validation(training):
    check([values for values in training.wandb.logged if 'mIoU' in values])


def test_log_line__says_alpha_and_retention_beside_the_score(training):
    (file,) = training.work_dir.glob('*/*.log')
    lines = [line for line in file.read_text().splitlines() if 'Iter(val)' in line and 'NormDEL' in line]
    assert len(lines) == len(RIGHT)
    assert all('retention: 0.2000' in line and 'alpha: 2.0000' in line for line in lines)


def test_save_best__keeps_the_checkpoint_of_the_highest_score(training):
    assert [path.name for path in training.work_dir.glob('best_*')] == ['best_NormDEL_iter_2.pth']
