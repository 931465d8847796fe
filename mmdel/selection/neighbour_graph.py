"""The k nearest neighbours of every image, exactly, in memory that grows with N k.

    graph = nearest_neighbours(vectors, np.arange(len(vectors)), 64)
    graph.node[graph.start[7]:graph.start[8]]   # the rows similar to row 7

faiss proposes k and some more neighbours from float32 products. Where a proven rounding bound cannot rule out that another image
belongs among the first k, the row is searched again with float64 products; what is stored are canonical cosines
(:mod:`mmdel.embedding.vectors`), ties to the smaller row. So the graph is the same for any block, thread and process count.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mmdel import sharing
from mmdel.embedding.vectors import Vectors
from mmdel.progress import Tick
from mmdel.selection.clustering import import_faiss
from mmdel.selection.proposers import float32_margin, float64_margin
from mmdel.selection.redundancy import is_worth
from mmdel.selection.settled_maximum import settle
from mmdel.selection.workers import Workers

Rows = NDArray[np.int64]

QUERIES = 1024
"""Images whose neighbours are searched at a time."""

SPARE = 0.25
"""Further neighbours that are proposed, as a part of k: the more, the fewer rows are searched twice."""

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

    def search(block: Rows) -> None:
        faiss.omp_set_num_threads(1)  # of this thread; the blocks run in parallel
        guess, found = faiss.knn(pool[block], pool, proposed, metric=faiss.METRIC_INNER_PRODUCT)
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
