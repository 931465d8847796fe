"""Rivals against a textbook version of themselves: k-center, medoids, density quotas, balanced trees, lists."""

import numpy as np
import pyarrow as pa
import pytest

from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.errors import DatasetError
from mmdel.selection.balanced_kmeans import BalancedKMeans, in_turn
from mmdel.selection.clustering import FaissKMeans
from mmdel.selection.methods.density_quota import DensityQuota, quotas, shares, turns_by_quota
from mmdel.selection.methods.from_file import FromFile
from mmdel.selection.methods.k_center_greedy import KCenterGreedy
from mmdel.selection.methods.kmeans_medoids import KMeansMedoids
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
