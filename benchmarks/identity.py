"""What does it cost to check that files are unchanged?

    python benchmarks/identity.py --images 100000 --kilobytes 20

Writes so many files of noise, and measures a look at the state of each (a run over known images), reading all of them for their
contents (a run over a pool that was touched or moved), and a table of known images that is compared with them.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmdel.embedding.content_check import READERS, contents_of, unchanged
from mmdel.embedding.reader import file_state
from mmdel.embedding.store import ROWS, STATE

FOLDER = 10_000


def make_files(folder: Path, images: int, size: int) -> list[str]:
    noise = np.random.default_rng(0).bytes(size + images)
    paths = []
    for number in range(images):
        inside = folder / f'video-{number // FOLDER:06d}'
        inside.mkdir(exist_ok=True)
        paths.append(str(inside / f'frame_{number:012d}.bmp'))
        Path(paths[-1]).write_bytes(noise[number : number + size])
    return paths


def measured(name: str, images: int, work: Callable[[], object]) -> object:
    start = time.perf_counter()
    made = work()
    seconds = time.perf_counter() - start
    print(f'    {name}: {seconds:.2f} s, {images / seconds:,.0f} files/s', flush=True)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=100_000)
    parser.add_argument('--kilobytes', type=int, default=20)
    args = parser.parse_args()
    print(f'{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {READERS} files at once')
    with tempfile.TemporaryDirectory() as name:
        paths = make_files(Path(name), args.images, 1000 * args.kilobytes)
        print(f'{args.images:,} files of {args.kilobytes} kB', flush=True)
        measured('size and time alone', args.images, lambda: [os.stat(path).st_mtime_ns for path in paths])
        state = np.array(measured('the whole state', args.images, lambda: [file_state(path) for path in paths]))
        contents = measured('what they hold', args.images, lambda: contents_of(paths))
        columns = [*state.T, contents]
        noted = pa.table([pa.array(c, ROWS.field(n).type) for c, n in zip(columns, [*STATE, 'content'], strict=True)],
                         [*STATE, 'content'])  # fmt: skip
        files = pa.array(paths)
        measured('compared, none touched', args.images, lambda: unchanged(files, noted, state))
        touched = state + np.array([0, 0, 1, 0])
        measured('compared, all touched', args.images, lambda: unchanged(files, noted, touched))


if __name__ == '__main__':
    main()
