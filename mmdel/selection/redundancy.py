"""The kernel: for each image the highest cosine to an image that is preferred over it.

Images are compared in groups (one group is the global scope, one per cluster the cluster scope). A group is an array of rows
in order of preference, most preferred first. Fast float32 products only *propose*: every column whose product lies within
a proven rounding bound of the row's best is then settled by the canonical number of :mod:`mmdel.embedding.vectors`. Ties go to
the preferred image. Results are therefore the same for any tile size and thread count, and for any number of processes: each
public function here cuts its work into the same pieces everywhere, and the processes of a job share them (:mod:`mmdel.sharing`).

What is not guaranteed: nothing is approximate here, but pairs in different groups are never compared.
"""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mmdel import sharing
from mmdel.cores import usable_cores
from mmdel.embedding.vectors import Vectors, canonical_cosine, exact_cosine
from mmdel.progress import Tick

Rows = NDArray[np.int64]
Read = Callable[[Rows], NDArray[np.float32]]

TILE_ROWS = 1024
TILE_COLUMNS = 1024
"""Shape of one product. Large enough for the matrix library, small enough that the tile stays in the cache for the maximum."""

DIAGONAL_COLUMNS = 128
"""Width of the tiles along the diagonal of a triangle: what they compute above it is thrown away."""

CANDIDATES = 16
"""Rows with more candidates than this in one tile are settled by float64 products, not pair by pair."""

GROUP_BYTES = 64 << 20
"""Groups up to this size are held in memory while they are compared."""

PAIRS = 512
"""Pairs settled at a time, which bounds memory."""

PIECES_APART = 1024
"""Pieces are claimed one by one up to this many, and of more at most this part of all at once."""

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

    def compare(order: Rows, start: int, stop: int, read: Read) -> None:
        slots = np.arange(start, stop)
        cosine, slot = _highest(read(slots), slots, np.arange(stop), read)
        found.cosine[order[start:stop]] = cosine
        found.row[order[start:stop]] = np.where(slot < 0, -1, order[slot])
        tick(int(slots.sum()))

    with Workers(threads, claim) as workers:
        # the longest rows of the triangle first, so that no thread is left alone at the end
        for order in sorted(groups, key=len, reverse=True):
            read = _reader(vectors, order)
            for start in reversed(range(0, len(order), TILE_ROWS)):
                workers.submit(compare, order, start, min(start + TILE_ROWS, len(order)), read)
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

    def decide(order: Rows) -> None:
        read = _reader(vectors, order)
        survivors = np.empty(0, np.int64)
        for start in range(0, len(order), TILE_ROWS):
            slots = np.arange(start, min(start + TILE_ROWS, len(order)))
            x = read(slots)
            cosine, slot = _highest(x, None, survivors, read)
            alive = np.flatnonzero(~(cosine > threshold))
            survive = alive[_greedy_block(x[alive], threshold)]
            here, there = _highest(x, slots, slots[survive], read)
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

    def compare(rows: Rows, columns: Rows, read: Read) -> None:
        cosine, slot = _highest(vectors.read(rows), None, np.arange(len(columns)), read)
        found.cosine[rows] = cosine
        found.row[rows] = np.where(slot < 0, -1, columns[slot]) if len(columns) else -1
        tick(len(rows) * len(columns))

    with Workers(threads, claim) as workers:
        for rows, columns in sorted(pairs, key=lambda pair: len(pair[0]) * len(pair[1]), reverse=True):
            read = _reader(vectors, columns)
            for start in range(0, len(rows), TILE_ROWS):
                workers.submit(compare, rows[start : start + TILE_ROWS], columns, read)
    return found.settled()


