"""No cosine is above what a projection says, and what it prunes is never missed."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.selection import between_groups, groups, pieces, projection, proposers, pruning, redundancy, settled_maximum
from mmdel.selection.groups import Precision
from mmdel.selection.hidden_columns import HiddenColumns
from mmdel.selection.projection import Projection


@settings(max_examples=80)
@given(
    st.integers(1, 40), st.sampled_from([1, 2, 24, 257, 768]),
    st.sampled_from(['random', 'one direction', 'few dimensions', 'tiny and large', 'same', 'opposite', 'one-hot']),
    st.integers(1, 60), st.integers(0, 9999),
)  # fmt: skip
def test_bound__holds_against_float64_products(unit_vectors, size, dim, kind, dimensions, seed):
    rng = np.random.default_rng(seed)
    unit = unit_vectors(size, dim, kind, rng)
    exact = unit.astype(np.float64) @ unit.T.astype(np.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projection, 'DIMENSIONS', dimensions)
        patch.setattr(projection, 'CELL', 4)
        # any sample will do: it decides speed alone
        few = Projection(unit[: rng.integers(1, size + 1)], size)
        columns = few.of(unit)
        product = few.rows(columns).data @ columns.data.T
        bound = few.bound(columns, columns.length.max())
        distance = few.distances(columns)
    assert (exact <= product + bound[:, None]).all()
    assert (bound < 0.01).all()
    # what the distance to a cell rules out is below the least
    least = rng.uniform(-1, 1, size)
    reach = few.reach(columns, least, columns.length.max())
    far = distance[columns.cell] > columns.away[:, None] + reach
    assert (least > exact.T)[far].all()
    assert (columns.away == distance.min(axis=0)).all()
    if dimensions >= dim:
        np.testing.assert_allclose(product, exact, atol=0.02)


def test_projection__tells_scenes_apart_that_few_dimensions_hold():
    rng = np.random.default_rng(0)
    scene = rng.standard_normal((9, 300))[np.repeat(np.arange(9), 20)]
    raw = (scene + 0.1 * rng.standard_normal(scene.shape)).astype(np.float32)
    unit = Vectors(ArraySource(raw), [str(i) for i in range(len(raw))], center=True).read(slice(None))
    few = Projection(unit, len(unit))
    columns = few.of(unit)
    product = few.rows(columns).data @ columns.data.T
    apart = np.repeat(np.arange(9), 20)[:, None] != np.repeat(np.arange(9), 20)
    assert product[apart].max() < 0.5 < 0.9 < product[~apart].min()


@settings(max_examples=60)
@given(
    st.integers(1, 150), st.sampled_from([3, 5, 40]), st.floats(0, 0.5), st.booleans(), st.integers(1, 3),
    st.sampled_from(['all vectors', 'a group', 'a window of 30']), st.booleans(), st.booleans(), st.integers(0, 9999),
)  # fmt: skip
def test_result__is_that_of_all_products(
    prune_everything, size, scenes, noise, center, threads, in_memory, given_up, low, seed
):
    rng = np.random.default_rng(seed)
    scene = rng.standard_normal((scenes, 12))[rng.integers(0, scenes, size)]
    raw = (scene + noise * rng.standard_normal((size, 12)) + 3 * rng.standard_normal(12)).astype(np.float32)
    raw[rng.integers(0, size, size // 8)] = raw[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmdel.embedding.vectors.RESIDENT_BYTES', (in_memory == 'all vectors') << 30)
        vectors = Vectors(ArraySource(raw), [str(i) for i in range(size)], center=center)
    order, half = rng.permutation(size), size // 2
    parts = [order[:half], order[half:]]

    def results(**options):
        yield redundancy.highest_preferred(vectors, [order], **options)
        yield redundancy.greedy(vectors, parts, 0.8, **options)[0]
        yield redundancy.nearest(vectors, [(order[:half], order[half:])], **options)
        yield between_groups.nearest_in_other_groups(vectors, [order[:9], order[9:30], order[30:]], **options)

    plain = list(results(precision='float32'))
    with pytest.MonkeyPatch.context() as patch:
        prune_everything(patch)
        for name in ('SMALL_GROUP', 'WHOLE_GROUP'):
            patch.setattr(redundancy, name, 0)
        # slow where the processor knows no bfloat16, and the same
        patch.setattr(proposers, 'has_fast_bfloat16', lambda: low)
        if given_up:
            patch.setattr(groups, 'LEFT', -1)
            patch.setattr(groups, 'LEFT_BESIDE_LOW', -1)
        if in_memory == 'a window of 30':
            patch.setattr(groups, 'GROUP_BYTES', 30 * 12 * 4)
        pruned = list(results(precision='auto', threads=threads))
    for one, other in zip(plain, pruned, strict=True):
        np.testing.assert_array_equal(one.cosine, other.cosine)
        np.testing.assert_array_equal(one.row, other.row)


@given(st.integers(1, 30), st.integers(1, 40), st.sampled_from(['below', 'labels', 'nothing']), st.integers(0, 9999))
def test_hidden_columns__are_those_of_the_obvious_mask(rows, columns, kind, seed):
    rng = np.random.default_rng(seed)
    below, labels = None, None
    slots = rng.permutation(60)[:columns]
    mask = np.zeros((rows, columns), bool)
    if kind == 'below':
        below = np.sort(rng.integers(0, 61, rows))
        mask = slots >= below[:, None]
    elif kind == 'labels':
        labels = rng.integers(0, 3, rows), np.sort(rng.integers(0, 3, 60))
        mask = labels[0][:, None] == labels[1][slots]
    hidden = HiddenColumns(below, labels)
    some = np.flatnonzero(rng.random(rows) < 0.8)
    if len(some):
        found = hidden(some, slots)
        first = np.zeros_like(mask[some]) if found is None else np.pad(found, ((0, len(some) - len(found)), (0, 0)))
        np.testing.assert_array_equal(first, mask[some])
    ends = np.unique(np.append(0, rng.integers(0, columns, 4)))
    seen = hidden.partly_seen(slots, ends)
    parts = np.split(~mask, ends[1:], axis=1)
    obvious = np.array([part.any(axis=1) for part in parts])
    np.testing.assert_array_equal(np.ones_like(obvious) if seen is None else seen, obvious)


@given(st.data())
def test_panels__are_multiplied_once_each_and_together_only_where_that_saves_time(data):
    ends = np.append(0, np.cumsum(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=12))))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    chosen = rng.random((len(ends) - 1, data.draw(st.integers(1, 20)))) < data.draw(st.floats(0, 1))
    call = data.draw(st.sampled_from([0, 20, 10_000]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pruning, 'WIDEST', data.draw(st.sampled_from([1, 10, 1000])))
        found = list(pruning._together(chosen.__getitem__, ends, call))
    covered = np.zeros(chosen.shape, int)
    for rows, panels in found:
        covered[panels, rows[:, None]] += 1
        assert (np.diff(rows) > 0).all()
    assert covered.max(initial=0) <= 1
    assert (covered[chosen] == 1).all()
    if call == 0:
        size = np.diff(ends)
        assert (covered * size[:, None]).sum() <= pruning.TOGETHER ** len(size) * (chosen * size[:, None]).sum()


@given(st.integers(1, 300), st.integers(1, 6), st.integers(1, 4), st.booleans(), st.integers(0, 9999))
def test_runs__have_every_row_once_and_similar_ones_in_one_piece(prune_everything, size, count, processes, prune, seed):
    raw = np.random.default_rng(seed).standard_normal((size, 12)).astype(np.float32)
    vectors = Vectors(ArraySource(raw), [str(i) for i in range(size)])
    every = np.arange(size)
    with pytest.MonkeyPatch.context() as patch:
        if prune:
            prune_everything(patch)
        for name, rows in (('LEAST_ROWS', 16), ('MOST_ROWS', 32), ('RUN_ROWS', 64)):
            patch.setattr(pieces, name, rows)
        group = groups.Group(vectors, every, Precision('auto'))
        runs = list(pieces.runs(group, count, processes))
        cut = [[run.piece(number) for number in range(run.pieces)] for run in runs]
        cell = group.projected_among(group.projection, every).cell if prune else every
    for run in cut:
        rows = np.concatenate(run)
        assert len(rows) == np.ptp(rows) + 1  # known to all processes without a word
        assert all((np.diff(piece) > 0).all() for piece in run)
        assert all(cell[one].max() <= cell[other].min() for one, other in pairwise(run))
    np.testing.assert_array_equal(np.sort(np.concatenate([piece for run in cut for piece in run])), every)


def counted(monkeypatch):
    """Products that might have been pruned, and those that were left over."""
    counts = np.zeros(2)
    plain = Precision.prunes_enough

    def count(self, pairs, left):
        counts[:] += pairs, pairs * left
        return plain(self, pairs, left)

    monkeypatch.setattr(Precision, 'prunes_enough', count)
    return counts


def test_pruning__leaves_few_products_where_images_repeat_themselves(monkeypatch):
    counts = counted(monkeypatch)
    monkeypatch.setattr(groups, 'PRUNED_NUMBERS', 1)
    rng = np.random.default_rng(1)
    scene = rng.standard_normal((20, 512))[rng.integers(0, 20, 4000)]
    raw = (scene + 0.2 * rng.standard_normal(scene.shape)).astype(np.float32)
    vectors = Vectors(ArraySource(raw), [str(i) for i in range(len(raw))], center=True)
    redundancy.highest_preferred(vectors, [rng.permutation(len(raw))])
    assert counts[0] > 0
    assert counts[1] < 0.3 * counts[0]


def test_pruning__is_given_up_where_it_rules_out_nothing(monkeypatch):
    counts = counted(monkeypatch)
    monkeypatch.setattr(groups, 'PRUNED_NUMBERS', 1)
    monkeypatch.setattr(groups, 'TRIED_CELLS', 1)
    raw = np.random.default_rng(2).standard_normal((6000, 512)).astype(np.float32)
    vectors = Vectors(ArraySource(raw), [str(i) for i in range(len(raw))])
    redundancy.highest_preferred(vectors, [np.arange(len(raw))], threads=1)
    # tried on the first rows alone, which are compared with all columns
    assert 0 < counts[0] < 6000 * 2100
    assert counts[1] > 0.9 * counts[0]


def test_copies__need_no_second_search(monkeypatch):
    monkeypatch.setattr(groups, 'PRUNED_NUMBERS', 1)
    monkeypatch.setattr(settled_maximum, 'PRUNED_COLUMNS', 1)
    rng = np.random.default_rng(3)
    raw = rng.standard_normal((60, 512)).astype(np.float32)[rng.integers(0, 60, 3000)]
    vectors = Vectors(ArraySource(raw), [str(i) for i in range(len(raw))])
    monkeypatch.setattr(settled_maximum, 'highest_in_float64', None)
    order = rng.permutation(len(raw))
    found = redundancy.highest_preferred(vectors, [order])
    seen = {}
    for row in order.tolist():
        if (before := seen.setdefault(raw[row].tobytes(), row)) != row:
            assert found.row[row] == before and found.cosine[row] > 0.999999
