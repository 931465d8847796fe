"""The interface of every selection method: vectors in, a ranking out.

A selector *ranks*; a subset is a *cut* through the ranking (:mod:`mmdel.subset`). A method of your own needs one function:

    @SELECTORS.register_module()
    class FirstCome(BaseSelector):
        recut = 'ratio'

        def rank(self, vectors, table, size=None):
            return Ranking(rank=np.arange(len(vectors)))
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel.embedding.vectors import Vectors
from mmdel.progress import SILENT, Stages


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
    centroids: NDArray[np.float32] | None = None
    notes: tuple[str, ...] = field(default=())


class BaseSelector(ABC):
    """Decides in which order images are worth keeping.

    Attributes:
        recut (str): Which other cuts the ranking answers: 'any' (an eta or a ratio), 'ratio', or 'none'.
        recut_hint (str): What to tell a person who asks for another one.
    """

    recut: str = 'ratio'
    recut_hint: str = ''

    @abstractmethod
    def rank(self, vectors: Vectors, table: pa.Table, size: int | None = None, progress: Stages = SILENT) -> Ranking:
        """Rank all images.

        Args:
            vectors (Vectors): N unit vectors, read in blocks.
            table (pa.Table): N rows in the same order, sorted by ``image``: image, source, label, video, frame, centre, width,
                height, bytes, sharpness.
            size (int, optional): How many images are wanted. Only a ranking that depends on it (``recut='none'``) reads it.
                Defaults to None (the method's own threshold decides).
            progress (Stages): Shows long stages. Defaults to ``SILENT``.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The arguments that decide the ranking, JSON-able; recorded in the subset file and part of the ranking's cache key."""

    def groups(self, cluster: NDArray[np.int32]) -> list[NDArray[np.int64]]:
        """The rows that the method compares with each other, given each row's cluster. Defaults to one group of all rows."""
        return [np.arange(len(cluster))]
