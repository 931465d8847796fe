"""``mmdel report``: write the report of a finished run again, without repeating the run.

mmdel report work_dirs/RUN
"""

import argparse
from pathlib import Path

from mmdel.cli.arguments import ArgumentParser, at_least
from mmdel.cli.command import Command, Outcome

SUMMARY = {'report': 'the page'}


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument('work_dir', help='what mmdel select wrote into, or the subset.parquet in it')
    parser.add_argument('--out', metavar='DIR', help='where the report goes (default: report/ in the work dir)')
    parser.add_argument('--images', metavar='DIR', help='the image folder, where it is another one now')
    parser.add_argument(
        '--conflicts', type=float, metavar='COSINE', help="call images above it near-identical (the run's, 0.95)"
    )
    parser.add_argument('--images-per-second', type=float, help='your training rate, for the hours saved (325.6)')
    parser.add_argument('--epochs', type=at_least(1), help='epochs of that training (200)')


def _run(args: argparse.Namespace) -> Outcome:
    from mmdel.cli.output import stages
    from mmdel.engine.finished_run import FinishedRun
    from mmdel.engine.summary import report
    from mmdel.errors import ConfigError
    from mmdel.selection.findings import nearest_kept

    given = {name: getattr(args, name) for name in ('images_per_second', 'epochs') if getattr(args, name) is not None}
    for name, value in given.items():
        if not value > 0:
            raise ConfigError(f'--{name.replace("_", "-")} must be above 0, got {value:g}.')
    progress = stages()
    finished = FinishedRun.open(args.work_dir, args.images)
    vectors = finished.vectors(progress)
    threshold = finished.conflict_threshold if args.conflicts is None else args.conflicts
    if threshold is not None:
        given['threshold'] = threshold
    page = report(
        Path(args.out) if args.out else finished.folder / 'report',
        finished.subset,
        vectors,
        nearest_kept(finished.subset, vectors, progress),
        paths=finished.paths,
        unreadable=finished.unreadable,
        leaks=finished.leaks,
        changes=finished.changes,
        config=finished.config,
        progress=progress,
        **given,
    )
    print(page)
    return Outcome({'report': str(page)})


COMMAND = Command(
    'Write report/index.html of a finished run again, from its subset and its cached vectors.',
    _add_arguments,
    _run,
    summary=SUMMARY,
)
