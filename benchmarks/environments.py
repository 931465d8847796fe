"""How much do vectors, and decisions made from them, change with the versions of torch and NumPy?

    python benchmarks/environments.py --images data/wce --other .venv-upstream/bin/python --checkpoint vit-small.pth

Embeds the same images in this environment and in another one, on the CPU, and compares: how much the cosine of a pair of images
changes, among 200,000 pairs; the smallest cosine between the two vectors of one image; and the images that ``--ratio 0.1``
decides otherwise.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from mmdel.embedding import embed_images
from mmdel.engine import DedupRunner
from mmdel.images.image_table import image_table
from mmdel.registry import DATASETS, EMBEDDERS

PAIRS = 200_000
ROOT = Path(__file__).resolve().parents[1]
ENCODERS: dict[str, dict[str, Any]] = {
    'pixels': {},
    'dinov2-small': dict(prefix='', feature='avg_patch', out_index=6, precision='float32'),
}


def choose(encoder: str, images: str, checkpoint: str, out: Path) -> None:
    """Write ``vectors.npy`` and ``keep.npy`` of this environment."""
    cfg = Config.fromfile(ROOT / 'configs' / 'meddel_eta08.py')
    cfg.embedder = Config.fromfile(ROOT / 'configs' / '_base_' / 'embedders' / f'{encoder}.py').embedder
    cfg.embedder.update(ENCODERS[encoder], **({'checkpoint': checkpoint} if encoder != 'pixels' else {}))
    cfg.dataset = dict(type='mmdel.DataDEL', data_root=images)
    cfg.center, cfg.work_dir, cfg.cache_dir = True, str(out), str(out / 'cache')
    subset = DedupRunner.from_cfg(cfg, ratio=0.1, report=False).run()
    table = image_table(DATASETS.build(cfg.dataset))
    vectors = embed_images(table, EMBEDDERS.build(cfg.embedder), cfg.cache_dir).source
    np.save(out / 'vectors.npy', vectors.read(slice(None)))
    np.save(out / 'keep.npy', subset.keep)
    (out / 'versions.txt').write_text(
        f'Python {sys.version.split()[0]}, torch {torch.__version__}, NumPy {np.__version__}'
    )


def compare(here: Path, there: Path) -> str:
    left, right = (np.load(side / 'vectors.npy').astype(np.float64) for side in (here, there))
    left, right = (side - side.mean(axis=0) for side in (left, right))
    left, right = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (left, right))
    rows, columns = np.random.default_rng(0).integers(0, len(left), (2, PAIRS))
    change = np.abs((left[rows] * left[columns]).sum(1) - (right[rows] * right[columns]).sum(1)).max()
    keep = [np.load(side / 'keep.npy') for side in (here, there)]
    return (
        f'the cosine of a pair changes by {change:.1e} at most, 1 - cosine of the vectors of an image is '
        f'{1 - (left * right).sum(1).min():.1e} at most; {int((keep[0] != keep[1]).sum())} of {len(left)} images are decided '
        f'otherwise, {int(keep[0].sum())} are kept'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', required=True, help='a folder of images')
    parser.add_argument('--other', help='the interpreter of the other environment')
    parser.add_argument('--checkpoint', help='weights of DINOv2 ViT-S/14; without them only pixels are compared')
    parser.add_argument('--choose', nargs=2, metavar=('ENCODER', 'OUT'), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.choose:
        choose(args.choose[0], args.images, args.checkpoint, Path(args.choose[1]))
        return
    for encoder in ENCODERS if args.checkpoint else ['pixels']:
        with tempfile.TemporaryDirectory() as folder:
            sides = [Path(folder, 'here'), Path(folder, 'there')]
            for side, interpreter in zip(sides, (sys.executable, args.other), strict=True):
                options = [
                    '--images',
                    args.images,
                    '--checkpoint',
                    args.checkpoint or '',
                    '--choose',
                    encoder,
                    str(side),
                ]
                subprocess.run(
                    [interpreter, __file__, *options],
                    env={**os.environ, 'PYTHONPATH': str(ROOT), 'CUDA_VISIBLE_DEVICES': ''},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    check=True,
                )
            if encoder == 'pixels':
                print('; '.join((side / 'versions.txt').read_text() for side in sides))
            print(f'{encoder}: {compare(*sides)}', flush=True)


if __name__ == '__main__':
    main()
