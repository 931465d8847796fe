"""The kernel: for each image the highest cosine to an image that is preferred over it.

Images are compared in groups (one group is the global scope, one per cluster the cluster scope). A group is an array of rows
in order of preference, most preferred first. Fast products only *propose* (:mod:`mmdel.selection.products`): every column whose
product lies within a proven bound of the row's best is then settled by the canonical number of
:mod:`mmdel.embedding.vectors`. Ties go to the preferred image. Results are therefore the same for any precision, tile size and
thread count, and for any number of processes: each public function here cuts its work into the same pieces everywhere, and the
processes of a job share them (:mod:`mmdel.sharing`).

What is not guaranteed: nothing is approximate here, but pairs in different groups are never compared.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from mmdel import sharing
from mmdel.embedding.vectors import Vectors, exact_cosine
from mmdel.progress import Tick
from mmdel.selection import maximum
from mmdel.selection.maximum import Columns, Precision, Rows, highest, settle
from mmdel.selection.products import FLOAT32, float32_margin, least
from mmdel.selection.workers import Workers

SHARED_PRODUCTS = 1 << 34
"""Multiplications, about a second of one core, below which other processes are not asked to help."""


@dataclass(frozen=True)
class Neighbours:
    """For each row of the vectors, the most similar image of those it was compared to.

    Args:
        cosine (NDArray[np.float32]): [N], canonical; NaN where there was nothing to compare to.
        row (NDArray[np.int64]): [N], that image's row; -1 where there is none.
    """

    cosine: NDArray[np.float32]
    row: Rows

    @classmethod
    def none(cls, size: int) -> 'Neighbours':
        """Nothing compared yet."""
        return cls(np.full(size, np.nan, np.float32), np.full(size, -1, np.int64))

    def settled(self) -> tuple[Rows, NDArray[np.float32], Rows]:
        """The rows that have one, their cosines, and its row: what one process found."""
        rows = np.flatnonzero(self.row >= 0)
        return rows, self.cosine[rows], self.row[rows]

    @classmethod
    def joined(cls, size: int, parts: Sequence[tuple[Rows, NDArray[np.float32], Rows]]) -> 'Neighbours':
        """What several processes found; each row was settled by one of them."""
        found = cls.none(size)
        for rows, cosine, row in parts:
            found.cosine[rows], found.row[rows] = cosine, row
        return found


def highest_preferred(
    vectors: Vectors, groups: Sequence[Rows], tick: Tick = lambda done: None, threads: int | None = None
) -> Neighbours:
    """The highest cosine of each image to one that stands before it in its group.

    Args:
        vectors (Vectors): All vectors.
        groups (Sequence[NDArray[np.int64]]): Disjoint groups of rows, each in order of preference.
        tick (Callable): Told the number of pairs compared. Defaults to doing nothing.
        threads (int, optional): Defaults to None (all cores).
    """
    pairs = sum(len(group) * (len(group) - 1) // 2 for group in groups)
    work = partial(_highest_preferred, groups=groups, threads=threads)
    return Neighbours.joined(len(vectors), sharing.share(work, vectors, tick, is_worth(vectors, pairs)))


def _highest_preferred(
    vectors: Vectors, claim: sharing.Claim, tick: Tick, groups: Sequence[Rows], threads: int | None
) -> tuple[Rows, NDArray[np.float32], Rows]:
    found = Neighbours.none(len(vectors))
    precision = Precision()

    def compare(order: Rows, start: int, stop: int, columns: Columns) -> None:
        slots = np.arange(start, stop)
        cosine, slot = highest(columns.read(slots), slots, np.arange(stop), columns, precision)
        found.cosine[order[start:stop]] = cosine
        found.row[order[start:stop]] = np.where(slot < 0, -1, order[slot])
        tick(int(slots.sum()))

    with Workers(threads, claim) as workers:
        # the longest rows of the triangle first, so that no thread is left alone at the end
        for order in sorted(groups, key=len, reverse=True):
            columns = Columns.of(vectors, order)
            for start in reversed(range(0, len(order), maximum.TILE_ROWS)):
                workers.submit(compare, order, start, min(start + maximum.TILE_ROWS, len(order)), columns)
    _report(precision)
    return found.settled()


def greedy(
    vectors: Vectors,
    groups: Sequence[Rows],
    eta: float,
    tick: Tick = lambda done: None,
    threads: int | None = None,
) -> tuple[Neighbours, NDArray[np.bool_]]:
    """Go through each group in order of preference and keep an image unless a kept one is more similar than eta.

    Args:
        vectors (Vectors): All vectors.
        groups (Sequence[NDArray[np.int64]]): Disjoint groups of rows, each in order of preference.
        eta (float): Threshold; an image goes if its canonical cosine to a kept image is above float32(eta).
        tick (Callable): Told the number of rows decided. Defaults to doing nothing.
        threads (int, optional): Defaults to None (all cores).

    Returns:
        tuple[Neighbours, NDArray[np.bool_]]: The highest cosine to a *kept* image that is preferred, and bool [N]: kept.
    """
    # within a group each decision waits for those before it: a single group is one process's
    worth = len(groups) > 1 and is_worth(vectors, sum(len(group) * (len(group) - 1) // 2 for group in groups))
    work = partial(_greedy, groups=groups, eta=eta, threads=threads)
    parts = sharing.share(work, vectors, tick, worth)
    kept = np.zeros(len(vectors), bool)
    for _, survivors in parts:
        kept[survivors] = True
    return Neighbours.joined(len(vectors), [settled for settled, _ in parts]), kept


def _greedy(
    vectors: Vectors, claim: sharing.Claim, tick: Tick, groups: Sequence[Rows], eta: float, threads: int | None
) -> tuple[tuple[Rows, NDArray[np.float32], Rows], Rows]:
    found = Neighbours.none(len(vectors))
    kept = np.zeros(len(vectors), bool)
    threshold = np.float32(eta)
    precision = Precision()

    def decide(order: Rows) -> None:
        columns = Columns.of(vectors, order)
        survivors = np.empty(0, np.int64)
        for start in range(0, len(order), maximum.TILE_ROWS):
            slots = np.arange(start, min(start + maximum.TILE_ROWS, len(order)))
            x = columns.read(slots)
            cosine, slot = highest(x, None, survivors, columns, precision)
            alive = np.flatnonzero(~(cosine > threshold))
            survive = alive[_greedy_block(x[alive], threshold)]
            here, there = highest(x, slots, slots[survive], columns, precision)
            closer = here > np.where(np.isnan(cosine), -np.inf, cosine)
            rows = order[slots]
            found.cosine[rows] = np.where(closer, here, cosine)
            nearest = np.where(closer, there, slot)
            found.row[rows] = np.where(nearest < 0, -1, order[nearest])
            survivors = np.concatenate([survivors, slots[survive]])
            tick(len(slots))
        kept[order[survivors]] = True

    with Workers(threads, claim) as workers:
        for order in sorted(groups, key=len, reverse=True):
            workers.submit(decide, order)
    _report(precision)
    return found.settled(), np.flatnonzero(kept)


def nearest(
    vectors: Vectors, pairs: Sequence[tuple[Rows, Rows]], tick: Tick = lambda done: None, threads: int | None = None
) -> Neighbours:
    """For each row its most similar column; ties go to the column that is listed first.

    Args:
        vectors (Vectors): All vectors.
        pairs (Sequence[tuple]): ``(rows, columns)``, each an int64 array of rows of ``vectors``; no row in two of them.
        tick (Callable): Told the number of pairs compared. Defaults to doing nothing.
        threads (int, optional): Defaults to None (all cores).
    """
    work = partial(_nearest, pairs=pairs, threads=threads)
    worth = is_worth(vectors, sum(len(rows) * len(columns) for rows, columns in pairs))
    return Neighbours.joined(len(vectors), sharing.share(work, vectors, tick, worth))


def _nearest(
    vectors: Vectors, claim: sharing.Claim, tick: Tick, pairs: Sequence[tuple[Rows, Rows]], threads: int | None
) -> tuple[Rows, NDArray[np.float32], Rows]:
    found = Neighbours.none(len(vectors))

    precision = Precision()

    def compare(rows: Rows, order: Rows, columns: Columns) -> None:
        cosine, slot = highest(vectors.read(rows), None, np.arange(len(order)), columns, precision)
        found.cosine[rows] = cosine
        found.row[rows] = np.where(slot < 0, -1, order[slot]) if len(order) else -1
        tick(len(rows) * len(order))

    with Workers(threads, claim) as workers:
        for rows, order in sorted(pairs, key=lambda pair: len(pair[0]) * len(pair[1]), reverse=True):
            columns = Columns.of(vectors, order)
            for start in range(0, len(rows), maximum.TILE_ROWS):
                workers.submit(compare, rows[start : start + maximum.TILE_ROWS], order, columns)
    _report(precision)
    return found.settled()


def near_other_group(
    vectors: Vectors,
    groups: Sequence[Rows],
    threshold: float,
    tick: Tick = lambda done: None,
    threads: int | None = None,
) -> NDArray[np.bool_]:
    """Which rows *may* have a row in another group that is more similar than a threshold; no row that has one is left out.

    Each pair is multiplied once, and nothing is settled: :func:`nearest` among these rows is then cheap.

    Args:
        vectors (Vectors): All vectors.
        groups (Sequence[NDArray[np.int64]]): Disjoint groups of rows.
        threshold (float): A cosine.
        tick (Callable): Told the number of pairs compared. Defaults to doing nothing.
        threads (int, optional): Defaults to None (all cores).

    Returns:
        NDArray[np.bool_]: [N].
    """
    work = partial(_near_other_group, groups=groups, threshold=threshold, threads=threads)
    found = np.zeros(len(vectors), bool)
    for rows in sharing.share(work, vectors, tick, is_worth(vectors, sum(map(len, groups)) ** 2 // 2)):
        found[rows] = True
    return found


def _near_other_group(
    vectors: Vectors, claim: sharing.Claim, tick: Tick, groups: Sequence[Rows], threshold: float, threads: int | None
) -> Rows:
    found = np.zeros(len(vectors), bool)
    if not groups:
        return np.flatnonzero(found)
    order = np.concatenate(groups)
    group = np.repeat(np.arange(len(groups)), [len(rows) for rows in groups])
    columns, product = Columns.of(vectors, order), Precision().of(len(order))
    slots = np.arange(len(order))

    def compare(start: int) -> None:
        mine = slots[start : start + maximum.TILE_ROWS]
        x = columns.prepared(mine, product)
        for other in range(start, len(order), maximum.TILE_COLUMNS):
            theirs = slots[other : other + maximum.TILE_COLUMNS]
            if group[mine[0]] == group[theirs[-1]]:
                continue
            y = columns.prepared(theirs, product)
            cosine = product.multiply(x, y)
            if group[mine[-1]] >= group[theirs[0]]:
                np.copyto(cosine, -np.inf, where=group[mine][:, None] == group[theirs])
            own, largest = float(x.error.max()), float(y.error.max())
            limit = least(product, float(np.float32(threshold)), own, largest, vectors.dim)
            if cosine.max() >= limit:
                found[order[mine][cosine.max(axis=1) >= limit]] = True
                found[order[theirs][cosine.max(axis=0) >= limit]] = True
            tick(cosine.size)

    with Workers(threads, claim) as workers:
        for start in range(0, len(order), maximum.TILE_ROWS):
            workers.submit(compare, start)
    return np.flatnonzero(found)


def nearest_centroid(
    vectors: Vectors,
    rows: Rows,
    centroids: NDArray[np.float32],
    tick: Tick = lambda done: None,
    threads: int | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Assign rows to the centroid of highest canonical cosine, the first of equals.

    Args:
        vectors (Vectors): All vectors.
        rows (NDArray[np.int64]): [n].
        centroids (NDArray[np.float32]): [k, D], unit length.
        tick (Callable): Told the number of rows assigned. Defaults to doing nothing.
        threads (int, optional): Defaults to None (all cores).

    Returns:
        tuple: The cluster, int32 [n], and the float64 cosine to its centroid, [n].
    """
    work = partial(_nearest_centroid, rows=rows, centroids=centroids, threads=threads)
    label = np.full(len(rows), -1, np.int32)
    cosine = np.full(len(rows), np.nan)
    for at, labels, cosines in sharing.share(work, vectors, tick, is_worth(vectors, len(rows) * len(centroids))):
        label[at], cosine[at] = labels, cosines
    return label, cosine


