"""MedDEL obeys the paper's rules as read in its docstring: an O(n²) reference, and laws over random input."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.errors import ConfigError, SubsetError
from mmdel.selection.clustering import Clustering, FaissKMeans, auto_num_clusters
from mmdel.selection.methods.meddel import KEEPS, MedDEL
from mmdel.similarity import Tuning, tuned
from mmdel.subset import Subset


def pool(size, seed=0, copies=True):
    """Raw vectors like video: a few scenes, small changes, some exact copies; and a table with every quality."""
    rng = np.random.default_rng(seed)
    scenes = rng.standard_normal((max(1, size // 12), 16))
    raw = (scenes[rng.integers(0, len(scenes), size)] + 0.35 * rng.standard_normal((size, 16))).astype(np.float32)
    if copies and size > 4:
        raw[rng.integers(0, size, size // 8)] = raw[rng.integers(0, size, size // 8)]
    images = [f'{i:05d}.jpg' for i in range(size)]
    table = pa.table(
        {
            'image': images,
            'label': pa.array(['polyp' if i == 0 or rng.random() < 0.5 else None for i in range(size)], pa.string()),
            'width': pa.array(rng.choice([320, 640], size), pa.int32()),
            'height': pa.array(rng.choice([240, 480], size), pa.int32()),
            'sharpness': pa.array(rng.choice([1.0, 2.0, 3.0], size), pa.float64()),
        }
    )
    return raw, images, table


def vectors_of(raw, images, center=False):
    return Vectors(ArraySource(raw), images, center=center)


def subset_of(selector, raw, images, table, size=None, center=False):
    ranking = selector.rank(vectors_of(raw, images, center), table, size)
    columns = {
        'image': pa.array(images, pa.string()),
        'rank': pa.array(ranking.rank),
        'cluster': pa.array(ranking.cluster),
        'distance': pa.array(ranking.distance),
        'redundancy': pa.array(ranking.redundancy),
        'removed_by': pa.array([None if i < 0 else images[i] for i in ranking.removed_by], pa.string()),
    }
    about = {'selector': selector.config(), 'recut': selector.recut, 'recut_hint': selector.recut_hint}
    return ranking, Subset.from_ranking(pa.table(columns), about, (), ranking.kept, ranking.eta)


def reference(selector, vectors, table, clustering, eta):
    """One round, image by image: who is far, who removes whom, and in which order images are kept."""
    unit = vectors.read(slice(None)).astype(np.float64)
    size = len(unit)
    cosine = [
        min((unit[i] * clustering.centroids[clustering.label[i]].astype(np.float64)).sum(), 1) for i in range(size)
    ]
    if selector.distance == 'cosine':
        distance = np.float32([1 - c for c in cosine])
    else:
        distance = np.float32([np.sqrt(max(2 - 2 * c, 0)) for c in cosine])
    far = [selector.epsilon is not None and distance[i] > np.float32(selector.epsilon) for i in range(size)]

    def preference(i):
        row = table.slice(i, 1).to_pylist()[0]
        quality = {
            'near': (),
            'far': (-distance[i],),
            'sharpest': (-row['sharpness'],),
            'largest': (-row['width'] * row['height'],),
            'labelled': (row['label'] is None,),
        }[selector.keep]
        return (*quality, distance[i], row['image'])

    order = sorted(range(size), key=preference)
    redundancy, removed_by, kept = {}, {}, set()
    for position, i in enumerate(order):
        for j in order[:position]:
            same = selector.scope == 'global' or clustering.label[i] == clustering.label[j]
            if far[i] or far[j] or not same or (selector.rule == 'greedy' and j not in kept):
                continue
            value = np.float32(min((unit[i] * unit[j]).sum(), 1.0))
            if i not in redundancy or value > redundancy[i]:
                redundancy[i], removed_by[i] = value, j
        if not far[i] and not redundancy.get(i, -2) > np.float32(eta):
            kept.add(i)
    ranked = sorted(range(size), key=lambda i: (far[i], redundancy.get(i, -np.inf), order.index(i)))
    return kept, redundancy, removed_by, ranked, np.array(far)


@pytest.mark.parametrize('center', [False, True])
@pytest.mark.parametrize('distance', ['cosine', 'euclidean'])
@pytest.mark.parametrize('scope', ['cluster', 'global'])
@pytest.mark.parametrize('rule', ['pairwise', 'greedy'])
@pytest.mark.parametrize('keep', KEEPS)
@pytest.mark.parametrize('size', [0, 1, 2, 70])
def test_rank__equals_reference(size, keep, rule, scope, distance, center):
    raw, images, table = pool(size, seed=1)
    selector = MedDEL(epsilon=0.3 if distance == 'cosine' else 0.7, eta=0.8, keep=keep, rule=rule, scope=scope,
                      distance=distance, clusterer=dict(type='mmdel.FaissKMeans', num_clusters=4))  # fmt: skip
    ranking, subset = subset_of(selector, raw, images, table, center=center)
    if rule == 'pairwise':
        subset = subset.at(eta=0.8)
    if size == 0:
        assert subset.kept == []
        return
    vectors = vectors_of(raw, images, center)
    clustering = selector.clusterer.fit(vectors, np.arange(size))
    kept, redundancy, removed_by, ranked, far = reference(selector, vectors, table, clustering, 0.8)
    assert subset.kept == sorted(images[i] for i in kept)
    np.testing.assert_array_equal(ranking.redundancy, [redundancy.get(i, np.float32('nan')) for i in range(size)])
    np.testing.assert_array_equal(ranking.removed_by, [removed_by.get(i, -1) for i in range(size)])
    np.testing.assert_array_equal(subset.far, far)
    if rule == 'pairwise':
        assert list(np.argsort(ranking.rank)) == ranked
    if size == 70 and not center:
        assert 0 < far.sum() < 70 and 0 < len(kept) < 70 - far.sum()


def make(rule, scope, keep='near', eta=0.7, **options):
    return MedDEL(epsilon=0.5, eta=eta, rule=rule, scope=scope, keep=keep, **options)


sizes = st.integers(1, 60)
seeds = st.integers(0, 999)
scopes = st.sampled_from(['cluster', 'global'])


@settings(max_examples=40)
@given(sizes, seeds, scopes, st.floats(0.02, 1), st.floats(0.02, 1))
def test_pairwise__ratios_are_exact_and_nested(size, seed, scope, one, two):
    _, subset = subset_of(make('pairwise', scope), *pool(size, seed))
    small, large = sorted((one, two))
    if int(small * size + 0.5) == 0:
        with pytest.raises(ConfigError, match='keeps none'):
            subset.at(ratio=small)
        return
    few, many = subset.at(ratio=small).kept, subset.at(ratio=large).kept
    assert len(few) == int(small * size + 0.5)
    assert len(many) == int(large * size + 0.5)
    assert set(few) <= set(many)


@settings(max_examples=40)
@given(sizes, seeds, scopes, st.floats(-1, 1), st.floats(-1, 1))
def test_pairwise__etas_are_nested_and_what_goes_has_a_remover_above_eta(size, seed, scope, one, two):
    raw, images, table = pool(size, seed)
    _, subset = subset_of(make('pairwise', scope), raw, images, table)
    low, high = sorted((one, two))
    assert set(subset.at(eta=low).kept) <= set(subset.at(eta=high).kept)
    for row in subset.at(eta=low).table.to_pylist():
        if row['reason'] == 'duplicate':
            assert row['redundancy'] > np.float32(low) and row['removed_by'] in images


@settings(max_examples=40)
@given(sizes, seeds, scopes, st.floats(-1, 1))
def test_eta_interval__every_eta_in_it_gives_the_ratio_and_none_outside_does(size, seed, scope, eta):
    _, subset = subset_of(make('pairwise', scope), *pool(size, seed))
    count = len(subset.at(eta=eta).kept)
    if count == 0:
        return
    cut = subset.at(ratio=count / size)
    interval = cut.eta_interval()
    assert interval is not None
    assert subset.at(eta=interval.lower).kept == cut.kept
    assert interval.closed or subset.at(eta=interval.upper).kept != cut.kept
    below = float(np.nextafter(np.float32(interval.lower), np.float32(-2)))
    assert below < -1 or subset.at(eta=below).kept != cut.kept


@settings(max_examples=40)
@given(st.integers(2, 60), seeds, scopes, st.floats(-0.5, 0.99))
def test_greedy__no_kept_pair_above_eta_and_every_removed_image_has_a_kept_one(size, seed, scope, eta):
    raw, images, table = pool(size, seed)
    ranking, subset = subset_of(make('greedy', scope, eta=eta), raw, images, table)
    unit = vectors_of(raw, images).read(slice(None)).astype(np.float64)
    kept = subset.keep
    for i in range(size):
        for j in range(i):
            if kept[i] and kept[j] and (scope == 'global' or ranking.cluster[i] == ranking.cluster[j]):
                assert np.float32((unit[i] * unit[j]).sum()) <= np.float32(eta)
    for i in np.flatnonzero(~kept & ~subset.far):
        assert kept[ranking.removed_by[i]]
        assert ranking.redundancy[i] > np.float32(eta)


@settings(max_examples=25)
@given(st.integers(2, 50), seeds, scopes, st.floats(0.05, 1))
def test_greedy__ratio_is_exact_and_filled_with_the_least_similar(size, seed, scope, ratio):
    raw, images, table = pool(size, seed)
    wanted = int(ratio * size + 0.5)
    if wanted == 0:
        return
    selector = make('greedy', scope)
    ranking, subset = subset_of(selector, raw, images, table, size=wanted)
    assert len(subset.kept) == wanted
    core_ranking, core = subset_of(make('greedy', scope, eta=ranking.eta), raw, images, table)
    if len(core.kept) > wanted:  # one image a cluster is more than was asked for
        assert set(subset.kept) <= set(core.kept)
        return
    assert set(core.kept) <= set(subset.kept)
    unit = vectors_of(raw, images).read(slice(None)).astype(np.float64)
    nearest = np.full(size, -np.inf, np.float32)
    for i in np.flatnonzero(~core.keep & ~core.far):
        for j in np.flatnonzero(core.keep):
            if scope == 'global' or core_ranking.cluster[i] == core_ranking.cluster[j]:
                nearest[i] = max(nearest[i], np.float32(min((unit[i] * unit[j]).sum(), 1.0)))
    filled, left = subset.keep & ~core.keep, ~subset.keep & ~core.keep
    # far images come last, whatever they are similar to
    assert not (core.far & filled).any() or not (~core.far & left).any()
    if (near := ~core.far & filled).any() and (rest := ~core.far & left).any():
        assert nearest[near].max() <= nearest[rest].min()


@settings(max_examples=25)
@given(sizes, seeds, scopes, st.sampled_from(['pairwise', 'greedy']), st.sampled_from(KEEPS), st.integers(1, 3))
def test_rank__same_input_same_ranking_and_iterations_only_remove(size, seed, scope, rule, keep, rounds):
    raw, images, table = pool(size, seed)
    selector = make(rule, scope, keep, max_iterations=rounds)
    ranking, subset = subset_of(selector, raw, images, table)
    again, _ = subset_of(make(rule, scope, keep, max_iterations=rounds), raw, images, table)
    np.testing.assert_array_equal(ranking.rank, again.rank)
    _, once = subset_of(make(rule, scope, keep), raw, images, table)
    once = once if rule == 'greedy' else once.at(eta=0.7)
    if rounds == 1 and rule == 'pairwise':
        subset = subset.at(eta=0.7)
    assert set(subset.kept) <= set(once.kept)


@pytest.mark.parametrize('keep', ['near', 'far'])
@pytest.mark.parametrize('rule', ['pairwise', 'greedy'])
@pytest.mark.parametrize('scope', ['cluster', 'global'])
def test_copies__of_identical_vectors_exactly_one_stays_at_eta_99(keep, rule, scope):
    raw, images, table = pool(60, copies=False)
    group = np.arange(60) // 3
    raw = raw[group * 3]
    # copies alone are above this eta
    unit = raw[::3].astype(np.float64) / np.linalg.norm(raw[::3].astype(np.float64), axis=1, keepdims=True)
    assert (unit @ unit.T - 2 * np.eye(20)).max() < 0.99
    for epsilon in (None, 0.5):
        selector = MedDEL(epsilon=epsilon, eta=0.99, rule=rule, scope=scope, keep=keep)
        _, subset = subset_of(selector, raw, images, table)
        subset = subset.at(eta=0.99) if rule == 'pairwise' else subset
        far = subset.far.reshape(20, 3)
        assert (far == far[:, :1]).all() and (far.any() if epsilon else not far.any())
        assert subset.keep.reshape(20, 3).sum(1).tolist() == (~far[:, 0]).astype(int).tolist()


def test_epsilon__far_images_delete_nobody_and_come_last():
    raw, images, table = pool(60, seed=5)
    ranking, subset = subset_of(MedDEL(epsilon=0.5, eta=-1.0, scope='global'), raw, images, table)
    far = subset.far
    assert 0 < far.sum() < 60
    assert np.isnan(ranking.redundancy[far]).all()
    assert not far[ranking.removed_by[ranking.removed_by >= 0]].any()
    assert ranking.rank[far].min() == (~far).sum()
    assert set(np.asarray(subset.at(eta=1.0).table['reason'].to_pylist())[far]) == {'far'}


def test_greedy__other_cuts_name_the_command():
    _, subset = subset_of(make('greedy', 'cluster'), *pool(30))
    with pytest.raises(SubsetError, match='--ratio 0.5'):
        subset.at(ratio=0.5)
    with pytest.raises(SubsetError, match='--eta 0.6'):
        subset.at(eta=0.6)
    assert subset.at(eta=0.7) is subset


def test_iterations__a_ranking_belongs_to_its_eta():
    _, subset = subset_of(make('pairwise', 'cluster', max_iterations=3), *pool(30))
    with pytest.raises(SubsetError, match='max_iterations'):
        subset.at(eta=0.6)
    assert len(subset.at(ratio=0.5).kept) == 15


@pytest.mark.parametrize(
    'bad',
    [dict(eta=1.5), dict(epsilon=-1), dict(keep='best'), dict(rule='any'), dict(scope='all'), dict(distance='l1'),
     dict(max_iterations=0), dict(clusterer=dict(type='mmdel.FaissKMeans', num_clusters=0))],
)  # fmt: skip
def test_arguments__out_of_range(bad):
    with pytest.raises(ConfigError, match='num_clusters' if 'clusterer' in bad else next(iter(bad))):
        MedDEL(**bad)


@pytest.mark.parametrize('keep', ['sharpest', 'largest', 'labelled'])
def test_keep__quality_that_the_images_do_not_have(keep):
    raw, images, _ = pool(10)
    with pytest.raises(ConfigError, match="Use keep='near'"):
        MedDEL(keep=keep).rank(vectors_of(raw, images), pa.table({'image': images}))


@pytest.mark.parametrize(('images', 'k'), [(0, 1), (1, 1), (2, 1), (88_282, 70), (1_000_000, 336), (10_000_000, 1426)])
def test_auto_num_clusters__is_the_k_of_least_cost(images, k):
    def cost(k):
        return 2 * 20 * min(images, 256 * k) * k + 2 * images * k + images**2 / k

    assert auto_num_clusters(images) == k == min(range(1, min(images, 3000) + 1), key=cost, default=1)


def test_kmeans__more_clusters_than_images_and_identical_images():
    vectors = vectors_of(np.ones((5, 8), np.float32), [str(i) for i in range(5)])
    clustering = FaissKMeans(num_clusters=9).fit(vectors, np.arange(5))
    assert isinstance(clustering, Clustering)
    assert clustering.label.max() < 5
    np.testing.assert_allclose(clustering.cosine, 1, atol=1e-6)


@pytest.mark.parametrize('kind', ['raw', 'centred'])
@pytest.mark.parametrize(
    'options', [dict(scope='global'), dict(clusterer=dict(type='mmdel.FaissKMeans', num_clusters=9))]
)
def test_ranking__same_for_any_precision_device_tuning_and_thread_count(kind, options, monkeypatch):
    rng = np.random.default_rng(0)
    scene = rng.standard_normal((75, 64))[rng.integers(0, 75, 1500)]
    raw = scene + 0.2 * rng.standard_normal((1500, 64)) + (20 * rng.standard_normal(64) if kind == 'raw' else 0)
    raw[rng.integers(0, 1500, 150)] = raw[0]
    names = [f'{i:05d}' for i in range(1500)]
    vectors = Vectors(ArraySource(raw.astype(np.float32)), names, center=kind == 'centred')
    table = pa.table({'image': names})
    plain = MedDEL(**options, precision='float32').rank(vectors, table)
    for rows, columns, threads in ((1024, 1024, 1), (96, 64, 2), (33, 200, 3)):
        monkeypatch.setattr('mmdel.similarity.tasks.usable_cores', lambda threads=threads: threads)
        small = Tuning(tile_rows=rows, tile_columns=columns, least_rows=rows, prune_numbers=1, prune_dimensions=1)
        for how in (dict(precision='auto'), dict(precision='bfloat16'), dict(device='cpu:0')):
            with tuned(small):
                found = MedDEL(**options, **how).rank(vectors, table)
            for name in ('rank', 'redundancy', 'removed_by', 'cluster', 'distance'):
                np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))


def test_precision__refuses_what_there_is_not():
    with pytest.raises(ConfigError, match='precision must be one of'):
        MedDEL(precision='float8')
    with pytest.raises(ConfigError, match='device'):
        MedDEL(device='abacus')


def test_config__says_nothing_of_how_fast():
    assert MedDEL(precision='float32').config() == MedDEL().config()
