"""Why was this image removed, or kept?

python tools/analysis_tools/inspect_image.py work_dirs/meddel_eta08/subset.parquet img/0001.jpg
"""

import argparse
import hashlib
import re
from pathlib import Path

from mmdel.cli.arguments import ArgumentParser, at_least


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Show what removed an image, the most similar kept image, and its neighbours, as text and as a picture.'
    )
    parser.add_argument('subset', help='a subset.parquet, or its work dir')
    parser.add_argument('key', help='the image: its key, the path of its file, or the end of its key')
    parser.add_argument('--neighbours', type=at_least(0), default=8, metavar='N', help='how many are listed (8)')
    parser.add_argument('--images', metavar='DIR', help='the image folder, if it has moved')
    parser.add_argument('--out', metavar='FILE.png', help='the picture (default: in report/inspect/ beside the subset)')
    parser.add_argument('--no-picture', dest='picture', action='store_false', help='only the text')
    return parser.parse_args()


def default_out(folder: Path, key: str) -> Path:
    """A file name that is safe whatever the key holds, and another one for every key."""
    plain = re.sub(r'[^A-Za-z0-9.-]+', '_', key)[-80:].lstrip('.')
    return folder / 'report' / 'inspect' / f'{plain}-{hashlib.sha256(key.encode()).hexdigest()[:8]}.png'


def run(args: argparse.Namespace) -> None:
    from rich.console import Console

    from mmdel.compute.files import atomic
    from mmdel.compute.progress import Stages
    from mmdel.engine.finished_run import FinishedRun
    from mmdel.engine.inspection import inspect
    from mmdel.images.depth import max_value_of
    from mmdel.report.plots import plot_pictures

    finished = FinishedRun.open(args.subset, args.images)
    found = inspect(finished, args.key, args.neighbours, Stages(Console(stderr=True)))
    print('\n'.join(found.lines))
    if not args.picture:
        return
    paths = finished.paths
    if not paths:
        print('no picture: where the images are is not known; name their folder with --images DIR')
        return
    out = Path(args.out) if args.out else default_out(finished.folder, found.key)
    with atomic(out) as temporary:
        plot_pictures(found.shown, paths, max_value=max_value_of(finished.subset.metadata.get('embedder'))).savefig(
            temporary, format='png'
        )
    print(f'picture: {out}')


def main() -> None:
    args = parse_args()
    from mmdel.compute.exits import end_with

    end_with(run, args)


if __name__ == '__main__':
    main()
