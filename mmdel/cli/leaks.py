"""``mmdel leaks``: does the pool contain test images?

mmdel leaks work_dirs/RUN --against configs/segmentation/CONFIG.py
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mmdel.cli import options
from mmdel.cli.arguments import ArgumentParser, at_least
from mmdel.cli.command import Command, Outcome
from mmdel.config.shipped import find_config

if TYPE_CHECKING:
    from rich.console import Console

    from mmdel.selection.findings import LeakReport
    from mmdel.subset import Subset

SHOWN = 20
"""Pairs in the table."""

BESIDE = 'beside the run'
"""What ``--exclude`` without a folder means."""

DRAWN = 12
"""Pairs in the picture; the page of the run shows more."""

SUMMARY = {
    'pool': 'images that were compared with test images',
    'leaks': 'those that are copies of a test image',
    'kept': 'copies that the subset keeps',
    'pairs': 'the file with the pairs, null where there are none',
    'subset': 'the table without the copies, null without `--exclude`',
    'notes': 'what a person is told below the table',
}


def _add_arguments(parser: ArgumentParser) -> None:
    options.add_subset(parser)
    parser.add_argument(
        '--against',
        nargs='+',
        required=True,
        metavar='CONFIG',
        help='mmseg or mmpretrain configs, whose test images are taken (or validation images if there are none), or '
        'folders of images',
    )
    parser.add_argument('--threshold', type=float, help='agreement from which a pair counts as a leak (0.8)')
    parser.add_argument('--neighbours', type=at_least(1), metavar='N', help='images compared with each test image (8)')
    parser.add_argument(
        '--exclude',
        nargs='?',
        const=BESIDE,
        metavar='DIR',
        help='select again without the copies (reason "leak") and write it to DIR (default: WORK_DIR-without-leaks)',
    )
    parser.add_argument(
        '--config', type=find_config, help='the config of the run, if it has an encoder or dataset of your own'
    )
    parser.add_argument('--images', metavar='DIR', help='the image folder, if it has moved')
    options.add_device(parser)


def _run(args: argparse.Namespace) -> Outcome:
    from mmengine.logging import MMLogger

    from mmdel.cli.output import say, stages, wide_console
    from mmdel.engine.finished_run import FinishedRun
    from mmdel.engine.leakage import check_run, exclude_leaks, exclusion_options
    from mmdel.images.depth import max_value_of
    from mmdel.leaks.leak_record import write_leaks

    MMLogger.get_instance('mmdel', logger_name='mmdel', log_level='INFO')
    console = wide_console()
    progress = stages()
    finished = FinishedRun.open(args.subset, args.images)
    asked = exclusion_options(args.against, args.threshold, args.neighbours)
    if args.exclude is None:
        report = check_run(finished, asked, args.config, args.device, progress)
        subset, folder = finished.subset, finished.folder
        write_leaks(folder, report, subset)
        paths = finished.paths
    else:
        folder = _default_out(finished.folder) if args.exclude is BESIDE else Path(args.exclude)
        runner, subset = exclude_leaks(finished, asked, folder, args.config, args.device, progress)
        assert runner.leaks is not None
        report, paths = runner.leaks, FinishedRun.open(folder).paths
    _show(console, report, subset)
    lines = [*report.notes]
    if report.pairs:
        picture = _draw(report, paths, folder, max_value_of(subset.metadata.get('embedder')))
        lines.append(f'the pairs: {folder / "leaks.csv"}; side by side, the most doubtful first: {picture}')
    kept = len(set(report.images) & set(subset.kept))
    if args.exclude is not None:
        lines.append(
            f'{subset.metadata["kept"]:,} of the other {subset.metadata["images"]:,} images are kept: '
            f'{folder / "subset.parquet"}, {folder / "report" / "index.html"}'
        )
        lines.append(f'{finished.folder} is as it was')
    elif report.images:
        lines.append(
            f'{kept:,} of these {len(report.images):,} images are kept. Without them: the same command and --exclude'
        )
    say(console, lines)
    return Outcome(
        {
            'pool': report.pool,
            'leaks': len(report.images),
            'kept': kept,
            'pairs': str(folder / 'leaks.csv') if report.pairs else None,
            'subset': None if args.exclude is None else str(folder / 'subset.parquet'),
            'notes': lines,
        }
    )


def _default_out(folder: Path) -> Path:
    folder = folder.resolve()
    return folder.with_name(f'{folder.name}-without-leaks')


def _show(console: 'Console', report: 'LeakReport', subset: 'Subset') -> None:
    """The pairs as a table, the most doubtful first, as on the page."""
    from rich.markup import escape
    from rich.table import Table

    from mmdel.report.names import shown
    from mmdel.report.page import doubtful_first

    if not report.pairs:
        return
    reason = dict(zip(subset.images, subset.table['reason'].to_pylist(), strict=True))
    table = Table(
        'image of the pool', 'is', 'test image', 'of', 'agreement', 'cosine', 'in the subset', show_edge=False
    )
    pairs = doubtful_first(report)
    for pair in pairs[:SHOWN]:
        what = ('a copy of' if pair.leak else 'like') + (', mirrored,' if pair.mirrored else '')
        names = (escape(shown(name, 60)) for name in (pair.image, pair.test_image, pair.test_set))
        image, test, name = names
        numbers = (f'{pair.agreement:.3f}', f'{pair.cosine:.3f}')
        table.add_row(image, what, test, name, *numbers, reason.get(pair.image, ''))
    console.print(table)
    if len(pairs) > SHOWN:
        console.print(f'and {len(pairs) - SHOWN:,} more pairs', highlight=False)


def _draw(report: 'LeakReport', paths: Mapping[str, str], folder: Path, max_value: int | None) -> Path:
    """The pairs side by side, the image of the pool first."""
    from mmdel.compute.files import atomic
    from mmdel.report.page import doubtful_first
    from mmdel.report.plots import plot_pictures

    shown, files = [], {}
    for pair in doubtful_first(report)[:DRAWN]:
        what = ('copy' if pair.leak else 'alike') + (', mirrored' if pair.mirrored else '')
        pool = paths.get(pair.image, '')
        shown += [(pool, f'pool: {what}, {pair.agreement:.3f}'), (pair.test_file, f'test: {pair.test_set[:30]}')]
        files.update({file: file for file in (pool, pair.test_file) if file})
    out = folder / 'leaks.png'
    with atomic(out) as temporary:
        plot_pictures(shown, files, max_value=max_value).savefig(temporary, format='png')
    return out


COMMAND = Command(
    'Find copies of test images in a pool, including resized, compressed, cropped and mirrored ones. '
    'All images of the pool are checked, kept or not.',
    _add_arguments,
    _run,
    epilog='Writes leaks.csv, leaks.json and leaks.png beside the subset. The subset itself is never changed: --exclude '
    'makes another one.',
    kept='vectors made so far are kept, and the same command goes on from there',
    summary=SUMMARY,
)
