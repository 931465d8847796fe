"""``mmdel select``: choose the images that are worth training on.

mmdel select my/frames --ratio 0.05
mmdel select my/frames --ratio 0.05 --config meddel_eta08      # the paper's method
"""

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdel.cli import options
from mmdel.cli.arguments import ArgumentParser
from mmdel.cli.command import Command, Outcome
from mmdel.cli.work_dir_name import default_work_dir
from mmdel.config.shipped import DEFAULT_CONFIG, config_names, find_config

if TYPE_CHECKING:
    from mmengine.config import Config
    from rich.console import Console

    from mmdel.compute.progress import Stages
    from mmdel.engine import DedupRunner

WHY = (
    'method: coverage, which keeps the images that together resemble all images most, and counts patients or videos alike where '
    'they are known: least is lost that way (docs/evidence.md). Others: --selector NAME; the paper: --config meddel_eta08'
)
"""What is said where nobody chose a method."""

LISTING = ('videos', 'exclude', 'masks', 'labels', 'table')
"""Options that say which files are images, and what is known of them."""

SUMMARY = {
    'work_dir': 'where the results are',
    'subset': 'the table: one row an image',
    'keep_list': 'the kept images, one a line',
    'report': 'the page to look at, null with `--no-report`',
    'method': 'the type of the selector',
    'images': 'images that were looked at',
    'unreadable': 'those that could not be used',
    'kept': 'those that are kept',
    'ratio': 'the share of the readable images that is kept',
    'eta': 'the threshold of the cut, null where it was none',
    'notes': 'what a person is told below the table',
    'seconds': 'stage of the run: how long it took',
}


def add_shared_arguments(parser: ArgumentParser) -> None:
    """Declare the options that `mmdel select` and ``tools/dedup.py`` share."""
    options.add_cut(
        parser,
        'keep exactly this share, e.g. 0.05; the eta that it means is printed',
        'cut at this cosine instead of the one in the config',
    )
    data = parser.add_mutually_exclusive_group()
    data.add_argument(
        '--images',
        metavar='DIR',
        nargs='+',
        help='your own folder of images, with everything below it; also an archive, a list of paths, or a pattern',
    )
    data.add_argument('--dataset-from', metavar='CONFIG', help='the images of train_dataloader.dataset of an mm config')
    data.add_argument('--embeddings', metavar='FILE.npy', help='your own vectors, floats [N, D]')
    parser.add_argument(
        '--videos',
        metavar='FRAMES',
        help="frames of the videos among the images, too: 'all', a number n for every n-th, or a rate such as 2fps",
    )
    parser.add_argument(
        '--labels', choices=['folders'], help='the first folder below --images is the class of an image'
    )
    parser.add_argument(
        '--table',
        metavar='FILE',
        help='CSV or Parquet of the images: key and label, patient, video, frame, source, centre',
    )
    parser.add_argument(
        '--exclude',
        metavar='PATTERN',
        nargs='+',
        action='extend',
        help="files and folders below --images to leave out, as in .gitignore: 'old/' '*_overlay.png'",
    )
    parser.add_argument(
        '--masks',
        choices=['auto', 'keep'],
        help='leave masks and drawn labels of images beside them out (auto, the default), or take them for images',
    )
    parser.add_argument('--list-skipped', action='store_true', help='print every file that was not listed, and why')
    parser.add_argument(
        '--keys', metavar='FILE.txt', help='the keys of --embeddings, one a line (default: row numbers)'
    )
    parser.add_argument(
        '--update',
        metavar='OLD',
        help='a work dir or subset.parquet whose decisions stay: only images that it does not list are decided, beside it',
    )
    options.add_encoder(parser)
    options.add_selector(parser)
    parser.add_argument(
        '--work-dir', help='where results go (default: work_dirs/<config>, with the options in its name)'
    )
    options.add_cfg_options(parser)
    options.add_device(parser)
    parser.add_argument(
        '--overwrite', action='store_true', help='replace the result of another question in the work dir'
    )
    parser.add_argument('--no-report', dest='report', action='store_false', help='do not draw the report')
    options.add_launcher(parser, 'one of several processes, started by this launcher; see tools/dist_dedup.sh')


def check(args: argparse.Namespace, parser: ArgumentParser) -> None:
    """Refuse options that do not go together, in what both have."""
    for option in ('encoder', 'videos', 'device') if args.embeddings else ():
        if getattr(args, option) is not None:
            parser.error(f'--{option} has no meaning with --embeddings: those vectors are ready')
    if args.work_dir and any(each.startswith('work_dir=') for each in args.cfg_options or ()):
        parser.error('--work-dir and --cfg-options work_dir=... are the same; leave one of them out')


def run(args: argparse.Namespace, first: str = '') -> Outcome | None:
    """Select, alone or as one of several processes; what is said first, the one that prints says."""
    if args.launcher != 'none':
        # read when torch is imported: the C++ traces of a lost connection would bury what is said about it
        os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')
    from mmdel.compute import sharing

    with sharing.joined(args.launcher):
        cfg = _composed(args)  # by every process, since the config may import what is shared later
        if sharing.is_main_process():
            return _select(args, cfg, first)
        sharing.serve()
        return None


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        'folders',
        nargs='*',
        metavar='FOLDER',
        help='your images: folders, archives, lists of paths, or patterns; the same as --images',
    )
    action = parser.add_argument(
        '--config',
        type=find_config,
        default=DEFAULT_CONFIG,
        metavar='NAME',
        help='where encoder, method and images begin: a name that `mmdel configs` lists, or a file (default: %(default)s)',
    )
    options.completes(action, config_names)
    add_shared_arguments(parser)


