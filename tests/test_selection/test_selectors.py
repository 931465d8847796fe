"""What holds for every selector, whatever it looks at."""

import json
import tempfile
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pytest
from threadpoolctl import threadpool_limits

from mmdel.embedding.given_vectors import read_given_vectors
from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.engine.ranking_cache import load_ranking, save_ranking
from mmdel.errors import ConfigError
from mmdel.registry import SELECTORS
from mmdel.selection import MedDEL, SemDeDup
from mmdel.selection.selector import BaseSelector
from mmdel.similarity import Tuning, tuned

NAMES = (
    'RandomSelector', 'EveryNth', 'MedDEL', 'SemDeDup', 'KCenterGreedy', 'KMeansMedoids', 'DensityQuota',
    'BalancedKMeans', 'Coverage',
)  # fmt: skip


def build(name, **options):
    return SELECTORS.build(dict(type=f'mmdel.{name}', **options))


def size_for(selector, images, ratio=0.4):
    return max(1, int(ratio * images + 0.5)) if selector.recut == 'none' else None


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('size', [1, 2, 5, 61])
def test_rank__is_an_order_of_all_images_and_of_exact_size(make_pool, name, size):
    vectors, table = make_pool(size)
    selector = build(name)
    wanted = size_for(selector, size)
    ranking = selector.rank(vectors, table, wanted)
    assert sorted(ranking.rank) == list(range(size))
    assert ranking.kept in (None, wanted)


@pytest.mark.parametrize('name', NAMES)
def test_rank__identical_images_are_no_trouble(name):
    vectors = Vectors(ArraySource(np.ones((40, 8), np.float32)), [f'{i:02d}' for i in range(40)])
    selector = build(name)
    ranking = selector.rank(vectors, pa.table({'image': [f'{i:02d}' for i in range(40)]}), size_for(selector, 40))
    assert sorted(ranking.rank) == list(range(40))


@pytest.mark.parametrize('name', NAMES)
def test_rank__same_for_any_thread_count_and_block(make_pool, name, monkeypatch):
    vectors, table = make_pool(150, seed=3)
    selector = build(name)
    wanted = size_for(selector, 150)
    expected = selector.rank(vectors, table, wanted).rank
    threads = faiss.omp_get_max_threads()
    monkeypatch.setattr('mmdel.selection.methods.k_center_greedy.BLOCK', 23)
    small = Tuning(tile_rows=17, tile_columns=13, least_rows=19, most_rows=40, whole_rows=20)
    try:
        faiss.omp_set_num_threads(1)
        with threadpool_limits(1), tuned(small):
            assert (selector.rank(vectors, table, wanted).rank == expected).all()
        faiss.omp_set_num_threads(3)
        with tuned(small):
            assert (build(name).rank(vectors, table, wanted).rank == expected).all()
    finally:
        faiss.omp_set_num_threads(threads)


@pytest.mark.parametrize('name', NAMES)
def test_rank__does_not_depend_on_the_order_of_listing(name):
    rng = np.random.default_rng(7)
    raw = rng.standard_normal((50, 12)).astype(np.float32)
    raw[rng.integers(0, 50, 9)] = raw[0]
    names = [f'{i} é.jpg' for i in rng.permutation(50)]
    found = []
    for order in (np.arange(50), rng.permutation(50)):
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder, 'v.npy'), raw[order])
            Path(folder, 'k.txt').write_text('\n'.join(names[i] for i in order))
            embedded = read_given_vectors(f'{folder}/v.npy', f'{folder}/k.txt')
            keys = embedded.table['image'].to_pylist()
            selector = build(name)
            vectors = Vectors(embedded.source, keys, center=True)
            found.append((keys, selector.rank(vectors, embedded.table, size_for(selector, 50)).rank.tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize('name', NAMES)
def test_config__is_plain_data_and_names_the_method(name):
    config = build(name).config()
    assert json.loads(json.dumps(config)) == config
    assert config['type'] == f'mmdel.{name}'


def test_config__refuses_what_cannot_be_written_down():
    class Mine(BaseSelector):
        def __init__(self):
            self.model = object()

        def rank(self, vectors, table, size=None, progress=None):
            raise NotImplementedError

    with pytest.raises(ConfigError, match='leading underscore'):
        Mine().config()


@pytest.mark.parametrize('name', NAMES)
def test_cache__gives_back_all_that_a_ranking_holds(make_pool, name, tmp_path):
    vectors, table = make_pool(30)
    selector = build(name)
    ranking = selector.rank(vectors, table, size_for(selector, 30))
    save_ranking(tmp_path / 'r.npz', ranking)
    again = load_ranking(tmp_path / 'r.npz', 30)
    for field, value in vars(ranking).items():
        np.testing.assert_array_equal(getattr(again, field), value)


@pytest.mark.parametrize('name', ['EveryNth', 'KMeansMedoids'])
@pytest.mark.parametrize('size', [None, 0, 31])
def test_rank__of_a_method_for_one_size_needs_one(make_pool, name, size):
    with pytest.raises(ConfigError, match='--ratio'):
        build(name).rank(*make_pool(30), size)


@pytest.mark.parametrize(
    ('name', 'bad'),
    [
        ('RandomSelector', dict(seed=-1)), ('RandomSelector', dict(stratify='colour')), ('Coverage', dict(neighbours=0)),
        ('Coverage', dict(tail=0.5)), ('KCenterGreedy', dict(depth=0)), ('DensityQuota', dict(temperature=0)),
        ('DensityQuota', dict(neighbours=0)), ('DensityQuota', dict(keep='random')),
        ('KMeansMedoids', dict(clusterer=dict(type='mmdel.FaissKMeans', num_clusters=3))),
        ('BalancedKMeans', dict(num_clusters='many')), ('BalancedKMeans', dict(num_clusters=(3, 9))),
        ('BalancedKMeans', dict(samples=0)), ('BalancedKMeans', dict(clusterer=dict(type='mmdel.FaissKMeans', num_clusters=3))),
    ],
)  # fmt: skip
def test_arguments__out_of_range(name, bad):
    with pytest.raises(ConfigError, match='num_clusters' if 'clusterer' in bad else next(iter(bad))):
        build(name, **bad)


def test_semdedup__is_meddel_that_keeps_far_images_and_filters_none(make_pool):
    vectors, table = make_pool(80, seed=2)
    clusterer = dict(type='mmdel.FaissKMeans', num_clusters=4)
    one = SemDeDup(clusterer=clusterer).rank(vectors, table)
    other = MedDEL(keep='far', epsilon=None, clusterer=clusterer).rank(vectors, table)
    for field, value in vars(one).items():
        np.testing.assert_array_equal(getattr(other, field), value)
