"""A study of pools on drawn vectors whose right order is known, from its config to tables and figures."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mmdel.errors import ConfigError
from mmdel.registry import EVALUATIONS, POOLS
from mmdel.selection.selector import build_selector
from mmdel.study import read_pool_study, run_pool_study
from mmdel.study.pools.pool_study import RESULTS
from mmdel.study.pools.pool_tables import compare, pool_tables, values_of
from mmdel.study.report.page import write_pool_page
from mmdel.study.study_config import with_seed

CONFIGS = Path(__file__).resolve().parents[3] / 'configs' / 'study'

CONFIG = """
work_dir = '{root}/study'
archive = dict(config='dedup.py')
scenes = dict(gap=1, most=100)
pool = dict(type='mmdel.ZipfPool', size=240, exponent=1.5, noise=0.0)
pools, draws, budgets = 6, 20, (6, 0.05)
selectors = {{
    'random': dict(type='mmdel.RandomSelector', seed='{{seed}}'),
    'coverage': dict(type='mmdel.Coverage', neighbours=16),
    'typical': dict(type='mmdel.TypiClust'),
}}
judges = {{'hash': dict(type='mmdel.HashEmbedder')}}
evaluations = {{
    'events': dict(type='mmdel.RareEvents', classes=('b',)),
    'coverage': dict(type='mmdel.FeatureCoverage', judge='hash'),
    'labels': dict(type='mmdel.LabelBudget'),
}}
baselines = ('random',)
"""

DEDUP = """
selector = dict(type='mmdel.MedDEL')
dataset = dict(type='mmdel.DataDEL', data_root='{root}/images', labels='folders')
embedder = dict(type='mmdel.PixelEmbedder')
center = True
work_dir, cache_dir = 'work', '{root}/cache'
"""


@pytest.fixture(scope='module')
def archive(tmp_path_factory):
    """Two classes of 12 recordings with 8 frames each; the frames of a recording are nearly the same picture."""
    import cv2

    root = tmp_path_factory.mktemp('archive')
    random = np.random.default_rng(0)
    for label, level in (('a', 60), ('b', 180)):
        folder = root / 'images' / label
        folder.mkdir(parents=True)
        for recording in range(12):
            scene = np.clip(level + 40 * random.standard_normal((4, 4, 3)), 0, 255)
            for frame in range(8):
                picture = np.clip(scene + random.standard_normal((4, 4, 3)), 0, 255).astype(np.uint8)
                cv2.imwrite(
                    str(folder / f'{recording * 100 + frame:04d}.png'), cv2.resize(picture, (32, 32), interpolation=0)
                )
    (root / 'dedup.py').write_text(DEDUP.format(root=root))
    (root / 'pools.py').write_text(CONFIG.format(root=root))
    return root


@pytest.fixture(scope='module')
def finished(archive):
    study = read_pool_study(str(archive / 'pools.py'))
    return study, run_pool_study(study)


def test_run__has_a_row_for_every_figure(finished):
    _, table = finished
    rows = {
        tuple(row.values()) for row in table.select(['pool', 'selector', 'budget', 'evaluation', 'figure']).to_pylist()
    }
    assert len(rows) == len(table)
    figures = 3 + 2 + 3
    # two rankings serve every size, and say how many images find 95 %
    assert len(table) == 6 * (3 * 2 * figures + 2)
    kept = {(row['budget'], row['kept']) for row in table.select(['budget', 'kept']).to_pylist()}
    assert kept == {('6', 6), ('0.05', 12), ('all', 240)}


def test_run__on_a_redundant_archive_coverage_beats_random(finished):
    _, table = finished
    for evaluation, figure in (('events', 'groups found'), ('coverage', 'mean coverage')):
        values = values_of(table, evaluation, figure)
        found = compare(values['coverage', '0.05'], values['random', '0.05'])
        assert found.low > 0 and found.pools == 6


def test_run__on_recordings_of_one_frame_no_method_finds_more(archive):
    options = ['pool.exponent=0', 'scenes.most=1', 'pool.size=100', 'pool.noise=0', "pool.type='mmdel.GroupPool'"]
    text = CONFIG.format(root=archive).replace('exponent=1.5, noise=0.0', '').replace('ZipfPool', 'GroupPool')
    (archive / 'stills.py').write_text(text)
    study = read_pool_study(str(archive / 'stills.py'), [options[1], options[2]], str(archive / 'stills'))
    values = values_of(run_pool_study(study), 'events', 'groups found')
    assert {float(each[0, 0]) for (_, budget), each in values.items() if budget == '6'} == {0.06}


def test_run__goes_on_after_a_stop_with_the_same_bytes(finished, archive, tmp_path):
    study, _ = finished
    whole = (study.work_dir / RESULTS).read_bytes()
    again = read_pool_study(str(archive / 'pools.py'), work_dir=str(tmp_path))
    parts = sorted((study.work_dir / 'pools').iterdir())
    (tmp_path / 'pools').mkdir()
    for part in parts[:3]:  # as if it had been stopped after three
        (tmp_path / 'pools' / part.name).write_bytes(part.read_bytes())
    run_pool_study(again)
    assert (tmp_path / RESULTS).read_bytes() == whole


def test_run__another_question_asks_every_pool_again(archive, finished, tmp_path):
    study, _ = finished
    other = read_pool_study(str(archive / 'pools.py'), ['pool.noise=0.5'], str(study.work_dir))
    before = {path.name for path in (study.work_dir / 'pools').iterdir()}
    run_pool_study(other)
    assert len({path.name for path in (study.work_dir / 'pools').iterdir()} - before) == 6
    run_pool_study(study)


def test_results__say_what_decided_them(finished):
    study, _ = finished
    about = json.loads(pq.read_schema(study.work_dir / RESULTS).metadata[b'study'])
    assert about['pool'] == study.pool and about['selectors'] == study.selectors and about['encoders'][0][1]['type']


def test_tables_and_page__show_every_figure(finished):
    study, table = finished
    tables = {each.name: each for each in pool_tables(table, study.baselines)}
    assert [row[0] for row in tables['events_groups_found'].rows] == ['random', 'coverage', 'typical']
    assert tables['events_groups_found'].columns == ('selector', '6', '0.05 of all')
    assert tables['events_images_for_95'].columns == ('selector', 'images')
    against = tables['events_groups_found_against_random']
    assert [row[0] for row in against.rows] == ['coverage', 'typical'] and '4 comparisons' in against.notes[0]
    page = write_pool_page(study, table)
    assert page.read_text().count('<img ') == 3 and page.read_text().count('<table>') == len(tables)


@pytest.mark.parametrize('name', ['pools_wce', 'pools_loops'])
def test_configs__are_read(name):
    study = read_pool_study(str(CONFIGS / f'{name}.py'))
    assert study.pools == 50 and study.baselines == ('random', 'every n-th')
    assert all(build_selector(with_seed(config, 3)) for config in study.selectors.values())
    assert POOLS.build(study.pool) and all(EVALUATIONS.get(config['type']) for config in study.evaluations.values())


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['pools=0'], 'at least 1'),
        (['budgets=[0]'], 'budgets'),
        (['pool.type=mmdel.Pool'], 'no such pool'),
        (['pool.nonsense=1'], 'nonsense'),
        (['evaluations.events.type=mmdel.Nothing'], 'no such evaluation'),
        (['baselines=[nobody]'], 'nobody'),
        (['evaluations.coverage.judge=nobody'], 'nobody'),
        (['budgets=[1000]'], 'has 240 images'),
    ],
)
def test_config__says_which_key_is_wrong(archive, tmp_path, options, words):
    with pytest.raises(ConfigError, match=words):
        run_pool_study(read_pool_study(str(archive / 'pools.py'), options, str(tmp_path)))
