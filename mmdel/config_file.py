"""Configs as the command line gives them: a file, and KEY=VALUE on top."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict, DictAction

from mmdel.errors import ConfigError


def read_config(path: str, options: Sequence[str] | None = None) -> Config:
    """Read a config and change keys of it.

    Args:
        path (str): The file.
        options (Sequence[str], optional): See :func:`merge_options`. Defaults to None.

    Raises:
        ConfigError: There is no such file.
    """
    if not os.path.isfile(path):
        raise ConfigError(f'The config {path} is not there. Ready ones lie in configs/, e.g. configs/meddel_eta08.py.')
    cfg = Config.fromfile(path)
    merge_options(cfg, options)
    return cfg


def read_part(name: str, folder: Path, key: str) -> ConfigDict:
    """One key of a config that is named by its stem, or of one's own file.

    Args:
        name (str): The stem of a file in ``folder``, such as 'pixels', or a path that ends in .py.
        folder (Path): Where the ready ones lie, such as ``configs/_base_/embedders``.
        key (str): Which key, such as 'embedder'.

    Raises:
        ConfigError: There is no such file, or it has no such key.
    """
    path = Path(name) if name.endswith('.py') else folder / f'{name}.py'
    if not path.is_file():
        raise ConfigError(
            f'There is no {key} {name!r}. There are: {", ".join(part_names(folder))}; or give a config file of your own.'
        )
    part = Config.fromfile(path)
    if key not in part:
        raise ConfigError(f'{path} has no key {key!r}. Write one, e.g. {key} = dict(type=...).')
    return part[key]


def part_names(folder: Path) -> list[str]:
    """The stems of the configs in a folder, sorted."""
    return sorted(path.stem for path in folder.glob('*.py'))


def merge_options(cfg: Config, options: Sequence[str] | None) -> None:
    """Change keys of a config by KEY=VALUE, as every OpenMMLab tool reads them, but for spaces: those in a path stay.

    mmengine's own way needs mmengine while arguments are parsed, which would slow ``--help`` down.
    """
    if options:
        parser = argparse.ArgumentParser()
        parser.add_argument('--cfg-options', nargs='+', action=_Options)
        cfg.merge_from_dict(parser.parse_args(['--cfg-options', *options]).cfg_options)


class _Options(DictAction):
    """mmengine takes all spaces out of a value, so that ``data_root=/my data`` names another folder."""

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        if ' ' in val and ',' not in val and not val.startswith(('(', '[')):
            return val.strip('\'"')
        return DictAction._parse_iterable(val)
