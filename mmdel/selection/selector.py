"""The interface of every selection method: vectors in, a ranking out.

A selector *ranks*; a subset is a *cut* through the ranking (:mod:`mmdel.subset`). A method of your own needs one function:

    @SELECTORS.register_module()
    class FirstCome(BaseSelector):
        def rank(self, vectors, table, size=None, progress=SILENT):
            return Ranking(rank=np.arange(len(vectors)))

See docs/custom_selector.md for a complete example.
"""

import inspect
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import Vectors
from mmdel.errors import ConfigError
from mmdel.registry import SELECTORS
from mmdel.similarity import nearest
from mmdel.subset.columns import names_of


@dataclass(frozen=True)
class Ranking:
    """A total order over N images, and what it rests on. Optional columns are None where a method has no such notion.

    Args:
        rank (NDArray[np.int64]): [N], a permutation of 0..N-1; 0 is kept first.
        cluster (NDArray[np.int32], optional): [N]. Defaults to None.
        distance (NDArray[np.float32], optional): [N], to the own centroid. Defaults to None.
        redundancy (NDArray[np.float32], optional): [N], highest cosine to a preferred image in scope, NaN if none.
            Defaults to None.
        removed_by (NDArray[np.int64], optional): [N], row of that image, -1 if none. Defaults to None.
        kept (int, optional): How many of the first images stay, where the ranking belongs to one cut. Defaults to None.
        eta (float, optional): The threshold of that cut. Defaults to None.
        gains (NDArray[np.float64], optional): [N], what each image added to the method's objective when it was chosen.
            Defaults to None.
        centroids (NDArray[np.float32], optional): [k, D]. Defaults to None.
        notes (tuple[str, ...]): Choices that a person should see, such as the number of clusters. Defaults to ().
    """

    rank: NDArray[np.int64]
    cluster: NDArray[np.int32] | None = None
    distance: NDArray[np.float32] | None = None
    redundancy: NDArray[np.float32] | None = None
    removed_by: NDArray[np.int64] | None = None
    kept: int | None = None
    eta: float | None = None
    gains: NDArray[np.float64] | None = None
    centroids: NDArray[np.float32] | None = None
    notes: tuple[str, ...] = field(default=())

    def columns(self, images: pa.Array) -> dict[str, pa.Array]:
        """Its columns of the subset.

        Args:
            images (pa.Array): [N], the keys, which ``removed_by`` then names.
        """
        values = {name: getattr(self, name) for name in names_of('selector')}
        found = {name: pa.array(each) for name, each in values.items() if each is not None}
        if self.removed_by is not None:
            found['removed_by'] = images.take(pa.array(self.removed_by, mask=self.removed_by < 0))
        return found


@dataclass(frozen=True)
class Decided:
    """Images that an earlier run kept: they stay, and images that came later are compared with them.

    Args:
        kept (NDArray[np.int64]): [n], their rows, the first of the ranking first.
        cluster (NDArray[np.int32]): [n], their clusters.
        distance (NDArray[np.float32]): [n], to the centroid of that cluster.
        centroids (NDArray[np.float32]): [k, D], unit length.
        eta (float): The threshold that they were chosen by.
    """

    kept: NDArray[np.int64]
    cluster: NDArray[np.int32]
    distance: NDArray[np.float32]
    centroids: NDArray[np.float32]
    eta: float


