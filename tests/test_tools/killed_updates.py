"""Not a test: updates of one old subset that are killed at chosen moments and started again, as ``killed_runs.py`` does it.

    python killed_updates.py POOL FOLDER

Images of POOL whose name begins with ``late`` come after the old run. Prints one JSON object: what became of every update.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import killed_runs
from mmengine.config import Config

from mmdel.compute.progress import Stages
from mmdel.engine import DedupRunner

MOMENTS = {
    'never': None,
    'a shard is written': (killed_runs.die_before_rename, 3),
    'compare': (killed_runs.die_in_stage, 'compare', 'start', 0),
    'lists are written': (killed_runs.die_in_stage, 'write', 'end', 0),
}


def run(pool, work_dir, cache, update=None):
    cfg = Config.fromfile(killed_runs.ROOT / 'configs' / 'meddel_eta09.py')
    cfg.embedder = Config.fromfile(killed_runs.ROOT / 'configs' / '_base_' / 'embedders' / 'pixels.py').embedder
    cfg.embedder.update(batch_size=16, shard_size=32)
    cfg.center = True
    cfg.selector.epsilon = None
    cfg.dataset = dict(type='mmdel.DataDEL', data_root=str(pool))
    cfg.work_dir, cfg.cache_dir = str(work_dir), str(cache)
    DedupRunner.from_cfg(cfg, progress=Stages(), report=False, update=update and str(update)).run()


def main():
    pool, base = Path(sys.argv[1]), Path(sys.argv[2])
    late = sorted(pool.glob('late*'))
    (base / 'aside').mkdir()
    for path in late:
        os.rename(path, base / 'aside' / path.name)
    killed_runs.import_everything(pool)
    ends = [killed_runs.end_of(killed_runs.fork(lambda: run(pool, base / 'old', base / 'cache')))]
    for path in late:
        os.rename(base / 'aside' / path.name, path)

    found = {}
    for number, (name, arm) in enumerate(MOMENTS.items()):
        folder = base / f'moment{number}'
        # a cache of its own, so that each embeds its new images
        shutil.copytree(base / 'cache', folder / 'cache')

        def update(folder=folder):
            run(pool, folder / 'out0.8', folder / 'cache', base / 'old')

        if arm:
            ends.append(killed_runs.end_of(killed_runs.fork(lambda: (arm[0](*arm[1:]), update()))))  # noqa: B023
        ends.append(killed_runs.end_of(killed_runs.fork(update)))
        found[name] = {'ends': ends, **(killed_runs.result(folder) or {})}
        ends = []
    print('RESULT ' + json.dumps(found))


if __name__ == '__main__':
    main()
