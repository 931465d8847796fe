"""What a run was asked is recorded, and from a record nothing is built but what mmdel ships."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdel.engine.dedup_config import KEYS
from mmdel.engine.request import FORMAT, Request, recorded_config, stated
from mmdel.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
PARTS = ('embedder', 'dataset', 'selector')


def record(folder, config):
    (folder / 'request.json').write_text(json.dumps({'format': FORMAT, 'config': config}))


@pytest.mark.parametrize(
    'path', sorted(CONFIGS.glob('meddel_*.py')) + sorted(CONFIGS.glob('demo/meddel_*.py')), ids=lambda p: p.stem
)
def test_recorded_config__is_that_of_the_run(path, tmp_path):
    cfg = Config.fromfile(path)
    cfg.work_dir = 'out'
    Request.from_cfg(cfg, ratio=0.5).write(tmp_path)
    asked = {name: value for name, value in cfg.to_dict().items() if name in KEYS and not name.endswith('_dir')}
    assert recorded_config(tmp_path, *PARTS).to_dict() == json.loads(json.dumps(asked))


@pytest.mark.parametrize('path', sorted((CONFIGS / '_base_' / 'embedders').glob('*.py')), ids=lambda p: p.stem)
def test_recorded_config__every_encoder_that_is_shipped_is_built_again(path, tmp_path):
    embedder = Config.fromfile(path).to_dict()['embedder']
    record(tmp_path, {'embedder': embedder, 'dataset': {'type': 'mmdel.DataDEL'}, 'selector': {'type': 'mmdel.MedDEL'}})
    assert recorded_config(tmp_path, *PARTS).embedder.type == embedder['type']


VIT = {'type': 'mmdel.ViTEmbedder', 'backbone': {'type': 'mmpretrain.VisionTransformer', 'arch': 'b'}}
REST = {'dataset': {'type': 'mmdel.DataDEL'}, 'selector': {'type': 'mmdel.MedDEL'}}


@pytest.mark.parametrize(
    'config',
    [
        {},
        {'embedder': 3},
        {'embedder': {'arch': 'b'}},
        {'embedder': {'type': ['os.system']}},
        {'embedder': {'type': 'os.system', 'command': 'x'}},
        {'embedder': {'type': 'mmdel.PixelEmbedder', 'pipeline': [{'type': 'os.system'}]}},
        {'embedder': {'type': 'mmdel.PixelEmbedder', 'backbone': {'type': 'os.system'}}},
        {'embedder': VIT | {'backbone': {'type': 'os.system', 'arch': 'b'}}},
        {'embedder': VIT | {'backbone': VIT['backbone'] | {'patch_cfg': {'conv_type': 'os.system'}}}},
        {'embedder': VIT | {'backbone': VIT['backbone'] | {'layer_cfgs': [{'conv_type': 'os.system'}]}}},
        {'embedder': VIT | {'backbone': VIT['backbone'] | {'arch': {'type': 'os.system'}}}},
        {'embedder': VIT | {'feature': {'type': 'os.system'}}},
        {'embedder': VIT, 'custom_imports': {'imports': ['mine']}},
        {'embedder': VIT, 'dataset': {'type': 'mmpretrain.CIFAR10'}},
        {'embedder': VIT, 'dataset': {'type': 'mmdel.DataDEL', 'pipeline': [{'type': 'os.system'}]}},
        {'embedder': VIT, 'dataset': {'type': 'mmdel.DataDEL', 'pipeline': [{'type': 'mmdel.LoadCached'}]}},
        {'embedder': VIT, 'selector': {'type': 'os.system'}},
        {'embedder': VIT, 'selector': {'type': 'mmdel.MedDEL', 'clusterer': {'type': 'os.system'}}},
        {'embedder': VIT, 'exclude_near': {'against': ['their.py']}},
    ],
)  # fmt: skip
def test_recorded_config__refuses_what_could_start_a_program(config, tmp_path):
    record(tmp_path, {**REST, **config})
    with pytest.raises(ConfigError, match='so it is not run unasked.*--config'):
        recorded_config(tmp_path, *PARTS)


@pytest.mark.parametrize(
    'text',
    ['', '[]', '{"format": 1}', '{"format": 1, "config": 3}', '{"format": 2, "config": {}}', '[' * 100_000, None],
)
def test_recorded_config__asks_for_the_config_where_there_is_no_record(text, tmp_path):
    if text is not None:
        (tmp_path / 'request.json').write_text(text)
    with pytest.raises(ConfigError, match=r'request\.json does not hold.*--config'):
        recorded_config(tmp_path, 'embedder')


def test_write__a_config_of_more_than_plain_values_is_not_recorded(tmp_path):
    cfg = Config.fromfile(CONFIGS / 'demo' / 'meddel_pixels.py')
    cfg.dataset.pipeline = [print]
    Request.from_cfg(cfg, ratio=0.5).write(tmp_path)
    assert stated(tmp_path)['config'] is None and stated(tmp_path)['asked'] == {'eta': None, 'ratio': 0.5}


def test_differs__in_what_decides_the_result_alone(tmp_path):
    def asked(ratio=0.5, **changes):
        cfg = Config.fromfile(CONFIGS / 'demo' / 'meddel_pixels.py')
        cfg.merge_from_dict(changes)
        return Request.from_cfg(cfg, ratio)

    asked().write(tmp_path)
    same = asked(conflict_threshold=0.5, work_dir='elsewhere', cache_dir='there')
    assert same.differs(stated(tmp_path)) is None
    assert asked(0.25).differs(stated(tmp_path)) == ('asked.ratio', 0.5, 0.25)
    assert asked(center=False).differs(stated(tmp_path)) == ('center', True, False)
    # one of an earlier version holds no config
    values = {name: value for name, value in stated(tmp_path).items() if name != 'config'}
    (tmp_path / 'request.json').write_text(json.dumps(values))
    assert same.differs(stated(tmp_path)) is None
