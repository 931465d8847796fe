"""``mmdel demo-data``: draw the synthetic demo data: endoscopy with copies, rubbish and a truth table.

mmdel demo-data --out data/demo
"""

import argparse
import importlib
import sys
from pathlib import Path
from types import ModuleType

from mmdel.cli.arguments import ArgumentParser, at_least
from mmdel.cli.command import Command
from mmdel.config.shipped import shipped


def synthetic() -> ModuleType:
    """What draws the demo data. It is no part of the package: its folder comes onto the path here, for these commands only."""
    sys.path.insert(0, str(shipped('demo')))
    return importlib.import_module('synthetic')


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument('--out', default='data/demo', help='folder that gets the images (default: data/demo)')
    parser.add_argument('--seed', type=at_least(0), default=0, help='another seed draws other clips (default: 0)')
    parser.add_argument(
        '--frames',
        type=at_least(20),
        metavar='N',
        help='only a pool, with so many good frames (default: 600, and pairs)',
    )


def _run(args: argparse.Namespace) -> None:
    from mmdel.cli.output import stages

    out = Path(args.out)
    if args.frames:
        synthetic().render_pool(out / 'pool', args.seed, args.frames // 10, args.frames, progress=stages())
    else:
        synthetic().write_demo_data(out, args.seed, stages())
    for kind, folder in (('pool', Path('pool')), ('segmentation', Path('segmentation', 'kvasir-seg', 'images'))):
        if files := sum(1 for path in (out / folder).rglob('*.jpg')):
            print(f'{kind}: {files} images in {out / folder}')


COMMAND = Command(
    'Draw the synthetic demo data. What is already there is not drawn again.',
    _add_arguments,
    _run,
)
