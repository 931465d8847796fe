"""Configs as the command line gives them: a file, and KEY=VALUE on top."""

import argparse
import os
from collections.abc import Sequence

from mmengine.config import Config, DictAction

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


def merge_options(cfg: Config, options: Sequence[str] | None) -> None:
    """Change keys of a config by KEY=VALUE, as every OpenMMLab tool reads them.

    mmengine's own way needs mmengine while arguments are parsed, which would slow ``--help`` down.
    """
    if options:
        parser = argparse.ArgumentParser()
        parser.add_argument('--cfg-options', nargs='+', action=DictAction)
        cfg.merge_from_dict(parser.parse_args(['--cfg-options', *options]).cfg_options)
