"""The searches that mmdel needs, all of them by the same one: comparisons of rows with columns.

All take ``vectors``, of which rows and columns are given by their numbers, int64; ``tick``, which is told how many pairs are
compared (:func:`nearest_centroid`: rows); and ``tuning``, which decides speed alone (None is :func:`default_tuning`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmdel.compute.progress import Tick
from mmdel.similarity.canonical import Rows, pair_cosines
from mmdel.similarity.exclusion import Exclusion
from mmdel.similarity.pool import UnitArray, UnitVectors
from mmdel.similarity.tasks import Comparison, Task, compare, silent
from mmdel.similarity.tuning import Tuning, default_tuning


@dataclass(frozen=True)
class Neighbours:
    """For each row of the vectors, the most similar one of those that it was compared with.

    Args:
        cosine (NDArray[np.float32]): [N], canonical; NaN where there was nothing to compare with.
        row (NDArray[np.int64]): [N], that one's row; -1 where there is none.
    """

    cosine: NDArray[np.float32]
    row: Rows

    @classmethod
    def none(cls, size: int) -> 'Neighbours':
        """Nothing compared yet."""
        return cls(np.full(size, np.nan, np.float32), np.full(size, -1, np.int64))


def best_preferred(
    vectors: UnitVectors, groups: Sequence[Rows], tick: Tick = silent, tuning: Tuning | None = None
) -> Neighbours:
    """The highest cosine of each row to one that stands before it in its group; groups are disjoint, in order of preference."""
    return _most_similar(vectors, [Comparison(group) for group in groups], tick, tuning)


def nearest(
    vectors: UnitVectors, pairs: Sequence[tuple[Rows, Rows]], tick: Tick = silent, tuning: Tuning | None = None
) -> Neighbours:
    """Of some ``(rows, columns)`` each row's most similar column, ties to the one listed first; no row is in two of them."""
    return _most_similar(vectors, [Comparison(rows, columns) for rows, columns in pairs], tick, tuning)


def nearest_elsewhere(
    vectors: UnitVectors,
    groups: Sequence[Rows],
    floor: float = -np.inf,
    tick: Tick = silent,
    tuning: Tuning | None = None,
) -> Neighbours:
    """For each row of some disjoint groups the most similar row of another one, where that is more similar than ``floor``.

    Ties go to the group, then the row, that is listed first.
    """
    rows = np.concatenate([np.empty(0, np.int64), *groups])
    sizes = np.array([len(group) for group in groups], np.int64)
    stop = np.cumsum(sizes).repeat(sizes)
    start = stop - sizes.repeat(sizes)
    after = Comparison(rows, rows, Exclusion(np.zeros_like(stop), stop))
    found = _most_similar(vectors, [after], tick, tuning, floor)
    # only those with a partner in a later group can be the partner in an earlier one; these are listed first, so win ties
    some = np.flatnonzero(found.row[rows] >= 0)
    before = Comparison(rows, rows[some], Exclusion(np.searchsorted(some, start), np.full(len(rows), len(some))))
    earlier = _most_similar(vectors, [before], silent, tuning, floor)
    better = np.flatnonzero((earlier.row >= 0) & ~(earlier.cosine < found.cosine))
    found.cosine[better], found.row[better] = earlier.cosine[better], earlier.row[better]
    return found


def _most_similar(
    vectors: UnitVectors, comparisons: list[Comparison], tick: Tick, tuning: Tuning | None, floor: float = -np.inf
) -> Neighbours:
    found = Neighbours.none(len(vectors))
    task = Task(comparisons, tuning or default_tuning(), floor=floor)
    for one, (places, exact, slot) in compare(vectors, task, tick):
        rows, some = one.rows[places], slot[:, 0] >= 0
        found.cosine[rows] = exact[:, 0]
        found.row[rows[some]] = one.order[slot[some, 0]]
    return found


def nearest_centroid(
    vectors: UnitVectors, rows: Rows, centroids: NDArray[np.float32], tick: Tick = silent, tuning: Tuning | None = None
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Assign rows, [n], to the centroid, float32 [k, D] of unit length, of highest canonical cosine, the first of equals.

    Returns:
        tuple: The cluster, int32 [n], and the cosine to its centroid before it is rounded to float32, float64 [n].
    """
    label, cosine = np.full(len(rows), -1, np.int32), np.full(len(rows), np.nan)
    task = Task([Comparison(rows, np.arange(len(centroids)))], tuning or default_tuning(), others=UnitArray(centroids))
    for _, (places, exact, slot) in compare(vectors, task, tick, 'rows'):
        label[places], cosine[places] = slot[:, 0], exact[:, 0]
    return label, cosine


def top_k(
    vectors: UnitVectors,
    rows: Rows,
    columns: Rows,
    k: int,
    tick: Tick = silent,
    counted: str = 'pairs',
    tuning: Tuning | None = None,
) -> tuple[NDArray[np.float32], Rows]:
    """For each row, [n], its k most similar columns (all where there are fewer), best first, ties to the one listed first.

    ``counted`` says what ``tick`` is told, 'pairs' or 'rows'.

    Returns:
        tuple: Canonical cosines, float32 [n, k], and places in ``columns``, int64 [n, k].
    """
    k = min(k, len(columns))
    cosine, place = np.empty((len(rows), k), np.float32), np.empty((len(rows), k), np.int64)
    task = Task([Comparison(rows, columns)] if k else [], tuning or default_tuning(), k)
    for _, (places, exact, slot) in compare(vectors, task, tick, counted):
        cosine[places], place[places] = exact, slot
    return cosine, place


@dataclass(frozen=True)
class NeighbourGraph:
    """Who is similar to whom, in both directions.

    Args:
        start (NDArray[np.int64]): [n + 1], where each node's neighbours begin.
        node (NDArray[np.int32]): [edges], the neighbours of node 0, then of node 1, ...; ascending in each, itself included.
        cosine (NDArray[np.float32]): [edges], canonical.
    """

    start: NDArray[np.int64]
    node: NDArray[np.int32]
    cosine: NDArray[np.float32]

    @property
    def owner(self) -> Rows:
        """The node that each edge starts from, int64 [edges]."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))


def nearest_neighbours(
    vectors: UnitVectors, rows: Rows, k: int, more: tuple[Rows, Rows] | None = None, tick: Tick = silent
) -> NeighbourGraph:
    """Two nodes are neighbours where either is among the other's k nearest; a node is the nearest of its own.

    Node i is ``rows[i]``, ascending; ties go to the smaller node. ``more`` are further pairs of nodes, two int64 arrays, to be
    neighbours. ``tick`` is told rows.
    """
    found, node = top_k(vectors, rows, rows, k, tick, 'rows')
    left, right, cosine = np.repeat(np.arange(len(rows)), node.shape[1]), node.ravel(), found.ravel()
    if more is not None:
        exact = pair_cosines(vectors.read, rows[more[0]], vectors.read, rows[more[1]])
        left, right = np.concatenate([left, more[0]]), np.concatenate([right, more[1]])
        cosine = np.concatenate([cosine, exact.astype(np.float32)])
    # every pair in both directions, once however often it was found
    code, first = np.unique(np.concatenate([left * len(rows) + right, right * len(rows) + left]), return_index=True)
    start = np.searchsorted(code, np.arange(len(rows) + 1) * len(rows))
    return NeighbourGraph(start, (code % len(rows)).astype(np.int32), np.tile(cosine, 2)[first])
