"""Every selection config builds: the dataset on a tiny folder, the embedder, the selector."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from mmdel.registry import DATASETS, EMBEDDERS, SELECTORS

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
NAMES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob('meddel_*.py'))


def test_names__are_those_of_table_2_and_of_the_demo():
    etas = [f'meddel_eta{eta}.py' for eta in ('07', '075', '08', '085', '09')]
    assert set(NAMES) == {'demo/meddel_mae.py', 'demo/meddel_pixels.py', *etas}


@pytest.mark.parametrize('name', NAMES)
def test_selection__builds(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(CONFIGS / name)
    init_default_scope(cfg.default_scope)
    for source in cfg.dataset.sources:
        for number in range(2):
            path = tmp_path / cfg.dataset.data_root / source / f'{number}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8, 3), 9 * number, np.uint8)).save(path)
    assert len(DATASETS.build(cfg.dataset)) == 6
    assert EMBEDDERS.build(cfg.embedder)
    assert SELECTORS.build(cfg.selector)
    if name.startswith('meddel_eta'):
        assert cfg.selector.eta == float('0.' + name.removeprefix('meddel_eta0').removesuffix('.py'))
