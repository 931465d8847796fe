"""A config is read as data exactly where it is data, and what it may name is what mmdel ships."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmdel.engine.plain_config import check_harmless, plain_config
from mmdel.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@pytest.mark.parametrize(
    'path', sorted(CONFIGS.glob('meddel_*.py')) + sorted(CONFIGS.glob('demo/meddel_*.py')), ids=lambda p: p.stem
)
def test_plain_config__reads_what_a_run_dumps(path):
    cfg = Config.fromfile(path)
    values = plain_config(cfg.pretty_text, 'config.py')
    assert Config(values).to_dict() == cfg.to_dict()


@pytest.mark.parametrize('path', sorted((CONFIGS / '_base_' / 'embedders').glob('*.py')), ids=lambda p: p.stem)
def test_check_harmless__every_encoder_that_is_shipped_passes(path):
    values = {
        'embedder': Config.fromfile(path).to_dict()['embedder'],
        'dataset': {'type': 'mmdel.DataDEL'},
        'selector': {'type': 'mmdel.MedDEL'},
    }
    check_harmless(values, 'config.py', again=True)


@pytest.mark.parametrize(
    'text',
    ['import os', 'x = open("y")', 'x = [i for i in y]', 'x = 1 + 1', 'x.y = 1', 'x = dict(**y)', 'x = y', 'x, y = 1, 2', 'x =',
     'x = dict([(1, 2)])', 'x = f"{y}"', 'x = {**y}', 'x = b"1"', 'if 1:\n  x = 1', 'x = (' * 300, 'x = "\0"'],
)  # fmt: skip
def test_plain_config__refuses_everything_else(text):
    with pytest.raises(ConfigError, match=r'config\.py'):
        plain_config(text, 'config.py')


VIT = {'type': 'mmdel.ViTEmbedder', 'backbone': {'type': 'mmpretrain.VisionTransformer', 'arch': 'b'}}


@pytest.mark.parametrize(
    'values',
    [
        {},
        {'embedder': 3},
        {'embedder': {'type': 'os.system', 'command': 'x'}},
        {'embedder': {'type': 'mmdel.PixelEmbedder', 'pipeline': [{'type': 'os.system'}]}},
        {'embedder': {'type': 'mmdel.PixelEmbedder', 'backbone': {'type': 'os.system'}}},
        {'embedder': VIT | {'backbone': {'type': 'os.system', 'arch': 'b'}}},
        {'embedder': VIT | {'backbone': VIT['backbone'] | {'patch_cfg': {'conv_type': 'os.system'}}}},
        {'embedder': VIT | {'backbone': VIT['backbone'] | {'arch': {'type': 'os.system'}}}},
        {'embedder': VIT | {'feature': {'type': 'os.system'}}},
        {'embedder': VIT, 'custom_imports': {'imports': ['mine']}},
        {'embedder': VIT, 'dataset': {'type': 'mmpretrain.CIFAR10'}},
        {'embedder': VIT, 'dataset': {'type': 'mmdel.DataDEL', 'pipeline': [{'type': 'os.system'}]}},
        {'embedder': VIT, 'dataset': {'type': 'mmdel.DataDEL'}, 'selector': {'type': 'os.system'}},
        {'embedder': VIT, 'dataset': {'type': 'mmdel.DataDEL'},
         'selector': {'type': 'mmdel.MedDEL', 'clusterer': {'type': 'os.system'}}},
        {'embedder': VIT, 'dataset': {'type': 'mmdel.DataDEL'}, 'exclude_near': {'against': ['their.py']}},
    ],
)  # fmt: skip
def test_check_harmless__refuses_what_could_start_a_program(values):
    with pytest.raises(ConfigError, match='--config'):
        check_harmless(values, 'config.py', again=True)