def _nearest_centroid(
    vectors: Vectors,
    claim: sharing.Claim,
    tick: Tick,
    rows: Rows,
    centroids: NDArray[np.float32],
    threads: int | None,
) -> tuple[Rows, NDArray[np.int32], NDArray[np.float64]]:
    label = np.full(len(rows), -1, np.int32)
    cosine = np.full(len(rows), np.nan)
    slots = np.arange(len(centroids))
    columns, precision = Columns(lambda slots: centroids[slots], *centroids.shape), Precision(FLOAT32)

    def assign(part: slice) -> None:
        x = vectors.read(rows[part])
        product = x @ centroids.T
        slot = product.argmax(axis=1)
        near = product.max(axis=1) - float32_margin(x.shape[1])
        unsure = (product >= near[:, None]).sum(axis=1) > 1
        if unsure.any():
            _, slot[unsure] = highest(x[unsure], None, slots, columns, precision)
        label[part] = slot
        cosine[part] = exact_cosine(x, centroids[slot])
        tick(len(x))

    size = int(np.clip(maximum.TILE_ROWS * maximum.TILE_COLUMNS // max(len(centroids), 1), 16, maximum.TILE_ROWS))
    with Workers(threads, claim) as workers:
        for start in range(0, len(rows), size):
            workers.submit(assign, slice(start, start + size))
    assigned = np.flatnonzero(label >= 0)
    return assigned, label[assigned], cosine[assigned]


def is_worth(vectors: Vectors, pairs: int) -> bool:
    """Whether so many products of vectors take long enough to ask other processes for help."""
    return pairs * vectors.dim >= SHARED_PRODUCTS


# --- private


def _greedy_block(x: NDArray[np.float32], threshold: np.float32) -> Rows:
    """Indices of the rows of ``x`` [n, D] that a greedy pass over them alone keeps."""
    hair = float32_margin(x.shape[1])
    product = x @ x.T
    above = np.tril(product > threshold, -1)
    row, column = np.nonzero(np.tril(np.abs(product - threshold) <= hair, -1))
    above[row, column] = settle(x, row, column, lambda slots: x[slots]) > threshold
    kept = np.zeros(len(x), bool)
    for i in range(len(x)):
        kept[i] = not (above[i] & kept).any()
    return np.flatnonzero(kept)


def _report(precision: Precision) -> None:
    if precision.again:
        print_log(
            f'{precision.again:,} of {precision.tried:,} rows had too many candidates in bfloat16 and were compared in float32.',
            logger='current',
            level=logging.INFO,
        )
