"""The k nearest neighbours of every image, exactly, in memory that grows with N k.

    graph = nearest_neighbours(vectors, np.arange(len(vectors)), 64)
    graph.node[graph.start[7]:graph.start[8]]   # the rows similar to row 7

float32 products propose k and some more neighbours: faiss's, or in large pools those that a projection leaves over
(:mod:`mmdel.selection.pruning`). Where a proven rounding bound cannot rule out that another image belongs among the first k,
the row is searched again with float64 products; what is stored are canonical cosines (:mod:`mmdel.embedding.vectors`), ties to
the smaller row. So the graph is the same whatever is pruned, for any block, thread and process count.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mmdel import sharing
from mmdel.embedding.vectors import Vectors
from mmdel.progress import Tick
from mmdel.selection.clustering import import_faiss
from mmdel.selection.groups import Group, InMemory, Precision
from mmdel.selection.hidden_columns import HiddenColumns
from mmdel.selection.proposers import float32_margin, float64_margin
from mmdel.selection.pruning import Panels, Queries
from mmdel.selection.redundancy import is_worth
from mmdel.selection.settled_maximum import settle
from mmdel.selection.workers import Workers

Rows = NDArray[np.int64]

QUERIES = 1024
"""Images whose neighbours are searched at a time."""

SPARE = 0.25
"""Further neighbours that are proposed, as a part of k: the more, the fewer rows are searched twice."""

HELD = 4
"""Products of a row, times those asked for, beyond which all but the highest are forgotten."""

SECOND_SEARCH = 64
"""Rows searched again at a time; each takes 8 N bytes."""


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

    @classmethod
    def of_pairs(cls, left: Rows, right: Rows, cosine: NDArray[np.float32], nodes: int) -> 'NeighbourGraph':
        """Every pair in both directions, once however often it is given."""
        code, first = np.unique(np.concatenate([left * nodes + right, right * nodes + left]), return_index=True)
        start = np.searchsorted(code, np.arange(nodes + 1) * nodes)
        return cls(start, (code % nodes).astype(np.int32), np.tile(cosine, 2)[first])

    @property
    def owner(self) -> Rows:
        """The node that each edge starts from, int64 [edges]."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))


def nearest_neighbours(
    vectors: Vectors,
    rows: Rows,
    k: int,
    more: tuple[Rows, Rows] | None = None,
    tick: Tick = lambda done: None,
) -> NeighbourGraph:
    """Two images are neighbours where either is among the other's k nearest; an image is the nearest of its own.

    Args:
        vectors (Vectors): All vectors.
        rows (NDArray[np.int64]): [n], ascending; node i is ``rows[i]``.
        k (int): How many neighbours; all of them where n is not more.
        more (tuple, optional): Further pairs of nodes to be neighbours, two int64 arrays [pairs]. Defaults to None.
        tick (Callable): Told the number of rows searched. Defaults to doing nothing.
    """
    k = min(k, len(rows))
    neighbour = np.empty((len(rows), k), np.int32)
    cosine = np.empty((len(rows), k), np.float32)
    work = partial(_nearest_neighbours, rows=rows, k=k)
    for nodes, neighbours, cosines in sharing.share(work, vectors, tick, is_worth(vectors, len(rows) ** 2)):
        neighbour[nodes], cosine[nodes] = neighbours, cosines
    left, right = np.repeat(np.arange(len(rows)), k), neighbour.ravel().astype(np.int64)
    found_cosine = cosine.ravel()
    if more is not None:
        left, right = np.concatenate([left, more[0]]), np.concatenate([right, more[1]])
        found_cosine = np.concatenate([found_cosine, settle(pool := vectors.read(rows), *more, pool.__getitem__)])
    return NeighbourGraph.of_pairs(left, right, found_cosine, len(rows))


def _nearest_neighbours(
    vectors: Vectors, claim: sharing.Claim, tick: Tick, rows: Rows, k: int
) -> tuple[Rows, NDArray[np.int32], NDArray[np.float32]]:
    """The k nearest of the nodes that are this process's."""
    faiss = import_faiss()
    pool = vectors.read(rows)
    proposed = min(k + int(np.ceil(k * SPARE)), len(rows))
    neighbour = np.empty((len(rows), k), np.int32)
    cosine = np.empty((len(rows), k), np.float32)
    done = np.zeros(len(rows), bool)
    margin = float32_margin(vectors.dim)
    everyone = Group(InMemory(pool), np.arange(len(rows)), Precision('auto'))

    def search(block: Rows) -> None:
        few = _left_over(everyone, block, proposed)
        if few is None:
            faiss.omp_set_num_threads(1)  # of this thread; the blocks run in parallel
            few = faiss.knn(pool[block], pool, proposed, metric=faiss.METRIC_INNER_PRODUCT)
        guess, found = few
        settled = settle(pool, np.repeat(block, proposed), found.ravel(), pool.__getitem__).reshape(found.shape)
        best = np.lexsort((found, -settled), axis=1)[:, :k]
        neighbour[block] = np.take_along_axis(found, best, axis=1)
        cosine[block] = np.take_along_axis(settled, best, axis=1)
        if proposed < len(rows):
            # an image that was not proposed may lie as high as the lowest guess and the margin
            unsure = block[cosine[block, -1] <= guess.min(axis=1) + margin]
            for start in range(0, len(unsure), SECOND_SEARCH):
                again = unsure[start : start + SECOND_SEARCH]
                neighbour[again], cosine[again] = _search_again(pool, again, k)
        done[block] = True
        tick(len(block))

    with Workers(None, claim) as workers:
        for first in range(0, len(rows), QUERIES):
            workers.submit(search, np.arange(first, min(first + QUERIES, len(rows))))
    nodes = np.flatnonzero(done)
    return nodes, neighbour[nodes], cosine[nodes]


