"""mmdel: which of my medical images are worth training on?

    chosen = mmdel.select('my/frames', ratio=0.05)
    chosen.kept

Images become vectors (:mod:`mmdel.embedding`), vectors become a decision (:mod:`mmdel.selection`), the decision is a
subset file (:mod:`mmdel.subset`), and the subset filters any OpenMMLab dataset (:mod:`mmdel.datasets`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmdel.engine.select import select

__version__ = '0.1.0'

__all__ = ['__version__', 'select']

_PACKAGES = ('selection', 'subset')


def __getattr__(name: str) -> Any:
    """What is imported when it is first asked for: torch alone takes seconds."""
    if name == 'select':
        return import_module('mmdel.engine.select').select
    if name in _PACKAGES:
        return import_module(f'mmdel.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})
