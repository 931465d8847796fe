"""Rivals against a textbook version of themselves."""

import numpy as np
import pyarrow as pa
import pytest

from mmdel.compute.progress import SILENT
from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.errors import ConfigError, DatasetError
from mmdel.selection.balanced_kmeans import BalancedKMeans, in_turn
from mmdel.selection.clustering import FaissKMeans
from mmdel.selection.methods.density_quota import DensityQuota, quotas, shares, turns_by_quota
from mmdel.selection.methods.from_file import FromFile
from mmdel.selection.methods.group_quota import GroupQuota
from mmdel.selection.methods.k_center_greedy import KCenterGreedy
from mmdel.selection.methods.kmeans_medoids import KMeansMedoids
from mmdel.selection.methods.prob_cover import ProbCover
from mmdel.selection.methods.typiclust import TypiClust
from mmdel.selection.methods.zcore import ZCore
from mmdel.selection.strata import strata
from mmdel.subset import Subset

# --- k-center


def farthest_first(matrix, first, count):
    chosen = [first]
    while len(chosen) < count:
        nearest = matrix[:, chosen].max(axis=1)
        nearest[chosen] = np.inf
        chosen.append(int(nearest.argmin()))
    return chosen


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('depth', [1.0, 0.3])
def test_k_center__is_farthest_first(make_pool, cosines, order_of, seed, depth):
    vectors, table = make_pool(70, seed, copies=False)
    order = order_of(KCenterGreedy(depth).rank(vectors, table))
    matrix, unit = cosines(vectors), vectors.read(slice(None)).astype(np.float64)
    count = int(np.ceil(depth * 70))
    start = int((unit @ (unit.sum(axis=0) / np.linalg.norm(unit.sum(axis=0)))).argmax())
    expected = farthest_first(matrix, start, count)
    assert order[:count].tolist() == expected
    rest = matrix[order[count:]][:, expected].max(axis=1)
    assert (np.diff(rest) >= 0).all()


def test_k_center__copies_come_last_by_key(make_pool, order_of):
    vectors, table = make_pool(60, seed=1, copies=False)
    raw = np.concatenate([vectors.read(slice(None))] * 2)
    doubled = Vectors(ArraySource(raw), [f'{i:03d}' for i in range(120)])
    order = order_of(KCenterGreedy().rank(doubled, table))
    assert sorted(order[:60]) == list(range(60)) and order[60:].tolist() == list(range(60, 120))


# --- medoids


@pytest.mark.parametrize('size', [1, 4, 20, 60])
def test_medoids__are_the_images_nearest_to_each_centroid(make_pool, order_of, size):
    vectors, table = make_pool(60, seed=3)
    ranking = KMeansMedoids().rank(vectors, table, size)
    clustering = FaissKMeans(num_clusters=size).fit(vectors, np.arange(60))
    unit = vectors.read(slice(None)).astype(np.float64)
    medoids = set()
    for cluster in set(clustering.label):
        rows = np.flatnonzero(clustering.label == cluster)
        medoids.add(int(rows[(unit[rows] * clustering.centroids[cluster].astype(np.float64)).sum(axis=1).argmax()]))
    kept = order_of(ranking)[: ranking.kept]
    assert len(set(kept)) == ranking.kept == size and medoids <= set(kept)


# --- density quotas


def quota_reference(share, capacity, size):
    """The quadratic programme by bisection on its one multiplier."""
    low, high = -2.0 * size - 1, 2.0 * size + 1
    for _ in range(60):
        middle = (low + high) / 2
        total = np.clip(share * size + middle, 1, capacity).sum()
        low, high = (middle, high) if total < size else (low, middle)
    return np.clip(share * size + (low + high) / 2, 1, capacity)


@pytest.mark.parametrize('seed', range(3))
def test_quotas__solve_the_quadratic_programme(seed):
    rng = np.random.default_rng(seed)
    clusters = int(rng.integers(1, 12))
    capacity = rng.integers(1, 40, clusters)
    share = shares(rng.random(clusters), temperature=float(rng.choice([0.05, 0.5, 5])))
    before = np.ones(clusters)
    for size in range(clusters, capacity.sum() + 1):
        found = quotas(share, capacity, size)
        np.testing.assert_allclose(found, quota_reference(share, capacity, size), atol=1e-7)
        assert (found >= before - 1e-7).all(), 'quotas only grow, so rankings can nest'
        before = found


