"""``mmdel demo-truth``: hold a subset of the demo data against the truth: what share was removed, and by which threshold.

mmdel demo-truth work_dirs/demo/subset/subset.parquet data/demo/pool/truth.csv
mmdel demo-truth work_dirs/demo/*/subset.parquet data/demo/pool/truth.csv        # several, side by side
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
RUBBISH = ('black', 'washed_out', 'blurred', 'text')
COLUMNS = ('far', 'duplicate', 'unreadable', 'other')


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        'subsets', nargs='+', metavar='SUBSET', help='subset.parquet of a run on the synthetic demo data'
    )
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


def copies(rows: Sequence[Any], why: dict[str, str]) -> tuple[int, int]:
    """How many files repeat the bytes of another one, and how many of these repetitions are kept; any of a group may stay."""
    found = defaultdict(list)
    for row in rows:
        found[row.copy_of or row.image].append(why[row.image])
    groups = [group for group in found.values() if len(group) > 1]
    return sum(len(group) - 1 for group in groups), sum(max(group.count('kept') - 1, 0) for group in groups)


def method(subset: 'Subset') -> str:
    """What chose, in a word or two."""
    selector: Any = subset.metadata['selector']
    return f'{selector["type"].rpartition(".")[2]}, {subset.ratio:.0%} kept'


def side_by_side(rows: Sequence[Any], found: Sequence[tuple['Subset', dict[str, str]]]) -> 'Table':
    """One line a subset: what it lost of the clips, and what it kept of rubbish and copies."""
    from rich.table import Table

    clips = {row.clip for row in rows if row.clip}
    rubbish = [row.image for row in rows if row.kind in RUBBISH]
    table = Table(title='Side by side', title_justify='left')
    for heading in ('', f'of {len(clips)} clips, without a kept frame', f'of {len(rubbish)} rubbish images, kept'):
        table.add_column(heading, justify='right' if heading else 'left')
    table.add_column(f'of {copies(rows, found[0][1])[0]} exact copies, kept beside what they repeat', justify='right')
    for subset, why in found:
        shown = {row.clip for row in rows if why[row.image] == 'kept'}
        counts = len(clips - shown), sum(why[image] == 'kept' for image in rubbish), copies(rows, why)[1]
        table.add_row(method(subset), *map(str, counts))
    return table


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
    subsets = [Subset.read(path) for path in args.subsets]
    found = [(subset, reasons(subset, rows)) for subset in subsets]
    console = wide_console(110)
    if len(found) == 1:
        why = found[0][1]
        clips = sorted({row.clip for row in rows if row.clip})
        kinds = ((kind, [why[row.image] for row in rows if row.kind == kind]) for kind in KINDS)
        console.print(grouped('By kind', kinds))
        of_clips = ((clip, [why[row.image] for row in rows if row.clip == clip]) for clip in clips)
        console.print(grouped('By clip, with what is a copy or rubbish', of_clips))
    console.print(side_by_side(rows, found))


COMMAND = Command(
    'Which share of copies, of rubbish and of each clip a subset removed; several subsets side by side.',
    _add_arguments,
    _run,
)
