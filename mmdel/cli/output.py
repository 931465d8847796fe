"""What commands say, each kind in one way."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console

from mmdel.compute.progress import Stages

SHOWN = 20
"""Problems that are printed."""


def wide_console(columns: int = 160, highlight: bool = True) -> Console:
    """A console for tables, which are not broken where no terminal says how wide it is."""
    return Console(width=None if sys.stdout.isatty() else columns, highlight=highlight)


def stages() -> Stages:
    """Progress on stderr, so that results can be piped."""
    return Stages(Console(stderr=True))


def say(console: Console, lines: Iterable[str]) -> None:
    """Print lines below a table, with names of files as they are."""
    for line in lines:
        console.print(f'- {line}', highlight=False, markup=False, soft_wrap=True)


def complain(problems: Sequence[tuple[str, str]]) -> None:
    """Print the first problems, ``(name, reason)``, on stderr."""
    for name, reason in problems[:SHOWN]:
        print(f'- {name}: {reason}', file=sys.stderr)
    if len(problems) > SHOWN:
        print(f'- and {len(problems) - SHOWN:,} more', file=sys.stderr)