@pytest.mark.parametrize('seed', range(6))
def test_turns__every_prefix_holds_the_quotas_within_one(seed):
    rng = np.random.default_rng(seed)
    capacity = rng.integers(1, 30, 8)
    share = shares(rng.random(8), temperature=0.3)
    turns = turns_by_quota(share, capacity)
    assert np.bincount(turns).tolist() == capacity.tolist()
    for size in range(8, len(turns) + 1):
        given = np.bincount(turns[:size], minlength=8)
        assert abs(given - quotas(share, capacity, size)).max() < 1 + 1e-7


@pytest.mark.parametrize('keep', ['far', 'near'])
def test_density__complexity_is_inter_times_intra_and_the_far_ones_stay(make_pool, order_of, keep):
    vectors, table = make_pool(90, seed=6)
    clusterer = dict(type='mmdel.FaissKMeans', num_clusters=5)
    order = order_of(DensityQuota(temperature=0.1, neighbours=2, keep=keep, clusterer=clusterer).rank(vectors, table))
    clustering = FaissKMeans(num_clusters=5).fit(vectors, np.arange(90))
    complexity = []
    for i in range(5):
        others = sorted(1 - float(clustering.centroids[i] @ clustering.centroids[j]) for j in range(5) if j != i)
        complexity.append(np.mean(others[:2]) * np.mean(1 - clustering.cosine[clustering.label == i]))
    share = np.exp(np.array(complexity) / 0.1) / np.exp(np.array(complexity) / 0.1).sum()
    capacity = np.bincount(clustering.label, minlength=5)
    for size in (10, 40, 70):
        kept = order[:size]
        given = np.bincount(clustering.label[kept], minlength=5)
        assert abs(given - quota_reference(share, capacity, size)).max() < 1 + 1e-6
        for i in range(5):
            members = np.flatnonzero(clustering.label == i)
            nearest_first = members[np.argsort(-clustering.cosine[members], kind='stable')]
            expected = nearest_first[::-1] if keep == 'far' else nearest_first
            np.testing.assert_allclose(
                np.sort(clustering.cosine[kept[clustering.label[kept] == i]]),
                np.sort(clustering.cosine[expected[: given[i]]]),
            )


# --- balanced trees


def sample_reference(tree, size):
    """Share a size out from the top: all children get as many, or all they have; what is left goes to the first ones."""
    if not isinstance(tree[0], list):
        return tree[:size]

    def flat(node):
        return [leaf for child in node for leaf in flat(child)] if isinstance(node[0], list) else node

    held = [len(flat(child)) for child in tree]
    level = max(m for m in range(max(held) + 1) if sum(min(m, n) for n in held) <= size)
    given = [min(level, n) for n in held]
    for i, n in enumerate(held):
        if sum(given) < size and n > level:
            given[i] += 1
    return [leaf for child, n in zip(tree, given, strict=True) if n for leaf in sample_reference(child, n)]


@pytest.mark.parametrize('seed', range(5))
def test_in_turn__every_prefix_is_a_balanced_sample(seed):
    rng = np.random.default_rng(seed)
    leaves = np.sort(rng.integers(0, 9, 60))
    _, leaves = np.unique(leaves, return_inverse=True)
    parents = rng.integers(0, 3, leaves.max() + 1)
    preference = rng.random(60)
    order = in_turn([leaves.astype(np.int32), parents.astype(np.int32)], preference)
    tree = []
    for parent in sorted(set(parents)):
        clusters = [np.flatnonzero(leaves == leaf) for leaf in np.flatnonzero(parents == parent)]
        tree.append([rows[np.argsort(preference[rows])].tolist() for rows in clusters])
    for size in range(1, 61):
        assert sorted(order[:size]) == sorted(sample_reference(tree, size))


def test_balanced__a_rare_scene_gets_as_much_as_a_common_one(order_of):
    rng = np.random.default_rng(0)
    scene = np.repeat([0, 1, 2], [200, 30, 10])
    raw = (np.eye(3, 8)[scene] + 0.02 * rng.standard_normal((240, 8))).astype(np.float32)
    vectors = Vectors(ArraySource(raw), [f'{i:03d}' for i in range(240)])
    order = order_of(
        BalancedKMeans(num_clusters=(24, 3)).rank(vectors, pa.table({'image': [f'{i:03d}' for i in range(240)]}))
    )
    assert np.bincount(scene[order[:30]]).tolist() == [10, 10, 10]


