"""The closing table counts what an obvious loop over all pairs counts."""

import numpy as np
import pyarrow as pa
import pytest

from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.engine import summary
from mmdel.engine.summary import missed_share, summarise
from mmdel.selection.methods.meddel import MedDEL
from mmdel.subset import Subset


@pytest.fixture
def made():
    rng = np.random.default_rng(0)
    scenes = rng.standard_normal((8, 12))
    raw = (scenes[rng.integers(0, 8, 120)] + 0.4 * rng.standard_normal((120, 12))).astype(np.float32)
    images = [f'{i:03d}.jpg' for i in range(120)]
    return Vectors(ArraySource(raw), images), pa.table({'image': images})


def cut(selector, vectors, table, **asked):
    ranking = selector.rank(vectors, table)
    images = table['image'].to_pylist()
    columns = {name: pa.array(getattr(ranking, name)) for name in ('rank', 'cluster', 'distance', 'redundancy')}
    columns['removed_by'] = pa.array([None if i < 0 else images[i] for i in ranking.removed_by], pa.string())
    about = {'selector': selector.config(), 'recut': selector.recut, 'asked': {'eta': None, 'ratio': None, **asked}}
    rows = pa.table({'image': images, **columns})
    subset = Subset.from_ranking(rows, about, (), ranking.kept, ranking.eta)
    return ranking, subset.at(**asked) if selector.recut != 'none' else subset


def cosines(vectors):
    unit = vectors.read(slice(None)).astype(np.float64)
    return np.minimum(unit @ unit.T, 1).astype(np.float32)


@pytest.mark.parametrize('scope', ['cluster', 'global'])
@pytest.mark.parametrize('eta', [0.9, 0.8, 0.6])
def test_uncovered__are_removed_images_without_a_kept_one_above_eta(made, scope, eta):
    vectors, table = made
    selector = MedDEL(epsilon=None, eta=eta, scope=scope, clusterer=dict(type='mmdel.FaissKMeans', num_clusters=3))
    ranking, subset = cut(selector, vectors, table, eta=eta)
    matrix, keep = cosines(vectors), subset.keep
    expected = sum(not (matrix[i, keep] > np.float32(eta)).any() for i in np.flatnonzero(~keep))
    assert summarise(subset, vectors, selector, ranking).uncovered == expected


def test_uncovered__greedy_has_none(made):
    vectors, table = made
    selector = MedDEL(epsilon=None, eta=0.7, rule='greedy', scope='global')
    ranking, subset = cut(selector, vectors, table, eta=0.7)
    assert summarise(subset, vectors, selector, ranking).uncovered == 0


def test_missed_share__of_all_images_is_the_share_of_all_pairs(made, monkeypatch):
    vectors, _ = made
    monkeypatch.setattr(summary, 'BLOCK', 7)
    cluster = (np.arange(120) % 3).astype(np.int32)
    far = np.arange(120) % 10 == 0
    above = np.triu((cosines(vectors) > 0.6) & ~far & ~far[:, None], 1)
    apart = cluster != cluster[:, None]
    assert missed_share(vectors, cluster, far, 0.6) == pytest.approx((above & apart).sum() / above.sum())
    assert missed_share(vectors, cluster, far, 1.0) is None


def test_ratio__without_any_eta_counts_none_uncovered(made):
    vectors, table = made
    selector = MedDEL(epsilon=None, clusterer=dict(type='mmdel.FaissKMeans', num_clusters=20))
    ranking, subset = cut(selector, vectors, table, ratio=0.05)
    found = summarise(subset, vectors, selector, ranking)
    assert subset.eta_interval() is None and found.uncovered is None
    assert any('none gives this subset' in value for _, value in found.rows)
