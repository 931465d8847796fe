"""What comes with the package, in a clone beside it and installed in its folder ``.mim``.

read_encoder('pixels')       # the embedder of configs/_base_/embedders/pixels.py, from whatever folder
"""

from pathlib import Path

from mmengine.config import ConfigDict

from mmdel.config.config_file import read_part

PACKAGE = Path(__file__).resolve().parents[1]


def shipped(name: str) -> Path:
    """The folder ``configs`` or ``tools``."""
    beside = (PACKAGE / '.mim' / name, PACKAGE.parent / name)
    return next((path.resolve() for path in beside if path.is_dir()), beside[0])


CONFIGS = shipped('configs')
ENCODERS = CONFIGS / '_base_' / 'embedders'
SELECTORS = CONFIGS / '_base_' / 'selectors'


def read_encoder(name: str) -> ConfigDict:
    """The config of an encoder, by its name or a file of one's own.

    Raises:
        ConfigError: There is no such one; the message names those that there are.
    """
    return read_part(name, ENCODERS, 'embedder')


def read_selector(name: str) -> ConfigDict:
    """Likewise that of a method."""
    return read_part(name, SELECTORS, 'selector')