class BaseSelector(ABC):
    """Decides in which order images are worth keeping.

    Attributes:
        recut (str): Which other cuts the ranking answers: 'any' (an eta or a ratio), 'ratio', or 'none'.
        recut_hint (str): What to tell a person who asks for another one.
        own_size (bool): The method says itself how many images stay where no ratio is asked for.
        version (int): Of the code: raised when the same arguments give another ranking, so that kept rankings are made again.
    """

    recut: str = 'ratio'
    recut_hint: str = 'This method has no eta.'
    own_size: bool = False
    version: int = 1

    @abstractmethod
    def rank(self, vectors: Vectors, table: pa.Table, size: int | None = None, progress: Stages = SILENT) -> Ranking:
        """Rank all images.

        Args:
            vectors (Vectors): N unit vectors, read in blocks.
            table (pa.Table): N rows in the same order, sorted by ``image``: :data:`mmdel.subset.columns.SEEN`.
            size (int, optional): How many images are wanted. Only a ranking that depends on it (``recut='none'``) reads it.
                Defaults to None (the method's own threshold decides).
            progress (Stages): Shows long stages. Defaults to ``SILENT``.
        """

    def config(self) -> dict[str, Any]:
        """What decides the ranking, JSON-able: recorded in the subset file, and part of the ranking's cache key.

        By default the class and its public attributes, those with a ``config()`` of their own (clusterers) by that. Keep what
        the ranking does not depend on under a name with a leading underscore.

        Raises:
            ConfigError: A public attribute is not JSON-able.
        """
        values = {}
        for name, value in vars(self).items():
            if not name.startswith('_') and name not in ('recut', 'recut_hint', 'own_size'):
                values[name] = value.config() if hasattr(value, 'config') else value
        about = {'type': f'{type(self).__module__.split(".")[0]}.{type(self).__name__}', **values}
        try:
            return json.loads(json.dumps(about))
        except TypeError as error:
            raise ConfigError(
                f'{about["type"]} has a public attribute that cannot be written down ({error}). Keep it under a name with a '
                'leading underscore, and what the ranking depends on in plain numbers, strings, lists or dicts.'
            ) from error

    def versions(self) -> dict[str, int]:
        """The ``version`` of each class that the ranking comes from: of the method, its bases, and what it is made of."""
        kinds = [kind for part in (self, *vars(self).values()) for kind in type(part).__mro__]
        return {
            f'{kind.__module__}.{kind.__qualname__}': vars(kind)['version']
            for kind in kinds
            if isinstance(vars(kind).get('version'), int)
        }

    def objective(
        self, vectors: Vectors, table: pa.Table, kept: NDArray[np.int64], nearest: NDArray[np.float32]
    ) -> float | None:
        """What the method maximises, for a subset and over all pairs of images; None for a method without an objective.

        Args:
            vectors (Vectors): N vectors.
            table (pa.Table): Their table.
            kept (NDArray[np.int64]): Rows of the images kept.
            nearest (NDArray[np.float32]): [N], cosine of every image to the nearest kept one, 1 for a kept image.
        """
        return None

    def refuses_to_extend(self) -> str:
        """Why images that come later cannot be decided beside old decisions, in words for people; '' where they can."""
        return (
            f'{type(self).__name__} weighs all images against each other, so new ones would change the old decisions.'
        )

    def extend(
        self, vectors: Vectors, table: pa.Table, old: Decided, new: NDArray[np.int64], progress: Stages = SILENT
    ) -> Ranking:
        """Rank images that came later, beside decisions that stay. Only where :meth:`refuses_to_extend` has no reason.

        Args:
            vectors (Vectors): N vectors, of old and new images.
            table (pa.Table): Their table, sorted by ``image``.
            old (Decided): What an earlier run kept.
            new (NDArray[np.int64]): [n], rows of the new images, ascending.
            progress (Stages): Shows long stages. Defaults to ``SILENT``.

        Returns:
            Ranking: Of the n new images alone; ``removed_by`` are rows of ``vectors``, ``kept`` is how many stay.

        Raises:
            ConfigError: The method cannot; the message says why.
        """
        raise ConfigError(self.refuses_to_extend())

    def groups(self, cluster: NDArray[np.int32]) -> list[NDArray[np.int64]]:
        """The rows that the method compares with each other, given each row's cluster. Defaults to one group of all rows."""
        return [np.arange(len(cluster))]


def ranking_of(order: NDArray[np.int64], **columns: Any) -> Ranking:
    """The ranking in which the rows stand in this order.

    Args:
        order (NDArray[np.int64]): [N], a permutation of the rows, kept first to kept last.
        **columns: Further fields of :class:`Ranking`.
    """
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return Ranking(rank=rank, **columns)


def fill(vectors: Vectors, chosen: NDArray[np.int64], progress: Stages = SILENT) -> NDArray[np.int64]:
    """All rows in an order, int64 [N]: those chosen, then the others, least similar to any of these first, ties by key."""
    rest = np.setdiff1d(np.arange(len(vectors)), chosen)
    with progress.stage('fill', len(rest) * len(chosen), 'pairs') as tick:
        near = nearest(vectors, [(rest, chosen)], tick).cosine[rest]
    return np.concatenate([chosen, rest[np.lexsort((rest, near))]])


def asked_size(size: int | None, images: int, name: str) -> int:
    """``size`` of a method that needs one.

    Raises:
        ConfigError: None was given, or it is no number of images from 1 to all.
    """
    if size is None or not 1 <= size <= images:
        raise ConfigError(f'{name} chooses for one size, from 1 to {images:,} images, got {size}. Ask with --ratio.')
    return size


def build_selector(config: dict[str, Any]) -> BaseSelector:
    """Build a selector from its config.

    Raises:
        ConfigError: There is no such method, or it has no such argument.
    """
    kind = SELECTORS.get(config['type']) if isinstance(config.get('type'), str) else config.get('type')
    if kind is None:
        raise ConfigError(
            f'There is no selection method {config.get("type")!r}. One of your own is registered by an import: '
            "custom_imports = dict(imports=['my_package']) in the config; see docs/custom_selector.md."
        )
    known = inspect.signature(kind.__init__).parameters
    if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in known.values()):
        foreign = [name for name in config if name != 'type' and not name.startswith('_') and name not in known]
        if foreign:
            has = [name for name in known if name != 'self']
            hint = (
                ' It ranks images without a threshold: say how many to keep with --ratio.' if 'eta' in foreign else ''
            )
            raise ConfigError(
                f'{kind.__name__} has no argument {foreign[0]!r}; it has {", ".join(has) or "none"}.{hint}'
            )
    return SELECTORS.build(config)
