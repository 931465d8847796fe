"""Coverage: the images that together represent all images best (facility location).

    f(S) = sum over all images i of max(0, highest similarity of i to an image of S)

f is monotone and submodular, so the greedy choice of any size is within 1 - 1/e of the best one (Nemhauser, Wolsey and Fisher,
An analysis of approximations for maximizing submodular set functions, 1978, section 4). Its order is nested: one fit serves
every ratio. Two things make it quick: only the nearest neighbours of each image are looked at, so that memory grows with N,
and a gain is computed again only when it might be the highest, because gains never grow (Minoux, Accelerated greedy
algorithms, 1978).

With ``concave``, groups count by the square root of how well they are covered, not by their number of images:

    f(S) = sum over groups g of sqrt(mean over the images i of g of max(0, highest similarity of i to an image of S))

The first image of a group then gains more than further ones of a group that is well covered already, however many images that
has: recordings that come again and again do not crowd out those that came once. A concave function of a submodular one is
submodular (Lin and Bilmes, A class of submodular functions for document summarization, ACL 2011, section 4).

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
from mmdel.selection.strata import KNOWN, STRATA, Timeline, groups_by, known_group
from mmdel.similarity import NeighbourGraph, nearest_neighbours, pair_cosines
from mmdel.subset.columns import GROUPS

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
        concave (str, optional): What groups are: 'video' (folder, where no video is known), or a column as in
            :data:`~mmdel.selection.strata.STRATA`; or 'known': 'patient' where the dataset tells at least two, else 'video'
            likewise, else None. Defaults to None: f is the sum over images.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self,
        neighbours: int = 64,
        time: float = 0.0,
        steps: int = 10,
        tail: float = 1.0,
        concave: str | None = None,
    ) -> None:
        for name, value in (('neighbours', neighbours), ('steps', steps), ('tail', tail)):
            if not value >= 1:
                raise ConfigError(f'{name} must be at least 1, got {value}.')
        if not 0 <= time < 1:
            raise ConfigError(f'time must be at least 0 (only cosines count) and below 1, got {time}.')
        if concave is not None and concave not in (*STRATA, KNOWN):
            raise ConfigError(f'concave must be one of {", ".join((*STRATA, KNOWN))} or None, got {concave!r}.')
        self.neighbours = neighbours
        self.time = float(time)
        self.steps = steps
        self.tail = float(tail)
        self.concave = concave

    def rank(self, vectors: Vectors, table: pa.Table, size: int | None = None, progress: Stages = SILENT) -> Ranking:
        """In the order of the greedy choice; images that add nothing (exact copies of others) last, by key."""
        timeline = Timeline.of(table) if self.time else None
        by = self._group_column(table)
        group = None if by is None else _group_of(table, by)
        if timeline is None and group is None:
            nodes, weight = _without_copies(vectors)
        else:  # copies at different times, or in different groups, are not the same
            nodes, weight = np.arange(len(vectors)), np.ones(len(vectors), np.int64)
        with progress.stage('neighbours', len(nodes)) as tick:
            pairs = None if timeline is None else timeline.pairs(self.steps)
            graph = nearest_neighbours(vectors, nodes, self.neighbours, pairs, tick)
        gap = None if timeline is None else timeline.gap(graph.owner, graph.node)
        similarity = self._similarity(graph.cosine, gap)
        with progress.stage('choose', len(nodes)) as tick:
            chosen, gain = maximise(graph, similarity, weight, tick, group)
        rest = np.setdiff1d(np.arange(len(vectors)), nodes[chosen])
        gains = np.zeros(len(vectors))
        gains[nodes[chosen]] = gain
        notes = () if self.concave != KNOWN or by is None or group is None else (_by_group(by, int(group.max()) + 1),)
        return ranking_of(np.concatenate([nodes[chosen], rest]), gains=gains, notes=notes)

    def config(self) -> dict[str, Any]:
        # rankings without groups keep the name that they had before there were any
        return {name: value for name, value in super().config().items() if name != 'concave' or value is not None}

    def objective(self, vectors: Vectors, table: pa.Table, kept: Rows, nearest: NDArray[np.float32]) -> float | None:
        if self._group_column(table) is not None:  # counts groups, not images: there is no share of all to show
            return None
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

    def _group_column(self, table: pa.Table) -> str | None:
        return known_group(table) if self.concave == KNOWN else self.concave

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
    group: Rows | None = None,
) -> tuple[Rows, NDArray[np.float64]]:
    """Choose node after node, each time the one of highest gain, ties to the smaller; end when none gains.

    Args:
        graph (NeighbourGraph): n nodes.
        similarity (NDArray[np.float64]): [edges], at least 0.
        weight (NDArray[np.int64]): [n], how many images each node stands for.
        tick (Callable): Told the number of nodes chosen. Defaults to doing nothing.
        group (NDArray[np.int64], optional): [n], the group of each node; the square roots of their means are summed. Defaults to
            None, the sum over nodes.

    Returns:
        tuple: The nodes in the order of choice, int64 [c], and what each added, float64 [c].
    """
    goal = _Images(graph, similarity, weight) if group is None else _Groups(graph, similarity, weight, group)
    heap = [(-goal.gain(node), node) for node in range(len(weight))]
    heapq.heapify(heap)
    chosen: list[int] = []
    gains: list[float] = []
    while heap:
        _, node = heap[0]
        now = goal.gain(node)
        if now <= 0:
            heapq.heappop(heap)
            continue
        heapq.heapreplace(heap, (-now, node))
        if heap[0] != (-now, node):
            continue
        heapq.heappop(heap)
        goal.choose(node)
        chosen.append(node)
        gains.append(now)
        tick(1)
    return np.array(chosen, np.int64), np.array(gains)


class _Images:
    """The sum over images; arguments as of :func:`maximise`."""

    def __init__(self, graph: NeighbourGraph, similarity: NDArray[np.float64], weight: NDArray[np.int64]) -> None:
        self._graph, self._similarity, self._weight = graph, similarity, weight
        self._covered = np.zeros(len(weight))

    def gain(self, node: int) -> float:
        """What it would add."""
        # sums of one tree shrink with their terms, rounding included: a gain of before bounds the gain of now from above
        return float(self._rise(node)[1].sum())

    def choose(self, node: int) -> None:
        """It is among the chosen now."""
        part = slice(self._graph.start[node], self._graph.start[node + 1])
        near = self._graph.node[part]
        self._covered[near] = np.maximum(self._covered[near], self._similarity[part])

    def _rise(self, node: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Its neighbours, and how much better they would be covered."""
        part = slice(self._graph.start[node], self._graph.start[node + 1])
        near = self._graph.node[part]
        rise = np.multiply(
            self._weight[near], np.maximum(self._similarity[part] - self._covered[near], 0.0), dtype=np.float64
        )
        return near, rise


