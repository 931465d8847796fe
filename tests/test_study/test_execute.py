import json
import os
import shutil
import time
from pathlib import Path

import pytest
from filelock import FileLock

from mmdel.errors import ConfigError, LockedError
from mmdel.study import collect, make_plan, read_results, read_study
from mmdel.study.execute import execute, execute_one, pending
from mmdel.study.outputs import STARTED, Record, record_path, write_record


@pytest.fixture
def run(little, tmp_path):
    """``run(jobs)`` plans and runs the little study; returns (plan, results, what was said)."""
    little.write_little_study(tmp_path)

    def call(jobs=1):
        said = []
        plan = make_plan(read_study(str(tmp_path / 'study.py')))
        return plan, execute(plan, tmp_path / 'tools', jobs, said.append), said

    return call


def test_execute__every_run_once_and_after_what_it_needs(finished, little):
    root, plan, _ = finished
    called = little.calls(root)
    words = [name.rpartition('-')[0] for name in plan.runs]
    assert sorted(called) == sorted(words)
    for name, run in plan.runs.items():
        for need in run.needs.values():
            assert called.index(need.rpartition('-')[0]) < called.index(name.rpartition('-')[0])


def test_execute__a_row_says_where_its_number_comes_from(finished):
    root, plan, results = finished
    assert [row['status'] for row in results.rows] == ['done'] * len(plan.cells) == ['done'] * 8
    row = next(row for row in results.rows if (row['group'], row['seed']) == ('near', 1))
    assert (row['kept'], row['images'], row['ratio'], row['epochs'], row['iterations']) == (2, 4, 0.5, 20, 30)
    assert json.loads(row['selector']) == {'type': 'mmdel.MedDEL', 'keep': 'near'}
    assert json.loads(row['validations']) == [[step, round(row['value'] - 30 + step, 2)] for step in (10, 20, 30)]
    assert json.loads(row['values'])['IoU.polyp'] == row['value'] - 5 and 'time' not in row['values']
    assert json.loads(row['configs']) == {
        'select': 'dedup.py', 'pretrain': 'mae.py', 'finetune': 'segmentation.py', 'evaluate': 'segmentation.py',
    }  # fmt: skip
    assert len(row['subset']) == len(row['checkpoint']) == len(row['model']) == len(row['per_image']) == 64
    assert row['eta_low'] == pytest.approx(0.2) and row['eta_high'] == pytest.approx(0.4)
    drawn = [row for row in results.rows if row['group'] == 'drawn']
    assert [json.loads(row['selector'])['clusterer']['seed'] for row in drawn] == [0, 1]
    reference = {row['group']: row for row in results.rows if row['kind'] != 'selector'}
    assert (reference['all images']['ratio'], reference['all images']['epochs']) == (1.0, 10)
    assert (reference['random encoder']['ratio'], reference['random encoder']['checkpoint']) == (None, None)
    assert str(root) not in (root / 'study' / 'results.csv').read_text()
    assert results.per_image.num_rows == 8 * 4 * 2
    assert read_results(root / 'study') == results


def test_execute__any_number_of_jobs_gives_the_same_table(finished, little, tmp_path):
    path = little.write_little_study(tmp_path, little.LARGER)
    for shared in ('pool', 'tools'):
        shutil.rmtree(tmp_path / shared)
        shutil.copytree(finished[0] / shared, tmp_path / shared)
    execute(make_plan(read_study(str(path))), tmp_path / 'tools', 3)
    assert little.tables(tmp_path) == little.tables(finished[0])


def test_execute__what_is_done_is_not_run_again(run, little, tmp_path):
    run()
    before = little.calls(tmp_path), little.tables(tmp_path)
    plan, _, _ = run()
    assert (little.calls(tmp_path), little.tables(tmp_path)) == before
    assert pending(plan, collect(plan)) == []


def test_execute__a_finished_cell_needs_no_work_dir(run, little, tmp_path):
    run()
    before = little.tables(tmp_path)
    for path in (tmp_path / 'study').iterdir():
        if path.is_dir():
            path.rename(tmp_path / f'gone-{path.name}')
    calls = little.calls(tmp_path)
    run()
    assert little.calls(tmp_path) == calls
    assert little.tables(tmp_path) == before


