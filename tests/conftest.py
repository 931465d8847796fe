"""What tests of several rooms share: embedded data, and real frames and weights where they are there."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from mmdel.datasets.synthetic import render_pool, render_segmentation

SHARED = Path(__file__).resolve().parents[2] / 'shared'

settings.register_profile('mmdel', deadline=None, derandomize='CI' in os.environ)
settings.load_profile('mmdel')


def _or_skip(variable: str, default: Path, what: str) -> Path:
    path = Path(os.environ.get(variable, default))
    if not path.exists():
        pytest.skip(f'{what} are not at {path}; {variable} names another place')
    return path


@pytest.fixture(scope='session')
def real_data() -> Path:
    """Folder with `wce` and `kvasir_seg`."""
    return _or_skip('MMDEL_REAL_DATA', SHARED / 'data', 'Real frames')


@pytest.fixture(scope='session')
def real_weights() -> Path:
    """A pretrained ViT-S/14 (384-d, `out_indices=[6]`)."""
    return _or_skip('MMDEL_REAL_WEIGHTS', SHARED / 'weights' / 'vit-small-p14_imgfocus.pth', 'Real weights')


@pytest.fixture(scope='session')
def demo_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small embedded data: `pool` (4 clips, 40 frames, rubbish, `truth.csv`) and `segmentation/kvasir-seg` (8 pairs)."""
    out = tmp_path_factory.mktemp('demo')
    render_pool(out / 'pool', clips=4, frames=40)
    render_segmentation(out / 'segmentation' / 'kvasir-seg', pairs=8)
    return out
