"""``mmdel configs``: which configs come with mmdel, what is in one, and a copy of it to change.

mmdel configs
mmdel configs show meddel_eta08
mmdel configs copy mae_tiny_subset my_mae.py
"""

import argparse
from pathlib import Path

from mmdel.cli import options
from mmdel.cli.arguments import ArgumentParser
from mmdel.cli.command import Command, Outcome
from mmdel.config.shipped import CONFIGS, config_names, find_config

SUMMARY = {
    'configs': 'name: path of each config that comes with mmdel, or of the one that is named',
    'copy': 'the file that was written, null where none was',
}


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        'what', nargs='?', choices=['list', 'show', 'copy'], default='list', help='what is done (default: list)'
    )
    name = parser.add_argument(
        'name', nargs='?', type=find_config, metavar='NAME', help='the config, for show and copy'
    )
    options.completes(name, config_names)
    parser.add_argument(
        'file', nargs='?', metavar='FILE', help='where copy writes to (default: NAME.py in this folder)'
    )


def _check(args: argparse.Namespace, parser: ArgumentParser) -> None:
    if (args.name is None) != (args.what == 'list'):
        parser.error('show and copy take the name of a config, and list takes none: mmdel configs show meddel_eta08')
    if args.file and args.what != 'copy':
        parser.error('only copy writes a file: mmdel configs copy NAME FILE')


def _run(args: argparse.Namespace) -> Outcome:
    if args.what == 'list':
        return _list()
    from mmdel.config.config_file import read_config

    cfg = read_config(args.name)
    found = {Path(args.name).stem: args.name}
    if args.what == 'show':
        print(cfg.pretty_text, end='')
        return Outcome({'configs': found, 'copy': None})
    out = Path(args.file or Path(args.name).name)
    _write(out, f'# A copy of {Path(args.name).name}, with everything that it inherits.\n{cfg.pretty_text}')
    print(f'{out} holds all keys; change what is other for you')
    return Outcome({'configs': found, 'copy': str(out)})


def _list() -> Outcome:
    folder = None
    names = config_names()
    for name, path in names.items():
        if path.parent != folder:
            folder = path.parent
            print(f'{folder.relative_to(CONFIGS.parent)}/')
        print(f'  {name}')
    return Outcome({'configs': {name: str(path) for name, path in names.items()}, 'copy': None})


def _write(out: Path, text: str) -> None:
    from mmdel.compute.files import write_text
    from mmdel.errors import ConfigError

    if out.suffix != '.py':
        raise ConfigError(f'{out}: the name of a config ends in .py.')
    if out.exists():
        raise ConfigError(f'{out} is there already. Name another file: mmdel configs copy NAME FILE')
    write_text(out, text)


COMMAND = Command(
    'List the configs that come with mmdel, which every command takes by name, from whatever folder; show one, or copy it here.',
    _add_arguments,
    _run,
    _check,
    summary=SUMMARY,
)