# --- files


@pytest.fixture
def pool(make_pool):
    return make_pool(30, seed=2)


def test_list__comes_first_in_its_order_then_the_least_similar(pool, cosines, order_of, tmp_path):
    vectors, table = pool
    names = table['image'].to_pylist()
    chosen = [17, 3, 25]
    (tmp_path / 'list.txt').write_text('\n'.join([names[17], './' + names[3], '', names[25] + '\r']) + '\n')
    ranking = FromFile(str(tmp_path / 'list.txt')).rank(vectors, table)
    order = order_of(ranking)
    assert ranking.kept == 3 and order[:3].tolist() == chosen
    assert (np.diff(cosines(vectors)[order[3:]][:, chosen].max(axis=1)) >= 0).all()


def test_subset_file__its_kept_images_in_the_order_of_its_ranking(pool, order_of, tmp_path):
    vectors, table = pool
    rank = np.random.default_rng(0).permutation(30)
    subset = Subset.from_ranking(table.append_column('rank', pa.array(rank)), {'recut': 'ratio'}, kept=9)
    subset.write(tmp_path / 'subset.parquet')
    ranking = FromFile(str(tmp_path / 'subset.parquet')).rank(vectors, table)
    assert ranking.kept == 9
    assert order_of(ranking)[:9].tolist() == np.argsort(rank)[:9].tolist()


def test_config__says_what_the_file_holds_and_not_where_it_lies(tmp_path):
    for folder, text in (('a', 'x\ny\n'), ('b', 'x\ny\n'), ('c', 'y\nx\n')):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'list.txt').write_text(text)
    configs = [FromFile(str(tmp_path / folder / 'list.txt')).config() for folder in 'abc']
    assert configs[0] == configs[1] != configs[2] and str(tmp_path) not in str(configs[0])


@pytest.mark.parametrize(
    ('text', 'words'), [('', 'no image'), ('a/00000.jpg\na/00000.jpg', 'twice'), ('nowhere.jpg', "'nowhere.jpg'")]
)
def test_list__that_cannot_be_used(pool, tmp_path, text, words):
    (tmp_path / 'list.txt').write_text(text)
    with pytest.raises(DatasetError, match=words):
        FromFile(str(tmp_path / 'list.txt')).rank(*pool)


def test_list__not_there(tmp_path):
    with pytest.raises(DatasetError, match='cannot be read'):
        FromFile(str(tmp_path / 'none.txt'))


# --- TypiClust


