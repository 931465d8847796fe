"""Coverage is the greedy choice of its objective: an O(n²) reference on the graph, and exact greedy on all pairs."""

import numpy as np
import pyarrow as pa
import pytest

from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.engine.coverage import similarity_to_kept
from mmdel.selection.methods.coverage import Coverage
from mmdel.selection.strata import sequences
from mmdel.similarity import Tuning, nearest_neighbours, tuned


def similarity_matrix(selector, matrix, table):
    """Similarity of all pairs, as the docstring of Coverage writes it."""
    value = matrix.astype(np.float64)
    if selector.time:
        near = np.zeros(value.shape)
        for rows in sequences(table):
            for i, one in enumerate(rows):
                for j, other in enumerate(rows):
                    near[one, other] = max(0, 1 - abs(i - j) / selector.steps)
        value = (1 - selector.time) * value + selector.time * near
    return np.maximum(0, 1 - (1 - value) ** selector.tail if selector.tail != 1 else value)


def near_pairs(matrix, k, table=None, steps=0):
    """Bool [N, N]: whether either of two images is among the other's k nearest, or both are near in time."""
    size = len(matrix)
    beside = np.zeros((size, size), bool)
    for i in range(size):
        beside[i, np.lexsort((np.arange(size), -matrix[i]))[:k]] = True
    for rows in sequences(table) if steps else ():
        for i, one in enumerate(rows):
            beside[one, rows[i : i + steps]] = True
    return beside | beside.T


def objective(selector, vectors, table, kept):
    return selector.objective(vectors, table, kept, similarity_to_kept(vectors, kept)[0])


def greedy(similarity, value=np.sum):
    """Naively: every time the image that adds most, the first of equals, as long as one adds anything."""
    covered, chosen, gains = np.zeros(len(similarity)), [], []
    while len(chosen) < len(similarity):
        gain = np.array([value(np.maximum(covered, row)) for row in similarity]) - value(covered)
        gain[chosen] = -1
        best = int(np.flatnonzero(gain >= gain.max() - 1e-12)[0])
        if gain[best] <= 1e-12:
            break
        chosen.append(best)
        gains.append(gain[best])
        covered = np.maximum(covered, similarity[best])
    return chosen, gains


@pytest.mark.parametrize('options', [{}, dict(tail=3), dict(time=0.3, steps=4), dict(time=0.3, steps=4, tail=2)])
@pytest.mark.parametrize(('size', 'k'), [(1, 64), (7, 3), (60, 64), (60, 5)])
def test_rank__is_the_naive_greedy_choice_on_the_graph(make_pool, cosines, order_of, options, size, k):
    vectors, table = make_pool(size, seed=size, copies=False)
    selector = Coverage(neighbours=k, **options)
    ranking = selector.rank(vectors, table)
    matrix = cosines(vectors)
    beside = near_pairs(matrix, k, table, selector.steps if selector.time else 0)
    chosen, gains = greedy(np.where(beside, similarity_matrix(selector, matrix, table), 0))
    assert order_of(ranking)[: len(chosen)].tolist() == chosen
    np.testing.assert_allclose(ranking.gains[chosen], gains, atol=1e-9)


@pytest.mark.parametrize(('size', 'k'), [(1, 64), (7, 3), (60, 64), (60, 5)])
def test_rank__concave_is_the_naive_greedy_choice_of_square_roots(make_pool, cosines, order_of, size, k):
    vectors, table = make_pool(size, seed=size, copies=False)
    selector = Coverage(neighbours=k, concave='video')
    ranking, matrix = selector.rank(vectors, table), cosines(vectors)
    similarity = np.where(near_pairs(matrix, k), similarity_matrix(selector, matrix, table), 0)
    groups = sequences(table)
    chosen, gains = greedy(similarity, lambda covered: sum(np.sqrt(covered[rows].mean()) for rows in groups))
    assert order_of(ranking)[: len(chosen)].tolist() == chosen
    np.testing.assert_allclose(ranking.gains[chosen], gains, atol=1e-9)


def test_rank__concave_takes_the_rare_group_before_more_of_a_frequent_one(order_of):
    rng = np.random.default_rng(0)
    scenes = rng.standard_normal((3, 64))
    video = np.repeat([0, 1, 2], [120, 60, 2])
    raw = (scenes[video] + 0.6 * rng.standard_normal((182, 64))).astype(np.float32)
    images = [f'{number:03d}' for number in range(182)]
    table = pa.table({'image': images, 'video': [f'v{each}' for each in video], 'frame': list(range(182))})
    orders = [
        order_of(Coverage(concave=each).rank(Vectors(ArraySource(raw), images), table)) for each in ('video', None)
    ]
    assert set(video[orders[0][:3]]) == {0, 1, 2}
    assert set(video[orders[1][:3]]) == {0, 1}


