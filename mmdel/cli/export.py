"""``mmdel export``: the kept images as plain files, or a filtered annotation file.

mmdel export work_dirs/RUN --root my/frames --out my/frames_5_percent
"""

import argparse

from mmdel.cli import options
from mmdel.cli.arguments import ArgumentParser, at_least
from mmdel.cli.command import Command, Outcome

SUMMARY = {
    'out': 'the folder, or with `--ann-file` the file',
    'images': 'files that were exported, or with `--verify` compared; with `--ann-file` images that stay',
    'new': 'those that were not there already',
    'bytes': 'what they take, null with `--verify` and `--ann-file`',
    'problems': '`[name, reason]` of each that went wrong',
}


def _add_arguments(parser: ArgumentParser) -> None:
    options.add_subset(parser)
    parser.add_argument('--root', metavar='DIR', help='the folder that the keys of the subset are relative to')
    parser.add_argument('--out', required=True, help='the new folder, or with --ann-file the new file')
    options.add_recut(parser)
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


def _check(args: argparse.Namespace, parser: ArgumentParser) -> None:
    if not (args.root or args.ann_file or args.verify):
        parser.error('give --root, the folder that the keys are relative to (mmdel select printed it), or --ann-file')


def _run(args: argparse.Namespace) -> Outcome:
    from mmdel import export
    from mmdel.cli.output import complain, stages
    from mmdel.subset import Subset

    if args.verify:
        files, wrong = export.verify_export(args.out, stages())
        print(f'{files - len(wrong):,} of {files:,} files in {args.out} are as they were exported')
        complain(wrong)
        return _outcome(args, files, problems=wrong)
    subset = options.recut(Subset.read(options.subset_file(args.subset)), args)
    if args.ann_file:
        done = export.filter_annotations(args.ann_file, args.out, subset, args.prefix or '', args.unlisted)
        print(f'{done.after:,} of {done.before:,} images stay: {args.out}')
        return _outcome(args, done.after, done.after)
    exported = export.export_images(
        subset, args.root, args.out, args.how or 'copy', args.format, args.quality, args.workers, stages()
    )
    there = len(exported.rows) - exported.written
    size = sum(row.bytes for row in exported.rows)
    print(
        f'{len(exported.rows):,} images, {size / 1e6:,.1f} MB, in {args.out}'
        + (f'; {there:,} of them were there already' if there else '')
    )
    complain(exported.problems)
    if exported.rows:
        print(
            f"from new names to keys: {args.out}/manifest.csv\nin a config: dict(type='mmpretrain.CustomDataset', "
            f'data_root={args.out!r}, with_label=False)'
        )
    return _outcome(args, len(exported.rows), exported.written, size, exported.problems)


def _outcome(
    args: argparse.Namespace,
    images: int,
    new: int = 0,
    size: int | None = None,
    problems: options.Problems = (),
) -> Outcome:
    summary = {
        'out': args.out,
        'images': images,
        'new': new,
        'bytes': size,
        'problems': [list(each) for each in problems],
    }
    return Outcome(summary, 1 if problems else 0)


COMMAND = Command(
    'Write the kept images of a subset as plain files: video frames as JPEG or PNG, image files copied or '
    'linked, with a manifest.csv of new names and old keys. Or, with --ann-file, filter an annotation file.',
    _add_arguments,
    _run,
    _check,
    epilog='The original images are only read, and nothing is overwritten. A killed run continues.',
    summary=SUMMARY,
)
