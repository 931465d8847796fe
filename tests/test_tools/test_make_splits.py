from functools import partial

import pytest


@pytest.fixture
def make_splits(call_tool):
    return partial(call_tool, 'make_splits')


@pytest.fixture
def folder(tmp_path):
    for number in range(1, 101):
        for kind in ('images', 'masks'):
            path = tmp_path / 'cvc-clinicdb' / kind / f'{number}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(number))
    return tmp_path / 'cvc-clinicdb'


def test_tool__prints_a_table_and_changes_nothing_the_second_time(make_splits, folder):
    status, output = make_splits(folder)
    assert status == 0
    assert 'sequences from the frame numbers' in output
    assert output.count('written') == 3
    lists = {path.name: path.read_text() for path in folder.glob('*.txt')}
    assert set(lists) == {'train.txt', 'val.txt', 'test.txt'}
    status, output = make_splits(folder)
    assert status == 0
    assert output.count('unchanged') == 3
    assert {path.name: path.read_text() for path in folder.glob('*.txt')} == lists


def test_tool__options(make_splits, folder, tmp_path):
    status, output = make_splits(folder, '--dataset', 'mine')
    assert status == 0
    assert 'both sides' in output
    table = tmp_path / 'table.csv'
    table.write_text('stem,group\n' + ''.join(f'{number},{number % 5}\n' for number in range(1, 101)))
    status, output = make_splits(folder, '--groups', table, '--overwrite')
    assert status == 0
    assert 'groups: table.csv' in output
    sides = [{int(stem) % 5 for stem in path.read_text().split()} for path in folder.glob('*.txt')]
    assert sum(map(len, sides)) == 5


def test_tool__mistakes_end_with_a_sentence(make_splits, tmp_path):
    status, output = make_splits(tmp_path)
    assert status == 2
    assert output.startswith('error: ')
    assert 'images/ and masks/' in output
