"""The demo's closing tables count what the subset says."""

import csv

import pyarrow as pa
import pytest

from mmdel.cli import command, demo_truth
from mmdel.errors import SubsetError
from mmdel.subset import Subset
from synthetic import Truth

ROWS = [
    Truth('a.jpg', 'clip00', '0', 'frame'),
    Truth('b.jpg', 'clip00', '0', 'copy', 'a.jpg'),
    Truth('c.jpg', 'clip00', '1', 'frame'),
    Truth('d.jpg', 'clip00', '1', 'copy', 'c.jpg'),
    Truth('e.jpg', '', '', 'unreadable'),
]


@pytest.fixture
def files(tmp_path):
    """`a` goes and its copy `b` stays; `c` and its copy `d` both stay, which is one repetition too many."""
    ranks = {'a.jpg': 3, 'b.jpg': 0, 'c.jpg': 1, 'd.jpg': 2}
    table = pa.table({'image': list(ranks), 'rank': list(ranks.values()), 'redundancy': [1.0, 0.5, 0.5, 1.0]})
    subset = Subset.from_ranking(
        table, {'selector': {'type': 'mmdel.MedDEL'}}, unreadable=(('e.jpg', 'empty'),), kept=3
    )
    subset.write(tmp_path / 'subset.parquet')
    with open(tmp_path / 'truth.csv', 'w', newline='') as file:
        csv.writer(file).writerows([Truth._fields, *ROWS])
    return tmp_path / 'subset.parquet', tmp_path / 'truth.csv'


def test_copies__any_one_of_a_group_may_stay(files):
    why = demo_truth.reasons(Subset.read(files[0]), ROWS)
    assert demo_truth.copies(ROWS, why) == (2, 1)


def test_main__several_side_by_side(files, capsys):
    rows = [*ROWS, Truth('f.jpg', 'clip01', '0', 'frame'), Truth('g.jpg', '', '', 'blurred')]
    table = pa.table({'image': list('gcafbd'), 'rank': range(6), 'redundancy': [0.0, 0.1, 0.2, 0.3, 0.5, 1.0]})
    table = table.set_column(0, 'image', pa.array([f'{name}.jpg' for name in 'gcafbd']))
    subset = Subset.from_ranking(
        table, {'selector': {'type': 'mmdel.Random'}}, unreadable=(('e.jpg', 'empty'),), kept=3
    )
    assert demo_truth.method(subset) == 'Random, 50% kept'
    found = [(cut, demo_truth.reasons(cut, rows)) for cut in (subset, subset.at(ratio=1.0))]
    (column, *_), *cells = (list(column.cells) for column in demo_truth.side_by_side(rows, found).columns)
    assert column == 'Random, 50% kept'
    assert cells == [['1', '0'], ['1', '1'], ['0', '2']]


def test_main__prints_kinds_and_clips(files, capsys, monkeypatch):
    monkeypatch.setattr('sys.argv', ['demo_truth.py', *map(str, files)])
    command.start(demo_truth.COMMAND)
    lines = [line.replace('│', ' ').split() for line in capsys.readouterr().out.splitlines()]
    kinds = {line[0]: line[1:] for line in lines if line and line[0] in (*demo_truth.KINDS, 'clip00')}
    assert kinds['frame'][0] == '2'
    assert kinds['frame'][-2:] == ['1', '50.0%']
    assert kinds['copy'][-2:] == ['2', '0.0%']
    assert kinds['unreadable'] == ['1', '0', '0', '1', '0', '0', '100.0%']
    assert kinds['clip00'][-2:] == ['3', '25.0%']


def test_reasons__subset_of_other_images_is_refused(files):
    rows = [*ROWS, Truth('elsewhere.jpg', '', '', 'frame')]
    with pytest.raises(SubsetError, match='lacks 1 of the 6'):
        demo_truth.reasons(Subset.read(files[0]), rows)