def near_other_group(
    vectors: Vectors,
    groups: Sequence[Rows],
    threshold: float,
    tick: Tick = lambda done: None,
    threads: int | None = None,
) -> NDArray[np.bool_]:
    """Which rows *may* have a row in another group that is more similar than a threshold; no row that has one is left out.

    Each pair is multiplied once, in float32, and nothing is settled: :func:`nearest` among these rows is then cheap.

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
    limit = np.float32(threshold) - float32_margin(vectors.dim)

    def compare(start: int) -> None:
        mine = slice(start, start + TILE_ROWS)
        x = vectors.read(order[mine])
        for other in range(start, len(order), TILE_COLUMNS):
            theirs = slice(other, other + TILE_COLUMNS)
            if group[mine][0] == group[theirs][-1]:
                continue
            product = x @ vectors.read(order[theirs]).T
            if group[mine][-1] >= group[theirs][0]:
                np.copyto(product, -np.inf, where=group[mine][:, None] == group[theirs])
            if product.max() >= limit:
                found[order[mine][product.max(axis=1) >= limit]] = True
                found[order[theirs][product.max(axis=0) >= limit]] = True
            tick(product.size)

    with Workers(threads, claim) as workers:
        for start in range(0, len(order), TILE_ROWS):
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
    columns = np.arange(len(centroids))

    def assign(part: slice) -> None:
        x = vectors.read(rows[part])
        product = x @ centroids.T
        slot = product.argmax(axis=1)
        near = product.max(axis=1) - float32_margin(x.shape[1])
        unsure = (product >= near[:, None]).sum(axis=1) > 1
        if unsure.any():
            _, slot[unsure] = _highest(x[unsure], None, columns, lambda slots: centroids[slots])
        label[part] = slot
        cosine[part] = exact_cosine(x, centroids[slot])
        tick(len(x))

    size = int(np.clip(TILE_ROWS * TILE_COLUMNS // max(len(centroids), 1), 16, TILE_ROWS))
    with Workers(threads, claim) as workers:
        for start in range(0, len(rows), size):
            workers.submit(assign, slice(start, start + size))
    assigned = np.flatnonzero(label >= 0)
    return assigned, label[assigned], cosine[assigned]


# --- the settled maximum


def _highest(x: NDArray[np.float32], below: Rows | None, columns: Rows, read: Read) -> tuple[NDArray[np.float32], Rows]:
    """The settled maximum of each row of ``x`` over the vectors ``read(columns)``.

    Args:
        x: float32 [n, D], unit rows.
        below: int64 [n], ascending; row i sees only columns smaller than ``below[i]``. None: all of them.
        columns: int64 [c], ascending slots, in order of preference.
        read: Slots to unit vectors.

    Returns:
        canonical cosine, float32 [n] (NaN if none), and slot, int64 [n] (-1 if none).
    """
    margin = float32_margin(x.shape[1])
    best = np.full(len(x), -np.inf, np.float32)
    dense = np.zeros(len(x), bool)
    proposals: list[tuple[Rows, Rows, NDArray[np.float32]]] = []
    for slots, y in _tiles(columns, read, below):
        # rows that see none of these columns are left out of the product, not only masked
        start = 0 if below is None else int(np.searchsorted(below, slots[0], side='right'))
        product = x[start:] @ y.T
        if below is not None:
            stop = int(np.searchsorted(below, slots[-1], side='right'))
            np.copyto(product[: stop - start], -np.inf, where=slots >= below[start:stop, None])
        highest = product.max(axis=1)
        np.maximum(best[start:], highest, out=best[start:])
        threshold = np.where(dense[start:] | np.isneginf(highest), np.inf, best[start:] - margin)
        hit = np.flatnonzero(highest >= threshold)
        if 2 * len(hit) > len(product):  # most rows: scanning them all is cheaper than copying some
            row, column = _true_cells(product >= threshold[:, None])
        else:
            row, column = _true_cells(product[hit] >= threshold[hit, None])
            row = hit[row]
        many = np.bincount(row, minlength=len(product)) > CANDIDATES
        if many.any():
            dense[start:] |= many
            few = ~many[row]
            row, column = row[few], column[few]
        proposals.append((start + row, slots[column], product[row, column]))

    cosine = np.full(len(x), np.nan, np.float32)
    slot = np.full(len(x), -1, np.int64)
    if proposals:
        row, at, guess = (np.concatenate(parts) for parts in zip(*proposals, strict=True))
        open_ = (guess >= best[row] - margin) & ~dense[row]
        row, at = row[open_], at[open_]
        settled = _settle(x, row, at, read)
        # best first within a row: highest canonical cosine, then the preferred column
        order = np.lexsort((at, -settled, row))
        first = order[np.r_[True, row[order][1:] != row[order][:-1]]] if len(order) else order
        cosine[row[first]], slot[row[first]] = settled[first], at[first]
    if dense.any():
        cosine[dense], slot[dense] = _highest_dense(x[dense], None if below is None else below[dense], columns, read)
    return cosine, slot


def _highest_dense(
    x: NDArray[np.float32], below: Rows | None, columns: Rows, read: Read
) -> tuple[NDArray[np.float32], Rows]:
    """:func:`_highest` for rows with many near-equal columns: float64 products decide all but a rounding hair's breadth."""
    margin = float64_margin(x.shape[1])
    wide = x.astype(np.float64)
    cosine = np.full(len(x), -np.inf, np.float32)
    slot = np.full(len(x), -1, np.int64)
    for slots, y in _tiles(columns, read, below):
        product = wide @ y.T.astype(np.float64)
        if below is not None and slots[-1] >= below.min():
            np.copyto(product, -np.inf, where=slots >= below[:, None])
        low = np.minimum(product - margin, 1.0).astype(np.float32)
        high = np.minimum(product + margin, 1.0).astype(np.float32)
        leader = np.maximum(cosine, low.max(axis=1))
        row, column = np.nonzero((high >= leader[:, None]) & (high != low))
        low[row, column] = _settle(x, row, slots[column], read)
        first = low.argmax(axis=1)
        value = low[np.arange(len(x)), first]
        better = value > cosine
        cosine[better], slot[better] = value[better], slots[first[better]]
    cosine[slot < 0] = np.nan
    return cosine, slot