@pytest.mark.parametrize('kind', ['pretrain', 'finetune'])
def test_execute__a_changed_result_is_made_again(run, little, tmp_path, kind):
    """It is there, and its record says done: but it is another file."""
    plan, _, _ = run()
    name = next(name for name in plan.runs if name.startswith(f'{kind}/') and 'near' in name)
    for later in ('finetune', 'evaluate')[kind == 'finetune' :]:
        for path in (tmp_path / 'study').glob(f'records/{later}/*near*.json'):
            path.unlink()
            shutil.rmtree(tmp_path / 'study' / later / path.stem)
    for left in ('results.parquet', 'results.csv', 'per_image.parquet'):
        (tmp_path / 'study' / left).unlink()
    for path in (tmp_path / 'study' / name).glob('*.pth'):
        path.write_bytes(b'half')
    before = little.calls(tmp_path)
    _, results, _ = run()
    again = little.calls(tmp_path)[len(before) :]
    assert name.rpartition('-')[0] in again
    assert len([call for call in again if call.startswith('pretrain/')]) == (kind == 'pretrain')
    assert results.count('done') == 4


def test_execute__other_inputs_are_another_run(run, little, tmp_path):
    run()
    before = little.calls(tmp_path)
    (tmp_path / 'pairs' / 'images' / '0.jpg').write_bytes(b'another picture')
    plan, results, _ = run()
    again = little.calls(tmp_path)[len(before) :]
    assert {name.split('/')[0] for name in again} == {'finetune', 'evaluate'} and len(again) == 8
    assert results.count('done') == len(plan.cells) == 4
    assert [row['planned'] for row in results.rows] == [True] * 4 + [False] * 4


def test_execute__a_failed_run_is_a_row_with_its_log_and_the_others_go_on(run, little, tmp_path):
    little.order(tmp_path, 'fail', 'pretrain/near_0.5_seed1')
    _, results, said = run()
    (failed,) = [row for row in results.rows if row['status'] != 'done']
    assert (failed['status'], failed['group'], failed['seed'], failed['value']) == ('failed', 'near', 1, None)
    assert failed['message'].endswith('exit status 2: error: the disk is full')
    assert 'the disk is full' in (tmp_path / 'study' / failed['log']).read_text()
    assert any('FAILED: pretrain/near_0.5_seed1' in line and failed['log'] in line for line in said)
    little.order(tmp_path, 'fail', '')
    before = little.calls(tmp_path)
    _, results, _ = run()
    assert results.count('done') == 4
    assert [name.split('/')[0] for name in little.calls(tmp_path)[len(before) :]] == [
        'pretrain',
        'finetune',
        'evaluate',
    ]


def test_execute__a_process_that_leaves_nothing_has_failed(run, tmp_path):
    (tmp_path / 'tools' / 'test.py').write_text('')
    _, results, _ = run()
    assert results.count('failed') == 4
    assert all('metrics.json' in row['message'] for row in results.rows)


def test_execute__a_metric_that_is_not_there_fails_the_cell(little, tmp_path):
    study = little.SINGLE.replace("config='segmentation.py'", "config='segmentation.py', metric='mDice'")
    plan = make_plan(read_study(str(little.write_little_study(tmp_path, study))))
    results = execute(plan, tmp_path / 'tools')
    assert results.count('failed') == 2
    assert "has no metric 'mDice'. It has: mIoU, IoU.polyp" in results.rows[0]['message']


def test_execute__checkpoints_of_a_part_of_the_pretraining(little, tmp_path):
    study = little.SINGLE.replace("keep='near')", "keep='near'), checkpoints=((0.5, (0.3, 0.55)),)")
    plan = make_plan(read_study(str(little.write_little_study(tmp_path, study))))
    results = execute(plan, tmp_path / 'tools', 2)
    epochs = [row['checkpoint_epoch'] for row in results.rows if (row['group'], row['seed']) == ('near', 0)]
    assert epochs == [6, 10, 20]  # of 20; the nearest to 11 that was kept, and of two the earlier one
    lines = (tmp_path / 'tools' / 'calls.txt').read_text().splitlines()
    used = [
        line.split('--pretrained ')[1].split()[0]
        for line in lines
        if line.startswith('finetune/kvasir-seg_near_0.5_seed0')
    ]
    assert [Path(name).name for name in used] == ['epoch_6.pth', 'epoch_10.pth', 'epoch_20.pth']


