"""The kernel: for each image the highest cosine to an image that is preferred over it.

Images are compared in groups (one group is the global scope, one per cluster the cluster scope). A group is an array of rows
in order of preference, most preferred first. Fast products only *propose*, the canonical number decides
(:mod:`mmdel.selection.settled_maximum`). Results are therefore the same for any precision, device, tile size and thread count,
and for any number of processes: each public function here cuts its work into the same pieces everywhere, and the processes of a
job share them (:mod:`mmdel.sharing`).

What is not guaranteed: nothing is approximate here, but pairs in different groups are never compared.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from mmdel import sharing
from mmdel.cores import usable_cores
from mmdel.embedding.vectors import Vectors, exact_cosine
from mmdel.progress import Tick
from mmdel.selection import pieces
from mmdel.selection import settled_maximum as settled
from mmdel.selection.groups import FLOAT32, Group, InMemory, Precision, Rows
from mmdel.selection.pieces import Run
from mmdel.selection.proposers import float32_margin
from mmdel.selection.settled_maximum import settle, settled_maximum, settled_triangles
from mmdel.selection.workers import Workers

VERSION = 1
"""Of the numbers that the comparisons of this room give, raised when one could be another: kept rankings rest on them."""

SMALL_GROUP, WHOLE_GROUP = 128, 1536
"""Groups of up to so many rows are compared as a whole, small ones many at a time; larger ones only where there are at least
:data:`GROUPS_APART` groups for each thread."""

GROUPS_APART = 2

ASSIGNED_ROWS, ASSIGNED_PRODUCTS = 8192, 1 << 22
"""Rows assigned to centroids at a time, and products with these, at most: in fewer pieces threads wait less for each other."""

ASSIGNED_PIECES = 8
"""Pieces for each thread at least, so that all end at about the same time."""

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
    vectors: Vectors,
    groups: Sequence[Rows],
    tick: Tick = lambda done: None,
    threads: int | None = None,
    precision: str = 'auto',
    device: str = 'cpu',
) -> Neighbours:
    """The highest cosine of each image to one that stands before it in its group.

    Args:
        vectors (Vectors): All vectors.
        groups (Sequence[NDArray[np.int64]]): Disjoint groups of rows, each in order of preference.
        tick (Callable): Told the number of pairs compared. Defaults to doing nothing.
        threads (int, optional): Defaults to None (all cores).
        precision (str): Of the products that propose: 'auto', 'float32' or 'bfloat16'. Defaults to 'auto'.
        device (str): Where they are made: 'cpu', or a CUDA device of torch. Defaults to 'cpu'.
    """
    pairs = sum(len(group) * (len(group) - 1) // 2 for group in groups)
    # how the work is cut is decided here, for all processes: their machines may have other numbers of cores
    apart = precision != 'bfloat16' and len(groups) >= GROUPS_APART * (threads or usable_cores())
    whole = WHOLE_GROUP if apart else SMALL_GROUP
    work = partial(_highest_preferred, groups=groups, whole=whole, threads=threads, precision=precision, device=device)
    return Neighbours.joined(len(vectors), sharing.share(work, vectors, tick, is_worth(vectors, pairs)))


def _highest_preferred(
    vectors: Vectors,
    claim: sharing.Claim,
    tick: Tick,
    groups: Sequence[Rows],
    whole: int,
    threads: int | None,
    precision: str,
    device: str,
) -> tuple[Rows, NDArray[np.float32], Rows]:
    found = Neighbours.none(len(vectors))
    products = Precision(precision, device)

    def compare(order: Rows, run: Run, number: int) -> None:
        slots = run.piece(number)
        cosine, slot = settled_maximum(run.group.read(slots), slots, np.arange(slots[-1] + 1), run.group, own=slots)
        found.cosine[order[slots]] = cosine
        found.row[order[slots]] = np.where(slot < 0, -1, order[slot])
        tick(int(slots.sum()))

    def compare_whole(batch: list[Rows]) -> None:
        sizes = np.array([len(order) for order in batch])
        width = int(sizes.max())
        # what stands behind the end of a group is any row, and is not looked at
        rows = np.stack([np.pad(order, (0, width - len(order)), mode='edge') for order in batch])
        cosine, slot = settled_triangles(vectors.read(rows.ravel()).reshape(len(batch), width, -1), sizes)
        for order, of_rows, of_slots in zip(batch, cosine, slot, strict=True):
            found.cosine[order] = of_rows[: len(order)]
            found.row[order] = np.where(of_slots[: len(order)] < 0, -1, order[of_slots[: len(order)]])
        tick(int((sizes * (sizes - 1) // 2).sum()))

    with Workers(threads, claim) as workers:
        # the longest rows of the triangle first, so that no thread is left alone at the end
        for order in sorted((order for order in groups if len(order) > whole), key=len, reverse=True):
            group = Group(vectors, order, products)
            for run in pieces.runs(group, len(groups), sharing.processes()):
                workers.submit_together([partial(compare, order, run, number) for number in range(run.pieces)])
        for batch in _batches([order for order in groups if 0 < len(order) <= whole]):
            workers.submit(compare_whole, batch)
    log_fallen(products)
    return found.settled()


def greedy(
    vectors: Vectors,
    groups: Sequence[Rows],
    eta: float,
    tick: Tick = lambda done: None,
    threads: int | None = None,
    precision: str = 'auto',
    device: str = 'cpu',
) -> tuple[Neighbours, NDArray[np.bool_]]:
    """Go through each group in order of preference and keep an image unless a kept one is more similar than eta.

    Args:
        vectors (Vectors): All vectors.
        groups (Sequence[NDArray[np.int64]]): Disjoint groups of rows, each in order of preference.
        eta (float): Threshold; an image goes if its canonical cosine to a kept image is above float32(eta).
        tick (Callable): Told the number of rows decided. Defaults to doing nothing.
        threads (int, optional): Defaults to None (all cores).
        precision (str): Of the products, see :func:`highest_preferred`. Defaults to 'auto'.
        device (str): Where they are made. Defaults to 'cpu'.

    Returns:
        tuple[Neighbours, NDArray[np.bool_]]: The highest cosine to a *kept* image that is preferred, and bool [N]: kept.
    """
    # within a group each decision waits for those before it: a single group is one process's
    worth = len(groups) > 1 and is_worth(vectors, sum(len(group) * (len(group) - 1) // 2 for group in groups))
    work = partial(_greedy, groups=groups, eta=eta, threads=threads, precision=precision, device=device)
    parts = sharing.share(work, vectors, tick, worth)
    kept = np.zeros(len(vectors), bool)
    for _, survivors in parts:
        kept[survivors] = True
    return Neighbours.joined(len(vectors), [settled for settled, _ in parts]), kept


def _greedy(
    vectors: Vectors,
    claim: sharing.Claim,
    tick: Tick,
    groups: Sequence[Rows],
    eta: float,
    threads: int | None,
    precision: str,
    device: str,
) -> tuple[tuple[Rows, NDArray[np.float32], Rows], Rows]:
    found = Neighbours.none(len(vectors))
    kept = np.zeros(len(vectors), bool)
    threshold = np.float32(eta)
    products = Precision(precision, device)

    def decide(order: Rows) -> None:
        group = Group(vectors, order, products)
        survivors = np.empty(0, np.int64)
        for start in range(0, len(order), settled.TILE_ROWS):
            slots = np.arange(start, min(start + settled.TILE_ROWS, len(order)))
            x = group.read(slots)
            cosine, slot = settled_maximum(x, None, survivors, group)
            alive = np.flatnonzero(~(cosine > threshold))
            survive = alive[_greedy_block(x[alive], threshold)]
            here, there = settled_maximum(x, slots, slots[survive], group, FLOAT32)
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
    log_fallen(products)
    return found.settled(), np.flatnonzero(kept)


def nearest(
    vectors: Vectors,
    pairs: Sequence[tuple[Rows, Rows]],
    tick: Tick = lambda done: None,
    threads: int | None = None,
    precision: str = 'auto',
    device: str = 'cpu',
) -> Neighbours:
    """For each row its most similar column; ties go to the column that is listed first.

    Args:
        vectors (Vectors): All vectors.
        pairs (Sequence[tuple]): ``(rows, columns)``, each an int64 array of rows of ``vectors``; no row in two of them.
        tick (Callable): Told the number of pairs compared. Defaults to doing nothing.
        threads (int, optional): Defaults to None (all cores).
        precision (str): Of the products, see :func:`highest_preferred`. Defaults to 'auto'.
        device (str): Where they are made. Defaults to 'cpu'.
    """
    work = partial(_nearest, pairs=pairs, threads=threads, precision=precision, device=device)
    worth = is_worth(vectors, sum(len(rows) * len(columns) for rows, columns in pairs))
    return Neighbours.joined(len(vectors), sharing.share(work, vectors, tick, worth))


def _nearest(
    vectors: Vectors,
    claim: sharing.Claim,
    tick: Tick,
    pairs: Sequence[tuple[Rows, Rows]],
    threads: int | None,
    precision: str,
    device: str,
) -> tuple[Rows, NDArray[np.float32], Rows]:
    found = Neighbours.none(len(vectors))
    products = Precision(precision, device)

    def compare(rows: Rows, columns: Rows, group: Group) -> None:
        cosine, slot = settled_maximum(vectors.read(rows), None, np.arange(len(columns)), group)
        found.cosine[rows] = cosine
        found.row[rows] = np.where(slot < 0, -1, columns[slot]) if len(columns) else -1
        tick(len(rows) * len(columns))

    with Workers(threads, claim) as workers:
        for rows, columns in sorted(pairs, key=lambda pair: len(pair[0]) * len(pair[1]), reverse=True):
            group = Group(vectors, columns, products)
            step = settled.TILE_ROWS if group.held else pieces.MOST_ROWS
            for start in range(0, len(rows), step):
                workers.submit(compare, rows[start : start + step], columns, group)
    log_fallen(products)
    return found.settled()


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
    # cut here for all processes: their machines may have other numbers of cores
    fair = -(-len(rows) // (ASSIGNED_PIECES * (threads or usable_cores())))
    size = int(np.clip(min(fair, ASSIGNED_PRODUCTS // max(len(centroids), 1)), 16, ASSIGNED_ROWS))
    work = partial(_nearest_centroid, rows=rows, centroids=centroids, size=size, threads=threads)
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
    size: int,
    threads: int | None,
) -> tuple[Rows, NDArray[np.int32], NDArray[np.float64]]:
    label = np.full(len(rows), -1, np.int32)
    cosine = np.full(len(rows), np.nan)
    columns, wide = np.arange(len(centroids)), centroids.astype(np.float64)
    choices = Group(InMemory(centroids), columns, Precision('float32'))

    def assign(part: slice) -> None:
        x = vectors.read(rows[part])
        product = x @ centroids.T
        slot = product.argmax(axis=1)
        best = np.arange(len(x)), slot
        near = product[best] - float32_margin(x.shape[1])
        product[best] = -np.inf
        unsure = product.max(axis=1) >= near
        if unsure.any():
            _, slot[unsure] = settled_maximum(x[unsure], None, columns, choices, FLOAT32)
        label[part] = slot
        cosine[part] = exact_cosine(x, wide, slot)
        tick(len(x))

    with Workers(threads, claim) as workers:
        for start in range(0, len(rows), size):
            workers.submit(assign, slice(start, start + size))
    assigned = np.flatnonzero(label >= 0)
    return assigned, label[assigned], cosine[assigned]


def _greedy_block(x: NDArray[np.float32], threshold: np.float32) -> Rows:
    """Indices of the rows of ``x`` [n, D] that a greedy pass over them alone keeps."""
    margin = float32_margin(x.shape[1])
    product = x @ x.T
    above = np.tril(product > threshold, -1)
    row, column = np.nonzero(np.tril(np.abs(product - threshold) <= margin, -1))
    above[row, column] = settle(x, row, column, lambda slots: x[slots]) > threshold
    kept = np.zeros(len(x), bool)
    for i in range(len(x)):
        kept[i] = not (above[i] & kept).any()
    return np.flatnonzero(kept)


def is_worth(vectors: Vectors, pairs: int) -> bool:
    """Whether so many products of vectors take long enough to ask other processes for help."""
    return pairs * vectors.dim >= SHARED_PRODUCTS


def _batches(groups: list[Rows]) -> Iterator[list[Rows]]:
    """Groups of similar size, as many at a time, at least one, as make a tile."""
    batch: list[Rows] = []
    for order in sorted(groups, key=len, reverse=True):
        if batch and (len(batch) + 1) * len(batch[0]) > settled.TILE_ROWS:
            yield batch
            batch = []
        batch.append(order)
    if batch:
        yield batch


def log_fallen(products: Precision) -> None:
    """Say how many images low precision could not settle."""
    if products.fallen:
        print_log(
            f'{products.fallen:,} of {products.compared:,} images had too many near-equal neighbours for low precision and were '
            'compared in float32.',
            'current',
        )
