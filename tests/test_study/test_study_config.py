import re

import pytest

from mmdel.errors import ConfigError
from mmdel.study import read_study
from mmdel.study.study_config import with_seed


@pytest.fixture
def read(little, tmp_path):
    """``read(old, new)`` reads the little study with one piece of its text replaced."""

    def call(old='', new='', options=None):
        assert not old or old in little.LARGER
        text = little.LARGER.replace(old, new) if old else little.LARGER
        return read_study(str(little.write_little_study(tmp_path, text)), options)

    return call


def test_read_study__what_is_said_once_holds_for_all(read):
    study = read()
    assert study.name == 'study' and study.seeds == (0, 1)
    assert {name: selector.ratios for name, selector in study.selectors.items()} == {'near': (0.5,), 'drawn': (0.5,)}
    assert all(selector.downstream == ('Kvasir-SEG',) for selector in study.selectors.values())
    assert not study.selectors['near'].seeded
    assert study.selectors['drawn'].seeded
    assert study.pretraining.path.is_file()


def test_read_study__one_option_moves_the_data_of_all_configs(read, tmp_path):
    old = "selection = dict(config='dedup.py')"
    new = (
        "data_root = 'here'\nselection = dict(config='dedup.py', options={{'dataset.data_root': '{{data_root}}/pool'}})"
    )
    assert read(old, new).selection.options == {'dataset.data_root': 'here/pool'}
    assert read(old, new, ['data_root=/there']).selection.options == {'dataset.data_root': '/there/pool'}


def test_with_seed__reaches_every_depth_and_leaves_other_strings():
    config = {'a': '{seed}', 'b': [{'c': ('{seed}', 'seed {seed}')}]}
    assert with_seed(config, 3) == {'a': 3, 'b': [{'c': (3, 'seed {seed}')}]}


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('ratios = (0.5,)', '', "lacks the key 'ratios'; see configs/study/demo.py"),
        ('ratios = (0.5,)', 'ratios = 0.5', 'ratios is a list of numbers, got 0.5'),
        ('ratios = (0.5,)', 'ratios = (0.5, 0.5)', 'names a number twice'),
        (
            'ratios = (0.5,)',
            'ratios = (0.5, 1)',
            "all images are no selection; they are a reference, dict(kind='full')",
        ),
        ('ratios = (0.5,)', 'ratios = (1.5,)', 'ratio must be above 0 and at most 1'),
        ('seeds = (0, 1)', 'seeds = (0, 1.5)', 'seeds.1 is a whole number, got 1.5'),
        ('threads = 1', 'thread = 1', "has no key 'thread'"),
        ("selection = dict(config='dedup.py')", '', "lacks the key 'selection'"),
        ("selection = dict(config='dedup.py')", "selection = dict(conf='dedup.py')", "selection has no key 'conf'"),
        ('full_epochs=10', 'full_epochs=0', 'number of epochs over all images, got 0'),
        ("dict(kind='random')", "dict(kind='none')", 'kind must be one of full, random, checkpoint'),
        ("dict(kind='random')", "dict(kind='checkpoint')", "a checkpoint goes with kind='checkpoint'"),
        ("dict(kind='random')", "dict(kind='random', downstream=('CVC',))", "names 'CVC', and there are: Kvasir-SEG"),
        ("baselines = ('drawn',)", "baselines = ('random',)", "baselines names 'random', and there are: near, drawn"),
        ("references['all images']", "references['near']", "A selector and a reference are both called 'near'"),
        ("dict(selector=dict(type='mmdel.MedDEL', keep='near'))", "dict(type='mmdel.MedDEL')", "has no key 'type'"),
        ("dict(selector=dict(type='mmdel.MedDEL', keep='near'))", 'dict()', "lacks selector=dict(type='mmdel...'"),
        ("keep='near')", "keep='near'), checkpoints=((0.2, (0.5,)),)", 'pairs one of its ratios with shares'),
        ("keep='near')", "keep='near'), checkpoints=((0.5, (1,)),)", 'shares of the pre-training between 0 and 1'),
    ],
)
def test_read_study__what_is_wrong_is_named(read, old, new, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        read(old, new)
