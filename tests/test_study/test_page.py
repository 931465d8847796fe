"""Figures and the page of a study that has ended, and of one that has not."""

import re
import shutil

import cv2
import numpy as np
import pyarrow as pa
import pytest

from mmdel.study import collect, figures, make_plan, page, read_study
from mmdel.study.execute import execute
from mmdel.subset import Subset


@pytest.fixture(scope='module')
def finished(little, tmp_path_factory):
    root = tmp_path_factory.mktemp('page')
    path = little.write_little_study(root, little.LARGER)
    for number in range(4):  # pictures that can be drawn
        picture = np.full((40, 40, 3), 60 * number, np.uint8)
        cv2.imwrite(str(root / 'pool' / f'{number}.jpg'), picture)
    columns = {'image': [f'{n}.jpg' for n in range(4)], 'rank': range(4), 'redundancy': [None, 0.2, 0.4, 0.6]}
    table = pa.table({**columns, 'removed_by': [None, '0.jpg', '0.jpg', '2.jpg']})
    Subset.from_ranking(table, {}, kept=2).write(root / 'tools' / 'subset.parquet')
    plan = make_plan(read_study(str(path)))
    results = execute(plan, root / 'tools', 2)
    page.write_page(plan, results)
    return plan, results


def test_page__shows_everything_and_needs_nothing(finished):
    path = finished[0].study.work_dir / 'report' / 'index.html'
    text = path.read_text()
    assert '8 cells: 8 done, 0 failed, 0 not run yet' in text and 'not complete' not in text
    assert text.count('<img ') == 4
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    names = {each.name for each in path.parent.iterdir()}
    for number in (3, 4, 5, 6):
        assert {f'figure_{number}.png', f'figure_{number}.svg'} <= names
        assert f'Figure {number}' in text
    for name in ('selectors', 'comparisons', 'references', 'table_2', 'table_3', 'normdel'):
        assert {f'{name}.md', f'{name}.tex', f'{name}.csv'} <= names
        assert f'<h2 id="{name}">' in text
    assert 'table_4.md' not in names  # no checkpoint of a part was asked for


def test_page__drawn_again_it_is_the_same_bytes(finished):
    plan, _ = finished
    folder = plan.study.work_dir / 'report'
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    page.write_page(plan, collect(plan))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_page__of_an_unfinished_study_says_so_and_what_is_old_goes(finished, little, tmp_path):
    plan = make_plan(read_study(str(little.write_little_study(tmp_path, little.LARGER))))
    old = shutil.copytree(finished[0].study.work_dir / 'report', plan.study.work_dir / 'report')
    text = page.write_page(plan, collect(plan)).read_text()
    assert 'This study is not complete' in text
    assert text.index('<h2 id="not_done">') > 0 and text.count('not run yet</td>') == 8
    left = {path.name for path in old.iterdir()}
    assert 'figure_3.png' not in left and 'table_2.md' not in left and 'not_done.csv' in left


def test_removed_figure__shows_the_pairs_whose_remover_stayed(finished, monkeypatch):
    shown = []
    monkeypatch.setattr(figures, 'plot_removed', lambda pairs, paths: shown.extend(pairs))
    figures.removed_figure(finished[0])
    assert [(pair.removed, pair.kept, round(pair.cosine, 4)) for pair in shown] == [('2.jpg', '0.jpg', 0.4)]


def test_boxes__hold_the_last_validations_of_all_seeds(finished, monkeypatch):
    _, results = finished
    drawn = {}
    monkeypatch.setattr(
        'matplotlib.axes.Axes.boxplot',
        lambda self, values, **more: drawn.update(zip(more['tick_labels'], values, strict=True)),
    )
    figures.boxes_figure(results, 2)
    assert list(drawn) == ['near 50 %', 'random encoder', 'all images']
    values = [row['value'] for row in results.rows if row['group'] == 'near']
    expected = [round(value - 30 + step, 2) for value in values for step in (20, 30)]
    assert drawn['near 50 %'] == expected
