"""A dataset that has grown: old decisions never change, new ones follow the stated rule, however it was run."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmdel.engine import DedupRunner
from mmdel.engine.finished_run import FinishedRun
from mmdel.engine.inspection import inspect
from mmdel.errors import ConfigError, DatasetError, GuardError, StoreError, SubsetError
from mmdel.subset import UPDATE, Subset

ROOT = Path(__file__).resolve().parents[2]
RESULT = ('subset.parquet', 'keep.txt', 'unreadable.csv', 'centroids.npy')


# --- given vectors: no images, so these are quick


def scenes(size, seed=0):
    """Video-like vectors [size, 12], the later ones of further scenes, and their keys, in an order that says nothing."""
    rng = np.random.default_rng(seed)
    middle = rng.standard_normal((16, 12))
    raw = middle[rng.integers(0, np.where(np.arange(size) < size // 2, 8, 16))] + 0.35 * rng.standard_normal((size, 12))
    return raw.astype(np.float32), [f'{n:03d}.jpg' for n in rng.permutation(size)]


def run(work_dir, raw, keys, folder, update=None, overwrite=False, **changes):
    """One run of the main job over vectors; returns its folder."""
    work_dir = folder / work_dir
    work_dir.parent.mkdir(parents=True, exist_ok=True)
    file = folder / f'{work_dir.name}.npy'
    np.save(file, raw)
    file.with_suffix('.txt').write_text('\n'.join(keys))
    clusterer = dict(type='mmdel.FaissKMeans', num_clusters=6)
    selector = dict(type='mmdel.MedDEL', epsilon=0.6, eta=0.8, clusterer=clusterer)
    selector |= changes.pop('selector', {})
    options = {name: changes.pop(name) for name in ('ratio',) if name in changes}
    cfg = Config(dict(selector=selector, work_dir=str(work_dir), cache_dir=str(folder / 'cache'), **changes))
    runner = DedupRunner.from_cfg(
        cfg, embeddings=str(file), keys=str(file.with_suffix('.txt')), report=False,
        update=None if update is None else str(update), overwrite=overwrite, **options,
    )  # fmt: skip
    runner.run()
    return work_dir, runner


def rows_of(path, images=None):
    """Rows of a subset as text, so that NaN equals NaN."""
    table = Subset.read(path / 'subset.parquet').table.to_pylist()
    return {row['image']: repr(row) for row in table if images is None or row['image'] in images}


def bytes_of(path):
    return {name: (path / name).read_bytes() for name in RESULT}


OPTIONS = [
    {},
    {'center': True},
    {'selector': {'rule': 'greedy', 'scope': 'global'}},
    {'selector': {'keep': 'far', 'scope': 'global', 'distance': 'euclidean', 'epsilon': 1.2}, 'center': True},
]


@pytest.mark.parametrize('options', OPTIONS)
def test_update__old_rows_stay_and_counts_are_those_of_the_table(tmp_path, options):
    raw, keys = scenes(120)
    old, _ = run('old', raw[:70], keys[:70], tmp_path, **options)
    new, runner = run('new', raw, keys, tmp_path, update=old, **options)
    assert rows_of(new, set(keys[:70])) == rows_of(old)
    subset, before = Subset.read(new / 'subset.parquet'), Subset.read(old / 'subset.parquet')
    assert subset.metadata['mean'] == before.metadata['mean'] and subset.eta == before.eta == 0.8
    (counts,) = subset.metadata['updates']
    table = [row for row in subset.table.to_pylist() if row['image'] not in before.images]
    gone = [row for row in table if row['reason'] == 'duplicate']
    told = {
        'after': 70,
        'new': len(table),
        'kept': sum(row['keep'] for row in table),
        'by_old': sum(row['removed_by'] in before.kept for row in gone),
        'by_new': sum(row['removed_by'] not in before.images for row in gone),
        'far': sum(row['reason'] == 'far' for row in table),
        'excluded': 0,
        'leak': 0,
        'unreadable': 0,
    }
    assert {name: counts[name] for name in UPDATE} == told
    assert told['new'] == sum(told[name] for name in UPDATE[2:]) == 50 and told['by_old'] and told['by_new']
    assert sorted(row['rank'] for row in table) == list(range(70, 120))
    rows = dict(runner.summary.rows)
    assert rows['new images'] == '50' and rows['new, removed by old kept images'] == str(told['by_old'])
    assert len(FinishedRun.open(new).vectors()) == 120


def test_update__of_nothing_is_the_identity(tmp_path):
    raw, keys = scenes(60)
    for options in OPTIONS[1:3]:
        old, _ = run('old', raw, keys, tmp_path, overwrite=True, **options)
        new, _ = run('new', raw, keys, tmp_path, update=old, overwrite=True, **options)
        assert bytes_of(new) == bytes_of(old)
        again, _ = run('new', raw, keys, tmp_path, update=old, **options)
        assert bytes_of(again) == bytes_of(old)


def test_update__does_not_depend_on_the_order_of_the_images(tmp_path):
    raw, keys = scenes(100)
    old, _ = run('old', raw[:60], keys[:60], tmp_path, center=True)
    order = np.random.default_rng(1).permutation(100)
    one, _ = run('one', raw, keys, tmp_path, update=old, center=True)
    two, _ = run('two', raw[order], [keys[i] for i in order], tmp_path, update=old, center=True)
    assert bytes_of(one) == bytes_of(two)


def test_update__of_an_update_keeps_both_and_compares_with_what_both_kept(tmp_path):
    raw, keys = scenes(120)
    old, _ = run('old', raw[:60], keys[:60], tmp_path, center=True)
    one, _ = run('one', raw[:90], keys[:90], tmp_path, update=old, center=True)
    two, _ = run('two', raw, keys, tmp_path, update=one, center=True)
    assert rows_of(two, set(keys[:90])) == rows_of(one)
    subset, before = Subset.read(two / 'subset.parquet'), Subset.read(one / 'subset.parquet')
    first, second = subset.metadata['updates']
    assert [first] == before.metadata['updates'] and second['after'] == 90 and second['new'] == 30
    allowed = set(before.kept) | set(keys[90:])
    assert {row['removed_by'] for row in subset.table.to_pylist() if row['image'] in keys[90:]} - {None} <= allowed
    assert subset.metadata['mean'] == Subset.read(old / 'subset.parquet').metadata['mean']
    # a new image that was seen before changes nothing
    identity, _ = run('three', raw, keys, tmp_path, update=two, center=True)
    assert bytes_of(identity) == bytes_of(two)


def test_update__answers_no_other_cut_and_names_the_way_out(tmp_path):
    raw, keys = scenes(80)
    old, _ = run('old', raw[:50], keys[:50], tmp_path)
    new, _ = run('new', raw, keys, tmp_path, update=old)
    subset = Subset.read(new / 'subset.parquet')
    for cut in ({'ratio': 0.5}, {'eta': 0.7}):
        with pytest.raises(SubsetError, match=f'updated.*again with --{next(iter(cut))}'):
            subset.at(**cut)
    assert subset.at(eta=0.8) is subset
    key = next(key for key in keys[50:] if key in subset.kept)
    assert any(line.startswith('kept') for line in inspect(FinishedRun.open(new), key).lines)


def test_update__of_a_ratio_holds_new_images_to_the_eta_that_it_meant(tmp_path):
    raw, keys = scenes(100)
    old, _ = run('old', raw[:60], keys[:60], tmp_path, ratio=0.4)
    new, _ = run('new', raw, keys, tmp_path, update=old)
    interval = Subset.read(old / 'subset.parquet').eta_interval()
    assert Subset.read(new / 'subset.parquet').eta == interval.lower
    few, _ = run('few', raw[:60], keys[:60], tmp_path, ratio=0.02)
    with pytest.raises(SubsetError, match='no eta gives'):
        run('other', raw, keys, tmp_path, update=few)


def refusals(folder, old, raw, keys):
    """(error, words, what is run) of each way to ask for what an update cannot do."""
    other = raw.copy()
    other[3] += 0.5
    without = folder / 'without'
    shutil.copytree(old, without)
    (without / 'centroids.npy').unlink()
    cut = raw[5:], keys[5:]
    return [
        (ConfigError, 'selector.keep', dict(selector={'keep': 'far'})),
        (ConfigError, 'center', dict(center=True)),
        (ConfigError, 'embedder.dtype', dict(raw=raw.astype(np.float64))),
        (ConfigError, '--ratio out', dict(ratio=0.5)),
        (ConfigError, 'max_iterations', dict(selector={'max_iterations': 2})),
        (ConfigError, 'another --work-dir', dict(work_dir='old')),
        (StoreError, 'were changed since', dict(raw=other)),
        (StoreError, 'without --update', dict(raw=cut[0], keys=cut[1])),
        (DatasetError, 'None of the 60', dict(keys=[f'x{key}' for key in keys])),
        (SubsetError, 'centroids.npy', dict(update=without)),
        (SubsetError, 'not there', dict(update=folder / 'nowhere')),
        (GuardError, 'min_keep', dict(guards=dict(min_keep=dict(label=1)))),
        (GuardError, 'decides otherwise', dict(guards=dict(exclude=[keys[0]]))),
    ]


@pytest.mark.parametrize('number', range(13))
def test_refused__with_what_differs_and_what_to_do(tmp_path, number):
    raw, keys = scenes(90)
    old, _ = run('old', raw[:60], keys[:60], tmp_path)
    error, words, change = refusals(tmp_path, old, raw, keys)[number]
    arguments = dict(work_dir='new', raw=raw, keys=keys, folder=tmp_path, update=old) | change
    before = bytes_of(old)
    with pytest.raises(error, match=words):
        run(**arguments)
    assert bytes_of(old) == before


def test_work_dir__of_another_question_is_not_replaced_unasked(tmp_path):
    raw, keys = scenes(90)
    old, _ = run('old', raw[:60], keys[:60], tmp_path)
    other, _ = run('other', raw[:50], keys[:50], tmp_path)
    run('new', raw, keys, tmp_path, update=old)
    with pytest.raises(ConfigError, match='old decisions would be lost'):
        run('new', raw, keys, tmp_path)
    with pytest.raises(ConfigError, match='no update of'):
        run('new', raw, keys, tmp_path, update=other)
    new, _ = run('new', raw, keys, tmp_path, update=other, overwrite=True)
    assert Subset.read(new / 'subset.parquet').metadata['updates'][0]['after'] == 50
    run('new', raw, keys, tmp_path, overwrite=True)
    assert not (new / 'update.csv').exists()


def test_guards__hold_for_new_images(tmp_path):
    raw, keys = scenes(100)
    old, _ = run('old', raw[:60], keys[:60], tmp_path)
    plain, _ = run('plain', raw, keys, tmp_path, update=old)
    subset = Subset.read(plain / 'subset.parquet')
    gone = [key for key in keys[60:] if key not in subset.kept]
    kept = [key for key in keys[60:] if key in subset.kept]
    guards = dict(always_keep=[gone[0], subset.kept[0]], exclude=kept[:1])
    new, _ = run('new', raw, keys, tmp_path, update=old, guards=guards)
    guarded = Subset.read(new / 'subset.parquet')
    assert gone[0] in guarded.kept and guarded.count('excluded') == 1 and kept[0] not in guarded.kept
    assert rows_of(new, set(keys[:60])) == rows_of(old)
    assert kept[0] not in [row['removed_by'] for row in guarded.table.to_pylist()]


@pytest.mark.parametrize('updates', [1, [1], [{}], [dict.fromkeys(UPDATE, '1')], [dict.fromkeys(UPDATE, True)]])
def test_updates__of_a_foreign_file_are_numbers_or_an_error(tmp_path, updates):
    raw, keys = scenes(20)
    old, _ = run('old', raw, keys, tmp_path)
    subset = Subset.read(old / 'subset.parquet')
    Subset(subset.table, {**subset.metadata, 'updates': updates}).write(old / 'subset.parquet')
    with pytest.raises(SubsetError, match='what was added'):
        Subset.read(old / 'subset.parquet')


# --- images


def draw(path, number):
    small = np.random.default_rng(number).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.resize(small, (48, 40), interpolation=cv2.INTER_CUBIC))


def choose(pool, work_dir, update=None, cache='cache', report=False, **changes):
    cfg = Config.fromfile(ROOT / 'configs' / 'meddel_eta09.py')
    cfg.embedder = Config.fromfile(ROOT / 'configs' / '_base_' / 'embedders' / 'pixels.py').embedder
    cfg.embedder.update(changes.pop('embedder', {}))
    cfg.selector.epsilon = None
    cfg.center = True
    cfg.dataset = dict(type='mmdel.DataDEL', data_root=str(pool))
    cfg.work_dir, cfg.cache_dir = str(work_dir), str(work_dir.parent / cache)
    cfg.merge_from_dict(changes)
    runner = DedupRunner.from_cfg(cfg, report=report, update=None if update is None else str(update))
    runner.run()
    return runner


@pytest.fixture(scope='module')
def grown(tmp_path_factory):
    """An old run over 24 images, and then: 8 new ones (4 of them copies), a broken new one, one gone, one changed."""
    base = tmp_path_factory.mktemp('grown')
    pool = base / 'pool'
    for number in range(24):
        draw(pool / f'{number:02d}.png', number // 2)
    (pool / 'broken.png').write_bytes(b'no image')
    choose(pool, base / 'old')
    old = Subset.read(base / 'old' / 'subset.parquet')
    for number in range(8):
        draw(pool / 'more' / f'{number}.png', number if number % 2 else 100 + number)
    (pool / 'more' / 'bad.jpg').write_bytes(b'no image either')
    shutil.copytree(pool, base / 'before')
    (pool / old.kept[0]).unlink()
    draw(pool / old.kept[1], 77)
    return base


def test_images__gone_and_changed_ones_are_said_and_new_broken_ones_go_to_the_ledger(grown):
    runner = choose(grown / 'pool', grown / 'new', update=grown / 'old', report=True)
    old, new = (Subset.read(grown / name / 'subset.parquet') for name in ('old', 'new'))
    assert rows_of(grown / 'new', set(old.images)) == rows_of(grown / 'old')
    assert set(new.images) - set(old.images) == {*(f'more/{n}.png' for n in range(8)), 'more/bad.jpg'}
    rows = dict(runner.summary.rows)
    assert (
        rows['new images'] == '9' and rows['new, unreadable'] == '1' and rows['new, removed by old kept images'] == '4'
    )
    assert (
        rows['old images that are gone, decisions stay'] == rows['old files that have changed, decisions stay'] == '1'
    )
    run = FinishedRun.open(grown / 'new')
    assert dict(run.unreadable).keys() == {'broken.png', 'more/bad.jpg'}
    assert all('not known' not in reason for _, reason in run.unreadable)
    changes = dict(run.changes)
    assert changes.pop(old.kept[0]) == 'gone' and changes.pop(old.kept[1]) == 'changed'
    assert set(changes.values()) == {'new'} and len(changes) == 9
    page = (grown / 'new' / 'report' / 'index.html').read_text()
    assert 'What was added' in page and 'update.csv' in page
    assert len(run.vectors()) == 32


@pytest.mark.slow
def test_images__an_emptied_cache_is_filled_again_if_the_vectors_are_the_same(grown):
    shutil.copytree(grown / 'before', grown / 'there', dirs_exist_ok=True)
    choose(grown / 'there', grown / 'elsewhere', update=grown / 'old', cache='another')
    choose(grown / 'there', grown / 'as ever', update=grown / 'old')
    assert bytes_of(grown / 'elsewhere') == bytes_of(grown / 'as ever')
    with pytest.raises(StoreError, match='are gone or were changed'):  # the changed one is made again, and is another
        choose(grown / 'pool', grown / 'lost', update=grown / 'old', cache='a third')


def test_images__of_another_encoder_are_refused_by_name(grown):
    other = [dict(type='mmdel.LoadFrame'), dict(type='mmcv.Resize', scale=(8, 8))]
    with pytest.raises(ConfigError, match=r'embedder\.pipeline = .*LoadFrame.*now it is .*Resize'):
        choose(grown / 'pool', grown / 'other', update=grown / 'old', embedder=dict(pipeline=other))


def test_images__the_updated_subset_is_read_by_what_reads_subsets(grown, tmp_path):
    from mmengine.registry import DATASETS, init_default_scope

    from mmdel.export import export_images

    # the folder has moved: vectors are made again, and new images that copy a test image are set aside
    tests = tmp_path / 'tests'
    draw(tests / 'test.png', 100)
    choose(grown / 'before', tmp_path / 'new', update=grown / 'old', exclude_near=dict(against=[str(tests)]))
    subset = Subset.read(tmp_path / 'new' / 'subset.parquet')
    (counts,) = subset.metadata['updates']
    assert counts['leak'] == subset.count('leak') == 1 and counts['exclude_near']['against'][0].endswith('tests')
    assert counts['new'] == sum(counts[name] for name in UPDATE[2:]) == 9
    assert json.loads((tmp_path / 'new' / 'origin.json').read_text())['images'] == os.path.abspath(grown / 'before')
    init_default_scope('mmpretrain')
    dataset = dict(type='mmdel.DataDEL', data_root=str(grown / 'before'))
    # the broken files are listed by the table, so that nothing is unlisted
    wrapped = DATASETS.build(
        dict(type='mmdel.MedDELDataset', subset=str(tmp_path / 'new' / 'subset.parquet'), dataset=dataset)
    )
    assert len(wrapped) == len(subset.kept)
    assert (tmp_path / 'new' / 'keep.txt').read_text().split('\n')[:-1] == subset.kept
    exported = export_images(subset, str(grown / 'before'), str(tmp_path / 'files'))
    assert len(exported.rows) == len(subset.kept) and not exported.problems
