"""What ``tools/dedup.py`` does: `mmdel select` with a config in the first place, which is the paper's where it is one of those.

python tools/dedup.py configs/meddel_eta08.py --images my/frames --ratio 0.05
"""

import argparse

from mmdel.cli import options, select
from mmdel.cli.arguments import ArgumentParser
from mmdel.cli.command import Command
from mmdel.config.shipped import find_config


def _add_arguments(parser: ArgumentParser) -> None:
    options.add_config(parser, nargs='?', text='a dedup config, e.g. configs/meddel_eta08.py')
    select.add_shared_arguments(parser)


def _check(args: argparse.Namespace, parser: ArgumentParser) -> None:
    for rest in (args.images, args.exclude):
        if args.config is None and rest and len(rest) > 1 and rest[-1].endswith('.py'):
            args.config = find_config(rest.pop())  # options of several values take what follows them
    if args.config is None:
        parser.error('the following arguments are required: config')
    select.check(args, parser)


COMMAND = Command(
    'Embed images, rank them, cut the ranking, and write the subset.',
    _add_arguments,
    select.run,
    _check,
    select.EPILOG,
    select.KEPT,
    select.SUMMARY,
)
