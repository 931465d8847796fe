import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config

from mmdel.errors import ConfigError, SubsetError
from mmdel.subset import Subset
from mmdel.training.equal_compute import equal_compute, set_epochs


@pytest.fixture
def subset_file(tmp_path):
    def write(images: int, kept: int, unreadable: int = 0, name: str = 'subset.parquet') -> str:
        table = pa.table({'image': [f'{i:06}.jpg' for i in range(images)], 'rank': list(range(images))})
        lost = tuple((f'broken{i}.jpg', 'is empty') for i in range(unreadable))
        metadata = {'images': images, 'kept': kept, 'ratio': kept / images, 'eta': None, 'recut': 'ratio'}
        Subset.from_ranking(table, metadata, lost, kept).write(tmp_path / name)
        return str(tmp_path / name)

    return write


def training(dataset: dict, **train_cfg: int) -> Config:
    return Config(dict(train_dataloader=dict(dataset=dataset), train_cfg=train_cfg or dict(max_epochs=200)))


def test_table_2__its_epochs_are_near_equal_compute(subset_file):
    for kept, epochs in ((43484, 400), (28352, 600), (16789, 1000), (9055, 2000), (4461, 4000)):
        file = subset_file(88282, kept)
        budget = equal_compute(training(dict(type='mmdel.MedDELDataset', subset=file, dataset=dict(type='X'))))
        assert abs(budget.epochs / epochs - 1) < 0.055
        assert abs(budget.epochs * budget.kept / (200 * 88282) - 1) < 0.5 / 200


@given(st.integers(1, 40), st.integers(1, 300))
def test_images_times_epochs__equals_the_full_set_within_half_an_epoch(tmp_path_factory, kept, full_epochs):
    file = tmp_path_factory.getbasetemp() / f'{kept}.parquet'
    if not file.exists():
        table = pa.table({'image': [f'{i}.jpg' for i in range(40)], 'rank': list(range(40))})
        metadata = {'images': 40, 'kept': kept, 'ratio': kept / 40, 'eta': None, 'recut': 'ratio'}
        Subset.from_ranking(table, metadata, (), kept).write(file)
    budget = equal_compute(training(dict(type='mmdel.MedDELDataset', subset=str(file), dataset={})), full_epochs)
    assert abs(budget.epochs * kept - full_epochs * 40) <= kept / 2


def test_counts__follow_the_cut_and_leave_unreadable_files_out(subset_file):
    dataset = dict(type='mmdel.MedDELDataset', subset=subset_file(100, 50, unreadable=7), dataset={})
    assert (equal_compute(training(dataset)).kept, equal_compute(training(dataset)).full) == (50, 100)
    dataset['ratio'] = 0.1
    budget = equal_compute(training(dataset), 20)
    assert (budget.kept, budget.epochs) == (10, 200)
    assert str(budget) == '200 epochs of 10 images (2,000 images in all) cost what 20 epochs of 100 do (2,000)'


def test_wrapped_and_joined_subsets__are_added_up(subset_file):
    parts = [
        dict(type='mmdel.MedDELDataset', subset=subset_file(100, 50, name='a.parquet'), dataset={}),
        dict(
            type='RepeatDataset',
            dataset=dict(type='mmdel.MedDELDataset', subset=subset_file(60, 30, name='b.parquet'), dataset={}),
        ),
    ]
    budget = equal_compute(training(dict(type='ConcatDataset', datasets=parts)))
    assert (budget.kept, budget.full, budget.epochs) == (80, 160, 400)


def test_images_without_a_subset__are_refused_with_the_line_that_is_missing(subset_file):
    subset = dict(type='mmdel.MedDELDataset', subset=subset_file(4, 2), dataset={})
    for dataset in (
        dict(type='CustomDataset'),
        dict(type='ConcatDataset', datasets=[subset, dict(type='CustomDataset')]),
    ):
        with pytest.raises(ConfigError, match=r"CustomDataset come without one.*type='mmdel.MedDELDataset'"):
            equal_compute(training(dataset))
    with pytest.raises(SubsetError, match='is not there'):
        equal_compute(training(dict(type='mmdel.MedDELDataset', subset='no.parquet', dataset={})))
    with pytest.raises(ConfigError, match='at least one epoch'):
        equal_compute(training(subset), 0)


def test_set_epochs__stretches_a_stock_schedule_and_keeps_its_shares():
    cfg = Config(
        dict(
            train_cfg=dict(max_epochs=300, val_interval=30),
            param_scheduler=[
                dict(type='LinearLR', by_epoch=True, begin=0, end=40),
                dict(type='CosineAnnealingLR', T_max=260, by_epoch=True, begin=40, end=300),
                dict(type='MultiStepLR', milestones=[100, 200]),
                dict(type='LinearLR', by_epoch=False, begin=0, end=500),
            ],
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=30)),
        )
    )
    before = Config(cfg.to_dict())
    set_epochs(cfg, 1500)
    linear, cosine, steps, by_iteration = cfg.param_scheduler
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (1500, 150)
    assert (linear.end, cosine.begin, cosine.end, cosine.T_max) == (200, 200, 1500, 1300)
    assert steps.milestones == [500, 1000]
    assert by_iteration.end == 500
    assert cfg.default_hooks.checkpoint.interval == 150
    set_epochs(cfg, 300)
    assert cfg.to_dict() == before.to_dict()


def test_set_epochs__refuses_a_config_that_counts_iterations():
    with pytest.raises(ConfigError, match='no train_cfg.max_epochs'):
        set_epochs(Config(dict(train_cfg=dict(max_iters=100))), 10)


def test_set_epochs__a_warm_up_never_vanishes():
    """Mmengine refuses one of no epochs."""
    schedule = [dict(type='LinearLR', begin=0, end=1), dict(type='CosineAnnealingLR', begin=1)]
    cfg = Config(dict(train_cfg=dict(max_epochs=20), param_scheduler=schedule))
    set_epochs(cfg, 4)
    assert [(each['begin'], each.get('end')) for each in cfg.param_scheduler] == [(0, 1), (1, None)]
