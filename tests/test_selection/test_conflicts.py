"""Conflicts agree with a loop over all pairs."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.selection.conflicts import conflict_pairs, find_conflicts
from mmdel.similarity import Tuning, tuned


def made(size, classes, seed, copies=0):
    rng = np.random.default_rng(seed)
    scenes = rng.standard_normal((max(1, size // 4), 8))
    raw = (scenes[rng.integers(0, len(scenes), size)] + 0.1 * rng.standard_normal((size, 8))).astype(np.float32)
    raw[rng.integers(0, size, copies)] = raw[0]
    names = [None, *(f'class {c}' for c in range(classes))]
    labels = [names[i] for i in rng.integers(0, len(names), size)]
    return Vectors(ArraySource(raw), [str(i) for i in range(size)]), labels


def reference(vectors, labels, threshold):
    """Each labelled image with its most similar opponent, by an obvious loop."""
    unit = vectors.read(slice(None)).astype(np.float64)
    found = {}
    opponents = sorted(enumerate(labels), key=lambda row: (row[1] or '', row[0]))
    for i, label in enumerate(labels):
        for j, other in opponents:
            cosine = np.float32(min(1.0, (unit[i] * unit[j]).sum()))
            if label is None or other is None or label == other or not cosine > np.float32(threshold):
                continue
            if i not in found or cosine > found[i][1]:
                found[i] = (j, cosine)
    return found


@settings(max_examples=60)
@given(
    st.integers(1, 40), st.integers(1, 4), st.integers(0, 999), st.integers(0, 20), st.sampled_from([-1.0, 0.5, 0.95, 1.0])
)  # fmt: skip
def test_conflicts__agree_with_a_loop_over_all_pairs(size, classes, seed, copies, threshold):
    vectors, labels = made(size, classes, seed, copies)
    expected = reference(vectors, labels, threshold)
    with tuned(Tuning(tile_rows=7, tile_columns=5, least_rows=7)):
        found = find_conflicts(vectors, labels, threshold)
    assert {i: (int(found.row[i]), found.cosine[i]) for i in np.flatnonzero(found.row >= 0)} == expected
    assert {frozenset(pair[:2]) for pair in conflict_pairs(found)} == {
        frozenset((i, j)) for i, (j, _) in expected.items()
    }


def test_conflict_pairs__each_pair_once_most_similar_first():
    vectors, labels = made(40, 3, 1)
    found = find_conflicts(vectors, labels, 0.9)
    pairs = conflict_pairs(found)
    assert pairs and len({frozenset(pair[:2]) for pair in pairs}) == len(pairs)
    assert [pair[2] for pair in pairs] == sorted((pair[2] for pair in pairs), reverse=True)
    assert {row for pair in pairs for row in pair[:2]} >= set(np.flatnonzero(found.row >= 0))


def test_conflicts__without_two_labels_nothing_is_compared():
    vectors, _ = made(10, 1, 0)
    for labels in ([None] * 10, ['polyp'] * 10, ['polyp', *[None] * 9]):
        assert not (find_conflicts(vectors, labels, -1.0).row >= 0).any()
