"""Every bound holds against float64 products, and what proposes never changes what comes out."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.errors import ConfigError
from mmdel.selection import groups, pieces, proposers, redundancy, settled_maximum
from mmdel.selection.meddel import MedDEL
from mmdel.selection.product_tiles import BFloat16Tile
from mmdel.selection.proposers import Float32, LowPrecision

needs_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason='torch has no bfloat16 products on this processor'
)


KINDS = ['random', 'one direction', 'few numbers', 'tiny and large', 'same', 'opposite', 'one-hot']


@needs_bfloat16
@settings(max_examples=60)
@given(
    st.integers(1, 40), st.sampled_from([1, 2, 3, 24, 257, 768]), st.sampled_from(KINDS), st.integers(0, 9999), st.booleans(),
    st.booleans(),
)  # fmt: skip
def test_bound__holds_against_float64_products(unit_vectors, size, dim, kind, seed, low, aimed):
    rng = np.random.default_rng(seed)
    unit = unit_vectors(size, dim, kind, rng)
    exact = unit.astype(np.float64) @ unit.T.astype(np.float64)
    # any sample will do: the mean of it decides speed alone
    proposer = LowPrecision(unit[: rng.integers(0, size + 1)]) if low else Float32()
    columns = proposer.prepare(unit)
    rows = proposer.rows(columns)
    if aimed:
        proposer.aim(rows, np.where(rng.random(size) < 0.8, rng.uniform(-1, 1, size), -np.inf))
    bound = proposer.bound(rows, columns)
    tile = proposer.tile(rows, columns)
    # no cosine is lower than a product says that it is at least
    for j in range(size):
        alone = proposer.tile(rows, columns[j : j + 1]).highest()
        assert (exact[:, j] >= proposer.least(alone) + rows.offset - bound).all()
        assert (alone >= [proposer.rounded_down(value) for value in exact[:, j] - rows.offset - bound]).all()
    # and every cell is found by a threshold that its cosine may be a bound above
    tile = proposer.tile(rows, columns)
    threshold = (exact - (rows.offset + bound)[:, None]).astype(np.float32)
    for j in range(size):
        row, column = tile.at_least(threshold[:, j], np.arange(size))
        assert set(range(size)) == set(row[column == j].tolist())


@needs_bfloat16
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 9999), st.sampled_from(['mixed', 'negative', 'positive']))
def test_tile__finds_what_comparing_numbers_finds(rows, columns, seed, sign):
    rng = np.random.default_rng(seed)
    value = torch.from_numpy(rng.standard_normal((rows, columns)).astype(np.float32)).bfloat16()
    value = {'mixed': value, 'negative': -value.abs(), 'positive': value.abs()}[sign]
    value[rng.random((rows, columns)) < 0.1] = 0.0
    number = value.float().numpy()
    tile = BFloat16Tile(value.clone().view(torch.int16).numpy())
    some = np.flatnonzero(rng.random(rows) < 0.7)
    threshold = np.where(rng.random(rows) < 0.5, number[:, 0], rng.standard_normal(rows)).astype(np.float32)
    hidden = rng.random((rows, columns)) < 0.3
    if rng.random() < 0.5:
        tile.hide(rows, hidden)
        number = np.where(hidden, -np.inf, number)
    row, column = tile.at_least(threshold, some)
    found = np.zeros((rows, columns), bool)
    found[row, column] = True
    known = np.isin(np.arange(rows), some)[:, None]
    assert (found | ~(known & (number >= threshold[:, None]))).all()
    down = torch.from_numpy(threshold).bfloat16().float().numpy()  # to the nearest: one step further down is below it
    assert not (found & (number < (down - 2.0**-7 * np.abs(down))[:, None])).any()
    assert not (found & ~known).any()
    np.testing.assert_array_equal(tile.highest(), number.max(axis=1))
    np.testing.assert_array_equal(tile.highest(axis=0), number.max(axis=0))


def many(kind, size, rng):
    scene = rng.standard_normal((size // 20, 64))[rng.integers(0, size // 20, size)]
    raw = scene + 0.2 * rng.standard_normal((size, 64)) + (20 * rng.standard_normal(64) if kind == 'raw' else 0)
    raw[rng.integers(0, size, size // 10)] = raw[0]
    return Vectors(ArraySource(raw.astype(np.float32)), [f'{i:05d}' for i in range(size)], center=kind == 'centred')


@needs_bfloat16
@pytest.mark.parametrize('kind', ['raw', 'centred'])
@pytest.mark.parametrize(
    'options', [dict(scope='global'), dict(clusterer=dict(type='mmdel.FaissKMeans', num_clusters=9))]
)
def test_ranking__same_for_any_precision_tile_and_thread_count(kind, options, monkeypatch):
    vectors = many(kind, 1500, np.random.default_rng(0))
    table = pa.table({'image': [f'{i:05d}' for i in range(len(vectors))]})
    plain = MedDEL(**options, precision='float32').rank(vectors, table)
    monkeypatch.setattr(groups, 'LOW_ROWS', 1)
    monkeypatch.setattr(proposers, 'has_fast_bfloat16', lambda: True)
    for rows, columns, threads in ((1024, 1024, 1), (96, 64, 2), (33, 200, 3)):
        monkeypatch.setattr(settled_maximum, 'TILE_ROWS', rows)
        monkeypatch.setattr(pieces, 'LEAST_ROWS', rows)
        monkeypatch.setattr(settled_maximum, 'TILE_COLUMNS', columns)
        monkeypatch.setattr('mmdel.selection.workers.usable_cores', lambda threads=threads: threads)
        for precision in ('bfloat16', 'auto'):
            found = MedDEL(**options, precision=precision).rank(vectors, table)
            for name in ('rank', 'redundancy', 'removed_by', 'cluster', 'distance'):
                np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))


@needs_bfloat16
def test_unprofitable__whole_blocks_go_to_float32_and_are_counted(monkeypatch):
    rng = np.random.default_rng(1)
    size = 1500
    raw = rng.standard_normal(64) + 1e-5 * rng.standard_normal((size, 64))
    raw[0] = -raw[0]  # so that the mean is not where the others are
    raw[1 : size // 2] *= -1
    vectors = Vectors(ArraySource(raw.astype(np.float32)), [str(i) for i in range(size)])
    said = []
    monkeypatch.setattr(redundancy, 'print_log', lambda message, logger: said.append(message))
    monkeypatch.setattr(proposers, 'has_fast_bfloat16', lambda: True)
    monkeypatch.setattr(groups, 'LOW_ROWS', 1)
    plain = redundancy.highest_preferred(vectors, [np.arange(size)], precision='float32')
    found = redundancy.highest_preferred(vectors, [np.arange(size)], precision='auto')
    np.testing.assert_array_equal(found.cosine, plain.cosine)
    np.testing.assert_array_equal(found.row, plain.row)
    assert said and 'compared in float32' in said[0]


def test_precision__refuses_what_there_is_not():
    with pytest.raises(ConfigError, match='precision must be one of'):
        MedDEL(precision='float8')
    with pytest.raises(ConfigError, match='device'):
        MedDEL(device='abacus')


def test_config__says_nothing_of_how_fast():
    assert MedDEL(precision='float32').config() == MedDEL().config()
