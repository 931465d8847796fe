"""tools/study.py as people call it: with small scripts for tools, and, slowly, on synthetic demo data with the real ones."""

import csv
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmdel.subset import Subset

ROOT = Path(__file__).resolve().parents[2]


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def little():
    return load(ROOT / 'tests' / 'test_study' / 'little_study.py')


@pytest.fixture
def study(little, tmp_path, monkeypatch, capsys):
    """``study(*options)`` calls the tool, which lies beside the small scripts; returns (exit status, what it printed)."""
    config = little.write_little_study(tmp_path)
    shutil.copy(ROOT / 'tools' / 'study.py', tmp_path / 'tools')
    module = load(tmp_path / 'tools' / 'study.py')

    def call(*options):
        monkeypatch.setattr(sys, 'argv', ['study.py', str(config), *map(str, options)])
        status = 0
        try:
            module.main()
        except SystemExit as end:
            status = end.code
        out = capsys.readouterr()
        return status, out.out + out.err

    return call


def test_study__dry_run_then_run_then_nothing_left(study, little, tmp_path):
    status, out = study('--dry-run', '--jobs', 2)
    assert status == 0 and 'Study study: 0 of 4 cells are done' in out
    assert len(re.findall(r'^ +to do  \w+/', out, re.MULTILINE)) == 11
    assert not (tmp_path / 'study').exists() and little.calls(tmp_path) == []

    little.order(tmp_path, 'fail', 'pretrain/near_0.5_seed1')
    status, out = study('--jobs', 2)
    assert status == 1
    assert re.search(
        r'FAILED: pretrain/near_0.5_seed1-\w+: exit status 2: error: the disk is full \(its log: .*\.log\)', out
    )
    assert '4 cells: 3 done, 1 failed, 0 missing' in out
    little.order(tmp_path, 'fail', '')
    status, out = study('--dry-run')
    assert re.search(r'failed before, to do  pretrain/near_0.5_seed1', out)
    assert re.search(r'pretrain .* 1 .* s a run, measured from 1 finished', out)

    status, out = study()
    assert status == 0 and '4 cells: 4 done, 0 failed, 0 missing' in out
    assert re.search(r'Kvasir-SEG +│ fine-tuned +│ near +│ +│ +[\d.]+ ± [\d.]+', out), out
    assert (tmp_path / 'study' / 'report' / 'index.html').is_file()
    with open(tmp_path / 'study' / 'results.csv', newline='') as file:
        assert [row['status'] for row in csv.DictReader(file)] == ['done'] * 4
    assert 'Study study: 4 of 4 cells are done' in study('--dry-run')[1]


def test_study__one_run_then_collect(study, tmp_path, little):
    name = re.search(r'select/\S+', study('--dry-run')[1])[0]
    assert study('--run', name)[0] == 0
    assert little.calls(tmp_path) == ['select/near_0.5']
    status, out = study('--collect')
    assert status == 3 and '4 cells: 0 done, 0 failed, 4 missing' in out
    assert (tmp_path / 'study' / 'results.parquet').is_file()
    assert study('--plot')[0] == 3
    assert 'This study is not complete' in (tmp_path / 'study' / 'report' / 'index.html').read_text()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--run', 'select/none'), "error: The study has no run 'select/none'"),
        (('--jobs', 0), 'error: --jobs: must be a whole number and at least 1, got 0'),
        (('--cfg-options', 'ratios=0'), 'ratios is a list of numbers, got 0.'),
        (('--plot',), 'error: '),
    ],
)
def test_study__mistakes_end_with_one_line(study, options, message):
    status, out = study(*options)
    assert status == 2 and message in out.splitlines()[-1]


@pytest.mark.slow
def test_own_method__gets_its_row(study, little, pool, tmp_path, monkeypatch):
    """The study of the page, with the real selection and the small scripts for training."""
    package, config = (part for part in own_method_page() if 'class Thinning' in part or '_base_' in part)
    (tmp_path / 'my_selectors.py').write_text(package)
    monkeypatch.syspath_prepend(tmp_path)  # as PYTHONPATH=. does
    (tmp_path / 'study.py').rename(tmp_path / 'demo.py')
    (tmp_path / 'study.py').write_text(config.replace('work_dirs/study/thinning', str(tmp_path / 'study')))
    (tmp_path / 'dedup.py').write_text(little.DEDUP.format(pool=pool).replace("'cache'", repr(str(tmp_path / 'cache'))))
    (tmp_path / 'mae.py').write_text(little.MAE.format(pool=pool))
    real = f'sys.path.insert(0, {str(tmp_path)!r}); runpy.run_path({str(ROOT / "tools" / "dedup.py")!r}, run_name="__main__")'
    (tmp_path / 'tools' / 'dedup.py').write_text(f'import runpy, sys; {real}\n')
    status, out = study('--jobs', 2, '--cfg-options', 'seeds=(0,)')
    assert status == 0, out
    assert re.search(r'│ thinning +│ +│ +[\d.]+', out) and re.search(r'│ random +│ +│ +[\d.]+', out), out
    chosen = next((tmp_path / 'study' / 'select').glob('thinning*')) / 'subset.parquet'
    assert len(Subset.read(chosen).kept) == 15


