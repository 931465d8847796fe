"""Coverage: the images that together represent all images best (facility location).

    f(S) = sum over all images i of max(0, highest similarity of i to an image of S)

f is monotone and submodular, so the greedy choice of any size is within 1 - 1/e of the best one (Nemhauser, Wolsey and Fisher,
An analysis of approximations for maximizing submodular set functions, 1978, section 4). Its order is nested: one fit serves
every ratio. Two things make it quick: only the nearest neighbours of each image are looked at, so that memory grows with N,
and a gain is computed again only when it might be the highest, because gains never grow (Minoux, Accelerated greedy
algorithms, 1978).

The similarity is the cosine, or with ``time`` a mean of the cosine and nearness in the video: an encoder does not see all that
frames a moment apart share. f stays monotone and submodular for any similarity.

What is not guaranteed: the neighbour graph changes f. An image without a kept image among its neighbours counts as not covered
at all. The closing table prints f on the graph and on all pairs.
"""

import heapq
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel.compute.progress import SILENT, Stages, Tick
from mmdel.embedding.vectors import Vectors
from mmdel.errors import ConfigError
from mmdel.registry import SELECTORS
from mmdel.selection.selector import BaseSelector, Ranking, ranking_of
from mmdel.selection.strata import Timeline
from mmdel.similarity import NeighbourGraph, nearest_neighbours, pair_cosines

Rows = NDArray[np.int64]

BLOCK = 1024
"""Vectors read at a time when copies are looked for."""


@SELECTORS.register_module()
class Coverage(BaseSelector):
    """Facility location over a graph of nearest neighbours, maximised greedily and lazily.

    Args:
        neighbours (int): k of the graph. Below a ratio of about 1 / k images remain that no kept one covers, and f on the graph
            says little; ask for more neighbours then. Defaults to 64.
        time (float): t in the similarity (1 - t) cos + t max(0, 1 - frames apart / ``steps``) of two frames of a video (of a
            folder, where no video is known), in [0, 1). For video: stills are in no order of time. Defaults to 0.
        steps (int): From so many frames apart on they are not near in time. Defaults to 10.
        tail (float): p in 1 - (1 - similarity)^p, at least 1. Above 1 the images that are covered worst count more. Defaults
            to 1, the plain sum.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(self, neighbours: int = 64, time: float = 0.0, steps: int = 10, tail: float = 1.0) -> None:
        for name, value in (('neighbours', neighbours), ('steps', steps), ('tail', tail)):
            if not value >= 1:
                raise ConfigError(f'{name} must be at least 1, got {value}.')
        if not 0 <= time < 1:
            raise ConfigError(f'time must be at least 0 (only cosines count) and below 1, got {time}.')
        self.neighbours = neighbours
        self.time = float(time)
        self.steps = steps
        self.tail = float(tail)

    def rank(self, vectors: Vectors, table: pa.Table, size: int | None = None, progress: Stages = SILENT) -> Ranking:
        """In the order of the greedy choice; images that add nothing (exact copies of others) last, by key."""
        timeline = Timeline.of(table) if self.time else None
        if timeline is None:
            nodes, weight = _without_copies(vectors)
        else:  # copies at different times are not the same
            nodes, weight = np.arange(len(vectors)), np.ones(len(vectors), np.int64)
        with progress.stage('neighbours', len(nodes)) as tick:
            pairs = None if timeline is None else timeline.pairs(self.steps)
            graph = nearest_neighbours(vectors, nodes, self.neighbours, pairs, tick)
        gap = None if timeline is None else timeline.gap(graph.owner, graph.node)
        similarity = self._similarity(graph.cosine, gap)
        with progress.stage('choose', len(nodes)) as tick:
            chosen, gain = maximise(graph, similarity, weight, tick)
        rest = np.setdiff1d(np.arange(len(vectors)), nodes[chosen])
        gains = np.zeros(len(vectors))
        gains[nodes[chosen]] = gain
        return ranking_of(np.concatenate([nodes[chosen], rest]), gains=gains)

    def objective(self, vectors: Vectors, table: pa.Table, kept: Rows, nearest: NDArray[np.float32]) -> float:
        if not self.time:
            return float(self._similarity(nearest).sum())
        # far in time only the cosine counts, so the nearest is the best of those; near in time each pair is looked at
        timeline = Timeline.of(table)
        covered = self._similarity((1 - self.time) * nearest.astype(np.float64))
        keep = np.isin(np.arange(len(vectors)), kept)
        one, other = timeline.pairs(self.steps)
        for left, right in ((one, other), (other, one)):
            left, right = left[keep[right]], right[keep[right]]
            cosine = pair_cosines(vectors.read, left, vectors.read, right).astype(np.float32)
            np.maximum.at(covered, left, self._similarity(cosine, timeline.gap(left, right)))
        return float(covered.sum())

    def _similarity(self, cosine: NDArray[Any], gap: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Of pairs with these cosines, so many steps apart; float64 [pairs], at least 0."""
        value = cosine.astype(np.float64)
        if gap is not None:
            value = (1 - self.time) * value + self.time * np.maximum(0.0, 1 - gap / self.steps)
        if self.tail != 1:
            value = 1 - (1 - value) ** self.tail
        return np.maximum(value, 0.0)


def maximise(
    graph: NeighbourGraph,
    similarity: NDArray[np.float64],
    weight: NDArray[np.int64],
    tick: Tick = lambda done: None,
) -> tuple[Rows, NDArray[np.float64]]:
    """Choose node after node, each time the one of highest gain, ties to the smaller; end when none gains.

    Args:
        graph (NeighbourGraph): n nodes.
        similarity (NDArray[np.float64]): [edges], at least 0.
        weight (NDArray[np.int64]): [n], how many images each node stands for.
        tick (Callable): Told the number of nodes chosen. Defaults to doing nothing.

    Returns:
        tuple: The nodes in the order of choice, int64 [c], and what each added, float64 [c].
    """
    covered = np.zeros(len(weight))

    def gain(node: int) -> float:
        part = slice(graph.start[node], graph.start[node + 1])
        near = graph.node[part]
        # sums of one tree shrink with their terms, rounding included: a gain of before bounds the gain of now from above
        return float((weight[near] * np.maximum(similarity[part] - covered[near], 0.0)).sum())

    heap = [(-gain(node), node) for node in range(len(weight))]
    heapq.heapify(heap)
    chosen: list[int] = []
    gains: list[float] = []
    while heap:
        _, node = heap[0]
        now = gain(node)
        if now <= 0:
            heapq.heappop(heap)
            continue
        heapq.heapreplace(heap, (-now, node))
        if heap[0] != (-now, node):
            continue
        heapq.heappop(heap)
        part = slice(graph.start[node], graph.start[node + 1])
        near = graph.node[part]
        covered[near] = np.maximum(covered[near], similarity[part])
        chosen.append(node)
        gains.append(now)
        tick(1)
    return np.array(chosen, np.int64), np.array(gains)


def _without_copies(vectors: Vectors) -> tuple[Rows, NDArray[np.int64]]:
    """The first row of every distinct vector, ascending, and how many images have it.

    Hundreds of copies of one frame would fill each other's neighbour lists and leave no room for anything else.
    """
    first: dict[bytes, int] = {}
    count: dict[int, int] = {}
    for start in range(0, len(vectors), BLOCK):
        for row, vector in enumerate(vectors.read(slice(start, start + BLOCK)), start):
            node = first.setdefault(vector.tobytes(), row)
            count[node] = count.get(node, 0) + 1
    return np.array(list(count), np.int64), np.array(list(count.values()), np.int64)