def _check(args: argparse.Namespace, parser: ArgumentParser) -> None:
    folders = args.folders
    del args.folders  # whatever is left asks a question, and stands in the name of its work dir
    if folders and (args.images or args.dataset_from or args.embeddings):
        parser.error('the images are given twice, by FOLDER and by an option; leave one of them out')
    args.images = folders or args.images
    if _by_default(args) and not (args.images or args.dataset_from or args.embeddings):
        parser.error('name the folder of your images: mmdel select FOLDER --ratio 0.05')
    if _by_default(args) and args.ratio is None and args.eta is None and not args.update:
        parser.error('say how much to keep: --ratio 0.05 keeps 5 % of the images')
    check(args, parser)


def _run(args: argparse.Namespace) -> Outcome | None:
    return run(args, WHY if _by_default(args) and not args.selector else '')


def _by_default(args: argparse.Namespace) -> bool:
    return bool(args.config == find_config(DEFAULT_CONFIG))


def _composed(args: argparse.Namespace) -> 'Config':
    from mmdel.engine.asked_images import asked_images
    from mmdel.engine.compose import compose

    asked = asked_images(args.images) if args.images else None
    if asked:
        args.images = asked.path
    cfg = compose(
        args.config,
        args.encoder,
        args.selector,
        asked,
        args.dataset_from,
        bool(args.embeddings),
        {name: value for name in LISTING if (value := getattr(args, name)) is not None},
        args.eta,
        args.cfg_options,
    )
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or default_work_dir(args)
    return cfg


def _select(args: argparse.Namespace, cfg: 'Config', first: str) -> Outcome:
    from rich.console import Console

    from mmdel.cli.output import say, stages
    from mmdel.compute.progress import logged
    from mmdel.engine import DedupRunner
    from mmdel.report.names import shown

    work_dir = Path(cfg.work_dir)
    log_file = work_dir / f'{time.strftime("%Y%m%d_%H%M%S")}.log'
    console = Console(record=True)
    if first:
        console.print(first, highlight=False, markup=False, soft_wrap=True)
    progress = stages()
    runner = DedupRunner.from_cfg(
        cfg,
        ratio=args.ratio,
        embeddings=args.embeddings,
        keys=args.keys,
        device=args.device,
        overwrite=args.overwrite,
        report=args.report,
        update=args.update,
        progress=progress,
    )
    with logged(log_file) as begin:
        runner.prepare()
        begin()
        subset = runner.run()
    _show_table(console, runner, progress)
    notes = _notes(args, runner, subset)
    say(console, notes)
    if args.list_skipped:
        for path, reason in runner.skipped:
            console.print(f'{shown(path)}: {reason}', highlight=False, markup=False, soft_wrap=True)
    with open(log_file, 'a', encoding='utf-8') as log:
        log.write(console.export_text())
    return Outcome(
        {
            'work_dir': str(work_dir),
            'subset': str(work_dir / 'subset.parquet'),
            'keep_list': str(work_dir / 'keep.txt'),
            'report': str(work_dir / 'report' / 'index.html') if args.report else None,
            'method': cfg.selector.type,
            'images': len(subset.images),
            'unreadable': subset.count('unreadable'),
            'kept': len(subset.kept),
            'ratio': subset.ratio,
            'eta': subset.eta,
            'notes': notes,
            'seconds': {name: round(seconds, 3) for name, seconds in progress.seconds.items()},
        }
    )


def _show_table(console: 'Console', runner: 'DedupRunner', progress: 'Stages') -> None:
    from rich.table import Table

    table = Table('', str(runner.work_dir), title='Subset', show_edge=False)
    for name, value in runner.summary.rows:
        table.add_row(name, value)
    table.add_section()
    for name, seconds in progress.seconds.items():
        table.add_row(name, f'{seconds:.1f} s')
    table.add_row('all stages', f'{sum(progress.seconds.values()):.1f} s')
    console.print(table)


def _notes(args: argparse.Namespace, runner: 'DedupRunner', subset: Any) -> list[str]:
    from mmdel.engine.work_dir import SKIPPED

    work_dir = runner.work_dir
    notes = [*runner.notes, *runner.summary.hints]
    if args.update:
        notes.append(f'what is new, gone or changed, image by image: {work_dir / "update.csv"}')
    if subset.count('unreadable'):
        notes.append(f'{subset.count("unreadable"):,} files could not be used: {work_dir / "unreadable.csv"}')
    notes.append(f'kept images: {work_dir / "keep.txt"}; the whole decision: {work_dir / "subset.parquet"}')
    frames = int((subset.frames & subset.keep).sum())
    if frames:
        notes.append(
            f'{frames:,} of them are frames of videos or pages of files, which keep.txt cannot name: '
            f'mmdel export {work_dir} --root DIR --out DIR writes them out'
        )
    if runner.skipped:
        notes.append(f'files that were not listed, and why: {work_dir / SKIPPED}')
    if args.report:
        notes.append(f'look at what was removed: {work_dir / "report" / "index.html"}')
    return notes


EPILOG = 'Nothing is ever deleted or changed: the result is a table (subset.parquet), lists (keep.txt) and a report.'
KEPT = 'vectors made so far are kept in cache_dir, and the same command goes on from there'
COMMAND = Command(
    'Choose the images that are worth training on: embed them, rank them, cut the ranking, and write the subset. The method is '
    'coverage and the encoder a ViT-B/16, unless you name others.',
    _add_arguments,
    _run,
    _check,
    EPILOG,
    KEPT,
    SUMMARY,
)
