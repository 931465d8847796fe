# PYTHON_ARGCOMPLETE_OK
"""The command ``mmdel``: which commands there are; each is imported only where it is named.

Completion of commands, options and names in a shell: ``eval "$(register-python-argcomplete mmdel)"``.
"""

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

import mmdel
from mmdel.cli.arguments import MISTAKE, ArgumentParser, prepare_output
from mmdel.cli.command import Command, start


class Entry(NamedTuple):
    """A command in the table."""

    module: str
    summary: str


COMMANDS = {
    'choose': {
        'select': Entry('select', 'choose the images that are worth training on'),
        'report': Entry('report', 'write the report of a finished run again'),
        'inspect': Entry('inspect', 'why was this image removed, or kept?'),
        'leaks': Entry('leaks', 'find copies of test images in the pool'),
        'export': Entry('export', 'the kept images as plain files, or a filtered annotation file'),
        'decisions': Entry('decisions', 'every image, kept or not and why, as CSV, COCO or for FiftyOne'),
        'curves': Entry('curves', 'how well each method covers your images, at every ratio'),
    },
    'train': {
        'train': Entry('train', 'train with an OpenMMLab config'),
        'test': Entry('test', 'evaluate a checkpoint, and draw its predictions'),
        'browse': Entry('browse', 'draw what a dataset serves, after its pipeline'),
        'compare': Entry('compare', 'compare finished trainings, with NormDEL'),
        'study': Entry('study', 'compare methods, ratios and seeds by many trainings'),
    },
    'data': {
        'prepare': Entry('prepare', "assemble the benchmark's datasets from downloads"),
        'splits': Entry('splits', 'write train, validation and test lists of segmentation folders'),
    },
    'help': {
        'demo': Entry('demo', 'everything on synthetic data; --quick takes less than a minute'),
        'demo-data': Entry('demo_data', 'only draw the synthetic data'),
        'demo-truth': Entry('demo_truth', 'what choices removed of it, and by which threshold'),
        'configs': Entry('configs', 'list the configs, show one, copy one here'),
        'doctor': Entry('doctor', 'installed versions, known conflicts, and how to mend them'),
    },
}
"""Group: its commands."""

ENTRIES = {name: entry for group in COMMANDS.values() for name, entry in group.items()}


def main(words: Sequence[str] | None = None) -> None:
    """Run the command that is named; without one, say which there are.

    Args:
        words (Sequence[str], optional): What was typed. Defaults to None (``sys.argv``).

    Raises:
        SystemExit: It did not end well, or help was asked for.
    """
    if '_ARGCOMPLETE' in os.environ:
        _complete()
    typed = sys.argv[1:] if words is None else list(words)
    prepare_output()
    if not typed or typed[0].startswith('-'):
        _overview().parse_args(typed or ['--help'])
        return
    name, *rest = typed
    if name not in ENTRIES:
        near = difflib.get_close_matches(name, ENTRIES, 1)
        hint = f'; did you mean {near[0]}?' if near else ''
        raise SystemExit(_refused(f'there is no command {name!r}{hint} (mmdel --help lists the commands)'))
    start(load(name), rest, prog=f'mmdel {name}')


def load(name: str) -> Command:
    """The command of that name."""
    command: Command = importlib.import_module(f'mmdel.cli.{ENTRIES[name].module}').COMMAND
    return command


def _refused(message: str) -> int:
    print(f'error: {message}', file=sys.stderr)
    return MISTAKE


def _overview() -> ArgumentParser:
    parser = ArgumentParser(
        prog='mmdel',
        usage='mmdel COMMAND [OPTIONS]',
        description='Which of your medical images are worth training on? Begin with: mmdel select FOLDER --ratio 0.05',
        epilog='The options of a command: mmdel COMMAND --help',
    )
    parser.add_argument('--version', action='version', version=f'mmdel {mmdel.__version__}')
    for title, group in COMMANDS.items():
        lines = parser.add_argument_group(title)
        for name, entry in group.items():
            lines.add_argument(name, nargs='?', help=entry.summary)
    return parser


def _complete() -> None:
    import argcomplete

    parser = ArgumentParser(prog='mmdel')
    commands = parser.add_subparsers()
    for name in ENTRIES:
        load(name).declare(commands.add_parser(name))
    argcomplete.autocomplete(parser)
