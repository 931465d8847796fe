"""``mmdel decisions``: every image, kept or not and why, for other programs.

mmdel decisions work_dirs/RUN --format csv --out decisions.csv
"""

import argparse

from mmdel.cli import options
from mmdel.cli.arguments import ArgumentParser
from mmdel.cli.command import Command, Outcome

SUMMARY = {
    'out': 'the file or folder',
    'images': 'images in it',
    'kept': 'those that are kept',
    'problems': '`[name, reason]` of each frame that could not be written',
}


def _add_arguments(parser: ArgumentParser) -> None:
    options.add_subset(parser)
    parser.add_argument('--format', choices=['csv', 'coco', 'fiftyone'], required=True, help='what to write')
    parser.add_argument('--out', required=True, help='the new file, or with fiftyone the new folder')
    options.add_recut(parser)
    parser.add_argument('--images', metavar='DIR', help='with fiftyone: the image folder, if it has moved')
    parser.add_argument(
        '--no-frames',
        dest='frames',
        action='store_false',
        help='with fiftyone: leave out video frames (default: write them as JPEG)',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace existing files')


def _run(args: argparse.Namespace) -> Outcome:
    from mmdel import export
    from mmdel.cli.output import complain, stages
    from mmdel.engine.finished_run import FinishedRun

    finished = FinishedRun.open(args.subset, args.images)
    subset = options.recut(finished.subset, args)
    count = f'{len(subset.images):,} images, {len(subset.kept):,} of them kept'
    problems: options.Problems = ()
    if args.format == 'fiftyone':
        root = finished.origin.images if args.frames else None
        frames = export.export_fiftyone(subset, args.out, finished.paths, root or None, args.overwrite, stages())
        problems = frames.problems if frames else ()
        print(
            f'{count}: {args.out}\nin FiftyOne: fiftyone.Dataset.from_dir({args.out!r}, '
            "fiftyone.types.LegacyFiftyOneDataset), then match_tags('kept') or group_by('group')"
        )
        complain(problems)
    elif args.format == 'csv':
        print(f'{count}: {export.export_csv(subset, args.out, args.overwrite)}')
    else:
        print(f'{count}: {export.export_coco(subset, args.out, args.overwrite, finished.origin.spelled)}')
    summary = {
        'out': args.out,
        'images': len(subset.images),
        'kept': len(subset.kept),
        'problems': [list(each) for each in problems],
    }
    return Outcome(summary, 1 if problems else 0)


COMMAND = Command(
    'Write the table of a subset as CSV for spreadsheets, as COCO JSON, or as a folder that FiftyOne imports '
    '(without needing FiftyOne).',
    _add_arguments,
    _run,
    summary=SUMMARY,
)
