"""How every tool parses its command line: empty, repeated or misspelt options are errors of one line.

    parser = ArgumentParser(description='...')
    parser.add_argument('--images', metavar='DIR')
    args = parser.parse_args()

Imports nothing that takes time, so that ``--help`` is there at once.
"""

import argparse
import difflib
import functools
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

MISTAKE = 2
"""Exit status of what was typed wrongly, as of :mod:`mmdel.compute.exits`."""


NARROWEST = 20
"""Columns below which a width is taken for a mistake of the environment: tables would be empty."""


class ArgumentParser(argparse.ArgumentParser):
    """Refuses empty values (``--images "$UNSET"``), options given twice, and names the nearest option to one that is none.

    Lists, such as ``--cfg-options A=1 --cfg-options B=2``, go on where they are given again: ``action='extend'``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in (None, 'store'):
            self.register('action', name, _Once)
        self.given: set[str] = set()

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """As argparse's; a ``type`` never sees an empty text."""
        return _add_argument(super().add_argument, *args, **kwargs)

    def add_mutually_exclusive_group(self, **kwargs: Any) -> argparse._MutuallyExclusiveGroup:
        """As argparse's, with the same rules for its options."""
        group = super().add_mutually_exclusive_group(**kwargs)
        group.add_argument = functools.partial(_add_argument, group.add_argument)  # type: ignore[method-assign]
        return group

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Read the command line; a mistake ends the program with status 2 and one line."""
        prepare_output()
        self.given = set()
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            name = unknown[0].partition('=')[0]
            near = difflib.get_close_matches(name, self._option_string_actions, 1)
            hint = f'; did you mean {near[0]}?' if near else ''
            self.error(f'{"there is no option" if name.startswith("-") else "to no option belongs"} {name!r}{hint}')
        if sys.getfilesystemencoding().lower() not in ('utf-8', 'utf8'):
            self.error(
                f'names of files are read as {sys.getfilesystemencoding()} here, and many would be misread. Set PYTHONUTF8=1'
            )
        return found

    def format_help(self) -> str:
        """As argparse's; on a terminal in colours, whose library takes time to import."""
        if sys.stdout.isatty():
            self.formatter_class = _coloured()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """End with one line, in which the mistake is not lost among all options."""
        self.exit(MISTAKE, f'error: {message.removeprefix("argument ")} ({self.prog} --help lists the options)\n')


class _Once(argparse.Action):
    """Keeps a value; a second one would silently win."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        given: set[str] = parser.given  # type: ignore[attr-defined]
        if self.dest in given:
            one, other = (
                ' '.join(each) if isinstance(each, list) else each for each in (getattr(namespace, self.dest), values)
            )
            raise argparse.ArgumentError(self, f'given twice, as {one!r} and {other!r}')
        given.add(self.dest)
        setattr(namespace, self.dest, values)


def prepare_output() -> None:
    """Let no output end a command or swallow its result.

    What an output cannot say, such as ö in ASCII, is written by its number, and a width of 0 columns is none.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
    columns = os.environ.get('COLUMNS', '')
    if columns.isdigit() and int(columns) < NARROWEST:
        del os.environ['COLUMNS']


def share(text: str) -> float:
    """A share of the images, above 0 and at most 1: the ``type`` of ``--ratio``."""
    number = _number(text.removesuffix('%').rstrip())
    percent = text.endswith('%') or 1 < number <= 100
    if percent or not 0 < number <= 1:
        hint = f'; {number:g} % is {number / 100:g}' if percent and 0 < number <= 100 else ''
        raise argparse.ArgumentTypeError(f'a share of the images is above 0 and at most 1, got {text!r}{hint}')
    return number


def cosine(text: str) -> float:
    """A similarity, from -1 to 1: the ``type`` of ``--eta``."""
    number = _number(text)
    if not -1 <= number <= 1:
        hint = f'; did you mean {number / 100:g}?' if 1 < number <= 100 else ''
        raise argparse.ArgumentTypeError(f'a cosine is between -1 and 1, got {text!r}{hint}')
    return number


def at_least(least: int) -> Callable[[str], int]:
    """The ``type`` of an option that is a whole number from ``least`` on."""

    def whole(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f'must be a whole number and at least {least}, got {text}')
        return number

    return whole


def _coloured() -> type[argparse.HelpFormatter]:
    from rich_argparse import RichHelpFormatter

    class Formatter(RichHelpFormatter):
        """Square brackets in our texts are no markup."""

        text_markup = help_markup = False

    return Formatter


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f'{text!r} is no number')
    return number


def _add_argument(add: Callable[..., argparse.Action], *args: Any, **kwargs: Any) -> argparse.Action:
    if kwargs.get('action') in (None, 'store', 'extend', 'append'):
        kind = kwargs.get('type', str)
        kwargs['type'] = _not_empty(_number if kind is float else kind)
    return add(*args, **kwargs)


def _not_empty(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    @functools.wraps(kind)  # argparse says "invalid int value" by its name
    def read(text: str) -> Any:
        if not text.strip():
            raise argparse.ArgumentTypeError('empty: is a shell variable not set?')
        if not text.isascii() and text != text.encode(errors='replace').decode():
            raise argparse.ArgumentTypeError(f'{text!r} is not UTF-8. Rename it, or link to it')
        # a shell expands it at the beginning of a word only, and not in --work-dir=~/x
        return kind(os.path.expanduser(text) if text.startswith('~/') else text)

    return read
