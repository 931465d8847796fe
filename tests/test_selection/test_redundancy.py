"""The kernel agrees exactly with an obvious float64 reference, on easy, adversarial and degenerate vectors."""

import functools
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.selection import between_groups, pieces, projection, proposers, redundancy, settled_maximum
from mmdel.selection.workers import Workers

BFLOAT16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
PRECISIONS = ['float32', 'bfloat16'] if BFLOAT16 else ['float32']


@pytest.mark.skipif(
    not BFLOAT16, reason='this processor has no bfloat16 products, so the tests here compare float32 ones only'
)
def test_precisions__bfloat16_is_among_those_compared():
    assert PRECISIONS == ['float32', 'bfloat16']


def vectors_of(raw, center=False):
    return Vectors(ArraySource(raw), [f'{i:06d}' for i in range(len(raw))], center=center)


def cosine_matrix(vectors):
    """The canonical number of every pair, one pair at a time: float64 products, summed, at most 1, rounded to float32."""
    return _cosine_matrix(vectors.read(slice(None)).tobytes(), vectors.dim)


@functools.cache
def _cosine_matrix(unit, dim):
    unit = np.frombuffer(unit, np.float32).reshape(-1, dim).astype(np.float64)
    matrix = np.empty((len(unit), len(unit)), np.float32)
    for i in range(len(unit)):
        for j in range(len(unit)):
            matrix[i, j] = min((unit[i] * unit[j]).sum(), 1.0)
    return matrix


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


def near_threshold(eta, pairs, dim, rng):
    """``pairs`` pairs of unit vectors whose cosine lies within 1e-6 of eta."""
    raw = np.empty((2 * pairs, dim))
    for i in range(pairs):
        a = rng.standard_normal(dim)
        a /= np.linalg.norm(a)
        b = rng.standard_normal(dim)
        b -= (a @ b) * a
        b /= np.linalg.norm(b)
        cosine = eta + rng.uniform(-1e-6, 1e-6)
        raw[2 * i], raw[2 * i + 1] = a, cosine * a + np.sqrt(1 - cosine**2) * b
    return raw.astype(np.float32)


def cases():
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


@pytest.fixture(params=list(cases()))
def raw(request):
    return cases()[request.param].astype(np.float32)


@pytest.fixture(params=[False, True], ids=['raw', 'centred'])
def center(request):
    return request.param


@pytest.fixture(params=[(1, 'whole'), (3, 'three')], ids=lambda p: p[1])
def groups(request, raw):
    rng = np.random.default_rng(1)
    order = rng.permutation(len(raw))
    label = rng.integers(0, request.param[0], len(raw))
    return [order[label[order] == c] for c in range(request.param[0])]


