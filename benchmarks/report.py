"""How long does a report of many images take, how large is it, and how much memory does it need?

    python benchmarks/report.py --images data/wce --count 100000 --dim 768

Makes a subset of random scenes (half kept, all images labelled, 200 classes, 2,000 videos), every key leading to a real file, and
measures the stages after the cut: the most similar kept image of each removed one, conflicts, and the page. The subset is made in
a process of its own, whose memory does not count.
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmdel.embedding.given_vectors import read_given_vectors
from mmdel.embedding.vectors import Vectors
from mmdel.report.page import Findings, write_report
from mmdel.selection.conflicts import list_conflicts
from mmdel.selection.findings import nearest_kept
from mmdel.subset import Subset

SCENE = 10
"""Images of a scene."""


def make_up(count: int, dim: int, folder: str) -> None:
    """Vectors on disk, and a subset over them that keeps half."""
    rng = np.random.default_rng(0)
    scenes = rng.standard_normal((count // SCENE, dim)).astype(np.float32)
    raw = np.lib.format.open_memmap(f'{folder}/v.npy', 'w+', np.float32, (count, dim))
    scene = np.sort(rng.integers(0, len(scenes), count))
    for start in range(0, count, 10_000):
        rows = scene[start : start + 10_000]
        raw[start : start + 10_000] = scenes[rows] + 0.15 * rng.standard_normal((len(rows), dim), np.float32)
    raw.flush()
    images = [f'source{i % 7}/video{s % 2000}/{i:06d}.jpg' for i, s in enumerate(scene)]
    Path(folder, 'keys.txt').write_text('\n'.join(images))
    table = pa.table(
        {
            'image': images,
            'source': [image.split('/')[0] for image in images],
            'video': [image.split('/')[1] for image in images],
            'label': [f'class {(s + (i % 50 == 0)) % 200}' for i, s in enumerate(scene)],
            'rank': rng.permutation(count),
            'cluster': (scene % 70).astype(np.int32),
            'distance': rng.random(count, np.float32),
            'redundancy': rng.random(count, np.float32),
            'removed_by': [images[i] for i in rng.integers(0, count, count)],
            'bytes': rng.integers(20_000, 60_000, count),
        }
    )
    subset = Subset.from_ranking(table, {'selector': {'epsilon': 0.99}, 'mmdel': ''}, kept=count // 2)
    subset.write(f'{folder}/subset.parquet')


def bare_rate() -> float:
    """What the matrix library reaches right now, in 10^9 operations a second: a shared machine varies."""
    square = np.random.default_rng(0).standard_normal((2048, 2048), np.float32)
    start = time.perf_counter()
    square @ square
    return 2 * len(square) ** 3 / (time.perf_counter() - start) / 1e9


def peak_mb() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', required=True, help='a folder with real JPEG files, used again and again')
    parser.add_argument('--count', type=int, default=100_000)
    parser.add_argument('--dim', type=int, default=768)
    parser.add_argument('--out', help='keep the report here')
    args = parser.parse_args()
    files = sorted(str(path) for path in Path(args.images).rglob('*.jpg'))
    with tempfile.TemporaryDirectory() as folder:
        maker = multiprocessing.get_context('spawn').Process(target=make_up, args=(args.count, args.dim, folder))
        maker.start()
        maker.join()
        imports = peak_mb()
        start = time.perf_counter()
        subset = Subset.read(f'{folder}/subset.parquet')
        source = read_given_vectors(f'{folder}/v.npy', f'{folder}/keys.txt').source
        vectors = Vectors(source, subset.images, resident=False)  # as make_report.py reads them
        paths = {image: files[i % len(files)] for i, image in enumerate(subset.images)}
        after_reading = time.perf_counter()
        nearest = nearest_kept(subset, vectors)
        after_nearest = time.perf_counter()
        conflicts = list_conflicts(subset, vectors)
        after_conflicts = time.perf_counter()
        page = write_report(args.out or folder, subset, Findings(nearest, paths, conflicts))
        end = time.perf_counter()
        peak = peak_mb()
        rate = bare_rate()
        print(f'{args.count:,} images, {args.dim} dimensions, {len(os.sched_getaffinity(0))} cores')
        print(f'bare matrix product: {rate:.0f} GFLOP/s')
        print(f'reading        {after_reading - start:6.1f} s')
        print(f'nearest kept   {after_nearest - after_reading:6.1f} s')
        print(f'conflicts      {after_conflicts - after_nearest:6.1f} s, {len(conflicts):,} pairs')
        print(f'page           {end - after_conflicts:6.1f} s, {page.stat().st_size / 1e6:.1f} MB')
        print(f'all            {end - start:6.1f} s')
        print(f'memory         {peak:,.0f} MB at most, of which {imports:,.0f} MB imports')


if __name__ == '__main__':
    main()
