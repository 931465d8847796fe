"""Export the decisions of a subset to other programs: every image, kept or not, and why.

python tools/analysis_tools/export_decisions.py work_dirs/RUN --format csv --out decisions.csv
"""

import argparse
import sys

from mmdel.cli.arguments import ArgumentParser, cosine, share


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Write the table of a subset as CSV for spreadsheets, as COCO JSON, or as a folder that FiftyOne imports '
        '(without needing FiftyOne).'
    )
    parser.add_argument('subset', help='a subset.parquet, or its work dir')
    parser.add_argument('--format', choices=['csv', 'coco', 'fiftyone'], required=True, help='what to write')
    parser.add_argument('--out', required=True, help='the new file, or with fiftyone the new folder')
    cut = parser.add_mutually_exclusive_group()
    cut.add_argument('--ratio', type=share, help='cut the subset at this share instead')
    cut.add_argument('--eta', type=cosine, help='cut the subset at this cosine instead')
    parser.add_argument('--images', metavar='DIR', help='with fiftyone: the image folder, if it has moved')
    parser.add_argument(
        '--no-frames',
        dest='frames',
        action='store_false',
        help='with fiftyone: leave out video frames (default: write them as JPEG)',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace existing files')
    return parser.parse_args()


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from mmdel import export
    from mmdel.compute.progress import Stages
    from mmdel.engine.finished_run import FinishedRun

    finished = FinishedRun.open(args.subset, args.images)
    subset = finished.subset
    if args.ratio is not None or args.eta is not None:
        subset = subset.at(eta=args.eta, ratio=args.ratio)
    count = f'{len(subset.images):,} images, {len(subset.kept):,} of them kept'
    if args.format != 'fiftyone':
        if args.format == 'csv':
            path = export.export_csv(subset, args.out, args.overwrite)
        else:
            path = export.export_coco(subset, args.out, args.overwrite, finished.origin.spelled)
        print(f'{count}: {path}')
        return 0
    root = finished.origin.images if args.frames else None
    frames = export.export_fiftyone(
        subset, args.out, finished.paths, root or None, args.overwrite, Stages(Console(stderr=True))
    )
    print(
        f'{count}: {args.out}\nin FiftyOne: fiftyone.Dataset.from_dir({args.out!r}, fiftyone.types.LegacyFiftyOneDataset), '
        "then match_tags('kept') or group_by('group')"
    )
    problems = frames.problems if frames else ()
    for name, reason in problems[:20]:
        print(f'- {name}: {reason}', file=sys.stderr)
    return 1 if problems else 0


def main() -> None:
    args = parse_args()
    from mmdel.compute.exits import end_with

    end_with(run, args)


if __name__ == '__main__':
    main()
