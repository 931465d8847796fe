"""``mmdel splits``: write the train, validation and test lists of segmentation folders.

mmdel splits data/datadel/kvasir-seg data/datadel/cvc-clinicdb
"""

import argparse

from mmdel.cli.arguments import ArgumentParser
from mmdel.cli.command import Command


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument('folders', nargs='+', metavar='FOLDER', help='folders that hold images/ and masks/')
    parser.add_argument(
        '--dataset', metavar='ID', help='which dataset it is, e.g. polypgen (default: the name of the folder)'
    )
    parser.add_argument(
        '--groups', metavar='CSV', help='what belongs together, columns stem,group (default: groups.csv in the folder)'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace existing lists')


def _run(args: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    from mmdel.cli.output import say
    from mmdel.datadel.splits import write_splits

    console = Console()
    for folder in args.folders:
        splits = write_splits(folder, args.dataset, args.groups, args.overwrite)
        table = Table('list', 'images', 'groups', 'rule', '', title=folder, show_edge=False)
        for name, stems in splits.lists.items():
            groups = len({splits.groups.of[stem] for stem in stems})
            state = 'written' if name in splits.written else 'unchanged'
            table.add_row(f'{name}.txt', f'{len(stems):,}', f'{groups:,}', splits.rules[name], state)
        console.print(table)
        say(console, (f'groups: {splits.groups.source}', *splits.notes))


COMMAND = Command(
    'Write train.txt, val.txt and test.txt beside images/ and masks/: the official split if its lists '
    'exist, otherwise 80/10/10 by a hash, without splitting sequences.',
    _add_arguments,
    _run,
    epilog='Running it again changes nothing. Lists from elsewhere are replaced only with --overwrite, and kept '
    'in official/.',
)
