"""Draw the synthetic demo data: endoscopy with copies, rubbish and a truth table.

python tools/make_demo_data.py --out data/demo
"""

import argparse
import sys
from pathlib import Path

from mmdel.cli.arguments import ArgumentParser, at_least

DEMO = Path(__file__).resolve().parents[1] / 'demo'


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description='Draw the synthetic demo data. What is already there is not drawn again.')
    parser.add_argument('--out', default='data/demo', help='folder that gets the images (default: data/demo)')
    parser.add_argument('--seed', type=at_least(0), default=0, help='another seed draws other clips (default: 0)')
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from rich.console import Console

    from mmdel.compute.progress import Stages

    sys.path.insert(0, str(DEMO))
    from synthetic import write_demo_data

    out = write_demo_data(args.out, args.seed, Stages(Console(stderr=True)))
    for kind, folder in (('pool', Path('pool')), ('segmentation', Path('segmentation', 'kvasir-seg', 'images'))):
        files = sum(1 for path in (out / folder).rglob('*.jpg'))
        print(f'{kind}: {files} images in {out / folder}')


def main() -> None:
    args = parse_args()
    from mmdel.compute.exits import end_with

    end_with(run, args)


if __name__ == '__main__':
    main()
