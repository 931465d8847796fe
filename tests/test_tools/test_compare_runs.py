import csv
import json
import math
import re
from functools import partial

import pytest

from mmdel.evaluation import normdel


@pytest.fixture
def compare(call_tool, tmp_path, monkeypatch):
    """Call the tool from an empty folder; returns (exit status, what it printed)."""
    monkeypatch.chdir(tmp_path)
    return partial(call_tool, 'analysis_tools/compare_runs')


@pytest.fixture
def write_log(tmp_path):
    """``write_log(name, lines)`` writes the log of one start of a training, as mmengine does."""

    def write(name, lines, stamp='20240101_000000', resume=False, tail=''):
        folder = tmp_path / name / stamp / 'vis_data'
        folder.mkdir(parents=True)
        (folder / 'config.py').write_text(f'default_scope = None\nresume = {resume}\n')
        (folder / 'scalars.json').write_text(''.join(json.dumps(line) + '\n' for line in lines) + tail)
        return tmp_path / name

    return write


def train(step, time=0.5):
    return {'lr': 0.1, 'data_time': 0.1, 'loss': 1.0, 'time': time, 'iter': step, 'step': step}


def validate(step, miou, retention=None, alpha=1.0, **more):
    values = {'mIoU': miou, **more, 'data_time': 0.1, 'time': 0.2, 'step': step}
    if retention:
        score = 100 * normdel(miou / 100, retention, alpha)
        values.update({'DEL': 1.0, 'NormDEL': score, 'retention': retention, 'alpha': alpha})
    return values


def schedule(mious, retention=None, **more):
    """A validation every 10 iterations."""
    lines = ((train(10 * n), validate(10 * n, miou, retention, **more)) for n, miou in enumerate(mious, start=1))
    return [line for pair in lines for line in pair]


def table(path):
    with open(path, newline='', encoding='utf-8') as file:
        return {row['name']: row for row in csv.DictReader(file)}


def test_compare__last_box_best_and_normdel_of_each_run(compare, write_log, tmp_path):
    full = write_log('full', schedule([10, 50, 90, 60, 70, 80, 75], 1.0))
    part = write_log('part', schedule([40, 41, 42], 0.2, **{'IoU.polyp': 30.0}))
    bare = write_log('bare', schedule([20, 30]))
    status, out = compare(full, part, bare, '--names', 'all frames', 'MAE on 20 %', 'random', '--csv', 'out/table.csv')
    assert status == 0, out
    rows = table(tmp_path / 'out' / 'table.csv')
    assert list(rows) == ['all frames', 'MAE on 20 %', 'random']
    row = rows['all frames']
    columns = ('last', 'median', 'low', 'high', 'best', 'best_step')
    assert [float(row[name]) for name in columns] == [75, 75, 60, 90, 90, 30]
    assert float(row['normdel']) == 100 * normdel(0.75, 1.0)
    assert float(row['del_score']) == pytest.approx(75 * math.exp(-1))
    assert row['IoU.polyp'] == ''
    assert (rows['MAE on 20 %']['IoU.polyp'], rows['MAE on 20 %']['retention']) == ('30.0', '0.2')
    assert (rows['random']['retention'], rows['random']['normdel']) == ('', '')
    for name, score in (('all frames', normdel(0.75, 1.0)), ('MAE on 20 %', normdel(0.42, 0.2))):
        assert re.search(rf'{name} .* {100 * score:.2f} ', out)
        assert out.count(f'{100 * score:.2f}') == 2  # in the table, and at alpha = 1 in the sweep
    assert "'all frames' leads 'MAE on 20 %' below alpha = 0.7248" in out
    assert 'random (R' not in out  # it takes no part in the sweep


def test_compare__median_over_the_last_validations(compare, write_log, tmp_path):
    run = write_log('run', schedule([10, 50, 90, 60]))
    assert compare(run, '--last', 2, '--csv', 'table.csv')[0] == 0
    row = table(tmp_path / 'table.csv')['run']
    assert [float(row[name]) for name in ('median', 'low', 'high')] == [75, 60, 90]


def test_compare__retention_and_alpha_from_the_command_line(compare, write_log, tmp_path):
    runs = write_log('a=b', schedule([50])), write_log('a', schedule([60], 0.5))
    options = ['--retention', 'a=b=0.1', 'a=1', '--alpha', 2, '--csv', 'table.csv']
    status, out = compare(*runs, *options)
    assert status == 0, out
    rows = table(tmp_path / 'table.csv')
    assert float(rows['a=b']['normdel']) == 100 * normdel(0.5, 0.1, 2)
    assert float(rows['a']['normdel']) == 100 * normdel(0.6, 1.0, 2)


def test_compare__fractions_are_told_by_the_logged_normdel(compare, write_log, tmp_path):
    lines = [train(10), {'accuracy/top1': 0.5, 'NormDEL': normdel(0.5, 0.2), 'retention': 0.2, 'step': 10}]
    status, out = compare(write_log('run', lines), '--key', 'accuracy/top1', '--csv', 'table.csv')
    assert status == 0, out
    assert float(table(tmp_path / 'table.csv')['run']['normdel']) == normdel(0.5, 0.2)


