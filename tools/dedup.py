"""Select the images that are worth training on.

python tools/dedup.py configs/meddel_eta08.py --images my/frames --ratio 0.05
"""

import argparse
import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any

from mmdel.cli.arguments import ArgumentParser, cosine, share

CONFIGS = Path(__file__).resolve().parent.parent / 'configs'
ENCODERS = CONFIGS / '_base_' / 'embedders'
SELECTORS = CONFIGS / '_base_' / 'selectors'

SOURCES = ('images', 'dataset_from', 'embeddings')
NOT_THE_QUESTION = (
    'config',
    'work_dir',
    'cache_dir',
    'update',
    'device',
    'overwrite',
    'report',
    'launcher',
    'list_skipped',
)
"""Options that another result does not come from."""

LONGEST_NAME = 120
"""Bytes of the name of a work dir, before the digits that tell it apart."""


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Embed images, rank them, cut the ranking, and write the subset.',
        epilog='Nothing is ever deleted or changed: the result is a table (subset.parquet), lists (keep.txt) and a report.',
    )
    parser.add_argument('config', nargs='?', help='a dedup config, e.g. configs/meddel_eta08.py')
    cut = parser.add_mutually_exclusive_group()
    cut.add_argument('--ratio', type=share, help='keep exactly this share, e.g. 0.05; the eta that it means is printed')
    cut.add_argument('--eta', type=cosine, help='cut at this cosine instead of the one in the config')
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
    parser.add_argument('--encoder', metavar='NAME', help=f'one of {names(ENCODERS)}, or a config file')
    parser.add_argument('--selector', metavar='NAME', help=f'one of {names(SELECTORS)}, or a config file')
    parser.add_argument(
        '--work-dir', help='where results go (default: work_dirs/<config>, with the options in its name)'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action='extend', metavar='KEY=VALUE', help='change any key of the config'
    )
    parser.add_argument('--device', help="where the encoder runs, e.g. 'cuda:1' (default: a GPU where there is one)")
    parser.add_argument(
        '--overwrite', action='store_true', help='replace the result of another question in the work dir'
    )
    parser.add_argument('--no-report', dest='report', action='store_false', help='do not draw the report')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='one of several processes, started by this launcher; see tools/dist_dedup.sh',
    )
    args = parser.parse_args()
    for rest in (args.images, args.exclude):
        if args.config is None and rest and len(rest) > 1 and rest[-1].endswith('.py'):
            args.config = rest.pop()  # options of several values take what follows them
    if args.config is None:
        parser.error('the following arguments are required: config')
    for option in ('encoder', 'videos', 'device') if args.embeddings else ():
        if getattr(args, option) is not None:
            parser.error(f'--{option} has no meaning with --embeddings: those vectors are ready')
    if args.work_dir and any(each.startswith('work_dir=') for each in args.cfg_options or ()):
        parser.error('--work-dir and --cfg-options work_dir=... are the same; leave one of them out')
    return args


def names(folder: Path) -> str:
    # not by mmdel.config.config_file: importing it would slow --help down
    return ', '.join(sorted(path.stem for path in folder.glob('*.py')))


def load_config(args: argparse.Namespace):
    from mmdel.config.config_file import merge_options, read_config, read_part
    from mmdel.errors import ConfigError

    cfg = read_config(args.config)
    if args.encoder:
        cfg.embedder = read_part(args.encoder, ENCODERS, 'embedder')
    if args.selector:
        cfg.selector = read_part(args.selector, SELECTORS, 'selector')
    if args.images:
        from mmdel.engine.asked_images import asked_images

        asked = asked_images(args.images)
        args.images, cfg.dataset = asked.path, asked.dataset
    if args.dataset_from:
        other = read_config(args.dataset_from)
        try:
            cfg.dataset = other.train_dataloader.dataset
        except AttributeError as error:
            raise ConfigError(f'{args.dataset_from} has no train_dataloader.dataset.') from error
        cfg.default_scope = other.get('default_scope', 'mmengine')
    for name in ('videos', 'exclude', 'masks', 'labels', 'table'):
        if getattr(args, name) is None:
            continue
        if args.embeddings or cfg.get('dataset', {}).get('type') != 'mmdel.DataDEL':
            raise ConfigError(
                f'--{name} is for mmdel.DataDEL, which lists folders: use it with --images DIR, or with a config that has it.'
                + (' Vectors have keys only.' if args.embeddings else ' Other datasets tell this themselves.')
            )
        cfg.dataset[name] = getattr(args, name)
    if args.eta is not None:
        cfg.selector.eta = args.eta
    merge_options(cfg, args.cfg_options)
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or default_work_dir(args)
    return cfg