def _left_over(everyone: Group, block: Rows, proposed: int) -> tuple[NDArray[np.float32], Rows] | None:
    """The highest float32 products of each row of a block and their slots, [block, proposed]; no other cosine is higher.

    None where a projection does not rule out enough.
    """
    projection = everyone.projection
    if projection is None:
        return None
    every = np.arange(len(everyone))
    queries = Queries(everyone.projected(projection, block), projection, HiddenColumns())
    panels = Panels(queries, everyone.projected_among(projection, every), every)
    unit = everyone.read(block)
    margin = float(float32_margin(unit.shape[1]))
    found = _Highest(len(block), proposed)
    # what is near by the projection sets the first limit
    for some, slots in panels.nearest(proposed):
        found.add(some, slots, unit[some] @ everyone.read(slots).T)
    found.forget()
    panels.rule_out(found.least - margin)
    if not everyone.precision.prunes_enough(panels.pairs, panels.share):
        return None
    # the same product may come out a little lower in another shape
    for some, slots in panels.left_over(lambda: found.least - margin):
        found.add(some, slots, unit[some] @ everyone.read(slots).T, margin)
    return found.result()


class _Highest:
    """The highest products of each of some rows, as they come.

    Args:
        rows (int): Rows.
        count (int): How many products of each are kept.

    Attributes:
        least (NDArray[np.float64]): [rows], so many products of a row were at least this high; rises.
    """

    def __init__(self, rows: int, count: int) -> None:
        self._count = count
        self.least = np.full(rows, -np.inf)
        self._start()

    def _start(self) -> None:
        self._parts: list[tuple[Rows, Rows, NDArray[np.float32]]] = []
        self._size = 0

    def add(self, rows: Rows, slots: Rows, product: NDArray[np.float32], margin: float = 0.0) -> None:
        """Products of rows and slots, float32 [rows, slots]; those below ``least`` by more than the margin are left out."""
        row, column = np.nonzero(product >= (self.least[rows] - margin).astype(np.float32)[:, None])
        self._parts.append((rows[row], slots[column], product[row, column]))
        self._size += len(row)
        if self._size > HELD * self._count * len(self.least):
            self._parts = [self._best()]
            self._size = len(self._parts[0][0])

    def forget(self) -> None:
        """Keep nothing but what was the least."""
        self._best()
        self._start()

    def result(self) -> tuple[NDArray[np.float32], Rows]:
        """Products and slots, [rows, count]; there must have been as many."""
        _, slot, product = self._best()
        return product.reshape(-1, self._count), slot.reshape(-1, self._count)

    def _best(self) -> tuple[Rows, Rows, NDArray[np.float32]]:
        """Row, slot and product of the highest, by row; ``least`` is raised to the last of those that have so many."""
        row, slot, product = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        # by row, and by falling product: as one number, which is sorted several times as fast as two; the bits of negative
        # numbers are in reverse order
        bits = product.view(np.uint32)
        falling = np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF))
        order = np.argsort(row.astype(np.uint64) << np.uint64(32) | falling)
        size = np.bincount(row, minlength=len(self.least))
        ends = np.cumsum(size)
        enough = size >= self._count
        last = order[(ends - size + self._count - 1)[enough]]
        self.least[enough] = np.maximum(self.least[enough], product[last])
        order = order[np.arange(len(row)) - np.repeat(ends - size, size) < self._count]
        return row[order], slot[order], product[order]


def _search_again(pool: NDArray[np.float32], nodes: Rows, k: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The k nearest of a few nodes by float64 products, int32 and float32 [nodes, k]."""
    wide = pool[nodes].astype(np.float64)
    product = np.empty((len(nodes), len(pool)))
    for first in range(0, len(pool), QUERIES):
        product[:, first : first + QUERIES] = wide @ pool[first : first + QUERIES].T.astype(np.float64)
    # rounding to float32 makes ties of what lies within one unit in the last place
    slack = 2 * float64_margin(pool.shape[1]) + 2.0**-23
    kth = np.partition(product, len(pool) - k, axis=1)[:, len(pool) - k]
    neighbour = np.empty((len(nodes), k), np.int32)
    cosine = np.empty((len(nodes), k), np.float32)
    for at, node in enumerate(nodes):
        hit = np.flatnonzero(product[at] >= kth[at] - slack)
        settled = settle(pool, np.full(len(hit), node), hit, pool.__getitem__)
        best = np.lexsort((hit, -settled))[:k]
        neighbour[at], cosine[at] = hit[best], settled[best]
    return neighbour, cosine