def test_compare__times_of_training_and_pretraining(compare, write_log, tmp_path):
    # 20 + 30 iterations at 0.5 s, 20 at 2 s; the time of validations does not count
    run = write_log('run', [train(20), validate(20, 50), train(50), train(70, time=2.0)])
    mae = write_log('mae', [train(1000, time=4.0)])
    status, out = compare(run, '--pretrain', f'run={mae}', '--csv', 'table.csv')
    assert status == 0, out
    row = table(tmp_path / 'table.csv')['run']
    assert (float(row['seconds']), float(row['pretrain_seconds'])) == (65, 4000)
    assert '0:01:05' in out and '1:06:40' in out


def test_compare__a_resumed_training_is_one_run(compare, write_log, tmp_path):
    """Killed at 47 with a checkpoint at 30: what happened between is replaced."""
    first = [train(10), validate(10, 40), train(20), train(30), validate(30, 99), train(40), validate(40, 98)]
    second = [train(40), validate(40, 60), train(50), validate(50, 50)]
    write_log('run', first, tail='{"mIoU": 97, "st')
    run = write_log('run', second, stamp='20240102_000000', resume=True)
    (run / '20240103_000000').mkdir()  # a test run leaves no curves
    write_log('run', [validate(0, 1.0)], stamp='20240104_000000')  # nor a validation alone
    status, out = compare(run, '--csv', 'table.csv')
    assert status == 0, out
    row = table(tmp_path / 'table.csv')['run']
    assert [float(row[name]) for name in ('last', 'low', 'high', 'best_step')] == [50, 40, 99, 30]
    assert float(row['seconds']) == 25


def test_compare__resuming_from_before_the_last_validation_replaces_it(compare, write_log, tmp_path):
    """With sparse log lines a validation may lie between the checkpoint and the first line after it."""
    write_log('run', [train(50), validate(60, 99), train(100)])
    run = write_log('run', [validate(60, 60), train(100), validate(100, 70)], stamp='20240102_000000', resume=True)
    assert compare(run, '--csv', 'table.csv')[0] == 0
    row = table(tmp_path / 'table.csv')['run']
    assert [float(row[name]) for name in ('low', 'high', 'seconds')] == [60, 70, 50]


def test_compare__a_training_started_afresh_replaces_the_old_one(compare, write_log, tmp_path):
    write_log('run', schedule([99, 98, 97, 96]))
    run = write_log('run', schedule([50, 51]), stamp='20240102_000000')
    assert compare(run, '--csv', 'table.csv')[0] == 0
    row = table(tmp_path / 'table.csv')['run']
    assert [float(row[name]) for name in ('last', 'high', 'seconds')] == [51, 51, 10]


def test_compare__one_run_without_training_lines(compare, write_log):
    """Shorter than the logging interval."""
    status, out = compare(write_log('run', [validate(10, 50, 0.2)]))
    assert status == 0, out
    assert f'{100 * normdel(0.5, 0.2):.2f}' in out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['missing'], 'missing is not there, or is no folder'),
        (['empty'], 'empty holds no log of a training'),
        (['broken'], 'scalars.json, line 1, is not a line of an mmengine log'),
        (['run', '--key', 'top1'], "No validation of 'run' .* logged 'top1'. They logged: mIoU, aAcc"),
        (['mae'], "No validation of 'mae' .* There is none"),
        (['run', 'run'], "Two runs are called 'run'. Tell them apart with --names"),
        (['run', '--names', 'a', 'b'], '2 names for 1 runs'),
        (['run', '--retention', 'walk=0.2'], 'expected NAME=VALUE, where NAME is one of run'),
        (['run', '--retention', 'run=20'], 'retention is the share'),
        (['run', '--retention', 'run=typo.parquet'], 'typo.parquet is not there'),
        (['run', '--pretrain', 'run=missing'], 'missing is not there'),
        (['run', '--scale', 'fraction'], "mIoU of 'run' = 50 is outside 0 to 1"),
        (['run', '--alpha', '-1', '--retention', 'run=0.2'], 'alpha is a finite number'),
        (['run', '--last', '0'], '--last: must be a whole number and at least 1, got 0'),
        (['nan'], "mIoU of 'nan' is NaN"),
    ],
)
def test_compare__what_cannot_be_compared(arguments, message, compare, write_log, tmp_path):
    write_log('run', [train(10), validate(10, 50.0, aAcc=60.0)])
    write_log('mae', [train(10)])
    write_log('nan', [train(10), validate(10, math.nan), validate(20, 50.0)])
    (tmp_path / 'empty').mkdir()
    (write_log('broken', []) / '20240101_000000' / 'vis_data' / 'scalars.json').write_text('no json\n' * 2)
    status, out = compare(*arguments)
    assert status == 2
    assert out.startswith('error: ')
    assert re.search(message, out), out
