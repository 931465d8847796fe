"""Not a test: one process that imports everything once, and forks runs of the main job that are killed at chosen moments.

    python killed_runs.py POOL FOLDER

prints one JSON object: what became of every run. ``test_restart.py`` reads it.
"""

import gc
import hashlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

import mmdel.datasets
import mmdel.embedding
import mmdel.selection.clustering
from mmdel.compute.progress import Stages
from mmdel.engine import DedupRunner

ROOT = Path(__file__).resolve().parents[2]
STAGES = ('list', 'cache', 'embed', 'read', 'k-means', 'assign', 'compare', 'write', 'verify', 'report')
MOMENTS = ('start', 'middle', 'end')
RENAMES = (1, 2, 3, 4, 6, 8, 10)
PLAIN_STAGE = Stages.stage
PLAIN_REPLACE = os.replace


def run(pool, folder, eta=0.8, report=False):
    cfg = Config.fromfile(ROOT / 'configs' / f'meddel_eta{str(eta).replace(".", "")}.py')
    cfg.embedder = Config.fromfile(ROOT / 'configs' / '_base_' / 'embedders' / 'pixels.py').embedder
    cfg.embedder.update(batch_size=32, shard_size=96)
    cfg.dataset = dict(type='mmdel.DataDEL', data_root=str(pool))
    cfg.work_dir, cfg.cache_dir = str(folder / f'out{eta}'), str(folder / 'cache')
    progress = Stages()
    DedupRunner.from_cfg(cfg, progress=progress, report=report).run()
    (folder / f'seconds{eta}.json').write_text(json.dumps(progress.seconds))


def fork(work):
    """Run ``work`` in a child; returns its process id."""
    child = os.fork()
    if child:
        return child
    try:
        log = os.open(os.devnull, os.O_WRONLY)
        os.dup2(log, 1)
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def end_of(child):
    _, status = os.waitpid(child, 0)
    return (
        'killed'
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        else f'exit {os.WEXITSTATUS(status)}'
    )


def die():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def die_in_stage(wanted, moment, seconds):
    """In the child: SIGKILL at the start, the middle or the end of one stage, always inside it."""

    @contextmanager
    def stage(self, name, *arguments, **options):
        with PLAIN_STAGE(self, name, *arguments, **options) as tick:
            if name == wanted and moment == 'start':
                die()
            if name == wanted and moment == 'middle':
                threading.Timer(seconds / 2, die).start()
            yield tick
            if name == wanted:
                die()

    Stages.stage = stage


def die_before_rename(count):
    """In the child: SIGKILL between writing a file and renaming it, at the count-th file."""
    left = [count]

    def replace(*arguments):
        left[0] -= 1
        if not left[0]:
            die()
        PLAIN_REPLACE(*arguments)

    os.replace = replace


def result(folder, eta=0.8):
    out = folder / f'out{eta}'
    if not (out / 'subset.parquet').exists():
        return None
    names = ('subset.parquet', 'keep.txt', 'unreadable.csv', 'centroids.npy')
    digest = hashlib.sha256(b''.join((out / name).read_bytes() for name in names)).hexdigest()
    leftovers = [str(path.relative_to(folder)) for path in folder.rglob('*.tmp')]
    return {'digest': digest, 'leftovers': leftovers, 'shards': len(list((folder / 'cache').rglob('shard-*.npy')))}


def import_everything(pool):
    """What is imported here need not be imported by each child; nothing that starts threads may run before a fork."""
    mmdel.selection.clustering.import_faiss()
    init_default_scope('mmpretrain')
    DATASETS.build(dict(type='mmdel.DataDEL', data_root=str(pool)))
    gc.freeze()  # a dataset has garbage collected, for which each child would copy all of torch


def main():
    pool, base = Path(sys.argv[1]), Path(sys.argv[2])
    import_everything(pool)
    found = {'killed': {}}

    def completed(name, *, eta=0.8, report=False):
        folder = base / name
        ended = end_of(fork(lambda: run(pool, folder, eta, report)))
        return {'ended': ended, **(result(folder, eta) or {})}

    (base / 'plain').mkdir()
    found['plain'] = completed('plain', report=True)
    seconds = json.loads((base / 'plain' / 'seconds0.8.json').read_text())
    found['stages'] = sorted(seconds)

    moments = {
        f'{stage} {moment}': (die_in_stage, stage, moment, seconds.get(stage, 0))
        for stage in STAGES
        for moment in MOMENTS
    }
    moments |= {f'rename {count}': (die_before_rename, count) for count in RENAMES}
    for number, (name, (arm, *arguments)) in enumerate(moments.items()):
        folder = base / f'moment{number}'
        folder.mkdir()
        first = end_of(fork(lambda: (arm(*arguments), run(pool, folder, report=name.startswith('report')))))  # noqa: B023
        found['killed'][name] = {'first': first, **completed(folder.name)}

    for damage in ('flip', 'cut', 'empty', 'remove'):
        shard = sorted((base / 'plain' / 'cache').rglob('shard-*.npy'))[1]
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        if damage == 'remove':
            shard.unlink()
        else:
            shard.write_bytes({'flip': data, 'cut': data[: len(data) // 2], 'empty': b''}[damage])
        found[f'damage {damage}'] = completed('plain')

    etas = (0.7, 0.75, 0.8, 0.85, 0.9)
    (base / 'together').mkdir()
    children = [fork(lambda eta=eta: run(pool, base / 'together', eta)) for eta in etas]
    ends = [end_of(child) for child in children]
    found['together'] = {
        eta: {'ended': end, **(result(base / 'together', eta) or {})} for eta, end in zip(etas, ends, strict=True)
    }
    found['alone'] = {eta: completed('plain', eta=eta) for eta in etas}
    print('RESULT ' + json.dumps(found))


if __name__ == '__main__':
    main()
