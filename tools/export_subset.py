"""Export a subset: its images as plain files, or a filtered annotation file.

python tools/export_subset.py work_dirs/RUN/subset.parquet --root my/frames --out my/frames_5_percent
"""

import argparse
import sys

from mmdel.cli.arguments import ArgumentParser, at_least, cosine, share


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Write the kept images of a subset as plain files: video frames as JPEG or PNG, image files copied or '
        'linked, with a manifest.csv of new names and old keys. Or, with --ann-file, filter an annotation file.',
        epilog='The original images are only read, and nothing is overwritten. A killed run continues.',
    )
    parser.add_argument('subset', help='a subset.parquet, or its work dir')
    parser.add_argument('--root', metavar='DIR', help='the folder that the keys of the subset are relative to')
    parser.add_argument('--out', required=True, help='the new folder, or with --ann-file the new file')
    cut = parser.add_mutually_exclusive_group()
    cut.add_argument('--ratio', type=share, help='cut the subset at this share instead')
    cut.add_argument('--eta', type=cosine, help='cut the subset at this cosine instead')
    how = parser.add_mutually_exclusive_group()
    for name, text in (
        ('copy', 'copy image files (default)'),
        ('hardlink', 'hard links, on the same disk'),
        ('symlink', 'symbolic links'),
    ):
        how.add_argument(f'--{name}', dest='how', action='store_const', const=name, help=text)
    parser.add_argument('--format', choices=['jpg', 'png'], default='jpg', help='of video frames (default: jpg)')
    parser.add_argument('--quality', type=at_least(1), default=95, help='of jpg, 1 to 100 (default: 95)')
    parser.add_argument('--workers', type=at_least(1), help='threads (default: number of cores)')
    parser.add_argument('--verify', action='store_true', help='compare the files in --out with the manifest')
    parser.add_argument(
        '--ann-file', metavar='IN', help='an annotation file of OpenMMLab or COCO, json or txt, to filter'
    )
    parser.add_argument('--prefix', help='with --ann-file: prefix that turns a name into a key')
    parser.add_argument(
        '--unlisted',
        choices=['error', 'drop', 'keep'],
        default='error',
        help='with --ann-file: images that the subset does not list',
    )
    args = parser.parse_args()
    if not (args.root or args.ann_file or args.verify):
        parser.error('give --root, the folder that the keys are relative to (tools/dedup.py printed it), or --ann-file')
    return args


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from rich.console import Console

    from mmdel import export
    from mmdel.compute.progress import Stages
    from mmdel.subset import Subset

    progress = Stages(Console(stderr=True))
    if args.verify:
        files, wrong = export.verify_export(args.out, progress)
        report(f'{files - len(wrong):,} of {files:,} files in {args.out} are as they were exported', wrong)
        return 1 if wrong else 0
    path = Path(args.subset)
    subset = Subset.read(path / 'subset.parquet' if path.is_dir() else path)
    if args.ratio is not None or args.eta is not None:
        subset = subset.at(eta=args.eta, ratio=args.ratio)
    if args.ann_file:
        done = export.filter_annotations(args.ann_file, args.out, subset, args.prefix or '', args.unlisted)
        print(f'{done.after:,} of {done.before:,} images stay: {args.out}')
        return 0
    exported = export.export_images(
        subset, args.root, args.out, args.how or 'copy', args.format, args.quality, args.workers, progress
    )
    there = len(exported.rows) - exported.written
    size = sum(row.bytes for row in exported.rows)
    report(
        f'{len(exported.rows):,} images, {size / 1e6:,.1f} MB, in {args.out}'
        + (f'; {there:,} of them were there already' if there else ''),
        exported.problems,
    )
    if exported.rows:
        print(
            f"from new names to keys: {args.out}/manifest.csv\nin a config: dict(type='mmpretrain.CustomDataset', "
            f'data_root={args.out!r}, with_label=False)'
        )
    return 1 if exported.problems else 0


def report(line: str, problems) -> None:
    print(line)
    for name, reason in problems[:20]:
        print(f'- {name}: {reason}', file=sys.stderr)
    if len(problems) > 20:
        print(f'- and {len(problems) - 20:,} more', file=sys.stderr)


def main() -> None:
    args = parse_args()
    from mmdel.compute.exits import end_with

    end_with(run, args)


if __name__ == '__main__':
    main()
