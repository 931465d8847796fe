"""Not a test: one process that imports everything once, and forks jobs of several processes, of which some are killed.

    python shared_runs.py POOL VECTORS.npy FOLDER JOB...

prints one JSON object: what became of every job. ``test_sharing.py`` reads it. The forks are started as a launcher would, but
nobody ends the others where one dies: that they have to find out.
"""

import gc
import hashlib
import json
import os
import re
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from torch import nn

from mmdel.compute import sharing
from mmdel.embedding import BaseEmbedder
from mmdel.engine import DedupRunner
from mmdel.errors import MmdelError
from mmdel.registry import EMBEDDERS
from mmdel.selection.clustering import import_faiss
from mmdel.similarity import Tuning, tuned
from mmdel.similarity.greedy import GreedyTask
from mmdel.similarity.tasks import Task

SELECTORS = {
    'cluster': dict(type='mmdel.MedDEL', clusterer=dict(type='mmdel.FaissKMeans', num_clusters=7)),
    'global': dict(type='mmdel.MedDEL', scope='global', keep='far'),
    'iterated': dict(type='mmdel.MedDEL', max_iterations=2, eta=0.9),
    'greedy': dict(
        type='mmdel.MedDEL', rule='greedy', eta=0.7, clusterer=dict(type='mmdel.FaissKMeans', num_clusters=7)
    ),
    'greedy-global': dict(type='mmdel.MedDEL', rule='greedy', scope='global', eta=0.7),
    'k-means': dict(type='mmdel.KMeansMedoids'),
    'coverage': dict(type='mmdel.Coverage'),
    'random': dict(type='mmdel.RandomSelector'),
}
EMBEDDED = 'embedded.'
"""Begins the name of a file to which each process writes a line for each batch that it embeds."""


@EMBEDDERS.register_module()
class Faces(BaseEmbedder):
    """A model without much to do; ``trouble`` is called before each batch."""

    trouble: Callable[[int], None] = staticmethod(lambda batches: None)

    def __init__(self) -> None:
        super().__init__(input_size=8, precision='float32', batch_size=4, shard_size=8)
        self._batches = 0

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 12))

    def embed(self, images: torch.Tensor) -> np.ndarray:
        type(self).trouble(self._batches)
        self._batches += 1
        with open(f'{EMBEDDED}{os.getpid()}', 'a') as file:
            file.write('batch\n')
        return super().embed(images)


def choose(work_dir: str, selector: dict[str, Any], **what: Any) -> None:
    options = {name: what.pop(name, default) for name, default in (('ratio', 0.4), ('embeddings', None))}
    cfg = dict(selector=selector, work_dir=work_dir, cache_dir=f'{work_dir}/cache', default_scope='mmengine') | what
    DedupRunner.from_cfg(Config(cfg), report=False, **options).run()


def rank() -> int:
    return int(os.environ['RANK'])


def embed(work_dir: str, cache_dir: str) -> None:
    dataset = dict(type='mmdel.DataDEL', data_root=sys.argv[1])
    choose(work_dir, SELECTORS['cluster'], dataset=dataset, embedder=dict(type='Faces'), cache_dir=cache_dir)


def many(work_dir: str) -> None:
    for name, selector in SELECTORS.items():
        own = 'eta' in selector or name == 'cluster'
        choose(
            f'{work_dir}/{name}', selector, embeddings=sys.argv[2], ratio=None if own else 0.4, center=name == 'global'
        )


# --- jobs


