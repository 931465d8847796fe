"""A training that is killed goes on: same order of images, same learning rates, through the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from mmdel.subset import Subset

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / 'tools' / 'train.py'

DIARY = """
import json, os, time
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class Diary(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        samples = data_batch['data_samples']
        row = [runner.iter, runner.optim_wrapper.get_lr()['lr'][0], [os.path.basename(each.img_path) for each in samples]]
        with open(os.environ['DIARY'], 'a') as file:
            file.write(json.dumps(row) + '\\n')
        time.sleep(float(os.environ['PAUSE']))
"""
CONFIG = """
_base_ = [{base!r}]
custom_imports = dict(imports=['diary'])
custom_hooks = [*_base_.custom_hooks, dict(type='Diary')]
"""


def start(folder, name, *arguments, pause=0.0):
    environment = {**os.environ, 'PYTHONPATH': f'{ROOT}{os.pathsep}{folder}', 'OMP_NUM_THREADS': '1'}
    environment |= {'DIARY': str(folder / f'{name}.jsonl'), 'PAUSE': str(pause)}
    return subprocess.Popen(
        [sys.executable, str(TRAIN), str(folder / 'config.py'), *map(str, arguments)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output[-3000:]
    return output


def rows(folder, name):
    path = folder / f'{name}.jsonl'
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def pretraining(demo_data, folder):
    pool = demo_data / 'pool'
    keys = sorted(p.relative_to(pool).as_posix() for p in pool.rglob('*.jpg') if p.stat().st_size > 4000)
    metadata = {'images': len(keys), 'kept': 22, 'ratio': 22 / len(keys), 'eta': None, 'recut': 'ratio'}
    table = pa.table({'image': keys, 'rank': range(len(keys))})
    Subset.from_ranking(table, metadata, (), 22).write(folder / 'subset.parquet')
    return [
        f'train_dataloader.dataset.subset={folder / "subset.parquet"}',
        f'train_dataloader.dataset.dataset.data_root={pool}',
        'train_dataloader.dataset.unlisted=drop',
        'train_cfg.max_epochs=3',
        'custom_hooks.0.interval=4',
    ]


def segmentation(demo_data, folder):
    data = demo_data / 'segmentation' / 'kvasir-seg'
    options = [f'{name}_dataloader.dataset.data_root={data}' for name in ('train', 'val', 'test')]
    return [*options, 'train_cfg.max_iters=18', 'default_hooks.checkpoint.interval=4']


@pytest.mark.slow
@pytest.mark.parametrize(
    ('base', 'options'), [('mae_tiny_subset', pretraining), ('segmentation_tiny_random', segmentation)]
)
def test_killed_training__resumes_with_the_same_images_and_learning_rates(base, options, demo_data, tmp_path):
    (tmp_path / 'diary.py').write_text(DIARY)
    (tmp_path / 'config.py').write_text(CONFIG.format(base=str(ROOT / 'configs' / 'demo' / f'{base}.py')))
    common = [
        '--cfg-options',
        *options(demo_data, tmp_path),
        'train_dataloader.batch_size=4',
        'default_hooks.logger.interval=1',
    ]
    finish(start(tmp_path, 'whole', '--work-dir', 'whole', *common))
    whole = rows(tmp_path, 'whole')
    assert len(whole) == 18

    killed = start(tmp_path, 'killed', '--work-dir', 'broken', *common, pause=0.3)
    deadline = time.monotonic() + 120
    while len(rows(tmp_path, 'killed')) < 11 and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    seen = rows(tmp_path, 'killed')
    assert 11 <= len(seen) < 18
    assert seen == whole[: len(seen)]

    output = finish(start(tmp_path, 'resumed', '--work-dir', 'broken', '--resume', *common))
    resumed = rows(tmp_path, 'resumed')
    assert resumed[0][0] == 8, output[-2000:]  # the last checkpoint, within an epoch of 6 iterations
    assert resumed == whole[8:]