def own_method_page():
    """The blocks of Python on the page about own methods."""
    text = (ROOT / 'docs' / 'custom_selector.md').read_text(encoding='utf-8')
    return re.findall(r'```python\n(.+?)```', text, re.DOTALL)


# --- the real tools


SHORT = """
_base_ = ['{root}/configs/study/demo.py']
selection = dict(config='{root}/configs/demo/meddel_pixels.py')
selectors = {{
    '_delete_': True,
    'MedDEL near': dict(selector=dict(type='mmdel.MedDEL', epsilon=None, scope='global', keep='near')),
}}
seeds = (0,)
pretraining = dict(config='{root}/configs/demo/mae_tiny.py', full_epochs=2)
downstream = dict(polyps=dict(config='{root}/configs/demo/segmentation_tiny.py', options={{
    'train_cfg.max_iters': 20, 'train_cfg.val_interval': 10,
    'param_scheduler.0.end': 5, 'param_scheduler.1.begin': 5, 'param_scheduler.1.end': 20,
}}))
"""
"""The demo with one selector, one seed and few iterations."""


@pytest.fixture(scope='module')
def real(tmp_path_factory, demo_data):
    """A folder in which configs/study/demo.py has run, cut short, killed once on the way."""
    folder = tmp_path_factory.mktemp('real')
    (folder / 'demo.py').write_text(SHORT.format(root=ROOT))
    command = [sys.executable, str(ROOT / 'tools' / 'study.py'), str(folder / 'demo.py')]
    command += ['--jobs', '2', '--cfg-options', f'data_root={demo_data}']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'COLUMNS': '200'}

    def start():
        with open(folder / 'out.txt', 'a') as out:
            return subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)

    process = start()
    while not list(folder.glob('work_dirs/study/demo/pretrain/*/*/vis_data')) and process.poll() is None:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = start()
    assert again.wait(timeout=1500) == 0, (folder / 'out.txt').read_text()[-4000:]
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1700)
def test_demo_study__ends_with_every_cell_after_a_kill(real):
    work = real / 'work_dirs' / 'study' / 'demo'
    with open(work / 'results.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert {row['group'] for row in rows} == {'MedDEL near', 'all images', 'random encoder'}
    assert all(row['status'] == 'done' and 0 < float(row['value']) < 100 for row in rows)
    by_group = {row['group']: row for row in rows}
    images = int(by_group['MedDEL near']['images'])
    kept = int(by_group['MedDEL near']['kept'])
    assert kept == round(0.2 * images)
    assert int(by_group['MedDEL near']['epochs']) == round(2 * images / kept)
    assert int(by_group['all images']['epochs']) == 2
    # one subset, two encoders, and every model is another
    assert len({row['subset'] for row in rows} - {''}) == 1
    assert len({row['checkpoint'] for row in rows} - {''}) == 2
    assert len({row['model'] for row in rows}) == 3
    assert {row['encoder'] for row in rows} == {'fine-tuned'}
    for row in rows:
        assert [step for step, _ in json.loads(row['validations'])] == [10, 20]
        values = json.loads(row['values'])
        assert values['mIoU'] == float(row['value'])
        assert ('retention' in values) == (row['group'] != 'random encoder')
        if row['ratio']:
            assert values['retention'] == float(row['ratio'])


@pytest.mark.slow
@pytest.mark.timeout(1700)
def test_demo_study__the_images_add_up_to_the_metric(real):
    from mmdel.study import read_results

    results = read_results(real / 'work_dirs' / 'study' / 'demo')
    for row in results.rows:
        images = results.images_of(row['cell']).group_by('class').aggregate([('intersection', 'sum'), ('union', 'sum')])
        iou = [100 * both / either for both, either in zip(images[1].to_pylist(), images[2].to_pylist(), strict=True)]
        assert sum(iou) / len(iou) == pytest.approx(row['value'], abs=0.011)


@pytest.mark.slow
@pytest.mark.timeout(1700)
def test_demo_study__killed_and_not_killed_give_the_same_number(real, demo_data):
    """The killed pre-training began again: trained by hand without a stop, the encoder is the one in the table."""
    from mmdel.compute.weights import read_weights, state_digest

    work = real / 'work_dirs' / 'study' / 'demo'
    with open(work / 'results.csv', newline='') as file:
        row = next(row for row in csv.DictReader(file) if row['group'] == 'MedDEL near')
    (config,) = work.glob('configs/pretrain/meddel-near*.py')
    command = [sys.executable, ROOT / 'tools' / 'train.py', config, '--work-dir', 'by_hand', '--equal-compute', '2']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'}
    subprocess.run(command, cwd=real, env=environment, check=True, capture_output=True, timeout=600)
    last = real / 'by_hand' / f'epoch_{row["epochs"]}.pth'
    assert state_digest(read_weights(str(last))) == row['checkpoint']
