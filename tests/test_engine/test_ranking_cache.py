"""The name of a kept ranking tells the vectors and the table, and not how the table lies in memory."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from mmdel.engine import ranking_cache
from mmdel.engine.ranking_cache import ranking_key

VECTORS = SimpleNamespace(center=True, digest=hashlib.sha256(b'vectors').hexdigest())


def key(table, **selector):
    return ranking_key(VECTORS, table, selector, None, {'method': 1})


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return pa.table(
        {
            'image': [f'video/{i:04d}.jpg' for i in range(700)],
            'path': [f'somewhere/{i:04d}.jpg' for i in range(700)],
            'label': pa.array([None if i % 3 else f'class {i % 5}' for i in range(700)]),
            'width': pa.array(rng.integers(0, 9, 700), mask=rng.random(700) < 0.1),
        }
    )


@pytest.mark.parametrize('block', [1, 64, 699, 65_536])
def test_key__is_the_same_however_the_table_is_cut(table, block, monkeypatch):
    monkeypatch.setattr(ranking_cache, 'BLOCK', block)
    cut = pa.concat_tables([table.slice(0, 7), table.slice(7, 403), table.slice(410)])
    inside = pa.concat_tables([table.slice(0, 13), table]).slice(13)
    moved = table.set_column(1, 'path', table['image'])
    assert key(table) == key(cut) == key(inside) == key(moved)


def test_key__changes_with_whatever_the_ranking_depends_on(table):
    width = table['width'].to_pylist()
    width[-1] = 12
    others = [
        key(table, seed=1),
        key(table.slice(0, 699)),
        key(table.set_column(3, 'width', pa.array(width))),
        key(table.drop_columns(['label'])),
        ranking_key(VECTORS, table, {}, 5, {'method': 1}),
        ranking_key(VECTORS, table, {}, None, {'method': 2}),
        ranking_key(SimpleNamespace(center=True, digest='other'), table, {}, None, {'method': 1}),
    ]
    assert len({key(table), *others}) == len(others) + 1
