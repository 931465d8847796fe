"""Kills runs with SIGKILL at every step of writing and compares what a second run makes of the remains.

Started by test_restart.py in a process of its own: each run is a fork of this one, which has imported everything and
has no threads yet. Prints one JSON object.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from mmdel.embedding import BaseEmbedder, embed_images
from mmdel.images.image_table import SCHEMA, ImageTable


class Colours(BaseEmbedder):
    def __init__(self) -> None:
        super().__init__(input_size=8, precision='float32', batch_size=4, shard_size=8)

    def build_model(self) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 7))


def table_of(folder: Path) -> ImageTable:
    names = sorted(os.listdir(folder))
    columns = {'image': names, 'path': [str(folder / name) for name in names]}
    arrays = [pa.array(columns.get(f.name, [None] * len(names)), f.type) for f in SCHEMA]
    return ImageTable(str(folder), pa.table(arrays, SCHEMA), (), (), ())


def run(folder: Path, cache: Path, workers: int, before: Callable[[], None] = lambda: None) -> int:
    """Embed in a fork; returns how it ended."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    before()
    embedded = embed_images(table_of(folder), Colours(), str(cache), num_workers=workers)
    vectors = embedded.source.read(slice(0, len(embedded.table)))
    np.save(cache / 'result.npy', vectors)
    (cache / 'result.json').write_text(json.dumps([embedded.table['image'].to_pylist(), embedded.unreadable]))
    os._exit(0)


def killed_at(step: int) -> Callable[[], None]:
    """Kill before the n-th of: a batch is embedded, a file is flushed, a file is renamed, the folder is flushed."""

    def prepare() -> None:
        left = [step]

        def counted(function: Callable[..., object]) -> Callable[..., object]:
            def call(*args: object, **kwargs: object) -> object:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **kwargs)

            return call

        os.fsync = counted(os.fsync)
        os.replace = counted(os.replace)
        Colours.embed = counted(Colours.embed)

    return prepare


def remains(cache: Path) -> dict[str, bytes]:
    """All files of a finished run by name, but for who made them."""
    return {
        str(path.relative_to(cache)): path.read_bytes()
        for path in sorted(cache.rglob('*'))
        if path.is_file() and path.name not in ('lock', 'owner')
    }


def main(folder: Path, caches: Path) -> None:
    undisturbed = caches / 'undisturbed'
    assert run(folder, undisturbed, 0) == 0
    expected = remains(undisturbed)
    kills, different = 0, []
    for step in range(1000):
        cache = caches / 'killed'
        workers = 2 if step % 5 == 0 else 0
        if run(folder, cache, workers, killed_at(step)) == 0:
            break
        kills += 1
        if step % 3 == 0:  # and once more while it continues
            run(folder, cache, workers, killed_at(step // 2))
        if run(folder, cache, workers) != 0 or remains(cache) != expected:
            different.append(step)
        shutil.rmtree(cache)
    print(json.dumps({'kills': kills, 'different': different, 'files': len(expected)}))


if __name__ == '__main__':
    main(Path(sys.argv[1]), Path(sys.argv[2]))
