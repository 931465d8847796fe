"""Registries of mmdel: children of mmengine's, plus the three kinds that only mmdel has.

``type='mmdel.X'`` finds X from any OpenMMLab project without ``custom_imports``: mmengine imports the package that a
scope names, and ``locations`` names the module in which the class registers itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager

try:
    from mmengine.registry import DATASETS as MMENGINE_DATASETS
    from mmengine.registry import EVALUATOR as MMENGINE_EVALUATOR
    from mmengine.registry import MODELS as MMENGINE_MODELS
    from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
    from mmengine.registry import Registry
except ImportError as error:
    raise ImportError(
        'mmdel needs mmengine, which a plain install leaves to you because two stacks own its files. Install one of them: '
        "pip install 'mmdel[onedl]' (maintained, recommended) or pip install 'mmdel[openmmlab]'."
    ) from error

DATASETS = Registry('dataset', parent=MMENGINE_DATASETS, scope='mmdel', locations=['mmdel.datasets'])
TRANSFORMS = Registry('transform', parent=MMENGINE_TRANSFORMS, scope='mmdel', locations=['mmdel.datasets'])
MODELS = Registry('model', parent=MMENGINE_MODELS, scope='mmdel', locations=['mmdel.models'])
EVALUATOR = Registry('evaluator', parent=MMENGINE_EVALUATOR, scope='mmdel', locations=['mmdel.evaluation'])


class _RootRegistry(Registry):
    """A registry that has no relatives in other packages.

    mmengine would first look for a sister of the default scope (``mmpretrain``, say) and warn that there is none. The default
    scope itself stays, so that a pipeline inside an embedder's config is resolved where the user expects.
    """

    @contextmanager
    def switch_scope_and_registry(self, scope: str | None) -> Iterator[Registry]:
        del scope
        yield self


EMBEDDERS = _RootRegistry('embedder', scope='mmdel', locations=['mmdel.embedding'])
"""Images to vectors: subclasses of :class:`mmdel.embedding.base_embedder.BaseEmbedder`."""

CLUSTERERS = _RootRegistry('clusterer', scope='mmdel', locations=['mmdel.selection'])
"""Vectors to clusters."""

SELECTORS = _RootRegistry('selector', scope='mmdel', locations=['mmdel.selection'])
"""Vectors to a ranking: subclasses of :class:`mmdel.selection.selector.BaseSelector`."""