def job(size: int, work: Callable[[], None], prepare: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Run ``work`` as rank 0 of so many processes; how each ended, what they printed, and how many batches were embedded."""
    for path in Path().glob(f'{EMBEDDED}*'):
        path.unlink()
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    children = [fork(i, size, port, work, prepare) for i in range(size)]
    ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    texts = [Path(f'output.{i}').read_text() for i in range(size)]
    return {
        'ends': ends,
        'texts': texts,
        'seconds': time.monotonic() - started,
        'embedded': sum(len(path.read_text().split()) for path in Path().glob(f'{EMBEDDED}*')),
        'shards': [list(map(int, found.split(', '))) for found in re.findall(r'processes: ([\d, ]+)\.', texts[0])],
    }


def fork(number: int, size: int, port: int, work: Callable[[], None], prepare: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        output = os.open(f'output.{number}', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        names = {'RANK': number, 'WORLD_SIZE': size, 'LOCAL_RANK': number, 'LOCAL_WORLD_SIZE': size}
        os.environ |= {name: str(value) for name, value in names.items()} | {
            'MASTER_ADDR': '127.0.0.1',
            'MASTER_PORT': str(port),
        }
        torch.set_num_threads(1)
        prepare()
        try:
            with sharing.joined('pytorch'):
                if sharing.is_main_process():
                    work()
                else:
                    sharing.serve()
            status = 0
        except SystemExit:
            pass
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def digest(work_dir: str) -> str:
    """Of all that must be the same, for every run below a folder."""
    found = hashlib.sha256()
    for path in sorted(Path(work_dir).rglob('*')):
        if path.name in ('subset.parquet', 'keep.txt', 'unreadable.csv', 'centroids.npy'):
            found.update(path.relative_to(work_dir).as_posix().encode() + path.read_bytes())
    return found.hexdigest()


# --- what goes wrong


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def until(true: Callable[[], Any]) -> None:
    for _ in range(2000):
        if true():
            return
        time.sleep(0.01)


def trouble(victim: int, what: Callable[[], None], store: str) -> None:
    """``what`` happens to a process amid its first shard, when others have stored two; they wait for it to begin."""
    begun = Path(f'{store}.begun')

    def before(batches: int) -> None:
        if rank() == victim and batches == 1:
            begun.touch()
            until(lambda: len(list(Path(store).rglob('shard-*.parquet'))) >= 2)
            what()
        elif rank() != victim and batches == 4:
            until(begun.exists)
            time.sleep(0.1)

    Faces.trouble = staticmethod(before)


def die_comparing(victim: int) -> None:
    left = [5]

    def counted(plain: Callable[..., Any]) -> Callable[..., Any]:
        def compare(*arguments: Any) -> Any:
            left[0] -= rank() == victim
            if not left[0]:
                die()
            time.sleep(0.01)
            return plain(*arguments)

        return compare

    for task in (Task, GreedyTask):
        task.compute = counted(task.compute)


def slow_embedding(victim: int) -> None:
    Faces.trouble = staticmethod(lambda batches: time.sleep(0.2 if rank() == victim else 0.01))


def refuse() -> None:
    raise MmdelError('the third leg is too short')


def break_down() -> None:
    raise ZeroDivisionError('a bug')


def same(size: int) -> Any:
    ended = job(size, lambda: (many(f'many{size}'), embed(f'images{size}', f'cache{size}')))
    return ended | {'digests': [digest(f'many{size}'), digest(f'images{size}')]}


def killed_embedding(victim: int) -> Any:
    name = f'embedding{victim}'
    store = f'{name}.cache'
    first = job(3, lambda: embed(name, store), lambda: trouble(victim, die, store))
    stored = len(list(Path(store).rglob('shard-*.parquet')))
    again = job(2, lambda: embed(name, store))
    return {'first': first, 'stored': stored, 'again': again, 'digest': digest(name)}


def killed_comparing(victim: int) -> Any:
    name = f'comparing{victim}'
    first = job(3, lambda: many(name), lambda: die_comparing(victim))
    again = job(3, lambda: many(name))
    return {'first': first, 'again': again, 'digest': digest(name)}


JOBS: dict[str, Callable[[], Any]] = {
    **{f'same {size}': partial(same, size) for size in (1, 2, 3, 8)},
    'slow': lambda: job(3, lambda: embed('slow', 'slow.cache'), lambda: slow_embedding(1)),
    **{f'killed embedding {victim}': partial(killed_embedding, victim) for victim in (0, 2)},
    **{f'killed comparing {victim}': partial(killed_comparing, victim) for victim in (0, 2)},
    'refused by 1': lambda: job(3, lambda: embed('f1', 'f1.cache'), lambda: trouble(1, refuse, 'f1.cache')),
    'broken everywhere': lambda: job(
        3,
        lambda: embed('f2', 'f2.cache'),
        lambda: setattr(Faces, 'trouble', staticmethod(lambda batches: break_down())),
    ),
    'refused by 0': lambda: job(3, refuse),
}


def main() -> None:
    os.chdir(sys.argv[3])
    # whatever is imported here need not be imported by each child; nothing that starts threads may run before a fork
    import_faiss()
    init_default_scope('mmengine')
    DATASETS.build(dict(type='mmdel.DataDEL', data_root=sys.argv[1]))
    gc.freeze()  # a dataset has garbage collected, for which each child would copy all of torch
    # everything is worth sharing, in many small pieces; the dead are missed soon
    sharing.BEAT_S, sharing.SILENT_BEATS, sharing.PARTING_S = 0.1, 15, 0.3
    with tuned(Tuning(shared=0, tile_rows=32, tile_columns=32, whole_rows=32, least_rows=32, most_rows=64)):
        print('RESULT ' + json.dumps({name: JOBS[name]() for name in sys.argv[4:]}))


if __name__ == '__main__':
    main()