@pytest.fixture(
    params=[(1024, 1024, 16, False), (7, 5, 16, False), (7, 5, 1, False), (19, 12, 16, True)],
    ids=['one tile', 'many tiles', 'all dense', 'pruned'],
)
def precisions(request, monkeypatch, prune_everything):
    """To be compared, in tiles of several sizes; pruning belongs to 'auto'."""
    rows, columns, candidates, pruned = request.param
    if pruned:
        prune_everything(monkeypatch)
    for name in ('SMALL_GROUP', 'WHOLE_GROUP'):
        monkeypatch.setattr(redundancy, name, 0)
    monkeypatch.setattr(pieces, 'LEAST_ROWS', rows)
    monkeypatch.setattr(pieces, 'MOST_ROWS', 4 * rows)
    monkeypatch.setattr(settled_maximum, 'TILE_ROWS', rows)
    monkeypatch.setattr(settled_maximum, 'TILE_COLUMNS', columns)
    monkeypatch.setattr(settled_maximum, 'DIAGONAL_COLUMNS', max(2, columns // 8))
    monkeypatch.setattr(proposers, 'CANDIDATES', candidates)
    monkeypatch.setattr(proposers, 'LOW_CANDIDATES', 2 * candidates)
    return ['auto'] if pruned else PRECISIONS


def test_highest_preferred__equals_reference(precisions, raw, center, groups):
    vectors = vectors_of(raw, center)
    cosine, row = reference_preferred(cosine_matrix(vectors), groups)
    for precision in precisions:
        found = redundancy.highest_preferred(vectors, groups, precision=precision)
        np.testing.assert_array_equal(found.cosine, cosine)
        np.testing.assert_array_equal(found.row, row)


@pytest.mark.parametrize('candidates', [16, 1], ids=['sparse', 'dense'])
def test_highest_preferred__small_groups_together_equal_reference(raw, center, groups, candidates, monkeypatch):
    monkeypatch.setattr(proposers, 'CANDIDATES', candidates)
    monkeypatch.setattr(settled_maximum, 'TILE_ROWS', 70)
    vectors = vectors_of(raw, center)
    found = redundancy.highest_preferred(vectors, groups)
    cosine, row = reference_preferred(cosine_matrix(vectors), groups)
    np.testing.assert_array_equal(found.cosine, cosine)
    np.testing.assert_array_equal(found.row, row)


@pytest.mark.parametrize('eta', [0.8, 0.0, 1.0, -1.0])
def test_greedy__equals_reference(precisions, raw, center, groups, eta):
    vectors = vectors_of(raw, center)
    cosine, row, stays = reference_greedy(cosine_matrix(vectors), groups, eta)
    for precision in precisions:
        found, kept = redundancy.greedy(vectors, groups, eta, precision=precision)
        np.testing.assert_array_equal(kept, stays)
        np.testing.assert_array_equal(found.cosine, cosine)
        np.testing.assert_array_equal(found.row, row)


def test_nearest__equals_reference(precisions, raw, center):
    vectors = vectors_of(raw, center)
    matrix = cosine_matrix(vectors)
    rng = np.random.default_rng(2)
    order = rng.permutation(len(raw))
    rows, columns = order[: len(raw) // 2], order[len(raw) // 2 :]
    for precision in precisions:
        found = redundancy.nearest(vectors, [(rows, columns)], precision=precision)
        for i in rows:
            if len(columns):
                best = matrix[i, columns].max()
                assert found.cosine[i] == best
                assert found.row[i] == columns[np.flatnonzero(matrix[i, columns] == best)[0]]
            else:
                assert np.isnan(found.cosine[i]) and found.row[i] == -1
        assert (found.row[columns] == -1).all()


def test_near_other_group__leaves_nobody_out(precisions, raw, center):
    vectors = vectors_of(raw, center)
    matrix = cosine_matrix(vectors)
    label = np.random.default_rng(5).integers(0, 3, len(raw))
    groups = [np.flatnonzero(label == c) for c in range(3)]
    apart = label[:, None] != label
    for threshold in (0.8, 0.0, -1.0):
        above = (apart & (matrix > np.float32(threshold))).any(axis=1)
        far = ~(apart & (matrix > np.float32(threshold) - 0.03)).any(axis=1)
        for precision in precisions:
            found = between_groups.near_other_group(vectors, groups, threshold, precision=precision)
            assert found[above].all()
            assert not found[far].any()


def test_nearest_in_other_groups__is_the_highest_of_the_matrix(precisions, raw, center):
    vectors = vectors_of(raw, center)
    matrix = cosine_matrix(vectors)
    label = np.random.default_rng(6).integers(0, 4, len(raw))
    groups = [np.flatnonzero(label == c) for c in range(3)]
    for precision in precisions:
        found = between_groups.nearest_in_other_groups(vectors, groups, precision=precision)
        assert (found.row[label == 3] == -1).all()
        for group in groups:
            others = np.concatenate([other for other in groups if other is not group])
            if not len(others):
                assert (found.row[group] == -1).all() and np.isnan(found.cosine[group]).all()
                continue
            np.testing.assert_array_equal(found.cosine[group], matrix[np.ix_(group, others)].max(axis=1))
            np.testing.assert_array_equal(found.row[group], others[matrix[np.ix_(group, others)].argmax(axis=1)])


def test_near_threshold__thousand_pairs_within_a_millionth_are_decided_like_the_reference():
    rng = np.random.default_rng(3)
    raw = near_threshold(0.8, 1000, 768, rng)
    vectors = vectors_of(raw)
    unit = vectors.read(slice(None)).astype(np.float64)
    groups = [np.array([2 * i, 2 * i + 1]) for i in range(1000)]
    expected = np.array([(unit[a] * unit[b]).sum() for a, b in groups]).astype(np.float32)
    pairwise = redundancy.highest_preferred(vectors, groups).cosine[1::2]
    np.testing.assert_array_equal(pairwise, expected)
    for precision in PRECISIONS:
        together = redundancy.highest_preferred(vectors, [np.arange(2000)], precision=precision).cosine[1::2]
        np.testing.assert_array_equal(together, expected)
        _, kept = redundancy.greedy(vectors, groups, 0.8, precision=precision)
        np.testing.assert_array_equal(kept[1::2], ~(expected > np.float32(0.8)))
    assert 300 < kept[1::2].sum() < 700


def test_nearest_centroid__first_of_equals_and_exact():
    rng = np.random.default_rng(4)
    vectors = vectors_of(rng.standard_normal((300, 16)).astype(np.float32))
    centroids = vectors.read(slice(0, 12))
    centroids = np.concatenate([centroids, centroids])
    label, cosine = redundancy.nearest_centroid(vectors, np.arange(300), centroids)
    unit = vectors.read(slice(None)).astype(np.float64)
    for i in range(300):
        exact = np.minimum((unit[i] * centroids.astype(np.float64)).sum(axis=1), 1)
        assert label[i] == exact.astype(np.float32).argmax()
        assert cosine[i] == exact[label[i]]


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 9), st.integers(1, 12),
    st.sampled_from([1, 16]), st.booleans(), st.integers(0, 999),
)  # fmt: skip
def test_groups_compared_as_a_whole__equal_reference(sizes, tile, rows, candidates, center, seed):
    rng = np.random.default_rng(seed)
    raw = rng.integers(-1, 2, (sum(sizes), 5)).astype(np.float32) + np.float32(0.25)
    vectors = Vectors(ArraySource(raw), [str(i) for i in range(len(raw))], center)
    groups = np.split(rng.permutation(len(raw)), np.cumsum(sizes)[:-1])
    cosine, row = reference_preferred(cosine_matrix(vectors), groups)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redundancy, 'SMALL_GROUP', 3)
        patch.setattr(redundancy, 'WHOLE_GROUP', 25)
        patch.setattr(settled_maximum, 'TILE_ROWS', tile)
        patch.setattr(settled_maximum, 'TRIANGLE_ROWS', rows)
        patch.setattr(proposers, 'CANDIDATES', candidates)
        found = redundancy.highest_preferred(vectors, groups, threads=1)
    np.testing.assert_array_equal(found.cosine, cosine)
    np.testing.assert_array_equal(found.row, row)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(0, 99))
