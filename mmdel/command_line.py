"""How a command ends: well, or with one line that says what was wrong."""

import sys
from collections.abc import Callable
from typing import TypeVar

from mmdel.errors import MmdelError

MISTAKE = 2
"""Exit status where a person has to do something: in what was typed, in a config, in the data."""

Arguments = TypeVar('Arguments')


def end_with(run: Callable[[Arguments], int | None], args: Arguments) -> None:
    """Run a command, and exit with the status that it returns unless that is 0 or None.

    What a person can mend is an :class:`~mmdel.errors.MmdelError`, and a library that is missing an ImportError: both are said in
    one line on stderr, without a traceback, and the status is :data:`MISTAKE`.

    Args:
        run (Callable): The command.
        args: What it is called with.
    """
    try:
        status = run(args)
    except (MmdelError, ImportError) as error:
        print(f'error: {error}', file=sys.stderr)
        raise SystemExit(MISTAKE) from None
    if status:
        raise SystemExit(status)
