"""Options that several commands have, each with one text."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmdel.cli.arguments import ArgumentParser, cosine, share
from mmdel.config.shipped import ENCODERS, SELECTORS, config_names, find_config, part_names

if TYPE_CHECKING:
    from mmdel.subset import Subset


def add_config(parser: ArgumentParser, text: str, nargs: str | None = None) -> None:
    """A config in the first place."""
    action = parser.add_argument(
        'config', nargs=nargs, type=find_config, help=f'{text}; a file, or a name that `mmdel configs` lists'
    )
    completes(action, config_names)


def add_cfg_options(parser: ArgumentParser) -> None:
    """Changes of the config."""
    parser.add_argument(
        '--cfg-options', nargs='+', action='extend', metavar='KEY=VALUE', help='change any key of the config'
    )


def add_encoder(parser: ArgumentParser, text: str = '') -> None:
    """The encoder, by its name."""
    completes(
        parser.add_argument(
            '--encoder',
            metavar='NAME',
            help=text or f'one of {", ".join(part_names(ENCODERS))}; timm:NAME, hf:NAME or onnx:FILE; or a config file',
        ),
        lambda: part_names(ENCODERS),
    )


def add_selector(parser: ArgumentParser) -> None:
    """The method, by its name."""
    completes(
        parser.add_argument(
            '--selector', metavar='NAME', help=f'one of {", ".join(part_names(SELECTORS))}, or a config file'
        ),
        lambda: part_names(SELECTORS),
    )


def add_cut(parser: ArgumentParser, ratio: str, eta: str) -> None:
    """How much is kept: a share, or a threshold."""
    cut = parser.add_mutually_exclusive_group()
    cut.add_argument('--ratio', type=share, help=ratio)
    cut.add_argument('--eta', type=cosine, help=eta)


def add_recut(parser: ArgumentParser) -> None:
    """Another cut of a subset that is there."""
    add_cut(parser, 'cut the subset at this share instead', 'cut the subset at this cosine instead')


def add_subset(parser: ArgumentParser) -> None:
    """A finished run."""
    parser.add_argument('subset', help='a subset.parquet, or its work dir')


def add_device(parser: ArgumentParser, text: str = 'where the encoder runs') -> None:
    """The device."""
    parser.add_argument('--device', help=f"{text}, e.g. 'cuda:1' (default: a GPU where there is one)")


def add_launcher(parser: ArgumentParser, text: str) -> None:
    """One of several processes."""
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help=text)


def completes(action: argparse.Action, names: Callable[[], Iterable[str]]) -> None:
    """Let a shell complete an option by names that are looked up then, see :func:`mmdel.cli.main.main`."""
    action.completer = lambda **_: list(names())  # type: ignore[attr-defined]


Problems = Sequence[tuple[str, str]]
"""``(name, reason)`` of what went wrong."""


def recut(subset: 'Subset', args: argparse.Namespace) -> 'Subset':
    """The subset, cut as the options of :func:`add_recut` say."""
    return subset if args.ratio is None and args.eta is None else subset.at(eta=args.eta, ratio=args.ratio)


def subset_file(typed: str) -> Path:
    """What was typed where :func:`add_subset` asks: the file, or the folder that holds it."""
    path = Path(typed)
    return path / 'subset.parquet' if path.is_dir() else path