def default_work_dir(args: argparse.Namespace) -> str:
    """The config's name, and what on the command line makes this run another one; of an update, the old name with a number.

    Six digits at the end stand for what has no short name: whole paths, and lists of options.
    """
    if args.update:
        old = Path(args.update).resolve()
        name = (old if old.is_dir() else old.parent).name
        before, _, number = name.rpartition('-update')
        again = before and number.isdigit()
        return str(Path('work_dirs') / f'{before if again else name}-update{int(number) + 1 if again else 1}')
    asked = {
        name: value
        for name, value in vars(args).items()
        if value is not None and value is not False and name not in NOT_THE_QUESTION
    }
    changes = sorted(each for each in asked.pop('cfg_options', ()) if each.partition('=')[0] not in NOT_THE_QUESTION)
    asked |= {'cfg_options': changes} if changes else {}
    parts = [Path(args.config).stem, *(readable(asked[name]) for name in SOURCES if name in asked)]
    parts += [f'videos-{args.videos}'] if args.videos else []
    parts += [Path(name).stem for name in (args.encoder, args.selector) if name]
    parts += [f'{name}{asked.pop(name)}' for name in ('eta', 'ratio') if name in asked]
    for name in ('videos', 'encoder', 'selector'):
        if not str(asked.get(name)).endswith('.py'):
            asked.pop(name, None)
    name = re.sub(r'[^\w.+=-]+', '_', '-'.join(parts))
    if asked or len(name.encode()) > LONGEST_NAME:
        text = json.dumps([name, {option: absolute(value) for option, value in asked.items()}], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:6]
        name = f'{name.encode()[:LONGEST_NAME].decode(errors="ignore")}-{digest}'
    return str(Path('work_dirs') / name)


def readable(source: str | list[str]) -> str:
    """What a source is called in the name of a work dir."""
    path = Path(source if isinstance(source, str) else source[0]).resolve()
    return path.name if path.is_dir() else path.stem


def absolute(value: Any) -> Any:
    """An option with its paths as they are the same from every folder."""
    if isinstance(value, list):
        return [absolute(each) for each in value]
    return os.path.realpath(value) if isinstance(value, str) and os.path.exists(value) else value


def run(args: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    from mmdel.compute import sharing
    from mmdel.compute.progress import Stages, logged
    from mmdel.engine import DedupRunner
    from mmdel.engine.work_dir import SKIPPED
    from mmdel.report.names import shown

    # by every process, since the config may import what is shared later
    cfg = load_config(args)
    if not sharing.is_main_process():
        sharing.serve()
        return
    work_dir = Path(cfg.work_dir)
    log_file = work_dir / f'{time.strftime("%Y%m%d_%H%M%S")}.log'
    console = Console(record=True)
    progress = Stages(Console(stderr=True))
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
    table = Table('', str(work_dir), title='Subset', show_edge=False)
    for name, value in runner.summary.rows:
        table.add_row(name, value)
    table.add_section()
    for name, seconds in progress.seconds.items():
        table.add_row(name, f'{seconds:.1f} s')
    table.add_row('all stages', f'{sum(progress.seconds.values()):.1f} s')
    console.print(table)
    lines = [*runner.notes, *runner.summary.hints]
    if args.update:
        lines.append(f'what is new, gone or changed, image by image: {work_dir / "update.csv"}')
    if subset.count('unreadable'):
        lines.append(f'{subset.count("unreadable"):,} files could not be used: {work_dir / "unreadable.csv"}')
    lines.append(f'kept images: {work_dir / "keep.txt"}; the whole decision: {work_dir / "subset.parquet"}')
    frames = int((subset.frames & subset.keep).sum())
    if frames:
        lines.append(
            f'{frames:,} of them are frames of videos or pages of files, which keep.txt cannot name: '
            f'tools/export_subset.py {work_dir} writes them out'
        )
    if runner.skipped:
        lines.append(f'files that were not listed, and why: {work_dir / SKIPPED}')
    if args.report:
        lines.append(f'look at what was removed: {work_dir / "report" / "index.html"}')
    for line in lines:
        console.print(f'- {line}', highlight=False, markup=False, soft_wrap=True)
    if args.list_skipped:
        for path, reason in runner.skipped:
            console.print(f'{shown(path)}: {reason}', highlight=False, markup=False, soft_wrap=True)
    with open(log_file, 'a', encoding='utf-8') as log:
        log.write(console.export_text())


def run_together(args: argparse.Namespace) -> None:
    from mmdel.compute import sharing

    with sharing.joined(args.launcher):
        run(args)


def main() -> None:
    args = parse_args()
    if args.launcher != 'none':
        # read when torch is imported: the C++ traces of a lost connection would bury what is said about it
        os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')
    from mmdel.compute.exits import end_with

    end_with(run_together, args, 'vectors made so far are kept in cache_dir, and the same command goes on from there')


if __name__ == '__main__':
    main()
