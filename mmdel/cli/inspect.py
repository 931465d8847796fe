"""``mmdel inspect``: why was this image removed, or kept?

mmdel inspect work_dirs/RUN img/0001.jpg
"""

import argparse
import hashlib
import re
from pathlib import Path

from mmdel.cli import options
from mmdel.cli.arguments import ArgumentParser, at_least
from mmdel.cli.command import Command, Outcome

SUMMARY = {
    'image': 'the key of the image',
    'lines': 'what is said of it',
    'picture': 'the file of the picture, null where there is none',
}


def _add_arguments(parser: ArgumentParser) -> None:
    options.add_subset(parser)
    parser.add_argument('key', help='the image: its key, the path of its file, or the end of its key')
    parser.add_argument('--neighbours', type=at_least(0), default=8, metavar='N', help='how many are listed (8)')
    parser.add_argument('--images', metavar='DIR', help='the image folder, if it has moved')
    parser.add_argument('--out', metavar='FILE.png', help='the picture (default: in report/inspect/ beside the subset)')
    parser.add_argument('--no-picture', dest='picture', action='store_false', help='only the text')


def default_out(folder: Path, key: str) -> Path:
    """A file name that is safe whatever the key holds, and another one for every key."""
    plain = re.sub(r'[^A-Za-z0-9.-]+', '_', key)[-80:].lstrip('.')
    return folder / 'report' / 'inspect' / f'{plain}-{hashlib.sha256(key.encode()).hexdigest()[:8]}.png'


def _run(args: argparse.Namespace) -> Outcome:
    from mmdel.cli.output import stages
    from mmdel.compute.files import atomic
    from mmdel.engine.finished_run import FinishedRun
    from mmdel.engine.inspection import inspect
    from mmdel.images.depth import max_value_of
    from mmdel.report.plots import plot_pictures

    finished = FinishedRun.open(args.subset, args.images)
    found = inspect(finished, args.key, args.neighbours, stages())
    print('\n'.join(found.lines))
    out = None
    if args.picture and not finished.paths:
        print('no picture: where the images are is not known; name their folder with --images DIR')
    elif args.picture:
        out = Path(args.out) if args.out else default_out(finished.folder, found.key)
        depth = max_value_of(finished.subset.metadata.get('embedder'))
        with atomic(out) as temporary:
            plot_pictures(found.shown, finished.paths, max_value=depth).savefig(temporary, format='png')
        print(f'picture: {out}')
    return Outcome({'image': found.key, 'lines': list(found.lines), 'picture': None if out is None else str(out)})


COMMAND = Command(
    'Show what removed an image, the most similar kept image, and its neighbours, as text and as a picture.',
    _add_arguments,
    _run,
    summary=SUMMARY,
)