@pytest.mark.parametrize(
    ('told', 'same_as'),
    [
        (dict(video=['v', 'w']), 'video'),
        (dict(video=['v', 'w'], patient=['p', 'q']), 'patient'),
        (dict(video=['v', 'w'], patient=['p', 'p']), 'video'),
        (dict(video=['v', 'v']), None),
        (dict(video=['v', None]), None),
        ({}, None),
    ],
)
def test_rank__known_groups_are_those_that_the_dataset_tells_apart(make_pool, order_of, told, same_as):
    vectors, table = make_pool(30, copies=False)
    table = table.select(['image'])
    for name, values in told.items():
        table = table.append_column(name, pa.array(np.resize(values, 30), pa.string()))
    ranking, expected = (Coverage(concave=each).rank(vectors, table) for each in ('known', same_as))
    assert order_of(ranking).tolist() == order_of(expected).tolist()
    assert [note.split()[4] for note in ranking.notes] == ([f'{same_as}s:'] if same_as else [])
    values = [objective(Coverage(concave=each), vectors, table, np.arange(5)) for each in ('known', same_as)]
    assert values[0] == values[1]


def test_rank__copies_add_nothing_and_come_last(make_pool, order_of):
    vectors, table = make_pool(40, copies=False)
    raw = vectors.read(slice(None))
    doubled = Vectors(ArraySource(np.concatenate([raw, raw[::-1]])), [f'{i:03d}' for i in range(80)])
    ranking = Coverage(neighbours=80).rank(doubled, table)
    order = order_of(ranking)
    twin = np.r_[np.arange(40), np.arange(40)[::-1]]
    assert sorted(order[:40]) == list(range(40)), 'the first of each pair of copies'
    assert order[40:].tolist() == list(range(40, 80))
    assert (ranking.gains[40:] == 0).all()
    # each image counts twice, so the choice is that among one copy of each
    single = order_of(Coverage(neighbours=80).rank(vectors, table))
    assert twin[order[:40]].tolist() == single.tolist()


def test_gains__add_up_to_the_objective_where_the_graph_holds_all_pairs(make_pool, cosines, order_of):
    vectors, table = make_pool(50, seed=4)
    for selector in (Coverage(), Coverage(time=0.2, tail=2)):
        ranking = selector.rank(vectors, table)
        order = order_of(ranking)
        similarity = similarity_matrix(selector, cosines(vectors), table)
        for size in (1, 10, 50):
            kept = order[:size]
            expected = similarity[:, kept].max(axis=1).sum()
            assert objective(selector, vectors, table, kept) == pytest.approx(expected, abs=1e-5)
            assert ranking.gains[kept].sum() == pytest.approx(expected, abs=1e-5)


def test_gains__never_grow_and_the_graph_never_promises_too_much(make_pool, order_of):
    vectors, table = make_pool(200, seed=1)
    selector = Coverage(neighbours=6)
    ranking = selector.rank(vectors, table)
    gains = ranking.gains[order_of(ranking)]
    assert (np.diff(gains) <= 1e-12).all()
    for size in (5, 50, 150):
        assert gains[:size].sum() <= objective(selector, vectors, table, order_of(ranking)[:size]) + 1e-6


@pytest.mark.parametrize('kind', ['scenes', 'copies', 'near ties'])
@pytest.mark.parametrize('k', [1, 4, 30, 90])
@pytest.mark.parametrize('search', ['plain', 'pruned', 'dense'])
def test_graph__is_that_of_all_pairs_ties_to_the_smaller_row(make_pool, cosines, kind, k, search):
    vectors, _ = make_pool(90, seed=2, copies=kind == 'copies')
    if kind == 'near ties':
        rng = np.random.default_rng(0)
        raw = np.repeat(rng.standard_normal((3, 16)), 30, axis=0) + 1e-7 * rng.standard_normal((90, 16))
        vectors = Vectors(ArraySource(raw.astype(np.float32)), [f'{i:02d}' for i in range(90)])
    small = dict(tile_rows=16, tile_columns=9, least_rows=16, candidates=256 if search == 'plain' else 4)
    if search == 'pruned':
        small |= dict(prune_numbers=1, prune_dimensions=1, prune_left=np.inf, dimensions=4, cell=6)
    with tuned(Tuning(**small)):
        graph = nearest_neighbours(vectors, np.arange(90), k)
    matrix = cosines(vectors)
    beside = near_pairs(matrix, k)
    found = np.zeros((90, 90), bool)
    found[graph.owner, graph.node] = True
    np.testing.assert_array_equal(found, beside)
    np.testing.assert_array_equal(graph.cosine, matrix[beside])


@pytest.mark.slow
def test_objective__within_2_percent_of_exact_greedy_on_3000_images(make_pool, cosines, order_of):
    vectors, table = make_pool(3000, seed=5, copies=False, dim=32)
    selector = Coverage()
    order = order_of(selector.rank(vectors, table))
    similarity = similarity_matrix(selector, cosines(vectors), table)
    covered, gains = np.zeros(3000), np.full(3000, np.inf)
    for size in range(1, 601):
        while True:  # gains only shrink: the highest one that is up to date is the highest of all
            best = int(gains.argmax())
            now = np.maximum(similarity[best] - covered, 0).sum()
            if now == gains[best]:
                break
            gains[best] = now
        covered, gains[best] = np.maximum(covered, similarity[best]), -1
        if size in (60, 150, 300, 600):
            assert objective(selector, vectors, table, order[:size]) > 0.98 * covered.sum()
