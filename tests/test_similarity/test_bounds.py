"""No cosine is above what a bound says, and what is ruled out or excluded is so by the obvious rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.similarity import Tuning, best_preferred, canonical_cosine, float32_error
from mmdel.similarity.exclusion import Exclusion
from mmdel.similarity.projection import Projection
from mmdel.similarity.pruning import Cells
from mmdel.similarity.tiles import multiply, rows_of

KINDS = ['random', 'one direction', 'few numbers', 'few dimensions', 'tiny and large', 'same', 'opposite', 'one-hot']


@settings(max_examples=60)
@given(st.integers(1, 40), st.sampled_from([1, 2, 3, 24, 257, 768]), st.sampled_from(KINDS), st.integers(0, 9999))
def test_float32_error__holds_against_the_canonical_cosine(unit_vectors, size, dim, kind, seed):
    import torch

    unit = unit_vectors(size, dim, kind, np.random.default_rng(seed))
    canonical = np.array([canonical_cosine(unit, row) for row in unit], np.float64)
    every = np.arange(size)
    for factor in (unit, torch.from_numpy(unit)):
        tile = multiply(factor, factor)
        row, column, product = tile.at_least(np.full(size, -2, np.float32), every)
        assert len(row) == size**2
        assert (np.abs(canonical[row, column] - product) <= float32_error(dim)).all()
        np.testing.assert_array_equal(tile.highest(), product.reshape(size, size).max(axis=1))
        tile.exclude(every > every[:, None])
        row, column, _ = tile.at_least(np.full(size, -2, np.float32), every)
        assert (column <= row).all() and len(row) == size * (size + 1) // 2


@settings(max_examples=80)
@given(
    st.integers(1, 40), st.sampled_from([1, 2, 24, 257, 768]), st.sampled_from(KINDS), st.integers(1, 60), st.integers(0, 9999)
)  # fmt: skip
def test_projection__bounds_float64_products(unit_vectors, size, dim, kind, dimensions, seed):
    rng = np.random.default_rng(seed)
    unit = unit_vectors(size, dim, kind, rng)
    exact = unit.astype(np.float64) @ unit.T.astype(np.float64)
    # any sample will do: it decides speed alone
    few = Projection(unit[: rng.integers(1, size + 1)], size, Tuning(dimensions=dimensions, cell=4))
    columns = few.of(unit)
    product = few.rows(columns).data @ columns.data.T
    error = few.error(columns, columns.length.max())
    distance = few.distances(columns)
    assert (exact <= product + error[:, None]).all()
    assert (error < 0.01).all()
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
    few = Projection(unit, len(unit), Tuning())
    columns = few.of(unit)
    product = few.rows(columns).data @ columns.data.T
    apart = np.repeat(np.arange(9), 20)[:, None] != np.repeat(np.arange(9), 20)
    assert product[apart].max() < 0.5 < 0.9 < product[~apart].min()


@settings(max_examples=60)
@given(
    st.integers(1, 60), st.integers(1, 80), st.sampled_from(KINDS), st.integers(1, 30), st.integers(1, 9),
    st.sampled_from([0, 20, 10_000]), st.integers(0, 9999),
)  # fmt: skip
def test_cells__leave_each_pair_once_and_none_out_that_may_reach_the_least(
    unit_vectors, rows, size, kind, width, cell, call, seed
):
    rng = np.random.default_rng(seed)
    unit = unit_vectors(size, 24, kind, rng)
    tuning = Tuning(dimensions=4, tile_columns=width, cell=cell, call=call, tile_rows=16)
    projection = Projection(unit, size, tuning)
    projected = projection.of(unit)
    own = np.sort(rng.integers(0, size, rows))
    slots = np.flatnonzero(rng.random(size) < 0.8)
    slots = slots if len(slots) else np.arange(size)
    exclusion = [
        Exclusion.nothing(rows),
        Exclusion.before(own),
        Exclusion(own // 2, own + 3),
    ][seed % 3]
    exact = unit[own].astype(np.float64) @ unit.T.astype(np.float64)
    allowed = np.ones((rows, size), bool)
    if (mask := exclusion.mask(np.arange(size))) is not None:
        allowed = ~mask
    projection.columns[:] = projected
    cells = Cells(projection, projected[own], exclusion, slots)
    sees = allowed[:, slots].any(axis=1)
    row, slot = cells.likely()
    np.testing.assert_array_equal(row, np.flatnonzero(sees))
    assert allowed[row, slot].all() and np.isin(slot, slots).all()
    near = np.zeros((rows, size), bool)
    for some, columns in cells.nearest(3):
        near[some[:, None], columns] = True
    assert ((near & allowed)[sees].any(axis=1)).all()
    least = rng.uniform(-1, 1, rows)
    cells.rule_out(least)
    counted = np.zeros((rows, size), int)
    for some, columns in cells.left(lambda: least):
        assert (np.diff(some) > 0).all()
        counted[some[:, None], columns] += 1
    assert counted.max(initial=0) <= 1
    needed = allowed & (exact >= least[:, None]) & np.isin(np.arange(size), slots)
    assert (counted[needed] == 1).all()


@given(st.integers(1, 30), st.integers(1, 40), st.sampled_from(['before', 'some', 'nothing']), st.integers(0, 9999))
def test_exclusion__is_that_of_the_obvious_mask(rows, columns, kind, seed):
    rng = np.random.default_rng(seed)
    own = np.sort(rng.integers(0, 60, rows))
    slots = np.sort(rng.permutation(60)[:columns])
    if kind == 'before':
        exclusion, mask = Exclusion.before(own), slots >= own[:, None]
    elif kind == 'some':
        last = own + rng.integers(0, 20, rows)
        exclusion, mask = Exclusion(own, last), (slots >= own[:, None]) & (slots < last[:, None])
    else:
        exclusion, mask = Exclusion.nothing(rows), np.zeros((rows, columns), bool)
    found = exclusion.mask(slots)
    np.testing.assert_array_equal(np.zeros_like(mask) if found is None else found, mask)
    assert exclusion.pairs(slots) == (~mask).sum()
    some = rng.random(rows) < 0.5
    found = exclusion[some].mask(slots) if some.any() else None
    np.testing.assert_array_equal(np.zeros_like(mask[some]) if found is None else found, mask[some])
    # a part is left out only if every column of it is excluded
    starts = np.unique(np.append(0, rng.integers(0, columns, 4)))
    leaves = exclusion.leaves(slots[starts], slots[np.append(starts[1:], columns) - 1])
    for part, left in zip(np.split(~mask, starts[1:], axis=1), leaves, strict=True):
        assert (left | ~part.any(axis=1)).all()
    trimmed = exclusion.trimmed(slots)
    np.testing.assert_array_equal(trimmed, slots[~mask.all(axis=0)])


@given(st.integers(0, 20), st.integers(0, 9999))
def test_rows_of__are_those_rows_and_a_view_where_they_follow_each_other(size, seed):
    import torch

    rng = np.random.default_rng(seed)
    array = rng.standard_normal((21, 3)).astype(np.float32)
    for rows in (rng.integers(0, 21, size), np.arange(1, size + 1), np.sort(rng.permutation(21)[:size])):
        np.testing.assert_array_equal(rows_of(array, rows), array[rows])
        np.testing.assert_array_equal(rows_of(torch.from_numpy(array), rows).numpy(), array[rows])
    assert size == 0 or np.shares_memory(rows_of(array, np.arange(1, size + 1)), array)


# --- how much is pruned


@pytest.fixture
def multiplied(monkeypatch):
    """The number of full products that searches make, in a list of one."""
    count = [0]

    def counted(left, right):
        count[0] += len(left) * len(right)
        return multiply(left, right)

    monkeypatch.setattr('mmdel.similarity.search.multiply', counted)
    return count


def test_pruning__leaves_few_products_where_images_repeat_themselves(multiplied, vectors_of):
    rng = np.random.default_rng(1)
    scene = rng.standard_normal((20, 512))[rng.integers(0, 20, 4000)]
    vectors = vectors_of((scene + 0.2 * rng.standard_normal(scene.shape)).astype(np.float32), center=True)
    best_preferred(vectors, [rng.permutation(4000)], tuning=Tuning(prune_numbers=1))
    assert 0 < multiplied[0] < 0.3 * 4000 * 3999 / 2


def test_pruning__is_given_up_where_it_rules_out_nothing(multiplied, vectors_of, monkeypatch):
    ruled_out = []
    plain = Cells.rule_out
    monkeypatch.setattr(Cells, 'rule_out', lambda self, least: ruled_out.append(len(least)) or plain(self, least))
    vectors = vectors_of(np.random.default_rng(2).standard_normal((6000, 512)).astype(np.float32))
    best_preferred(vectors, [np.arange(6000)], tuning=Tuning(prune_numbers=1, threads=1))
    assert sum(ruled_out) < 300, 'tried on a few rows alone'
    assert multiplied[0] >= 6000 * 5999 / 2


def test_copies__need_no_second_search(vectors_of, monkeypatch):
    rng = np.random.default_rng(3)
    raw = rng.standard_normal((60, 512)).astype(np.float32)[rng.integers(0, 60, 3000)]
    monkeypatch.setattr('mmdel.similarity.search.Search.in_float64', None)
    order = rng.permutation(len(raw))
    found = best_preferred(vectors_of(raw), [order], tuning=Tuning(prune_numbers=1))
    seen = {}
    for row in order.tolist():
        if (before := seen.setdefault(raw[row].tobytes(), row)) != row:
            assert found.row[row] == before and found.cosine[row] > 0.999999
