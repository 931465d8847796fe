"""Columns are declared once: with one more of each source, everything that reads or writes them knows it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from mmdel.subset import columns

ROOT = Path(__file__).resolve().parents[2]

ADDED = {
    # the declarations
    'subset/columns.py': [
        (
            "    Column('width',",
            "    Column('device', pa.string(), 'what took it', 'dataset', since='9.0'),\n"
            "    Column('visit', pa.int64(), 'which one', 'dataset', since='9.0'),\n    Column('width',",
        ),
        (
            "    Column('cluster',",
            "    Column('planes', pa.int32(), 'of the file', 'file', since='9.0'),\n    Column('cluster',",
        ),
        (
            "    Column('removed_by',",
            "    Column('quality', pa.float32(), 'by a method', 'selector', since='9.0'),\n    Column('removed_by',",
        ),
        ('GROUPS = {', "GROUPS = {'device': 'devices', "),
    ],
    # those who fill them; a dataset does by the keys of its items, or by --table
    'embedding/reader.py': [('    sharpness: float | None = None\n', '    sharpness: Any = None\n    planes: int = 3\n')],
    'selection/selector.py': [('    notes: tuple[str, ...] = f', '    quality: Any = None\n    notes: tuple[str, ...] = f')],
}  # fmt: skip

USE = """
import sys
import numpy as np
from mmengine.config import Config
import mmdel
from mmdel.engine import DedupRunner
from mmdel.engine.finished_run import FinishedRun
from mmdel.engine.inspection import inspect
from mmdel.export import export_csv, read_csv
from mmdel.registry import SELECTORS
from mmdel.selection.selector import BaseSelector, Ranking
from mmdel.subset import SCHEMA, Subset

assert mmdel.__file__.startswith(sys.argv[1])

@SELECTORS.register_module()
class ByName(BaseSelector):
    def rank(self, vectors, table, size=None, progress=None):
        assert {'device', 'visit', 'planes'} <= set(table.column_names)
        return Ranking(np.arange(len(vectors)), quality=np.arange(len(vectors), dtype=np.float32))

def run(work_dir, selector, ratio=None, update=None, **guards):
    cfg = Config(dict(
        dataset=dict(type='mmdel.DataDEL', data_root='pool', table='table.csv'), embedder=dict(type='mmdel.PixelEmbedder'),
        selector=selector, work_dir=work_dir, cache_dir='cache', guards=guards or None))
    DedupRunner.from_cfg(cfg, ratio=ratio, update=update).run()
    return Subset.read(f'{work_dir}/subset.parquet')

for work_dir in ('first', 'cached'):  # the second reads vectors, what was noted of files, and the ranking from the cache
    subset = run(work_dir, dict(type='ByName'), 0.5, min_keep=dict(device=1))
    table = subset.table
    assert table.column_names == SCHEMA.names
    assert table['device'].to_pylist() == [*'aabbccddee', None]
    assert table['visit'].to_pylist() == [*range(10), None] and table['planes'].to_pylist() == [3] * 10 + [None]
    assert table['quality'].to_pylist() == [*range(10), None]
    assert set(table.filter(table['keep'])['device'].to_pylist()) == set('abcde')
assert subset.table['image'][10].as_py() == 'z.png'  # which cannot be read

finished = FinishedRun.open('first')
assert {'  device: a', '  visit: 1'} <= set(inspect(finished, '1.png', count=0).lines)
assert 'device,a,2,1' in open('first/report/retention.csv').read()
assert 'Devices' in open('first/report/index.html').read()
export_csv(subset, 'decisions.csv')
assert read_csv('decisions.csv').equals(subset.table) or str(read_csv('decisions.csv').to_pylist()) == str(table.to_pylist())

by_device = run('strata', dict(type='mmdel.RandomSelector', stratify='device'), 0.5).table
assert set(by_device.filter(by_device['keep'])['device'].to_pylist()) == set('abcde')

meddel = dict(type='mmdel.MedDEL', eta=0.5)
run('old', meddel)
import shutil
shutil.copy('late.png', 'pool/late.png')
grown = run('new', meddel, update='old').table
assert dict(zip(grown['image'].to_pylist(), grown['device'].to_pylist()))['late.png'] == 'new' and len(grown) == 12
assert grown['quality'].null_count == 12
"""


def test_page__is_made_from_the_declarations():
    page = (ROOT / 'docs' / 'columns.md').read_text(encoding='utf-8')
    assert page == columns.markdown(), 'write it again, by the command on it'


def test_conform__gives_what_there_is_and_nulls():
    table = pa.table({'frame': pa.array([1, None], pa.int32()), 'other': ['a', 'b']})
    found = columns.conform(table, columns.SEEN)
    assert found.schema == columns.SEEN and found['frame'].to_pylist() == [1, None]
    assert all(found[name].null_count == 2 for name in columns.SEEN.names if name != 'frame')


@pytest.fixture
def package(tmp_path):
    """A folder with mmdel in it, whose table has a column more of each source."""
    shutil.copytree(ROOT / 'mmdel', tmp_path / 'mmdel', ignore=shutil.ignore_patterns('.mim', '__pycache__'))
    for file, changes in ADDED.items():
        path = tmp_path / 'mmdel' / file
        text = path.read_text(encoding='utf-8')
        for before, after in changes:
            assert text.count(before) == 1, (file, before)
            text = text.replace(before, after)
        path.write_text(text, encoding='utf-8')
    return tmp_path


def test_new_column__is_declared_once_and_filled_by_its_producer(package):
    (package / 'pool').mkdir()
    rng = np.random.default_rng(0)
    lines = ['key,device,visit', *(f'{i}.png,{"abcde"[i // 2]},{i}' for i in range(10)), 'late.png,new,7']
    for i in range(10):
        cv2.imwrite(str(package / 'pool' / f'{i}.png'), rng.integers(0, 256, (32, 32, 3), np.uint8))
    cv2.imwrite(str(package / 'late.png'), rng.integers(0, 256, (32, 32, 3), np.uint8))
    (package / 'pool' / 'z.png').write_bytes(b'no picture')
    (package / 'table.csv').write_text('\n'.join(lines) + '\n')
    (package / 'use.py').write_text(USE)
    done = subprocess.run(
        [sys.executable, 'use.py', str(package)],
        cwd=package,
        env={**os.environ, 'PYTHONPATH': str(package)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
