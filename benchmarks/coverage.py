"""Time and memory of the Coverage selector on given vectors, against the bare product of all pairs.

    python benchmarks/coverage.py --images 88282

Draws clustered vectors (as benchmarks/selection.py does) and runs ``tools/dedup.py --embeddings --selector coverage --ratio 0.5``
as a user would: a full ranking, a subset of half the images, and its objective on the graph and over all pairs.
"""

import argparse
import platform
import re
import tempfile
from pathlib import Path

import faiss
import numpy as np
import torch
from selection import bare_rate, draw_vectors, run_dedup


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=88_282)
    parser.add_argument('--dim', type=int, default=768)
    parser.add_argument('--ratio', type=float, default=0.5)
    args = parser.parse_args()
    print(f'{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, Python {platform.python_version()}, '
          f'NumPy {np.__version__}, torch {torch.__version__}, faiss {faiss.__version__}')  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / 'vectors.npy', draw_vectors(args.images, args.dim))
        before, library = bare_rate(args.dim)
        options = ('--selector', 'coverage', '--ratio', str(args.ratio), '--no-report', '--cfg-options')
        run = run_dedup(('--embeddings', folder / 'vectors.npy'), folder, 'coverage', *options)
        rate = max(before, bare_rate(args.dim)[0])
    bare = args.images**2 * 2 * args.dim / rate
    stages, raw = run['stages'], args.images * args.dim * 4
    ranking = stages['neighbours'] + stages['choose']
    print(f'ranking {ranking:.1f} s: neighbours {stages["neighbours"]:.1f} s + choose {stages["choose"]:.1f} s')
    print(
        f'bare products of all pairs {bare:.1f} s at {rate / 1e9:.0f} GFLOP/s ({library}); ratio {ranking / bare:.2f}'
    )
    print(f'whole command {run["wall"]:.1f} s; peak memory above imports {run["memory"] / 1e9:.2f} GB '
          f'for {raw / 1e9:.2f} GB of vectors')  # fmt: skip
    print(stages)
    for line in re.findall(r'^ *(objective.*|mean similarity.*|kept .*)$', run['printed'], re.M):
        print(line)


if __name__ == '__main__':
    main()
