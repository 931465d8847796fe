"""Work is cut once, and shared by machines that agree on nothing but the task: what comes out is what one of them finds alone."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdel import similarity
from mmdel.compute import sharing
from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.similarity import Tuning, tuned
from mmdel.similarity.exclusion import Exclusion
from mmdel.similarity.tasks import Comparison, Task


@pytest.fixture
def job(monkeypatch):
    """``job(cores, owners, tuning)``: from now on work is shared by processes with so many cores, and 0 has cut it.

    ``owners`` says which process does which unit; each but the first unpickles what it is sent.
    """

    def begin(cores, owners=lambda count: np.arange(count), tuning=None):
        def on_machine(rank):
            monkeypatch.setattr('mmdel.similarity.tasks.usable_cores', lambda: cores[rank])

        def share(work, common, tick, worth):
            found, counts = [], set()
            for rank in range(len(cores)):
                on_machine(rank)
                mine, vectors = (work, common) if rank == 0 else pickle.loads(pickle.dumps((work, common)))

                def claim(count, at_once, rank=rank):
                    counts.add(count)
                    return iter(np.flatnonzero(owners(count)[:count] % len(cores) == rank).tolist())

                found.append(mine(vectors, claim, tick))
            on_machine(0)
            assert len(counts) == 1, 'every process must do units of the same cut'
            return found

        monkeypatch.setattr(sharing, 'share', share)
        monkeypatch.setattr(sharing, 'get_world_size', lambda: len(cores))
        on_machine(0)

    return begin


def everything(vectors, order, clusters):
    """What each search finds, as plain arrays."""
    half = len(order) // 2
    for found in (
        similarity.best_preferred(vectors, clusters),
        similarity.best_preferred(vectors, [order]),
        similarity.nearest(vectors, [(order[:half], order[half:]), (order[half:], order[:half])]),
        similarity.nearest_elsewhere(vectors, clusters, 0.5),
        similarity.greedy(vectors, clusters, 0.5)[0],
    ):
        yield from (found.cosine, found.row)
    yield similarity.greedy(vectors, clusters, 0.5)[1]
    yield from similarity.nearest_centroid(vectors, order, vectors.read(order[:3]))
    yield from similarity.top_k(vectors, order[:half], order[half:], 3)
    yield similarity.nearest_neighbours(vectors, np.arange(len(order)), 4).node


def same(some, others):
    for one, other in zip(some, others, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('first', [2, 64])
def test_cut__is_that_of_the_first_whatever_cores_the_others_have(job, vectors_of, first):
    rng = np.random.default_rng(0)
    vectors = vectors_of(rng.standard_normal((1400, 8)).astype(np.float32))
    order = rng.permutation(1400)
    alone = list(everything(vectors, order, np.split(order, 7)))
    job([first, 1, 32])
    same(everything(vectors, order, np.split(order, 7)), alone)


@pytest.mark.parametrize('pruned', [False, True])
def test_result__does_not_depend_on_who_does_which_unit(job, pruned):
    @settings(max_examples=20)
    @given(
        st.integers(2, 60),
        st.integers(1, 5),
        st.lists(st.integers(1, 9), min_size=1, max_size=4),
        st.booleans(),
        st.integers(0, 99),
    )
    def check(size, clusters, cores, center, seed):
        rng = np.random.default_rng(seed)
        raw = rng.integers(-1, 2, (size, 3)).astype(np.float32) + np.float32(0.25)
        vectors = Vectors(ArraySource(raw), [str(i) for i in range(size)], center)
        order = rng.permutation(size)
        groups = [part for part in np.split(order, np.sort(rng.integers(0, size, clusters - 1))) if len(part)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sharing, 'share', lambda work, common, tick, worth: [work(common, sharing.everything, tick)])
            patch.setattr(sharing, 'get_world_size', lambda: 1)
            alone = list(everything(vectors, order, groups))
        owner = rng.integers(0, 99, 10_000)
        job(cores, lambda count: owner)
        some = (
            dict(prune_numbers=1, prune_dimensions=1, prune_left=np.inf, dimensions=2, cell=5, panel=3)
            if pruned
            else {}
        )
        with tuned(Tuning(tile_rows=7, tile_columns=5, diagonal_columns=2, whole_rows=6, least_rows=7, **some)):
            same(everything(vectors, order, groups), alone)

    check()


@given(
    st.integers(1, 3000), st.integers(1, 64), st.sampled_from(['triangle', 'columns', 'mask']), st.integers(1, 500),
    st.integers(1, 900),
)  # fmt: skip
def test_units__have_every_row_once_and_count_the_pairs_that_are_left(size, workers, kind, least, most):
    first = np.random.default_rng(size).integers(0, 70, size)
    one = {
        'triangle': Comparison(np.arange(size)),
        'columns': Comparison(np.arange(size), np.arange(70)),
        'mask': Comparison(np.arange(size), np.arange(70), Exclusion(first, first + 9)),
    }[kind]
    units = Task([one], tuning=Tuning(least_rows=min(least, most), most_rows=most)).cut(workers)
    np.testing.assert_array_equal(np.sort(np.concatenate([unit.places for unit in units])), np.arange(size))
    assert sum(unit.pairs for unit in units) == one.pairs and sum(unit.rows for unit in units) == size
    assert all((np.diff(unit.places) > 0).all() and len(unit.places) <= most for unit in units)


def test_units__of_small_groups_are_many_at_a_time():
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 40, 300)
    groups = np.split(np.arange(sizes.sum()), np.cumsum(sizes)[:-1])
    task = Task([Comparison(group) for group in groups], tuning=Tuning(tile_rows=200))
    units = task.batches()
    assert sorted(number for unit in units for number in unit.comparisons) == list(range(300))
    assert sum(unit.pairs for unit in units) == sum(size * (size - 1) // 2 for size in sizes.tolist())
    whole = [unit for unit in units if len(unit.comparisons) > 1]
    assert len(whole) < 100 and all(unit.rows <= 200 for unit in whole)


def test_tick__adds_up_to_all_pairs_or_rows(vectors_of):
    vectors = vectors_of(np.random.default_rng(0).standard_normal((700, 6)).astype(np.float32))
    order, done = np.arange(700), []
    for tuning in (Tuning(), Tuning(whole_rows=20, least_rows=50, most_rows=90)):
        with tuned(tuning):
            for search, total in (
                (lambda: similarity.best_preferred(vectors, [order], done.append), 700 * 699 // 2),
                (lambda: similarity.best_preferred(vectors, np.split(order, 7), done.append), 7 * 100 * 99 // 2),
                (lambda: similarity.nearest(vectors, [(order[:99], order[99:])], done.append), 99 * 601),
                (lambda: similarity.greedy(vectors, np.split(order, 7), 0.5, done.append), 700),
                (lambda: similarity.nearest_centroid(vectors, order, vectors.read(order[:9]), done.append), 700),
                (lambda: similarity.nearest_neighbours(vectors, order, 5, tick=done.append), 700),
            ):
                done.clear()
                search()
                assert sum(done) == total