@pytest.mark.parametrize(('size', 'most', 'least'), [(1, 500, 5), (12, 500, 2), (30, 8, 3), (60, 500, 5)])
def test_typiclust__takes_the_most_typical_of_each_cluster_in_turn(make_pool, order_of, size, most, least):
    vectors, table = make_pool(60, seed=2, copies=False)
    ranking = TypiClust(neighbours=4, most=most, least=least).rank(vectors, table, size)
    label = FaissKMeans(num_clusters=min(size, most)).fit(vectors, np.arange(60)).label
    unit = vectors.read(slice(None)).astype(np.float64)
    clusters = sorted(
        (np.flatnonzero(label == each).tolist() for each in set(label)), key=lambda rows: (-len(rows), rows)
    )
    large = [rows for rows in clusters if len(rows) > least] or clusters[:1]
    expected = []
    while len(expected) < size:
        for rows in large if any(large) else clusters:
            if rows and len(expected) < size:
                k = min(4, len(rows) // 2)
                distance = [sorted(np.linalg.norm(unit[rows] - unit[row], axis=1))[1 : k + 1] for row in rows]
                expected.append(rows.pop(int(np.argmin([np.mean(each) if k else 0 for each in distance]))))
    order = order_of(ranking)
    assert order[:size].tolist() == expected and ranking.kept == size
    rest = (unit[order[size:]] @ unit[expected].T).max(axis=1)
    assert (np.diff(rest) >= -1e-6).all()


def test_typiclust__copies_are_their_own_neighbours(order_of):
    raw = np.repeat(np.random.default_rng(0).standard_normal((2, 8)), 30, axis=0).astype(np.float32)
    vectors = Vectors(ArraySource(raw), [f'{i:02d}' for i in range(60)])
    order = order_of(TypiClust().rank(vectors, pa.table({'image': [f'{i:02d}' for i in range(60)]}), 2))
    assert {row // 30 for row in order[:2].tolist()} == {0, 1}


# --- ProbCover


@pytest.mark.parametrize('delta', [0.2, 0.7, 1.2, 2.0])
def test_prob_cover__is_greedy_maximum_coverage(make_pool, cosines, order_of, delta):
    vectors, table = make_pool(80, seed=5)
    inside = (cosines(vectors) > np.float32(1 - delta**2 / 2)) | np.eye(80, dtype=bool)
    covered, expected = np.zeros(80, bool), []
    while not covered.all():
        expected.append(int((inside & ~covered).sum(axis=1).argmax()))
        covered |= inside[expected[-1]]
    order = order_of(ProbCover(delta).rank(vectors, table))
    assert order[: len(expected)].tolist() == expected and sorted(order) == list(range(80))


def test_prob_cover__radius_is_the_largest_at_which_balls_are_pure(make_pool, cosines):
    vectors, _ = make_pool(80, seed=6)
    selector = ProbCover(purity=0.9, clusters=4)
    label = FaissKMeans(num_clusters=4).fit(vectors, np.arange(80)).label
    matrix, other = cosines(vectors), label[:, None] != label[None]
    least, note = selector._threshold(vectors, SILENT)
    pure = [(~(other & (matrix > each)).any(axis=1)).mean() for each in (least, np.nextafter(least, np.float32(-1)))]
    assert pure[0] >= 0.9 > pure[1] and '90% lie in one cluster' in note


# --- ZCore


@pytest.mark.parametrize('neighbours', [5, 1000])
def test_zcore__score_as_its_docstring_says(make_pool, order_of, neighbours):
    vectors, table = make_pool(40, seed=7)
    x = vectors.read(slice(None))
    random = np.random.default_rng(3)
    score = random.random(40)
    for _ in range(300):
        some = random.choice(16, 2, replace=False)
        point = [random.triangular(x[:, d].min(), np.median(x[:, d]), x[:, d].max()) for d in some]
        hit = int(np.abs(x[:, some] - np.array(point)).sum(axis=1).argmin())
        score[hit] += 1
        away = {row: float(np.abs(x[row, some] - x[hit, some]).sum()) for row in range(40) if row != hit}
        near = sorted(away, key=lambda row: away[row])[:neighbours]
        if away[near[0]] == 0:
            score[min(row for row in near if away[row] == 0)] -= 1
        else:
            loss = np.array([away[row] for row in near]) ** -4.0
            score[near] -= loss / loss.sum()
    ranking = ZCore(samples=300, neighbours=neighbours, seed=3).rank(vectors, table)
    assert order_of(ranking).tolist() == np.argsort(-score, kind='stable').tolist()


def test_zcore__vectors_that_do_not_differ_are_ranked_all_the_same(order_of):
    vectors = Vectors(ArraySource(np.ones((9, 4), np.float32)), list('abcdefghi'))
    assert sorted(order_of(ZCore().rank(vectors, pa.table({'image': list('abcdefghi')})))) == list(range(9))


# --- quotas of groups


def test_group_quota__every_group_gives_its_best_in_turn(make_pool, order_of):
    vectors, table = make_pool(60, seed=8)
    inner = order_of(KCenterGreedy().rank(vectors, table)).tolist()
    order = order_of(GroupQuota('source', dict(type='mmdel.KCenterGreedy')).rank(vectors, table)).tolist()
    left = [sorted(rows.tolist(), key=inner.index) for rows in strata(table, 'source')]
    expected = []
    while any(left):
        expected += sorted((rows.pop(0) for rows in left if rows), key=inner.index)
    assert order == expected


def test_group_quota__needs_a_ranking_for_every_size():
    with pytest.raises(ConfigError, match='KMeansMedoids has none'):
        GroupQuota('video', dict(type='mmdel.KMeansMedoids'))
