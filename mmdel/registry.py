"""Registries of mmdel: children of mmengine's, plus the three kinds that only mmdel has.

``type='mmdel.X'`` finds X from any OpenMMLab project without ``custom_imports``: mmengine imports the package that a
scope names, and ``locations`` names the module in which the class registers itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager

try:
    from mmengine import registry as mmengine_registry
    from mmengine.registry import Registry
except ImportError as error:
    raise ImportError(
        'mmdel needs mmengine, which a plain install leaves to you because two stacks own its files. Install one of them: '
        "pip install 'mmdel[onedl]' (maintained, recommended) or pip install 'mmdel[openmmlab]'."
    ) from error


def _child(kind: str, parent: Registry, package: str) -> Registry:
    return Registry(kind, parent=parent, scope='mmdel', locations=[f'mmdel.{package}'])


DATASETS = _child('dataset', mmengine_registry.DATASETS, 'datasets')
TRANSFORMS = _child('transform', mmengine_registry.TRANSFORMS, 'datasets')
DATA_SAMPLERS = _child('data sampler', mmengine_registry.DATA_SAMPLERS, 'training')
LOOPS = _child('loop', mmengine_registry.LOOPS, 'training')
OPTIM_WRAPPERS = _child('optimizer wrapper', mmengine_registry.OPTIM_WRAPPERS, 'training')
HOOKS = _child('hook', mmengine_registry.HOOKS, 'training')
MODELS = _child('model', mmengine_registry.MODELS, 'models')
METRICS = _child('metric', mmengine_registry.METRICS, 'evaluation')
EVALUATOR = _child('evaluator', mmengine_registry.EVALUATOR, 'evaluation')


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
"""Images to vectors: subclasses of :class:`mmdel.embedding.embedders.base_embedder.BaseEmbedder`."""

CLUSTERERS = _RootRegistry('clusterer', scope='mmdel', locations=['mmdel.selection'])
"""Vectors to clusters."""

SELECTORS = _RootRegistry('selector', scope='mmdel', locations=['mmdel.selection'])
"""Vectors to a ranking: subclasses of :class:`mmdel.selection.selector.BaseSelector`."""

POOLS = _RootRegistry('pool', scope='mmdel', locations=['mmdel.study'])
"""Archives to pools: subclasses of :class:`mmdel.study.pools.drawing.BasePool`."""

EVALUATIONS = _RootRegistry('evaluation', scope='mmdel', locations=['mmdel.study'])
"""Kept images to figures: subclasses of :class:`mmdel.study.pools.evaluations.BaseEvaluation`."""
