"""Coverage counts what an obvious loop over all pairs counts, and calls better only what wins everywhere."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.engine import coverage
from mmdel.engine.coverage import CoveragePoint, Judge
from mmdel.similarity import Tuning, tuned


def vectors_of(seed, size=70, dim=12):
    raw = np.random.default_rng(seed).standard_normal((size, dim)).astype(np.float32)
    return Vectors(ArraySource(raw), [f'{i:02d}.jpg' for i in range(size)])


@pytest.mark.parametrize('count', [1, 9, 70])
def test_similarity__is_that_to_the_nearest_kept_image(count):
    vectors = vectors_of(0)
    kept = np.random.default_rng(1).permutation(70)[:count]
    unit = vectors.read(slice(None)).astype(np.float64)
    matrix = (unit @ unit.T).astype(np.float32)
    np.fill_diagonal(matrix, 1)
    with tuned(Tuning(tile_rows=8, least_rows=8)):
        cosine, row = coverage.similarity_to_kept(vectors, kept)
    np.testing.assert_allclose(cosine, matrix[:, kept].max(axis=1), atol=1e-7)
    assert np.isin(row, kept).all() and (row[kept] == kept).all()
    np.testing.assert_allclose(matrix[np.arange(70), row], cosine, atol=1e-7)


def test_points__one_for_each_method_ratio_draw_and_judge(tmp_path):
    chooser, judge = Judge('one', vectors_of(0)), Judge('other', vectors_of(1))
    table = pa.table({'image': [f'{i:02d}.jpg' for i in range(70)]})
    selectors = {
        'random': dict(type='mmdel.RandomSelector'),
        'fixed': dict(type='mmdel.RandomSelector', seed=7),
        'coverage': dict(type='mmdel.Coverage'),
    }
    points = coverage.coverage_points(selectors, (0.1, 0.5), 3, table, chooser, [judge], tmp_path)
    assert len(points) == (3 + 1 + 1) * 2 * 2
    for point in points:
        vectors = (chooser if point.chose else judge).vectors
        assert point.judge == ('one' if point.chose else 'other') and point.kept == {0.1: 7, 0.5: 35}[point.ratio]
        if point.selector == 'fixed':
            kept = np.random.default_rng(7).permutation(70)[: point.kept]
            similarity = coverage.similarity_to_kept(vectors, kept)[0]
            assert point.mean == pytest.approx(similarity.mean()) and point.tail == np.quantile(similarity, 0.05)
    again = coverage.coverage_points(selectors, (0.1, 0.5), 3, table, chooser, [judge], tmp_path)
    assert again == points, 'from the ranking cache'


def point(selector, mean, tail, judge='other', seed=None):
    return CoveragePoint(selector, 0.1, seed, 7, judge, judge == 'own', mean, tail)


THEIRS = [point('every-nth', mean, tail, judge, seed) for judge in ('own', 'other', 'third')
          for seed, (mean, tail) in enumerate([(0.7, 0.5), (0.72, 0.48)])]  # fmt: skip


@pytest.mark.parametrize(
    ('mine', 'better'),
    [
        ([(0.73, 0.51), (0.73, 0.51)], True),
        ([(0.73, 0.5), (0.73, 0.51)], False),
        ([(0.71, 0.6), (0.8, 0.6)], False),
        ([(0.8, 0.6), (0.8, 0.4)], False),
    ],
)
def test_better__only_above_every_draw_in_mean_and_tail_by_every_foreign_judge(mine, better):
    points = [point('mine', 0.1, 0.1, 'own')]
    points += [point('mine', *value, judge) for judge, value in zip(('other', 'third'), mine, strict=True)]
    assert coverage.is_better(points + THEIRS, 'mine') is better
    table = coverage.coverage_table(points + THEIRS)
    assert table.header[-1] == 'better than every n-th' and table.rows[0][-1] == ('yes' if better else 'no')


def test_table__shows_the_spread_over_draws():
    rows = coverage.coverage_table([replace(p, selector='random') for p in THEIRS]).rows
    assert rows == (('0.1', 'random', *['0.710 ± 0.014 / 0.490 ± 0.014'] * 3),)
