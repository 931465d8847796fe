"""What comes with the package, in a clone beside it and installed in its folder ``.mim``."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def shipped(name: str) -> Path:
    """The folder ``configs`` or ``tools``."""
    beside = (PACKAGE / '.mim' / name, PACKAGE.parent / name)
    return next((path.resolve() for path in beside if path.is_dir()), beside[0])


CONFIGS = shipped('configs')
ENCODERS = CONFIGS / '_base_' / 'embedders'
SELECTORS = CONFIGS / '_base_' / 'selectors'
