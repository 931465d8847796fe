"""Each figure against the obvious way to compute it."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from mmdel.errors import ConfigError, DatasetError
from mmdel.study.pools.drawing import GroupPool, Pool, ZipfPool, with_scenes
from mmdel.study.pools.evaluations import (
    Archive,
    FeatureCoverage,
    LabelBudget,
    RareEvents,
    Resample,
    areas,
    recalls,
    ridge,
)
from mmdel.study.pools.pool_tables import compare, holm


@pytest.fixture
def archive():
    """30 videos of 10 frames; class a has 15 of them, b 12, c 3."""
    random = np.random.default_rng(0)
    label = ['a'] * 15 + ['b'] * 12 + ['c'] * 3
    rows = [
        dict(image=f'{video:02d}.mp4#{frame:06d}', video=f'{video:02d}.mp4', frame=frame, label=label[video])
        for video, frame in itertools.product(range(30), range(10))
    ]
    scenes = random.standard_normal((30, 12)).repeat(10, axis=0)
    unit = (scenes + 0.2 * random.standard_normal((300, 12))).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return Archive(pa.Table.from_pylist(rows), unit, unit)


NONE = Resample((0,), 0)


def test_resample__is_the_same_for_every_method_and_keeps_the_number_of_groups_of_each_kind():
    kinds = np.array([0, 1, 0, 0, 1, 2, 0])
    weights = Resample((3, 1), 50).weights(kinds)
    np.testing.assert_array_equal(weights, Resample((3, 1), 50).weights(kinds))
    assert weights.shape == (51, 7) and (weights[0] == 1).all()
    for kind in range(3):
        assert (weights[:, kinds == kind].sum(axis=1) == np.count_nonzero(kinds == kind)).all()
    assert (weights != Resample((4, 1), 50).weights(kinds)).any()


def test_rare_events__count_groups_with_a_kept_image(archive):
    pool = Pool(np.arange(300), np.zeros(300, np.int64), np.empty(0, np.int64))
    kept = np.array([0, 1, 155, 160, 290])  # videos 0 of a; 15 and 16 of b; 29 of c
    figures = RareEvents(classes=('c',)).judge(archive, pool, kept, NONE)
    assert {name: float(each[0]) for name, each in figures.items()} == pytest.approx(
        {'groups found': 4 / 30, 'worst class found': 1 / 15, 'c found': 1 / 3}
    )
    order = np.concatenate([np.arange(0, 300, 10), np.setdiff1d(np.arange(300), np.arange(0, 300, 10))])
    assert RareEvents().judge_ranking(archive, pool, order)['images for 95 %'] == [29]


def test_rare_events__redrawing_weighs_groups(archive):
    pool = Pool(np.arange(300), np.zeros(300, np.int64), np.empty(0, np.int64))
    weights = Resample((1,), 20).weights(np.repeat([0, 1, 2], [15, 12, 3]))
    found = RareEvents().judge(archive, pool, np.arange(100), Resample((1,), 20))['groups found']
    np.testing.assert_allclose(found, weights[:, :10].sum(axis=1) / 30)


def test_feature_coverage__is_the_nearest_kept_cosine_of_every_image(archive):
    random = np.random.default_rng(1)
    rows = np.sort(random.integers(0, 300, 120))
    pool, kept = Pool(rows, np.zeros(120, np.int64), np.empty(0, np.int64)), random.permutation(120)[:9]
    nearest = sorted(max(float(archive.features[row] @ archive.features[rows[each]]) for each in kept) for row in rows)
    figures = FeatureCoverage().judge(archive, pool, kept, NONE)
    assert figures['mean coverage'][0] == pytest.approx(np.mean(nearest), abs=1e-6)
    assert figures['tail coverage'][0] == pytest.approx(nearest[int(np.ceil(0.05 * 120)) - 1], abs=1e-6)


@pytest.mark.parametrize(('images', 'dim'), [(2, 5), (12, 5), (12, 40), (60, 20)])
def test_ridge__has_the_lowest_leave_one_out_error_of_the_penalties(images, dim, monkeypatch):
    random = np.random.default_rng(images + dim)
    x, test = random.standard_normal((images, dim)), random.standard_normal((4, dim))
    y = np.eye(3)[random.integers(0, 3, images)] + 0.0

    def fit(x, y, test, penalty):
        mean, level = x.mean(axis=0), y.mean(axis=0)
        weights = np.linalg.solve((x - mean).T @ (x - mean) + penalty * np.eye(dim), (x - mean).T @ (y - level))
        return (test - mean) @ weights + level

    penalties = 10.0 ** np.arange(-2, 3)
    monkeypatch.setattr('mmdel.study.pools.evaluations.PENALTIES', penalties)
    errors = []
    for penalty in penalties:
        left = [fit(np.delete(x, i, 0), np.delete(y, i, 0), x[i : i + 1], penalty)[0] - y[i] for i in range(images)]
        errors.append(np.mean(np.square(left)))
    best = penalties[int(np.argmin(errors))]
    np.testing.assert_allclose(ridge(x, y, test), fit(x, y, test, best), atol=1e-8)


def test_areas_and_recalls__of_weighted_images_are_those_of_repeated_ones():
    random = np.random.default_rng(2)
    truth, score = random.integers(0, 3, 25), random.integers(0, 5, (25, 3)).astype(float)
    weights = np.stack([np.ones(25), random.integers(0, 4, 25)])
    predicted = random.integers(0, 3, 25)
    for row, area, recall in zip(
        weights, areas(score, truth, weights), recalls(predicted, truth, weights), strict=True
    ):
        some = np.repeat(np.arange(25), row.astype(int))
        for kind in range(3):
            own, other = (score[some[side], kind] for side in (truth[some] == kind, truth[some] != kind))
            wins = np.mean([(a > b) + (a == b) / 2 for a in own for b in other])
            assert area[kind] == pytest.approx(wins)
            assert recall[kind] == pytest.approx(np.mean(predicted[some[truth[some] == kind]] == kind))


@pytest.mark.parametrize('probe', ['ridge', 'knn'])
def test_label_budget__learns_what_the_kept_labels_teach(archive, probe):
    label = np.array(archive.table['label'].to_pylist())
    features = (np.eye(12)[np.searchsorted(['a', 'b', 'c'], label)] + 0.01 * archive.features).astype(np.float32)
    archive = Archive(archive.table, features, features)
    pool = GroupPool().draw(archive.table, np.random.default_rng(0))
    names = label[pool.rows]
    evaluation = LabelBudget(probe=probe, neighbours=1)
    all_classes = np.concatenate([np.flatnonzero(names == each)[:3] for each in 'abc'])
    good = evaluation.judge(archive, pool, all_classes, Resample((0,), 5))
    assert good['balanced accuracy'][0] == good['AUROC'][0] == good['worst-class recall'][0] == 1
    lacking = evaluation.judge(archive, pool, np.flatnonzero(names != 'c')[:40], NONE)
    assert lacking['worst-class recall'][0] == 0 and lacking['balanced accuracy'][0] < 0.7


def test_label_budget__refuses_what_it_cannot_judge(archive):
    with pytest.raises(DatasetError, match='test share'):
        LabelBudget().judge(
            archive, GroupPool(test=0).draw(archive.table, np.random.default_rng(0)), np.arange(3), NONE
        )
    with pytest.raises(DatasetError, match='has a patient'):
        RareEvents('patient').judge(archive, Pool(*np.zeros((3, 4), np.int64)), np.arange(3), NONE)
    with pytest.raises(ConfigError, match='probe'):
        LabelBudget(probe='forest')


# --- pools


@pytest.mark.parametrize('seed', range(4))
def test_group_pool__has_no_group_on_both_sides_and_its_size(archive, seed):
    pool = GroupPool(size=100, shares={'c': 0.05}).draw(archive.table, np.random.default_rng(seed))
    video, label = (np.array(archive.table[name].to_pylist()) for name in ('video', 'label'))
    assert not set(video[pool.rows]) & set(video[pool.test])
    assert len(pool.rows) == len(set(pool.rows.tolist())) == 100 and (np.diff(pool.rows) > 0).all()
    assert np.count_nonzero(label[pool.rows] == 'c') == 5
    assert set(label[pool.test]) == {'a', 'b', 'c'}, 'every class is judged'


def test_group_pool__too_small_an_archive_is_an_error(archive):
    with pytest.raises(DatasetError, match='lacking'):
        GroupPool(size=100, shares={'c': 0.9}).draw(archive.table, np.random.default_rng(0))


@pytest.mark.parametrize('recordings', [False, True])
def test_zipf_pool__repeats_a_few_recordings_often(archive, recordings):
    drawing = ZipfPool(size=2000, exponent=1.2, group='video', recordings=recordings)
    pool = drawing.draw(archive.table, np.random.default_rng(0))
    table = pool.table(archive.table)
    images = table['image'].to_pylist()
    assert len(pool.rows) == len(set(images)) == 2000 and images == sorted(images)
    times = np.sort(np.bincount(pool.rows // 10, minlength=30))[::-1] / 10
    assert times[0] > 5 * times[9] > 0 and np.count_nonzero(times) > 10
    again = [name for name in table['video'].to_pylist() if '~' in name]
    assert len(again) == recordings * np.count_nonzero(pool.repeat)


def test_pool__repetitions_have_noise_and_the_first_have_none(archive):
    raw = 3 * archive.features
    pool = ZipfPool(size=600, noise=0.1).draw(archive.table, np.random.default_rng(0))
    found = pool.vectors(raw, np.random.default_rng(1))
    first = pool.repeat == 0
    np.testing.assert_array_equal(found[first], raw[pool.rows[first]])
    away = np.linalg.norm(found - raw[pool.rows], axis=1)[~first] / 3
    assert away.mean() == pytest.approx(0.1, rel=0.1)


def test_scenes__end_at_jumps_and_after_so_many_frames():
    images = [f'a/{number:04d}.jpg' for number in (1, 2, 3, 7, 8, 9, 10, 11)] + ['b/0012.jpg']
    table = pa.table({'image': images, 'video': pa.array([None] * 8 + ['known'], pa.string())})
    found = with_scenes(table, gap=2, most=4)['video'].to_pylist()
    assert found == ['scene a/0001.jpg'] * 3 + ['scene a/0007.jpg'] * 4 + ['scene a/0011.jpg'] + ['known']


# --- comparisons


def test_compare__finds_what_is_there_and_nothing_else():
    random = np.random.default_rng(0)
    base = random.standard_normal((40, 1)) + 0.1 * random.standard_normal((40, 21))
    same = base + 0.3 * random.standard_normal((40, 21))
    better = same + 0.5
    assert compare(better, base).p < 0.01 and compare(better, base).low > 0.3
    assert compare(same, base).low < 0 < compare(same, base).high
    base[3] = np.nan
    assert compare(better, base).pools == 39


def test_holm__is_the_step_down_of_the_paper():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0] and holm([]) == []
