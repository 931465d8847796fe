"""Chance and every n-th frame: shares, spread over time, and what a table must tell."""

import numpy as np
import pyarrow as pa
import pytest

from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.errors import ConfigError
from mmdel.selection.methods.baselines import EveryNth, RandomSelector
from mmdel.selection.strata import Timeline, sequences, shared_out, strata


def webster(sizes, prefix):
    """How many of ``prefix`` places each group gets: one after another, to the largest size / (2 places + 1)."""
    places = [0] * len(sizes)
    for _ in range(prefix):
        worth = [size / (2 * got + 1) if got < size else -1 for size, got in zip(sizes, places, strict=True)]
        places[int(np.argmax(worth))] += 1
    return places


def clips(*lengths, keys=None):
    """Vectors and table of clips c0, c1, ... of so many frames."""
    images = keys or [f'c{clip}/{frame:03d}.jpg' for clip, length in enumerate(lengths) for frame in range(length)]
    raw = np.random.default_rng(0).standard_normal((len(images), 4)).astype(np.float32)
    return Vectors(ArraySource(raw), sorted(images)), pa.table({'image': sorted(images)})


@pytest.mark.parametrize('sizes', [[1], [5, 5], [30, 1, 7, 12], [4, 9, 2, 2, 50]])
def test_shares__are_those_of_webster_at_every_size(sizes):
    owner = np.repeat(np.arange(len(sizes)), sizes)
    merged = owner[shared_out([np.flatnonzero(owner == i) for i in range(len(sizes))])]
    for prefix in range(1, sum(sizes) + 1):
        assert np.bincount(merged[:prefix], minlength=len(sizes)).tolist() == webster(sizes, prefix)


def test_random__seeds_differ_and_each_image_is_as_likely(make_pool, order_of):
    vectors, table = make_pool(40)
    first = [order_of(RandomSelector(seed=seed).rank(vectors, table))[:8] for seed in range(400)]
    counts = np.bincount(np.concatenate(first), minlength=40)
    assert abs(counts - 80).max() < 5 * np.sqrt(80 * 0.8), 'five standard deviations'


@pytest.mark.parametrize('by', ['source', 'label', 'video', 'folder'])
def test_random__every_stratum_keeps_its_share_and_is_drawn_at_random(make_pool, order_of, by):
    vectors, table = make_pool(60)
    groups = strata(table, by)
    orders = [order_of(RandomSelector(seed=seed, stratify=by).rank(vectors, table)) for seed in range(2)]
    for order in orders:
        for prefix in (3, 17, 40):
            got = [int(np.isin(order[:prefix], rows).sum()) for rows in groups]
            assert got == webster([len(rows) for rows in groups], prefix)
    assert (orders[0] != orders[1]).any()


def test_random__a_column_that_tells_nothing_is_an_error(make_pool):
    with pytest.raises(ConfigError, match='grouped by centre'):
        RandomSelector(stratify='centre').rank(*make_pool(10))


def test_sequences__frames_before_names_and_numbers_as_numbers():
    table = pa.table(
        {
            'image': ['a/10.jpg', 'a/9.jpg', 'b/x.avi#000002', 'b/y1.jpg', 'b/y2.jpg'],
            'video': pa.array([None, None, 'v', 'v', 'w'], pa.string()),
            'frame': pa.array([None, None, 7, 3, 1], pa.int64()),
        }
    )
    assert [rows.tolist() for rows in sequences(table)] == [[1, 0], [3, 2], [4]]


def test_timeline__gaps_and_pairs_are_those_of_the_sequences():
    _, table = clips(4, 3)
    timeline = Timeline.of(table)
    gap = timeline.gap(np.repeat(np.arange(7), 7), np.tile(np.arange(7), 7)).reshape(7, 7)
    expected = [[abs(i - j) if (i < 4) == (j < 4) else np.inf for j in range(7)] for i in range(7)]
    np.testing.assert_array_equal(gap, expected)
    pairs = {tuple(sorted(pair)) for pair in zip(*timeline.pairs(3), strict=True)}
    assert pairs == {(i, j) for i in range(7) for j in range(i, 7) if gap[i, j] < 3}


@pytest.mark.parametrize('n', [1, 2, 5, 10])
def test_every_nth__takes_every_nth_frame_of_every_clip(order_of, n):
    vectors, table = clips(30, 50, 20)
    ranking = EveryNth().rank(vectors, table, 100 // n)
    kept = np.sort(order_of(ranking)[: ranking.kept])
    assert (np.diff(kept) == n).all() and len(kept) == 100 // n
    assert [int((kept // 1 < 30).sum()), int((kept >= 80).sum())] == [30 // n, 20 // n]


@pytest.mark.parametrize('size', [1, 7, 33, 64, 99, 100])
@pytest.mark.parametrize('seed', [None, 0, 1])
def test_every_nth__any_size_is_exact_and_steps_differ_by_one_at_most(order_of, size, seed):
    vectors, table = clips(40, 60)
    order = order_of(EveryNth(seed=seed).rank(vectors, table, size))
    steps = np.diff(np.sort(order[:size]))
    assert len(set(order[:size])) == size
    assert size == 1 or steps.max() - steps.min() <= 1
    # the first image left out is as far from a kept one as any
    apart = np.abs(order[size:, None] - order[:size]).min(axis=1) if size < 100 else np.zeros(0)
    assert (np.diff(apart) <= 0).all()


def test_every_nth__seeds_start_elsewhere_on_the_step(order_of):
    vectors, table = clips(100)
    starts = {int(np.sort(order_of(EveryNth(seed=seed).rank(vectors, table, 10))[:10])[0]) for seed in range(30)}
    assert starts <= set(range(10)) and len(starts) > 5