class _Groups(_Images):
    """The sum over groups of the square roots of their means."""

    def __init__(self, graph: NeighbourGraph, similarity: NDArray[np.float64], weight: NDArray[np.int64], group: Rows):
        super().__init__(graph, similarity, weight)
        self._group, self._size = group, np.bincount(group, weight)
        self._level = np.zeros(len(self._size))

    def gain(self, node: int) -> float:
        groups, rise = self._rise_of_groups(node)
        return float((np.sqrt(self._level[groups] + rise) - np.sqrt(self._level[groups])).sum())

    def choose(self, node: int) -> None:
        groups, rise = self._rise_of_groups(node)
        self._level[groups] += rise
        super().choose(node)

    def _rise_of_groups(self, node: int) -> tuple[Rows, NDArray[np.float64]]:
        near, rise = self._rise(node)
        groups, place = np.unique(self._group[near], return_inverse=True)
        return groups, np.bincount(place, rise, len(groups)) / self._size[groups]


def _by_group(by: str, count: int) -> str:
    return (
        f'The dataset tells {count:,} {GROUPS[by]}: each counts by the square root of how well it is covered, so that long '
        'ones do not crowd out short ones. Without this: --selector coverage'
    )


def _group_of(table: pa.Table, by: str) -> Rows:
    """The number of each row's group, int64 [N]; frames without a video go by their folder."""
    number = np.empty(len(table), np.int64)
    for place, rows in enumerate(groups_by(table, by)):
        number[rows] = place
    return number


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