def test_execute__somebody_elses_folder_is_not_touched(run, tmp_path):
    plan = make_plan(read_study(str(tmp_path / 'study.py')))
    mine = tmp_path / 'study' / next(iter(plan.runs)) / 'thesis.txt'
    mine.parent.mkdir(parents=True)
    mine.write_text('chapter 1')
    with pytest.raises(ConfigError, match='is not empty, and no run of this study has a record of it'):
        run()
    assert mine.read_text() == 'chapter 1'


def test_execute__only_one_process_a_study_and_one_a_run(run, tmp_path):
    plan = make_plan(read_study(str(tmp_path / 'study.py')))
    (tmp_path / 'study').mkdir()
    with (
        FileLock(tmp_path / 'study' / '.lock'),
        pytest.raises(LockedError, match='Another process is running the study'),
    ):
        run()
    lock = record_path(tmp_path / 'study', next(iter(plan.runs.values())), '.lock')
    lock.parent.mkdir(parents=True)
    with FileLock(lock), pytest.raises(LockedError, match='is being run by another process'):
        run()
    with pytest.raises(ConfigError, match='at least 1, got 0'):
        run(0)


def test_execute_one__asks_for_what_it_needs(little, tmp_path):
    plan = make_plan(read_study(str(little.write_little_study(tmp_path))))
    select, pretrain = list(plan.runs)[:2]
    with pytest.raises(ConfigError, match=f'{pretrain} needs {select}, which is not done'):
        execute_one(plan, tmp_path / 'tools', pretrain)
    with pytest.raises(ConfigError, match="no run 'pretrain/other'; --dry-run lists them"):
        execute_one(plan, tmp_path / 'tools', 'pretrain/other')
    assert execute_one(plan, tmp_path / 'tools', select)
    assert execute_one(plan, tmp_path / 'tools', select)
    assert len(little.calls(tmp_path)) == 1
    little.order(tmp_path, 'fail', 'pretrain')
    assert not execute_one(plan, tmp_path / 'tools', pretrain)


def test_execute__the_threads_are_those_of_the_config(run, tmp_path, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '7')
    tool = tmp_path / 'tools' / 'dedup.py'
    tool.write_text('import os; print(os.environ["OMP_NUM_THREADS"])')
    plan, _, _ = run()
    name = next(name for name in plan.runs if name.startswith('select/'))
    assert record_path(tmp_path / 'study', plan.runs[name], '.log').read_text().splitlines()[1] == '1'


@pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='needs Linux')
def test_execute__no_process_is_left_when_something_goes_wrong(run, tmp_path, monkeypatch):
    (tmp_path / 'tools' / 'dedup.py').write_text(
        'import os, time; open("pid", "w").write(str(os.getpid())); time.sleep(60)'
    )
    monkeypatch.chdir(tmp_path)
    stops = [KeyboardInterrupt]  # one: waiting for the processes to end sleeps, too

    def interrupt(seconds):
        if stops and (tmp_path / 'pid').exists() and (tmp_path / 'pid').read_text():
            raise stops.pop()

    monkeypatch.setattr(time, 'sleep', interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(2)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / 'pid').read_text()), 0)


@pytest.mark.parametrize('resume', [True, False])
def test_execute__an_interrupted_training_goes_on_only_where_the_study_says_so(little, tmp_path, resume):
    path = little.write_little_study(tmp_path, little.SINGLE + f'\nresume = {resume}\n')
    plan = make_plan(read_study(str(path)))
    name = next(name for name in plan.runs if name.startswith('pretrain/'))
    write_record(plan.study.work_dir, plan.runs[name], Record(STARTED, plan.runs[name].digest))
    (plan.study.work_dir / name).mkdir(parents=True)
    (plan.study.work_dir / name / 'last_checkpoint').write_text('epoch_3.pth')
    assert execute(plan, tmp_path / 'tools').count('done') == 2
    lines = (tmp_path / 'tools' / 'calls.txt').read_text().splitlines()
    resumed = [line.split()[0] for line in lines if '--resume' in line]
    assert resumed == (['pretrain/near_0.5_seed0'] if resume else [])
    assert (plan.study.work_dir / name / 'last_checkpoint').exists() == resume
