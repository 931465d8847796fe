"""``mmdel demo-truth``: hold a subset of the demo data against the truth: what share was removed, and by which threshold.

mmdel demo-truth work_dirs/demo/subset.parquet data/demo/pool/truth.csv
"""

import argparse
import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mmdel.cli.arguments import ArgumentParser
from mmdel.cli.command import Command

if TYPE_CHECKING:
    from rich.table import Table

    from mmdel.subset import Subset

KINDS = ('frame', 'black', 'washed_out', 'blurred', 'text', 'copy', 'unreadable')
COLUMNS = ('far', 'duplicate', 'unreadable', 'other')


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument('subset', help='subset.parquet of a run on the synthetic demo data')
    parser.add_argument('truth', help='truth.csv of the same data')


def reasons(subset: 'Subset', rows: Sequence[Any]) -> dict[str, str]:
    """Why each image of the truth table left ('kept' if it did not)."""
    from mmdel.errors import SubsetError

    found = dict(zip(subset.images, subset.table['reason'].to_pylist(), strict=True))
    missing = [row.image for row in rows if row.image not in found]
    if missing:
        raise SubsetError(
            f'The subset lacks {len(missing)} of the {len(rows)} images of the truth table, such as {missing[0]!r}: '
            'it was made from other images. Run the demo on the folder that the table lies in.'
        )
    return {row.image: found[row.image] for row in rows}


def grouped(title: str, groups: Iterable[tuple[str, list[str]]]) -> 'Table':
    """One line a group of reasons: files, how many left and why, the share that left."""
    from rich.table import Table

    table = Table(title=title, title_justify='left')
    table.add_column('')
    for heading in ('files', 'far (epsilon)', 'duplicate (eta)', 'unreadable', 'other', 'kept', 'removed'):
        table.add_column(heading, justify='right')
    for name, why in groups:
        count = Counter('other' if reason not in (*COLUMNS, 'kept') else reason for reason in why)
        share = f'{1 - count["kept"] / len(why):.1%}' if why else '-'
        table.add_row(name, str(len(why)), *(str(count[column]) for column in (*COLUMNS, 'kept')), share)
    return table


def copies(rows: Sequence[Any], why: dict[str, str]) -> str:
    """Of a group of files with the same bytes any one may stay, so the groups are counted and not the names."""
    found = defaultdict(list)
    for row in rows:
        found[row.copy_of or row.image].append(why[row.image])
    groups = [group for group in found.values() if len(group) > 1]
    surplus = sum(len(group) - 1 for group in groups)
    left = sum(max(group.count('kept') - 1, 0) for group in groups)
    share = f'{1 - left / surplus:.1%}' if surplus else '-'
    return (
        f'Exact copies: {surplus} files repeat another one; {surplus - left} of these repetitions are gone ({share}).'
    )


def _run(args: argparse.Namespace) -> None:
    from mmdel.cli.demo_data import synthetic
    from mmdel.cli.output import wide_console
    from mmdel.errors import SubsetError
    from mmdel.subset import Subset

    truth = synthetic().Truth
    try:
        with open(args.truth, newline='', encoding='utf-8') as file:
            rows = [truth(**row) for row in csv.DictReader(file)]
    except (OSError, TypeError, ValueError) as error:
        raise SubsetError(f"'{args.truth}' is not a truth table of the synthetic demo data ({error}).") from error
    subset = Subset.read(args.subset)
    why = reasons(subset, rows)
    clips = sorted({row.clip for row in rows if row.clip})

    console = wide_console(110)
    console.print(grouped('By kind', ((kind, [why[row.image] for row in rows if row.kind == kind]) for kind in KINDS)))
    console.print(
        grouped(
            'By clip, with what is a copy or rubbish',
            ((clip, [why[row.image] for row in rows if row.clip == clip]) for clip in clips),
        )
    )
    console.print(copies(rows, why), highlight=False)


COMMAND = Command(
    'Which share of copies, of rubbish and of each clip a subset removed.',
    _add_arguments,
    _run,
)
