"""k-means: as good as plain faiss, k from the number of images alone, and no trouble with clusters that nobody belongs to."""

import itertools
import sys

import faiss
import numpy as np
import pytest

from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.errors import ConfigError
from mmdel.selection import clustering
from mmdel.selection.clustering import POINTS_PER_CENTROID, FaissKMeans, auto_num_clusters


def vectors_of(raw):
    return Vectors(ArraySource(raw.astype(np.float32)), [f'{i:05d}' for i in range(len(raw))])


def scenes(size, dim, rng):
    return rng.standard_normal((30, dim))[rng.integers(0, 30, size)] + 0.5 * rng.standard_normal((size, dim))


@pytest.mark.parametrize('k', [3, 12, 60])
def test_objective__within_half_a_percent_of_plain_faiss(k):
    vectors = vectors_of(scenes(6000, 32, np.random.default_rng(0)))
    unit = vectors.read(slice(None))
    ours = FaissKMeans(num_clusters=k).fit(vectors, np.arange(len(unit))).cosine.mean()
    plain = faiss.Kmeans(32, k, niter=20, seed=1234, spherical=True)
    plain.train(unit)
    theirs = (unit @ plain.centroids.T).max(axis=1).mean()
    # both are maximised: the mean cosine to the own centroid
    assert ours >= theirs - 0.005 * abs(theirs)


@pytest.mark.parametrize('distinct', [1, 2, 5])
def test_empty_clusters__every_image_has_one_of_its_own_kind(distinct):
    rng = np.random.default_rng(1)
    raw = rng.standard_normal((distinct, 16))[rng.integers(0, distinct, 80)]
    vectors = vectors_of(raw)
    found = FaissKMeans(num_clusters=20).fit(vectors, np.arange(80))
    assert np.isfinite(found.centroids).all() and np.isfinite(found.cosine).all()
    np.testing.assert_allclose(np.linalg.norm(found.centroids, axis=1), 1, atol=1e-6)
    assert found.label.min() >= 0 and found.label.max() < 20
    for row in range(80):
        same = (raw == raw[row]).all(axis=1)
        assert len(set(found.label[same].tolist())) == 1


def test_auto__is_a_function_of_the_number_of_images():
    assert [auto_num_clusters(images) for images in (0, 1, 2, 88_282, 1_000_000, 10_000_000)] == [
        1,
        1,
        1,
        70,
        336,
        1426,
    ]


def test_training__reads_no_more_images_than_stated():
    class Counting:
        dim = 8
        most = 0

        def read(self, rows):
            self.most = max(self.most, len(rows))
            return unit[rows]

    unit = vectors_of(scenes(3000, 8, np.random.default_rng(2))).read(slice(None))
    vectors = Counting()
    FaissKMeans(num_clusters=4)._train(vectors, np.arange(3000), 4, lambda done: None)
    assert vectors.most == 4 * POINTS_PER_CENTROID


def test_device__recorded_where_it_decides_and_refused_where_there_is_none():
    assert 'device' not in FaissKMeans().config()
    assert FaissKMeans(device='cuda').config()['device'] == 'cuda'
    with pytest.raises(ConfigError, match='device'):
        FaissKMeans(device='abacus')
    if not faiss.get_num_gpus():
        with pytest.raises(ConfigError, match='sees no GPU'):
            FaissKMeans(device='cuda').fit(vectors_of(np.eye(8)), np.arange(8))


@pytest.mark.parametrize(
    ('architectures', 'kernels'),
    [
        (['SkylakeX', 'Zen'], 'SkylakeX'),
        (['Cooperlake', 'Haswell', None], 'SkylakeX'),
        ([None, 'Zen'], 'Haswell'),
        (['Prescott'], None),
    ],
)
def test_kernels__do_not_depend_on_the_order_of_libraries(monkeypatch, architectures, kernels):
    for order in itertools.permutations(architectures):
        libraries = [{'user_api': 'blas'} if name is None else {'architecture': name} for name in order]
        monkeypatch.setattr(clustering, 'threadpool_info', lambda libraries=libraries: libraries)
        assert clustering._newest_kernels() == kernels


@pytest.mark.parametrize(
    ('error', 'words'),
    [
        (ModuleNotFoundError("No module named 'faiss'", name='faiss'), 'k-means needs faiss. Install it'),
        (
            ImportError('numpy.core.multiarray failed to import'),
            'cannot be imported: numpy.core.multiarray failed.*doctor',
        ),
        (
            ModuleNotFoundError("No module named 'numpy._core'", name='numpy._core'),
            'cannot be imported: No module named .*doctor',
        ),
    ],
)
def test_faiss__absent_and_broken_are_told_apart(monkeypatch, error, words):
    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == 'faiss':
                raise error

    monkeypatch.delitem(sys.modules, 'faiss')
    monkeypatch.setattr(sys, 'meta_path', [Finder, *sys.meta_path])
    with pytest.raises(ImportError, match=words):
        clustering.import_faiss()


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(clustering, 'print_log', lambda line, logger: lines.append(line))
    monkeypatch.setattr(clustering, '_rate', lambda dim: 1e11)
    return lines


def test_announce__follows_the_number_of_products(said):
    clustering.announce(10**12, 768)
    assert said == [
        '1,000,000,000,000 pairs are compared now, which takes this machine alone at most about 6 h 24 min; '
        'where images repeat themselves, a fraction of it.'
    ]


def test_announce__what_is_over_soon_needs_no_word(said):
    clustering.announce(4 * 10**9, 768)  # the paper's images, all pairs
    clustering.announce(0, 768)
    clustering.announce(2 * 10**9, 768)
    assert len(said) == 1 and said[0].startswith('4,000,000,000 pairs') and '92 s' in said[0]


def test_rate__is_that_of_the_fastest_of_three_products(monkeypatch):
    clock = iter([0.0, 2.0, 10.0, 10.5, 20.0, 24.0])
    monkeypatch.setattr(clustering.time, 'perf_counter', lambda: next(clock))
    assert clustering._rate(64) == 2 * 1024 * 1024 * 64 / 0.5


@pytest.mark.parametrize(
    ('seconds', 'words'),
    [(75.4, '75 s'), (100, '2 min'), (5999, '1 h 40 min'), (3600 * 47, '47 h 0 min'), (3600 * 120, '5 days')],
)
def test_duration__is_said_in_two_words(seconds, words):
    assert clustering.duration(seconds) == words
