"""Candidates agree with a loop over all pairs, and the search with one that looks at all of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdel.embedding.vectors import ArraySource, StackedRows, Vectors
from mmdel.errors import ConfigError, VectorError
from mmdel.leaks.search import Rows, View, find_leaks, is_leak
from mmdel.selection.findings import LeakRule
from mmdel.similarity import Tuning, top_k, tuned


def made(size, seed, copies=0, dim=8, center=False):
    rng = np.random.default_rng(seed)
    scenes = rng.standard_normal((max(1, size // 4), dim))
    raw = (scenes[rng.integers(0, len(scenes), size)] + 0.1 * rng.standard_normal((size, dim))).astype(np.float32)
    raw[rng.integers(0, size, copies)] = raw[0]
    return Vectors(ArraySource(raw), [str(i) for i in range(size)], center)


def reference(vectors, rows, columns, k):
    """Each row's columns by canonical cosine, one pair at a time."""
    unit = vectors.read(slice(None)).astype(np.float64)
    found = []
    for row in rows:
        cosine = [np.float32(min(1.0, (unit[row] * unit[column]).sum())) for column in columns]
        order = sorted(range(len(columns)), key=lambda place: (-cosine[place], place))[:k]
        found.append([(place, cosine[place]) for place in order])
    return found


@settings(max_examples=60)
@given(st.integers(2, 40), st.integers(0, 999), st.integers(0, 20), st.integers(1, 50), st.booleans())
def test_top_k__agree_with_a_loop_over_all_pairs(size, seed, copies, k, center):
    vectors = made(size, seed, copies, center=center)
    split = size // 2
    rows, columns = np.arange(split, size), np.arange(split)
    with tuned(Tuning(tile_columns=5, least_rows=3)):
        cosine, place = top_k(vectors, rows, columns, k)
    found = [list(zip(p.tolist(), c, strict=True)) for p, c in zip(place, cosine, strict=True)]
    assert found == reference(vectors, rows, columns, k)


def test_top_k__of_nothing_is_nothing():
    vectors = made(5, 0)
    nothing = np.empty(0, np.int64)
    assert top_k(vectors, np.arange(3), nothing, 4)[1].shape == (3, 0)
    assert top_k(vectors, nothing, np.arange(3), 2)[1].shape == (0, 2)


def search(copies_of, size=60, tests=5, neighbours=2, limit=None):
    """Find the pairs that ``copies_of(pool, test)`` calls copies; the pool holds ``size`` images and the tests are its first."""
    vectors = made(size, 3)
    rng = np.random.default_rng(0)
    raw = vectors.read(slice(None))
    stacked = StackedRows(
        [ArraySource(raw), ArraySource(raw[:tests]), ArraySource(rng.standard_normal((tests, 8)).astype('f4'))]
    )
    joint = Vectors(stacked, [str(i) for i in range(size + 2 * tests)], center=True)
    rows = Rows(np.arange(size), size + np.arange(tests), size + tests + np.arange(tests))
    asked = []

    def compare(pool, test):
        asked.append((pool, test))
        return View(*copies_of(pool, test))

    found = find_leaks(joint, rows, compare, LeakRule(neighbours=neighbours))
    return found, asked, joint, rows


def test_find_leaks__looks_at_the_nearest_of_both_views_and_never_twice():
    found, asked, joint, rows = search(lambda pool, test: (0.0, False))
    assert found == [] and len(asked) == len(set(asked))
    wanted = set()
    for view in (rows.tests, rows.mirrored):
        for test, nearest in enumerate(reference(joint, view, rows.pool, 2)):
            wanted |= {(place, test) for place, _ in nearest}
    assert set(asked) == wanted


def test_find_leaks__goes_on_while_the_last_ones_were_leaks():
    found, asked, _, _ = search(lambda pool, test: (1.0 if test == 0 else 0.0, False))
    assert {pair.pool for pair in found if pair.test == 0} == set(range(60))  # all of the pool: each batch held a leak
    assert sum(test == 1 for _, test in asked) <= 4
    assert [pair.pool for pair in found] == sorted(pair.pool for pair in found)


def test_find_leaks__lists_what_looks_alike_and_tells_it_from_leaks():
    found, _, _, _ = search(lambda pool, test: ({0: 0.9, 1: 0.7, 2: 0.5}.get(test, -1.0), test == 1), neighbours=60)
    assert {(pair.test, is_leak(pair.agreement, LeakRule()), pair.mirrored) for pair in found} == {
        (0, True, False),
        (1, False, True),
    }


def test_is_leak__compares_as_stored():
    assert is_leak(float(np.float32(0.8)), LeakRule()) and not is_leak(0.7999, LeakRule())


@pytest.mark.parametrize(
    'values', [{'threshold': 0}, {'threshold': 1.1}, {'threshold': '1'}, {'neighbours': 0}, {'neighbours': 2.5}]
)
def test_rule__refuses_what_is_none(values):
    with pytest.raises(ConfigError, match=f'^{next(iter(values))} of the leak check'):
        LeakRule(**values)


def test_stacked_rows__read_as_one_array():
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((n, 3)).astype(np.float32) for n in (4, 0, 5)]
    whole, stacked = np.concatenate(parts), StackedRows([ArraySource(part) for part in parts])
    assert stacked.shape == whole.shape and stacked.dtype == np.float32
    for rows in (slice(None), slice(2, 7), np.array([8, 0, 4, 4]), np.empty(0, np.int64)):
        np.testing.assert_array_equal(stacked.read(rows), whole[rows])
    with pytest.raises(VectorError, match='3 and 4'):
        StackedRows([ArraySource(parts[0]), ArraySource(np.ones((1, 4), np.float32))])
