"""Time and memory of k-means, assignment and comparison on given vectors, against the bare matrix products.

    python benchmarks/selection.py --images 88282

Draws clustered vectors, runs ``tools/dedup.py --embeddings`` as a user would for both scopes, on centred vectors and on raw
ones that all point the same way, with and without pruning, and compares the bytes of the subset files. In the same run it
measures what the same machine does with the bare float32 products (the faster of NumPy and torch), best of five.
"""

import argparse
import hashlib
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.selection.clustering import FaissKMeans, auto_num_clusters, import_faiss
from mmdel.similarity import best_preferred

ROOT = Path(__file__).resolve().parent.parent
CLUSTERS = (2_000, 5_000, 10_000, 20_000)
SIDE = 4096
"""Rows of the bare product's two factors."""
PAUSE = 0.2
"""Seconds between contenders: threads of the one before wait busily for more work."""


def draw_scenes(rng: np.random.Generator, images: int, dim: int) -> np.ndarray:
    """The middles of scenes of about 60 of so many images, float32 [scenes, dim]."""
    organs = rng.standard_normal((20, dim), dtype=np.float32)
    scenes = max(1, images // 60)
    return organs[rng.integers(0, 20, scenes)] + 0.6 * rng.standard_normal((scenes, dim), dtype=np.float32)


def draw_vectors(images: int, dim: int, seed: int = 0) -> np.ndarray:
    """Like video: 20 organs, scenes of about 60 frames, small changes between frames; float32 [images, dim]."""
    rng = np.random.default_rng(seed)
    scene = draw_scenes(rng, images, dim)
    return scene[rng.integers(0, len(scene), images)] + 0.3 * rng.standard_normal((images, dim), dtype=np.float32)


def write_vectors(path: Path, images: int, dim: int, rows: int = 100_000) -> None:
    """The same in float16, drawn and written some rows at a time."""
    rng = np.random.default_rng(0)
    scene = draw_scenes(rng, images, dim)
    with open(path, 'wb') as file:
        np.lib.format.write_array_header_1_0(
            file,
            {
                'descr': np.lib.format.dtype_to_descr(np.dtype(np.float16)),
                'fortran_order': False,
                'shape': (images, dim),
            },
        )
        for start in range(0, images, rows):
            size = min(rows, images - start)
            noise = 0.3 * rng.standard_normal((size, dim), dtype=np.float32)
            file.write((scene[rng.integers(0, len(scene), size)] + noise).astype(np.float16).data)


def best_of(times: int, work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def bare_rate(dim: int) -> tuple[float, str]:
    """Multiplications and additions a second of the faster library in float32, and its name."""
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((SIDE, dim), dtype=np.float32) for _ in range(2))
    out = np.empty((SIDE, SIDE), np.float32)
    tensors = [torch.from_numpy(array) for array in (left, right, out)]
    numpy = best_of(5, lambda: np.matmul(left, right.T, out=out))
    torch_ = best_of(5, lambda: torch.matmul(tensors[0], tensors[1].T, out=tensors[2]))
    seconds, name = min((numpy, 'NumPy'), (torch_, 'torch'))
    return 2 * SIDE * SIDE * dim / seconds, name


def run_dedup(source: tuple[str, Path], folder: Path, name: str, *options: str) -> dict:
    """One run of the command on what an option names: stage times and wall time in seconds, peak memory in bytes, the subset."""
    work_dir = folder / name
    script = (
        'import json, re, runpy, sys\n'
        'def peak(): return int(re.search("VmHWM:\\\\s+(\\\\d+)", open("/proc/self/status").read())[1]) * 1024\n'
        'import mmengine.config, mmengine.dist, mmengine.logging, rich.console, rich.table\n'
        'import mmdel.engine, mmdel.embedding, mmdel.selection, mmdel.datasets\n'
        'from mmdel.selection.clustering import import_faiss; import_faiss()\n'
        'imports = peak()\n'
        'sys.argv = sys.argv[1:]\n'
        'runpy.run_path(sys.argv[0], run_name="__main__")\n'
        'print("MEMORY", json.dumps([imports, peak()]))\n'
    )
    command = [
        sys.executable, '-c', script, str(ROOT / 'tools/dedup.py'), str(ROOT / 'configs/meddel_eta08.py'),
        *map(str, source), '--work-dir', str(work_dir), *options, f'cache_dir={folder / f"cache of {name}"}',
    ]  # fmt: skip
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    wall = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    stages = {name: float(seconds) for name, seconds in re.findall(r'^ *([\w-]+) +│ +([\d.]+) s *$', done.stdout, re.M)}
    imports, peak = json.loads(done.stdout.split('MEMORY ')[1])
    table = pq.read_table(work_dir / 'subset.parquet')
    digest = hashlib.sha256((work_dir / 'subset.parquet').read_bytes()).hexdigest()
    return {
        'digest': digest,
        'wall': wall,
        'stages': stages,
        'memory': peak - imports,
        'peak': peak,
        'table': table,
        'printed': done.stdout,
    }


def products(table: object, scope: str, dim: int) -> float:
    """Operations of the bare products: the triangle of all pairs, or training, assignment and the clusters found."""
    images = table.num_rows
    if scope == 'global':
        return images**2 / 2 * 2 * dim
    sizes = np.unique(table['cluster'].to_numpy(), return_counts=True)[1]
    k = len(sizes)
    training = 20 * min(images, 256 * k) * k
    return (training + images * k + (sizes.astype(float) ** 2).sum() / 2) * 2 * dim


def scale(sizes: list[int], dim: int) -> None:
    """Print a row for each number of images: cluster scope of float16 vectors from a file, as a user would run it."""
    stages = ('k-means', 'assign', 'compare')
    last = None
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_vectors(folder / 'vectors.npy', size, dim)
            before = bare_rate(dim)[0]
            options = ('--cfg-options', 'selector.scope=cluster', 'center=True')
            run = run_dedup(('--embeddings', folder / 'vectors.npy'), folder, 'run', *options)
            rate = max(before, bare_rate(dim)[0])
            clusters = len(np.unique(run['table']['cluster'].to_numpy()))
        spent = sum(run['stages'].get(stage, 0) for stage in stages)
        bare = products(run['table'], 'cluster', dim) / rate
        growth = (
            ''
            if last is None
            else f'; grows with N to the {np.log(run["wall"] / last[1]) / np.log(size / last[0]):.2f}'
        )
        print(
            f'{size:,} images, {size * dim * 2 / 1e9:.2f} GB, {clusters:,} clusters: whole command {run["wall"]:.1f} s{growth}; '
            f'{" + ".join(stages)} {spent:.1f} s, {spent / bare:.2f} times the bare float32 products ({rate / 1e9:.0f} GFLOP/s); '
            f'peak memory {run["peak"] / 1e9:.2f} GB ({(run["peak"] - run["memory"]) / 1e9:.2f} of it imports); {run["stages"]}',
            flush=True,
        )
        last = size, run['wall']


def in_cluster(dim: int) -> None:
    """Print how long one cluster takes, against the whole product, its upper triangle and the maximum, best of five by turns.

    NumPy notices that both factors are one array, and computes one triangle of the product only.
    """
    for size in CLUSTERS:
        raw = draw_vectors(size, dim)
        vectors = Vectors(ArraySource(raw), [str(row) for row in range(size)], center=True)
        unit = torch.from_numpy(vectors.read(slice(None)))
        order = [np.arange(size)]
        work = {
            'mmdel': lambda vectors=vectors, order=order: best_preferred(vectors, order),
            'torch': lambda unit=unit: (unit @ unit.T).triu(1).max(0),
            'NumPy': lambda unit=unit: np.triu(unit.numpy() @ unit.numpy().T, 1).max(axis=0),
        }
        wall, cpu = (dict.fromkeys(work, np.inf) for _ in range(2))
        for _ in range(5):
            for name, step in work.items():
                time.sleep(PAUSE)
                start, used = time.perf_counter(), time.process_time()
                step()
                wall[name] = min(wall[name], time.perf_counter() - start)
                cpu[name] = min(cpu[name], time.process_time() - used)
        ratios = ', '.join(
            f'by {name} {wall[name] / wall["mmdel"]:.1f} times as long, {cpu[name] / cpu["mmdel"]:.1f} times the CPU'
            for name in ('torch', 'NumPy')
        )
        print(
            f'one cluster of {size:,}: {wall["mmdel"] * 1e3:.0f} ms, {cpu["mmdel"] * 1e3:.0f} ms of CPU; '
            f'whole product, triangle and maximum {ratios}',
            flush=True,
        )


def cluster(images: int, dim: int, seed: int, name: str) -> tuple[float, float, str]:
    """Seconds of clustering, the mean cosine to the own centroid, and the kernels that faiss multiplied with."""
    if name != 'faiss as installed':
        import_faiss()
    import faiss

    vectors = _clustered(images, dim)
    k, rows = auto_num_clusters(images), np.arange(images)
    unit = vectors.read(slice(None))
    start = time.perf_counter()
    if name == 'mmdel':
        mean = float(FaissKMeans(seed=seed).fit(vectors, rows).cosine.mean())
    else:
        trained = faiss.Kmeans(dim, k, niter=20, seed=seed, spherical=True)
        trained.train(unit)
        mean = float(trained.index.search(unit, 1)[0].mean())
    spent = time.perf_counter() - start
    kernels = next(
        info['architecture'] for info in threadpool_info() if 'faiss' in info['filepath'] and info['user_api'] == 'blas'
    )
    return spent, mean, kernels


@cache
def _clustered(images: int, dim: int) -> Vectors:
    return Vectors(ArraySource(draw_vectors(images, dim)), [str(row) for row in range(images)], center=True)


def kmeans(images: int, dim: int) -> None:
    """Print time and objective of clustering, against faiss alone with its own matrix kernels and with those that mmdel asks for.

    Same vectors, k and iterations at most (faiss stops where nothing changes, at an iteration that depends on the seed); a
    process for each, as kernels are chosen at import. The mean over five seeds of the best of three by turns.
    """
    names = ('mmdel', 'faiss as installed', 'faiss with the same kernels')
    pools = {name: ProcessPoolExecutor(1, get_context('spawn')) for name in names}
    seconds, means = (dict.fromkeys(names, 0.0) for _ in range(2))
    kernels = dict.fromkeys(names, '')
    seeds = range(5)
    for seed in seeds:
        best = dict.fromkeys(names, np.inf)
        for _ in range(3):
            for name, pool in pools.items():
                time.sleep(PAUSE)
                spent, mean, kernels[name] = pool.submit(cluster, images, dim, seed, name).result()
                best[name] = min(best[name], spent)
                means[name] += mean / 3 / len(seeds)
        for name in names:
            seconds[name] += best[name] / len(seeds)
    for pool in pools.values():
        pool.shutdown()
    print(f'k-means of {images:,} into {auto_num_clusters(images)}:')
    for name in names:
        print(
            f'    {name} ({kernels[name]} kernels): {seconds[name]:.3f} s, ratio {seconds["mmdel"] / seconds[name]:.2f}; '
            f'mean cosine to the own centroid {means[name]:.5f}, lost {1 - means["mmdel"] / means[name]:+.3%}',
            flush=True,
        )


def all_pairs(images: int, dim: int) -> None:
    """Print the CPU time of comparing all pairs over that of the bare products: what other programs do hardly changes it."""
    drawn = draw_vectors(images, dim)
    order = [np.random.default_rng(0).permutation(images)]
    for which in ('centred', 'raw'):
        raw = drawn if which == 'centred' else drawn + 4 * np.sign(drawn[0])
        vectors = Vectors(ArraySource(raw), [str(row) for row in range(images)], center=which == 'centred')
        before = bare_cpu_rate(dim)
        used = time.process_time()
        best_preferred(vectors, order)
        used = time.process_time() - used
        rate = max(before, bare_cpu_rate(dim))
        print(f'{which}: {used:.1f} s of CPU; over bare float32 {used * rate / (images**2 * dim):.2f} '
              f'({rate / 1e9:.0f} GFLOP a CPU second)', flush=True)  # fmt: skip


def bare_cpu_rate(dim: int) -> float:
    """Float32 operations of NumPy a CPU second, one thread, best of three."""
    left, right = np.random.default_rng(0).standard_normal((2, SIDE, dim), dtype=np.float32)
    seconds = []
    with threadpool_limits(1):
        for _ in range(3):
            start = time.process_time()
            left @ right.T
            seconds.append(time.process_time() - start)
    return 2 * SIDE * SIDE * dim / min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=88_282)
    parser.add_argument('--dim', type=int, default=768)
    parser.add_argument(
        '--only', nargs=2, metavar=('VECTORS', 'SCOPE'), help='one case: centred or raw, cluster or global'
    )
    parser.add_argument('--all-pairs', action='store_true', help='only the comparison of all pairs, in CPU seconds')
    parser.add_argument('--kmeans', action='store_true', help='only k-means and assignment, against faiss alone')
    parser.add_argument('--in-cluster', action='store_true', help='only the step inside one cluster, of several sizes')
    parser.add_argument(
        '--scale', type=int, nargs='+', metavar='IMAGES', help='only cluster scope, of float16 vectors from a file'
    )
    args = parser.parse_args()
    print(f'{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, Python {platform.python_version()}, '
          f'NumPy {np.__version__}, torch {torch.__version__}, faiss-cpu {version("faiss-cpu")}')  # fmt: skip
    if args.scale:
        scale(args.scale, args.dim)
        return
    if args.all_pairs:
        all_pairs(args.images, args.dim)
        return
    if args.kmeans:
        kmeans(args.images, args.dim)
        return
    if args.in_cluster:
        in_cluster(args.dim)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vectors = draw_vectors(args.images, args.dim)
        np.save(folder / 'centred.npy', vectors)
        np.save(folder / 'raw.npy', vectors + 4 * np.sign(vectors[0]))
        raw = vectors.nbytes
        del vectors
        for which, scope, stages in (
            ('centred', 'cluster', ('k-means', 'assign', 'compare')),
            ('centred', 'global', ('compare',)),
            ('raw', 'global', ('compare',)),
        ):
            if args.only and args.only != [which, scope]:
                continue
            digests = set()
            for precision in ('auto', 'float32'):
                before, library = bare_rate(args.dim)
                options = (f'selector.scope={scope}', f'center={which == "centred"}', f'selector.precision={precision}')
                source = ('--embeddings', folder / f'{which}.npy')
                run = run_dedup(source, folder, f'{which} {scope} {precision}', '--cfg-options', *options)
                digests.add(run['digest'])
                spent = sum(run['stages'][stage] for stage in stages)
                # the faster of the two measurements: a shared machine slows down, it never speeds up
                rate = max(before, bare_rate(args.dim)[0])
                bare = products(run['table'], scope, args.dim) / rate
                print(f'{which}, {scope}, precision {precision}, {" + ".join(stages)}: {spent:.2f} s')
                print(
                    f'    bare products {bare:.2f} s at {rate / 1e9:.0f} GFLOP/s ({library}); ratio {spent / bare:.2f}'
                )
                print(f'    whole command {run["wall"]:.1f} s; peak memory above imports {run["memory"] / 1e9:.2f} GB for '
                      f'{raw / 1e9:.2f} GB of vectors; {run["stages"]}')  # fmt: skip
            print(f'    the subset files are {"identical" if len(digests) == 1 else "NOT IDENTICAL"}')


if __name__ == '__main__':
    main()
