"""How many images per second does a training get, with and without cached pixels?

    python benchmarks/training_input.py --images data/wce

Runs the input side of a pre-training, the data loader with its workers and no model: decoding, a random resized crop to 96 px
(as the demo) and to 224 px (as the paper), a flip, packing. By turns in one process and with the same random numbers: the stock
loaders, and each inside ``mmdel.LoadCached``. The first pass over an empty cache, which decodes and writes, is shown beside the
passes that read. Every pass starts workers of its own, and their start counts.
"""

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import mmpretrain.datasets  # noqa: F401  registers the transforms
import PIL
import torch
from mmengine.dataset import worker_init_fn
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader, Dataset, default_collate

import mmdel
from mmdel.datasets import DataDEL

LOADERS = {'mmdel.LoadFrame': dict(type='mmdel.LoadFrame'), 'LoadImageFromFile': dict(type='LoadImageFromFile')}


class Images(Dataset[Any]):
    """Every n-th image below a folder."""

    def __init__(self, folder: Path, count: int | None, load: dict[str, Any], size: int, backend: str) -> None:
        crop = dict(
            type='RandomResizedCrop', scale=size, crop_ratio_range=(0.2, 1.0), backend=backend, interpolation='bicubic'
        )
        pipeline = [load, crop, dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')]
        self.dataset = DataDEL(str(folder), pipeline=pipeline)
        self.numbers = range(0, len(self.dataset), max(1, len(self.dataset) // count) if count else 1)[:count]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.numbers[index]]['inputs']


def prepare_worker(worker: int) -> None:
    """What mmengine's runner does in each worker."""
    cv2.setNumThreads(0)
    worker_init_fn(worker, num_workers=1, rank=0, seed=0)


def one_pass(images: Images, workers: int, batch: int) -> tuple[float, float]:
    """Images per second, and the sum over all pixels by which two pipelines are compared."""
    loader = DataLoader(
        images,
        batch_size=batch,
        shuffle=True,
        generator=torch.Generator().manual_seed(0),
        num_workers=workers,
        collate_fn=default_collate,
        worker_init_fn=prepare_worker,
    )
    total = 0
    start = time.perf_counter()
    for inputs in loader:
        total += int(inputs.sum())
    return len(images) / (time.perf_counter() - start), total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=Path, required=True, help='a folder with images')
    parser.add_argument('--count', type=int, help='so many of them (default: all)')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--workers', type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--sizes', type=int, nargs='+', default=[96, 224])
    parser.add_argument('--backends', nargs='+', default=['pillow', 'cv2'], help='of the crop')
    parser.add_argument('--cache-dir', type=Path, help='where to keep decoded images (default: a temporary folder)')
    args = parser.parse_args()
    init_default_scope('mmpretrain')
    print(f'mmdel {mmdel.__version__}, torch {torch.__version__}, OpenCV {cv2.__version__}, Pillow {PIL.__version__}')
    cpu = torch.cpu.get_capabilities().get('cpu_name', platform.processor())
    print(f'{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {args.workers} workers')
    cache = Path(tempfile.mkdtemp(dir=args.cache_dir))
    try:
        for name, load in LOADERS.items():
            keep = dict(type='mmdel.LoadCached', load=load, cache_dir=str(cache / name), limit='1TB')
            for size in args.sizes:
                for backend in args.backends:
                    stock, cached = (Images(args.images, args.count, each, size, backend) for each in (load, keep))
                    rounds, first = [], None
                    if not (cache / name).exists():
                        first, _ = one_pass(cached, args.workers, args.batch)
                    for _ in range(args.rounds):
                        without, pixels = one_pass(stock, args.workers, args.batch)
                        with_cache, same = one_pass(cached, args.workers, args.batch)
                        if pixels != same:
                            raise SystemExit('The images differ.')
                        rounds.append((without, with_cache))
                    gains = sorted(after / before for before, after in rounds)
                    print(
                        f'{name}, crop {size} px by {backend}, {len(stock)} images: decoded each time '
                        f'{statistics.median(r[0] for r in rounds):.0f}/s, cached '
                        f'{statistics.median(r[1] for r in rounds):.0f}/s, gain {statistics.median(gains):.2f} '
                        f'({gains[0]:.2f} to {gains[-1]:.2f})' + (f'; first pass {first:.0f}/s' if first else ''),
                        flush=True,
                    )
            size_on_disk = sum(path.stat().st_size for path in (cache / name).glob('??/*'))
            print(f'{name}: {size_on_disk / 1e9:.2f} GB for {len(stock)} images', flush=True)
    finally:
        shutil.rmtree(cache)


if __name__ == '__main__':
    main()
