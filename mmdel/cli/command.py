"""What every command is made of, and how it is started.

    COMMAND = Command('Why was this image removed?', add_arguments, run)

    start(inspect.COMMAND)                                # what tools/analysis_tools/inspect_image.py does
    start(inspect.COMMAND, words, prog='mmdel inspect')   # what mmdel inspect does

A command takes time to import only where it runs: its module imports nothing but this room at the top.
"""

import argparse
import contextlib
import functools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmdel.cli.arguments import ArgumentParser


@dataclass(frozen=True)
class Outcome:
    """What a command found out, for programs.

    Args:
        summary (dict): The keys of :attr:`Command.summary` and their values, as JSON holds them.
        status (int): The exit status. Defaults to 0.
    """

    summary: dict[str, Any]
    status: int = 0


@dataclass(frozen=True)
class Command:
    """One command.

    Args:
        description (str): What its help says first.
        add_arguments (Callable): Declares its options.
        run (Callable): Does it; returns the exit status, None for 0, or an :class:`Outcome`.
        check (Callable, optional): Refuses options that do not go together, or completes them. Defaults to None.
        epilog (str, optional): What its help says last. Defaults to None.
        kept (str, optional): What is kept where it is stopped in the middle, see :func:`mmdel.compute.exits.end_with`.
            Defaults to None.
        summary (Mapping[str, str]): The keys that ``--json`` prints, and what they are; without any it has no such option.
            Defaults to none.
    """

    description: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | Outcome | None]
    check: Callable[[argparse.Namespace, ArgumentParser], None] | None = None
    epilog: str | None = None
    kept: str | None = None
    summary: Mapping[str, str] = field(default_factory=dict)

    def declare(self, parser: ArgumentParser) -> ArgumentParser:
        """Tell a parser all options; returns it."""
        parser.description, parser.epilog = self.description, self.epilog
        self.add_arguments(parser)
        if self.summary:
            parser.add_argument(
                '--json', action='store_true', help='print a summary for programs, and everything else on stderr'
            )
        return parser


def parse(command: Command, words: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read a command line.

    Args:
        command (Command): The command.
        words (Sequence[str], optional): What was typed. Defaults to None (``sys.argv``).
        prog (str, optional): What was started, for messages. Defaults to None (the name of the script).
    """
    parser = command.declare(ArgumentParser(prog=prog))
    args = parser.parse_args(words)
    if command.check is not None:
        command.check(args, parser)
    return args


def start(command: Command, words: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Read a command line, do what it says, and exit as :mod:`mmdel.compute.exits` has it; arguments are those of `parse`.

    Raises:
        SystemExit: It did not end well.
    """
    args = parse(command, words, prog)
    from mmdel.compute import exits

    exits.end_with(functools.partial(_run, command), args, command.kept or exits.KEPT)


def _run(command: Command, args: argparse.Namespace) -> int | None:
    if not getattr(args, 'json', False):
        outcome = command.run(args)
        return outcome.status if isinstance(outcome, Outcome) else outcome
    with contextlib.redirect_stdout(sys.stderr):
        outcome = command.run(args)
    if not isinstance(outcome, Outcome):  # of several processes one speaks
        return outcome
    print(json.dumps(outcome.summary))
    return outcome.status