def _greedy_block(x: NDArray[np.float32], threshold: np.float32) -> Rows:
    """Indices of the rows of ``x`` [n, D] that a greedy pass over them alone keeps."""
    margin = float32_margin(x.shape[1])
    product = x @ x.T
    above = np.tril(product > threshold, -1)
    row, column = np.nonzero(np.tril(np.abs(product - threshold) <= margin, -1))
    above[row, column] = _settle(x, row, column, lambda slots: x[slots]) > threshold
    kept = np.zeros(len(x), bool)
    for i in range(len(x)):
        kept[i] = not (above[i] & kept).any()
    return np.flatnonzero(kept)


def _true_cells(mask: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    """``np.nonzero`` of a matrix with few true cells, several times faster."""
    row, column = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return row, column


def _settle(x: NDArray[np.float32], row: Rows, slot: Rows, read: Read) -> NDArray[np.float32]:
    """Canonical cosines of the pairs ``(x[row], read(slot))``, float32 [pairs]."""
    settled = np.empty(len(row), np.float32)
    for start in range(0, len(row), PAIRS):
        part = slice(start, start + PAIRS)
        settled[part] = canonical_cosine(x[row[part]], read(slot[part]))
    return settled


def is_worth(vectors: Vectors, pairs: int) -> bool:
    """Whether so many products of vectors take long enough to ask other processes for help."""
    return pairs * vectors.dim >= SHARED_PRODUCTS


def float32_margin(dim: int) -> np.float32:
    """How far below a row's best float32 product its best canonical column can lie, for unit vectors of ``dim`` dimensions.

    A float32 dot product in any order errs by at most g = D u / (1 - D u) times |x||y|, u = 2**-24 (Higham, Accuracy and
    Stability of Numerical Algorithms, 3.1); two products, so twice that. Rounding to float32 makes ties of columns one ulp
    apart, and unit vectors stored in float32 are longer than 1 by a few ulps: both are covered by the added 2**-21.
    """
    unit = dim * 2.0**-24
    return np.float32(2.02 * unit / (1 - unit) + 2.0**-21)


def float64_margin(dim: int) -> float:
    """The same bound for one float64 product against the canonical float64 sum: both err, so twice g with u = 2**-53."""
    return 2.02 * dim * 2.0**-53


# --- blocks and threads


def _tiles(columns: Rows, read: Read, below: Rows | None) -> Iterator[tuple[Rows, NDArray[np.float32]]]:
    """Columns with their vectors: wide tiles where every row sees every column, narrow ones along the diagonal."""
    wide = stop = len(columns)
    if below is not None:
        wide, stop = np.searchsorted(columns, [below[0], below[-1]]) if len(below) else (0, 0)
    bounds = [*range(0, wide, TILE_COLUMNS), *range(wide, stop, DIAGONAL_COLUMNS), stop]
    for start, end in itertools.pairwise(bounds):
        yield columns[start:end], read(columns[start:end])


def _reader(vectors: Vectors, order: Rows) -> Read:
    """Slots of ``order`` to vectors; a group that is not too large is read once."""
    if len(order) * vectors.dim * 4 > GROUP_BYTES:
        return lambda slots: vectors.read(order[slots])
    whole: list[NDArray[np.float32]] = []

    def read(slots: Rows) -> NDArray[np.float32]:
        if not whole:
            whole.append(vectors.read(order))
        if len(slots) and (np.diff(slots) == 1).all():
            return whole[0][slots[0] : slots[-1] + 1]  # a view, no copy
        return whole[0][slots]

    return read


class Workers:
    """Threads over independent pieces of work, each with a single-threaded matrix library.

    So the whole piece runs in parallel, the maximum and the settling too, and not only the product. Pieces begin when all of them
    are known, in the order in which they were submitted, and a thread takes the next one that its process may claim.

    Args:
        threads (int, optional): None is all cores.
        claim (Callable): Says which pieces are this process's. Defaults to all of them.
    """

    def __init__(self, threads: int | None, claim: sharing.Claim = sharing.everything) -> None:
        self._threads = threads or usable_cores()
        self._claim = claim
        self._pieces: list[Callable[[], None] | None] = []

    def __enter__(self) -> 'Workers':
        return self

    def submit(self, work: Callable[..., None], *arguments: Any) -> None:
        self._pieces.append(partial(work, *arguments))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is not None:
            return
        numbers = self._claim(len(self._pieces), 1 + len(self._pieces) // PIECES_APART)
        lock = threading.Lock()

        def run() -> None:
            while (piece := take()) is not None:
                try:
                    piece()
                except BaseException:
                    self._pieces = [None] * len(self._pieces)  # the others end with what they have in hand
                    raise

        def take() -> Callable[[], None] | None:
            with lock:
                number = next(numbers, None)
            if number is None:
                return None
            # what a piece has read is given up with it
            piece, self._pieces[number] = self._pieces[number], None
            return piece

        with threadpool_limits(1, user_api='blas'), ThreadPoolExecutor(self._threads) as pool:
            futures = [pool.submit(run) for _ in range(min(self._threads, len(self._pieces)))]
            for future in futures:
                future.result()