def test_result__does_not_depend_on_tiles_or_threads(size, rows, columns, threads, seed):
    rng = np.random.default_rng(seed)
    raw = rng.integers(-1, 2, (size, 3)).astype(np.float32) + np.float32(0.25)
    vectors = vectors_of(raw)
    order = [rng.permutation(size)]
    plain = redundancy.highest_preferred(vectors, order, threads=1)
    greedy, kept = redundancy.greedy(vectors, order, 0.5, threads=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, 'LEAST_ROWS', rows)
        patch.setattr(pieces, 'MOST_ROWS', 4 * rows)
        patch.setattr(settled_maximum, 'TILE_ROWS', rows)
        patch.setattr(settled_maximum, 'TILE_COLUMNS', columns)
        patch.setattr(settled_maximum, 'DIAGONAL_COLUMNS', max(1, columns // 2))
        patch.setattr(redundancy, 'SMALL_GROUP', size // 2)
        precision = PRECISIONS[-1]
        tiled = redundancy.highest_preferred(vectors, order, threads=threads, precision=precision)
        greedy_tiled, kept_tiled = redundancy.greedy(vectors, order, 0.5, threads=threads, precision=precision)
    np.testing.assert_array_equal(plain.cosine, tiled.cosine)
    np.testing.assert_array_equal(plain.row, tiled.row)
    np.testing.assert_array_equal(greedy.row, greedy_tiled.row)
    np.testing.assert_array_equal(kept, kept_tiled)


@settings(max_examples=20)
@given(st.integers(2, 40), st.integers(1, 5), st.integers(1, 4), st.booleans(), st.booleans(), st.integers(0, 99))
def test_result__does_not_depend_on_who_does_which_piece(
    prune_everything, size, clusters, processes, center, pruned, seed
):
    rng = np.random.default_rng(seed)
    raw = rng.integers(-1, 2, (size, 3)).astype(np.float32) + np.float32(0.25)
    vectors = Vectors(ArraySource(raw), [str(i) for i in range(size)], center)
    order = rng.permutation(size)
    groups = [part for part in np.split(order, np.sort(rng.integers(0, size, clusters - 1))) if len(part)]
    half = size // 2

    def results():
        yield redundancy.highest_preferred(vectors, groups)
        yield redundancy.highest_preferred(vectors, [order])
        found, kept = redundancy.greedy(vectors, groups, 0.5)
        yield found
        yield kept
        yield redundancy.nearest(vectors, [(order[:half], order[half:]), (order[half:], order[:half])])
        yield between_groups.near_other_group(vectors, groups, 0.9)
        yield between_groups.nearest_in_other_groups(vectors, groups)
        yield from redundancy.nearest_centroid(vectors, order, vectors.read(order[:3]))

    def share(work, common, tick, worth):
        owner = rng.integers(0, processes, 10_000)
        sent = [common if rank == 0 else pickle.loads(pickle.dumps(common)) for rank in range(processes)]
        found = []
        for rank in range(processes):
            if pruned:
                # sums differ between machines, so that each has cells of its own
                patch.setattr(projection, 'DIMENSIONS', 1 + rank)
            claim = lambda count, at_once: iter(np.flatnonzero(owner[:count] == rank))  # noqa: B023, E731
            found.append(work(sent[rank], claim, tick))
        return found

    alone = list(results())
    with pytest.MonkeyPatch.context() as patch:
        if pruned:
            prune_everything(patch)
            for name in ('SMALL_GROUP', 'WHOLE_GROUP'):
                patch.setattr(redundancy, name, 0)
        patch.setattr(redundancy.sharing, 'share', share)
        patch.setattr(settled_maximum, 'TILE_ROWS', 7)
        patch.setattr(pieces, 'LEAST_ROWS', 7)
        together = list(results())
    for one, other in zip(alone, together, strict=True):
        pairs = (
            [(one.cosine, other.cosine), (one.row, other.row)]
            if isinstance(one, redundancy.Neighbours)
            else [(one, other)]
        )
        for mine, theirs in pairs:
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize('first', [2, 64])
def test_cut__is_the_same_on_machines_with_other_numbers_of_cores(first, monkeypatch):
    rng = np.random.default_rng(0)
    vectors = vectors_of(rng.standard_normal((1400, 8)).astype(np.float32))
    groups = np.split(rng.permutation(1400), 7)
    alone = redundancy.highest_preferred(vectors, groups)
    label, cosine = redundancy.nearest_centroid(vectors, np.arange(1400), vectors.read(slice(0, 20)))
    cores = [first, 1, 32]

    def share(work, common, tick, worth):
        counts, parts = set(), []
        for rank in range(3):
            monkeypatch.setattr(redundancy, 'usable_cores', lambda rank=rank: cores[rank])

            def claim(count, at_once, rank=rank):
                counts.add(count)
                return iter(range(rank, count, 3))

            parts.append(work(pickle.loads(pickle.dumps(common)), claim, tick))
        monkeypatch.setattr(redundancy, 'usable_cores', lambda: first)
        assert len(counts) == 1, 'every process must cut the work in the same way'
        return parts

    monkeypatch.setattr(redundancy, 'usable_cores', lambda: first)
    monkeypatch.setattr(redundancy.sharing, 'share', share)
    together = redundancy.highest_preferred(vectors, groups)
    np.testing.assert_array_equal(together.cosine, alone.cosine)
    np.testing.assert_array_equal(together.row, alone.row)
    for one, other in zip(
        (label, cosine), redundancy.nearest_centroid(vectors, np.arange(1400), vectors.read(slice(0, 20))), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_error_in_a_piece__ends_the_work():
    done = []

    def piece(number):
        if number == 3:
            raise ZeroDivisionError
        done.append(number)

    def work():
        with Workers(1) as workers:
            for number in range(9):
                workers.submit(piece, number)

    with pytest.raises(ZeroDivisionError):
        work()
    assert done == [0, 1, 2]


@pytest.mark.parametrize('threads', [1, 3])
def test_pieces_submitted_together__are_of_the_process_that_claims_them(threads):
    done = []

    def claim(count, at_once):
        assert count == 5
        yield from (1, 4)

    with Workers(threads, claim) as workers:
        for number in range(5):
            workers.submit_together([functools.partial(done.append, (number, piece)) for piece in range(number)])
    assert sorted(done) == [(1, 0), (4, 0), (4, 1), (4, 2), (4, 3)]
