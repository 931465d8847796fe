"""Every search agrees exactly with an obvious reference, on easy, adversarial and degenerate vectors, however it is tuned."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdel import similarity
from mmdel.embedding import vectors as module
from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.similarity import Tuning, tuned


def reference_preferred(matrix, groups):
    cosine, row = np.full(len(matrix), np.nan, np.float32), np.full(len(matrix), -1)
    for group in groups:
        for position, i in enumerate(group):
            for j in group[:position]:
                if np.isnan(cosine[i]) or matrix[i, j] > cosine[i]:
                    cosine[i], row[i] = matrix[i, j], j
    return cosine, row


def reference_greedy(matrix, groups, eta):
    kept = np.zeros(len(matrix), bool)
    cosine, row = np.full(len(matrix), np.nan, np.float32), np.full(len(matrix), -1)
    for group in groups:
        for position, i in enumerate(group):
            for j in group[:position]:
                if kept[j] and (np.isnan(cosine[i]) or matrix[i, j] > cosine[i]):
                    cosine[i], row[i] = matrix[i, j], j
            kept[i] = not cosine[i] > np.float32(eta)
    return cosine, row, kept


def reference_top(matrix, rows, columns, k):
    """Of each row the places of the best columns, ties to the first."""
    return [sorted(range(len(columns)), key=lambda c: (-matrix[row, columns[c]], c))[:k] for row in rows]


def cases(near_threshold):
    rng = np.random.default_rng(0)
    clustered = rng.standard_normal((6, 24))[rng.integers(0, 6, 90)] + 0.2 * rng.standard_normal((90, 24))
    one_hot = np.eye(40, 40)[rng.integers(0, 40, 80)]
    return {
        'random': rng.standard_normal((90, 24)),
        'clustered': clustered,
        'copies': clustered[rng.integers(0, 30, 90)],
        'all identical': np.tile(rng.standard_normal(24), (90, 1)),
        'all but identical': rng.standard_normal(24) + 1e-6 * rng.standard_normal((90, 24)),
        'all distinct': one_hot,
        'opposite': np.concatenate([np.eye(20), -np.eye(20)]),
        'near threshold': near_threshold(0.8, 45, 24, rng),
        'one direction': 5 + clustered,
        'none': np.empty((0, 24)),
        'one': rng.standard_normal((1, 24)),
        'two': rng.standard_normal((2, 24)),
        'one dimension': rng.standard_normal((50, 1)),
    }


CASES = list(cases(lambda *arguments: np.empty((0, 24))))


@pytest.fixture(params=CASES)
def raw(request, near_threshold):
    return cases(near_threshold)[request.param].astype(np.float32)


@pytest.fixture(params=[False, True], ids=['raw', 'centred'])
def vectors(request, raw, vectors_of):
    return vectors_of(raw, request.param)


DEVICES = ['cpu', 'cpu:0']
"""NumPy, and torch, which computes on this processor what it would on a GPU."""


def check(found, cosine, row):
    np.testing.assert_array_equal(found.cosine, cosine)
    np.testing.assert_array_equal(found.row, row)


def shuffled(size, parts, seed=1):
    rng = np.random.default_rng(seed)
    order, label = rng.permutation(size), rng.integers(0, parts, size)
    return [order[label[order] == part] for part in range(parts)]


@pytest.mark.parametrize('parts', [1, 3])
def test_best_preferred__equals_reference(tuning, vectors, cosines, parts):
    groups = shuffled(len(vectors), parts)
    expected = reference_preferred(cosines(vectors), groups)
    for device in DEVICES:
        check(similarity.best_preferred(vectors, groups, tuning=replace(tuning, device=device)), *expected)
    check(similarity.best_preferred(vectors, groups, tuning=replace(tuning, prune_most=0, threads=1)), *expected)


@pytest.mark.parametrize('parts', [1, 3])
def test_greedy__equals_reference(tuning, vectors, cosines, parts):
    groups = shuffled(len(vectors), parts)
    for eta in (0.8, 0.0, 1.0, -1.0):
        cosine, row, stays = reference_greedy(cosines(vectors), groups, eta)
        found, kept = similarity.greedy(vectors, groups, eta)
        np.testing.assert_array_equal(kept, stays)
        check(found, cosine, row)


def test_nearest__equals_reference(tuning, vectors, cosines):
    (rows, columns), matrix = shuffled(len(vectors), 2), cosines(vectors)
    cosine, row = np.full(len(vectors), np.nan, np.float32), np.full(len(vectors), -1)
    for i, places in zip(rows, reference_top(matrix, rows, columns, 1), strict=True):
        for place in places:
            cosine[i], row[i] = matrix[i, columns[place]], columns[place]
    for device in DEVICES:
        check(similarity.nearest(vectors, [(rows, columns)], tuning=replace(tuning, device=device)), cosine, row)


def test_top_k__equals_reference(tuning, vectors, cosines):
    (rows, columns), matrix = shuffled(len(vectors), 2, seed=2), cosines(vectors)
    for k in (1, 3, 40, 1000):
        cosine, place = similarity.top_k(vectors, rows, columns, k)
        expected = np.array(reference_top(matrix, rows, columns, k), np.int64).reshape(len(rows), min(k, len(columns)))
        np.testing.assert_array_equal(place, expected)
        np.testing.assert_array_equal(cosine, matrix[rows[:, None], columns[expected]])


def test_nearest_elsewhere__is_the_highest_of_other_groups_above_the_floor(tuning, vectors, cosines):
    matrix = cosines(vectors)
    *groups, others = shuffled(len(vectors), 4, seed=6)
    for floor in (-np.inf, -1.0, 0.0, 0.8, 1.0):
        found = similarity.nearest_elsewhere(vectors, groups, floor)
        assert (found.row[others] == -1).all() and np.isnan(found.cosine[others]).all()
        for group in groups:
            apart = np.concatenate([np.empty(0, np.int64), *(other for other in groups if other is not group)])
            for i in group:
                best = max(matrix[i, apart], default=-np.inf)
                if best > np.float32(floor):
                    assert found.cosine[i] == best and found.row[i] == apart[matrix[i, apart].argmax()]
                else:
                    assert np.isnan(found.cosine[i]) and found.row[i] == -1


def test_nearest_centroid__first_of_equals_and_exact(tuning, vectors_of):
    rng = np.random.default_rng(4)
    vectors = vectors_of(rng.standard_normal((300, 16)).astype(np.float32))
    centroids = vectors.read(np.arange(12))
    centroids = np.concatenate([centroids, centroids])
    rows = rng.permutation(300)[:280]
    label, cosine = similarity.nearest_centroid(vectors, rows, centroids)
    unit = vectors.read(slice(None)).astype(np.float64)
    for i, row in enumerate(rows):
        exact = np.minimum((unit[row] * centroids.astype(np.float64)).sum(axis=1), 1)
        assert label[i] == exact.astype(np.float32).argmax()
        assert cosine[i] == exact[label[i]]


def test_graph__is_that_of_all_pairs_ties_to_the_smaller_node(tuning, vectors, cosines):
    nodes = np.arange(0, len(vectors), 2)
    matrix = cosines(vectors)
    pairs = np.arange(len(nodes))[:4], np.arange(len(nodes))[:4][::-1]
    for k in (1, 4, 30, 90):
        graph = similarity.nearest_neighbours(vectors, nodes, k, pairs)
        beside = np.zeros((len(nodes), len(nodes)), bool)
        for i, places in enumerate(reference_top(matrix, nodes, nodes, k)):
            beside[i, places] = True
        beside[pairs] = True
        beside |= beside.T
        found = np.zeros_like(beside)
        found[graph.owner, graph.node] = True
        np.testing.assert_array_equal(found, beside)
        np.testing.assert_array_equal(graph.cosine, matrix[np.ix_(nodes, nodes)][beside])


def test_near_threshold__thousand_pairs_within_a_millionth_are_decided_like_the_reference(vectors_of, near_threshold):
    rng = np.random.default_rng(3)
    vectors = vectors_of(near_threshold(0.8, 1000, 768, rng))
    unit = vectors.read(slice(None)).astype(np.float64)
    groups = [np.array([2 * i, 2 * i + 1]) for i in range(1000)]
    expected = np.array([(unit[a] * unit[b]).sum() for a, b in groups]).astype(np.float32)
    for together in (groups, [np.arange(2000)]):
        np.testing.assert_array_equal(similarity.best_preferred(vectors, together).cosine[1::2], expected)
    _, kept = similarity.greedy(vectors, groups, 0.8)
    np.testing.assert_array_equal(kept[1::2], ~(expected > np.float32(0.8)))
    assert 300 < kept[1::2].sum() < 700


# --- nothing but the vectors decides


@st.composite
def tunings(draw):
    """Any tuning that lets something happen with a few dozen rows."""
    columns = draw(st.integers(1, 30))
    return Tuning(
        tile_rows=draw(st.integers(4, 40)), tile_columns=columns, diagonal_columns=draw(st.integers(1, columns)),
        whole_rows=draw(st.sampled_from([0, 10, 40])), candidates=draw(st.sampled_from([0, 1, 16, 256])),
        units=draw(st.integers(1, 9)), least_rows=draw(st.integers(1, 20)), most_rows=draw(st.integers(20, 50)),
        window_bytes=draw(st.sampled_from([400, 2000, 1 << 20])),
        prune_numbers=draw(st.sampled_from([1, 1 << 30])), prune_dimensions=1,
        prune_left=draw(st.sampled_from([-1, 0.5, np.inf])),
        dimensions=draw(st.integers(1, 30)), cell=draw(st.integers(1, 9)),
        call=draw(st.sampled_from([0, 20, 10_000])),
    )  # fmt: skip


@settings(max_examples=120)
@given(
    st.integers(1, 150), st.sampled_from([3, 5, 40]), st.floats(0, 0.5), st.booleans(), st.integers(1, 3), st.booleans(),
    st.sampled_from(['cpu', 'cpu:0']), tunings(), st.integers(0, 9999),
)  # fmt: skip
def test_result__does_not_depend_on_tuning_threads_or_where_vectors_lie(
    size, scenes, noise, center, threads, resident, device, tuning, seed
):
    rng = np.random.default_rng(seed)
    scene = rng.standard_normal((scenes, 12))[rng.integers(0, scenes, size)]
    raw = (scene + noise * rng.standard_normal((size, 12)) + 3 * rng.standard_normal(12)).astype(np.float32)
    raw[rng.integers(0, size, size // 8)] = raw[0]
    plain, other = (
        Vectors(ArraySource(raw), [str(i) for i in range(size)], center=center, resident=held)
        for held in (True, resident)
    )
    order, half = rng.permutation(size), size // 2
    k = int(rng.integers(1, 20))

    def results(vectors, tuning):
        yield similarity.best_preferred(vectors, [order], tuning=tuning)
        yield similarity.best_preferred(vectors, np.array_split(order, 4), tuning=tuning)
        yield similarity.greedy(vectors, [order[:half], order[half:]], 0.8, tuning=tuning)[0]
        yield similarity.nearest(vectors, [(order[:half], order[half:])], tuning=tuning)
        yield similarity.nearest_elsewhere(vectors, [order[:9], order[9:30], order[30:]], 0.5, tuning=tuning)
        yield similarity.Neighbours(*similarity.top_k(vectors, order[:half], order[half:], k, tuning=tuning))
        label, cosine = similarity.nearest_centroid(vectors, order, plain.read(order[:3]), tuning=tuning)
        yield similarity.Neighbours(cosine, label)

    found = results(other, replace(tuning, threads=threads, device=device))
    for one, another in zip(results(plain, Tuning(prune_most=0)), found, strict=True):
        check(another, one.cosine, one.row)


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(4, 40), st.sampled_from([0, 1, 16]), st.booleans(),
    st.integers(0, 999),
)  # fmt: skip
def test_small_groups__compared_as_a_whole_equal_reference(cosines, sizes, tile, candidates, center, seed):
    rng = np.random.default_rng(seed)
    raw = rng.integers(-1, 2, (sum(sizes), 5)).astype(np.float32) + np.float32(0.25)
    vectors = Vectors(ArraySource(raw), [str(i) for i in range(len(raw))], center)
    groups = np.split(rng.permutation(len(raw)), np.cumsum(sizes)[:-1])
    tuning = Tuning(tile_rows=tile, whole_rows=25, candidates=candidates, threads=1)
    found = similarity.best_preferred(vectors, groups, tuning=tuning)
    check(found, *reference_preferred(cosines(vectors), groups))


def test_vectors_of_a_file__are_read_in_blocks(monkeypatch):
    raw = np.random.default_rng(0).standard_normal((600, 32)).astype(np.float32)
    monkeypatch.setattr(module, 'RESIDENT_BYTES', 0)
    vectors = Vectors(ArraySource(raw), [str(i) for i in range(600)])
    most = [0]
    read = vectors.read
    monkeypatch.setattr(vectors, 'read', lambda rows: most.append(len(rows)) or read(rows))
    with tuned(Tuning(window_bytes=100 * 32 * 4, least_rows=50, most_rows=80, tile_rows=60, whole_rows=0)):
        similarity.best_preferred(vectors, [np.arange(600)])
    assert 60 <= max(most) <= 100
