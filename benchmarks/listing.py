"""What do lists of millions of image files cost, in selection and in training?

    python benchmarks/listing.py --images 100000 1000000 10000000

Makes so many names of one small image in folders of 10,000 (hard links: they take room in the folders only) and measures time and
peak memory in processes of their own: listing them as a dataset; its table of images; the whole command with every vector in the
cache, of 48 numbers, put there as if embedded; and the dataset of the chosen images.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from mmengine.config import Config
from selection import ROOT, draw_scenes, run_dedup

from mmdel.datasets import DataDEL, MedDELDataset
from mmdel.embedding.reader import file_state
from mmdel.embedding.store import ROWS, EmbeddingStore
from mmdel.images.image_table import image_table
from mmdel.registry import EMBEDDERS

FOLDER = 10_000
LINKS = 60_000
"""Names of one file; file systems allow 65,000."""

DIM = 48


def make_names(folder: Path, images: int) -> None:
    """Like ``video-000123/frame_000001234567.jpg``, 36 characters."""
    content = cv2.imencode('.jpg', np.full((16, 16, 3), 90, np.uint8))[1].tobytes()
    (folder.parent / 'originals').mkdir()
    for number in range(images):
        if number % LINKS == 0:
            original = folder.parent / 'originals' / f'{number}.jpg'
            original.write_bytes(content)
        if number % FOLDER == 0:
            inside = folder / f'video-{number // FOLDER:06d}'
            inside.mkdir(parents=True)
        os.link(original, inside / f'frame_{number:012d}.jpg')


def fill_cache(folder: Path, cache: Path) -> None:
    """Give every image a vector, as if it had been embedded as thumbnail."""
    embedder = EMBEDDERS.build(Config.fromfile(ROOT / 'configs/_base_/embedders/pixels.py').embedder)
    store = EmbeddingStore(str(cache), type(embedder).__name__, embedder.to('cpu').fingerprint())
    rng = np.random.default_rng(0)
    paths = image_table(DataDEL(str(folder))).table['path'].combine_chunks()
    scenes = draw_scenes(rng, len(paths), DIM)
    with store.locked():
        store.load()
        for index, start in enumerate(range(0, len(paths), embedder.shard_size)):
            part = paths[start : start + embedder.shard_size]
            state = np.array([file_state(path) for path in part.to_pylist()]).T
            count, none = len(part), pa.nulls(len(part))
            sixteen = np.full(count, 16)
            columns = (part, *state, none, none, sixteen, sixteen, state[0], np.ones(count), np.arange(count))
            rows = pa.table(
                [pa.array(values).cast(field.type) for values, field in zip(columns, ROWS, strict=True)], ROWS
            )
            noise = 0.3 * rng.standard_normal((count, DIM), dtype=np.float32)
            store.append(rows, scenes[rng.integers(0, len(scenes), count)] + noise, index)


def status(name: str) -> float:
    """GB, of this process: VmRSS now, or VmHWM at most since it was reset."""
    return int(re.search(rf'{name}:\s+(\d+)', Path('/proc/self/status').read_text())[1]) / 1e6


def measured(name: str, work: Callable[[], object]) -> object:
    """What the work gives; a line with its time and memory is printed."""
    Path('/proc/self/clear_refs').write_text('5')
    before, start = status('VmRSS'), time.perf_counter()
    made = work()
    print(
        f'    {name}: {time.perf_counter() - start:.1f} s, {before:.2f} GB before, {status("VmHWM"):.2f} GB at most',
        flush=True,
    )
    return made


def child(folder: Path, subset: str = '') -> None:
    subprocess.run([sys.executable, __file__, '--in-process', str(folder), subset], check=True, cwd=folder.parent)


def in_process(folder: Path, subset: str) -> None:
    """The stages of one process."""
    if subset:
        measured(
            'dataset of the subset', lambda: MedDELDataset(dict(type='mmdel.DataDEL', data_root=str(folder)), subset)
        )
        return
    dataset = measured('listed', lambda: DataDEL(str(folder)))
    measured('table of images', lambda: image_table(dataset))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, nargs='+', default=[100_000, 1_000_000])
    parser.add_argument('--in-process', nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.in_process:
        in_process(Path(args.in_process[0]), args.in_process[1])
        return
    print(f'{platform.processor() or platform.machine()}, {os.cpu_count()} cores, pyarrow {pa.__version__}')
    for images in args.images:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / 'images'
            make_names(folder, images)
            print(f'{images:,} names', flush=True)

            child(folder)
            fill_cache(folder, Path(name) / 'cache of run')
            options = ('--encoder', 'pixels', '--ratio', '0.05', '--cfg-options')
            run = run_dedup(('--images', folder), Path(name), 'run', *options)
            print(
                f'    whole command: {run["wall"]:.1f} s, {run["peak"] / 1e9:.2f} GB at most; {run["stages"]}',
                flush=True,
            )
            child(folder, str(Path(name) / 'run' / 'subset.parquet'))


if __name__ == '__main__':
    main()
