"""``mmdel prepare``: assemble DataDEL from what has been downloaded.

mmdel prepare --raw downloads --out data/datadel
"""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mmdel.cli.arguments import ArgumentParser
from mmdel.cli.command import Command

if TYPE_CHECKING:
    from mmdel.datadel.assembly import Report


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument('--raw', nargs='+', default=[], metavar='DOWNLOADS', help='folders or archives')
    parser.add_argument('--out', default='data/datadel', help='the result (default: data/datadel)')
    parser.add_argument('--only', nargs='+', default=[], metavar='NAME', help='datasets, e.g. kvasir-seg')
    how = parser.add_mutually_exclusive_group()
    how.add_argument('--link', action='store_true', help='link files on disk, the default: relative symbolic links')
    how.add_argument('--copy', action='store_true', help='copy files on disk')
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--verify', action='store_true', help='look at what is assembled again, and decode every image')
    what.add_argument('--list', action='store_true', help='print the catalogue')
    what.add_argument(
        '--download', metavar='NAME', help='load a dataset from its official direct link into the first DOWNLOADS'
    )
    parser.add_argument('--yes', action='store_true', help='do not ask before a download')
    parser.add_argument('--format', choices=['table', 'markdown'], default='table', help='of --list')


def _check(args: argparse.Namespace, parser: ArgumentParser) -> None:
    if args.download and not args.raw:
        parser.error('--download needs --raw DOWNLOADS, the folder to load into')
    if not (args.raw or args.verify or args.list):
        parser.error('give --raw DOWNLOADS, or --verify, or --list')


def _run(args: argparse.Namespace) -> int:
    from mmdel.datadel.catalog import find

    args.only = [find(name).id for name in args.only]
    if args.list:
        return _show_catalog(args)
    if args.download:
        return _load(args)
    return _verify(args) if args.verify else _prepare(args)


def _show_catalog(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from mmdel.datadel import catalog_page
    from mmdel.datadel.catalog import CATALOG

    if args.format == 'markdown':
        print(catalog_page.markdown(), end='')
        return 0
    table = Table(
        'id', 'dataset', 'division', 'centres', 'videos', 'frames', 'source holds', 'licence', show_edge=False
    )
    for entry in CATALOG.values():
        if args.only and entry.id not in args.only:
            continue
        centres = '?' if entry.centres is None else str(entry.centres)
        numbers = (centres, f'{entry.videos:,}', f'{entry.frames:,}', catalog_page.amounts(entry.expected))
        table.add_row(entry.id, entry.name, entry.division, *numbers, entry.licence)
    console = Console()
    console.print(table)
    for entry in CATALOG.values():
        if not args.only or entry.id in args.only:
            for line in (entry.how_to_get, *entry.notes):
                console.print(f'- {entry.id}: {line}', highlight=False, markup=False, soft_wrap=True)
    return 0


def _load(args: argparse.Namespace) -> int:
    from mmdel.cli.output import stages
    from mmdel.datadel.catalog import find
    from mmdel.datadel.fetch import download, size_of
    from mmdel.errors import ConfigError

    entry = find(args.download)
    if not entry.links:
        raise ConfigError(f'{entry.name} has no official direct link. Get it by hand: {entry.how_to_get}')
    print(f'{entry.name}: {entry.licence}\nterms and citation: {entry.page}\n{entry.citation}')
    sizes = [size_of(link) for link in entry.links]
    for link, size in zip(entry.links, sizes, strict=True):
        amount = 'size not told' if size is None else f'{size:,} bytes'
        print(f'- {link.archive}: {amount}{", " + link.contents if link.contents else ""}\n  {link.url}')
    if not args.yes and not _agreed():
        print('Nothing is loaded.')
        return 1
    progress = stages()
    for link, size in zip(entry.links, sizes, strict=True):
        with progress.stage(link.archive, size, 'bytes') as tick:
            print(f'loaded: {download(link, args.raw[0], tick)}')
    return 0


def _agreed() -> bool:
    try:
        return input('Do you accept the terms, and load it? [y/N] ').strip().lower() in ('y', 'yes')
    except EOFError:
        return False


def _prepare(args: argparse.Namespace) -> int:
    from rich.console import Console

    from mmdel.cli.output import say, stages
    from mmdel.datadel.assembly import assemble

    reports, strays = assemble(args.raw, args.out, args.only, args.copy, stages())
    lines = _show(reports, args.out)
    for entry in [report.entry for report in reports.values() if report.status != 'complete']:
        lines.append(f'{entry.id}: get it from {entry.how_to_get}')
    say(Console(), [*lines, *strays])
    return 0


def _verify(args: argparse.Namespace) -> int:
    from pathlib import Path

    from rich.console import Console

    from mmdel.cli.output import SHOWN, say, stages
    from mmdel.datadel.assembly import verify as look
    from mmdel.errors import DatasetError

    if not Path(args.out).is_dir():
        raise DatasetError(f'{args.out} is not there. Assemble it first: --raw DOWNLOADS')
    reports = look(args.out, args.only, stages())
    if not reports:
        raise DatasetError(f'{args.out} holds nothing that was assembled here. Assemble it first: --raw DOWNLOADS')
    lines = _show(reports, args.out, ledger=False)
    wrong = [f'{name}/{row.path}: {row.reason}' for name, report in reports.items() for row in report.rows]
    more = [f'... and {len(wrong) - SHOWN:,} more'] if len(wrong) > SHOWN else []
    say(Console(), [*lines, *wrong[:SHOWN], *more])
    return 1 if wrong else 0


def _show(reports: 'Mapping[str, Report]', out: str, ledger: bool = True) -> list[str]:
    """Print the table; returns the notes that belong below it."""
    from rich.console import Console
    from rich.table import Table

    from mmdel.datadel.catalog_page import amounts

    heads = ('dataset', 'expected', 'found', 'unreadable', 'missing', 'extra', 'status')
    table = Table(*heads, title=out, show_edge=False)
    lines = []
    for name, report in reports.items():
        table.add_row(
            name,
            amounts(report.entry.expected),
            amounts(report.found) or '-',
            f'{report.count("unreadable"):,}',
            f'{report.missing:,}',
            f'{report.count("extra"):,}',
            report.status,
        )
        lines += [f'{name}: {note}' for note in report.notes]
        if report.rows and ledger:
            lines.append(f'{name}: {len(report.rows):,} files are left out, see {out}/ledger/{name}.csv')
    Console().print(table)
    return lines


COMMAND = Command(
    'Recognise the datasets of the benchmark among downloads, unpacked or as archives, check them, and bring '
    'them into the layout that the configs read.',
    _add_arguments,
    _run,
    _check,
    epilog='The downloads are never changed. A second run changes nothing; a run that was killed goes on.',
    kept='datasets that are whole are kept; the same command goes on with the others',
)
