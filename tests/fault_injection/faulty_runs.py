"""Not a test: one process that imports everything once, and forks runs of the main job for which calls of the system fail.

    LD_PRELOAD=faults.so python faulty_runs.py FOLDER

reads ``FOLDER/faults.json``, a list of ``[calls, part of the path, errno, how often]``, and prints what became of each run: its
error, its ledger, the digest of its result; and of the same run again, without faults. The images are in ``FOLDER/pool``.
"""

import hashlib
import importlib
import json
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path

from mmengine.config import Config

from mmdel.compute import storage
from mmdel.engine import DedupRunner
from mmdel.errors import MmdelError

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, work: Path) -> dict:
    cfg = Config.fromfile(ROOT / 'configs' / 'meddel_eta08.py')
    cfg.embedder = Config.fromfile(ROOT / 'configs' / '_base_' / 'embedders' / 'pixels.py').embedder
    cfg.dataset = dict(type='mmdel.DataDEL', data_root=str(folder / 'pool'))
    cfg.work_dir, cfg.cache_dir = str(work / 'out'), str(work / 'cache')
    try:
        subset = DedupRunner.from_cfg(cfg, report=False).run()
    except MmdelError as error:
        return {'error': f'{type(error).__name__}: {error}'}
    unreadable = (work / 'out' / 'unreadable.csv').read_text()
    table = hashlib.sha256((work / 'out' / 'subset.parquet').read_bytes()).hexdigest()
    return {'error': '', 'unreadable': unreadable, 'table': table, 'images': len(subset.table)}


def forked(folder: Path, work: Path) -> dict:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            found = run(folder, work)
        except BaseException as error:
            found = {'error': f'bug: {type(error).__name__}: {error}'}
        if not (work / 'count').exists():
            found['modules'] = list(sys.modules)
        os.environ.pop('FAULT_PATH', None)
        os.write(write, json.dumps(found).encode())
        os._exit(0)
    os.close(write)
    with open(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text)


def main() -> None:
    folder = Path(sys.argv[1])
    storage.WAITS = (0.01, 0.02)
    (folder / 'first').mkdir()
    for name in forked(folder, folder / 'first')['modules']:  # a run's own imports take longer than the rest of it
        with suppress(ImportError):
            importlib.import_module(name)
    outcomes = []
    for number, (calls, part, error, times) in enumerate(json.loads((folder / 'faults.json').read_text())):
        work = folder / f'work{number}'
        work.mkdir()
        count = work / 'count'
        count.write_bytes(struct.pack('l', times))
        os.environ.update(FAULT_CALLS=calls, FAULT_ERRNO=str(error), FAULT_COUNT=str(count), FAULT_PATH=part)
        faulty = forked(folder, work)
        del os.environ['FAULT_PATH']
        left = struct.unpack('l', count.read_bytes())[0]
        outcomes.append({'faulty': faulty, 'again': forked(folder, work), 'left': left})
    print(json.dumps(outcomes))


if __name__ == '__main__':
    main()
