"""Figures and the page of a study that has ended, and of one that has not."""

import re
import shutil

import pytest

from mmdel.study import collect, make_plan, read_study
from mmdel.study.report import figures, page


@pytest.fixture(scope='module')
def drawn(finished):
    """The plan and results of a study whose page has been written."""
    _, plan, results = finished
    page.write_page(plan, results)
    return plan, results


def test_page__shows_everything_and_needs_nothing(drawn):
    path = drawn[0].study.work_dir / 'report' / 'index.html'
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


def test_page__drawn_again_it_is_the_same_bytes(drawn):
    plan, _ = drawn
    folder = plan.study.work_dir / 'report'
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    page.write_page(plan, collect(plan))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_page__of_an_unfinished_study_says_so_and_what_is_old_goes(drawn, little, tmp_path):
    plan = make_plan(read_study(str(little.write_little_study(tmp_path, little.LARGER))))
    old = shutil.copytree(drawn[0].study.work_dir / 'report', plan.study.work_dir / 'report')
    text = page.write_page(plan, collect(plan)).read_text()
    assert 'This study is not complete' in text
    assert text.index('<h2 id="not_done">') > 0 and text.count('not run yet</td>') == 8
    left = {path.name for path in old.iterdir()}
    assert 'figure_3.png' not in left and 'table_2.md' not in left and 'not_done.csv' in left


def test_removed_figure__shows_the_pairs_whose_remover_stayed(drawn, monkeypatch):
    shown = []
    monkeypatch.setattr(figures, 'plot_pictures', lambda pictures, paths, columns: shown.extend(pictures))
    figures.removed_figure(drawn[0])
    assert shown == [('0.jpg', 'kept'), ('2.jpg', 'deleted, 0.400')]


def test_boxes__hold_the_last_validations_of_all_seeds(drawn, monkeypatch):
    _, results = drawn
    drawn_values, names = [], []
    monkeypatch.setattr('matplotlib.axes.Axes.boxplot', lambda self, values, **more: drawn_values.extend(values))
    monkeypatch.setattr('matplotlib.axes.Axes.set_xticks', lambda self, places, labels: names.extend(labels))
    figures.boxes_figure(results, 2)
    boxes = dict(zip(names, drawn_values, strict=True))
    assert list(boxes) == ['near 50 %', 'random encoder', 'all images']
    values = [row['value'] for row in results.rows if row['group'] == 'near']
    expected = [round(value - 30 + step, 2) for value in values for step in (20, 30)]
    assert boxes['near 50 %'] == expected
