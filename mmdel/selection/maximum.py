"""The highest canonical cosine of each row over many columns: products propose, the canonical number settles."""

import itertools
import threading
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from mmdel.embedding.vectors import Vectors, canonical_cosine
from mmdel.selection.products import FLOAT32, Prepared, Product, coarsest, float64_margin, margin

Rows = NDArray[np.int64]
Read = Callable[[Rows], NDArray[np.float32]]

TILE_ROWS = 1024
TILE_COLUMNS = 1024
"""Shape of one product. Large enough for the matrix library, small enough that the tile stays in the cache for the maximum."""

DIAGONAL_COLUMNS = 128
"""Width of the tiles along the diagonal of a triangle: what they compute above it is thrown away."""

CANDIDATES = 16
"""Rows with more candidates than this in one tile are decided by a finer product, not pair by pair."""

COARSE_CANDIDATES = 64
"""Likewise for a product that is not the finest: its bound is wider, and the finer product of a row costs more than the pairs."""

ALL_CANDIDATES = 256
"""Likewise in all tiles, for a product that is not the finest: so many pairs cost as much as the finer product of the row."""

GROUP_BYTES = 64 << 20
"""Groups up to this size are held in memory while they are compared."""

PREPARED_BYTES = 256 << 20
"""Likewise of what a product made of them."""

SMALLEST = 512
"""In smaller groups float32 proposes: there is nothing to gain."""

TRIED = 256
GIVE_UP = 0.25
"""Where a coarse product was used for so many rows, and more than this share of them were decided again, it is used no more."""

PAIRS = 512
"""Pairs settled at a time, which bounds memory."""


class Precision:
    """Which product proposes, as long as it pays, and how many rows it could not decide.

    Args:
        product (Product, optional): Where it begins. None: as :func:`~mmdel.selection.products.coarsest` says.

    Attributes:
        tried (int): Rows that the coarse product was used for.
        again (int): Those of them that a finer one decided.
    """

    def __init__(self, product: Product | None = None) -> None:
        self._product = product or coarsest()
        self._lock = threading.Lock()
        self.tried = self.again = 0

    def of(self, size: int) -> Product:
        """For a group of so many rows."""
        useless = self.tried >= TRIED and self.again > GIVE_UP * self.tried
        return FLOAT32 if size < SMALLEST or useless else self._product

    def note(self, rows: int, again: int) -> None:
        with self._lock:
            self.tried += rows
            self.again += again


class Columns:
    """The vectors of a group by slot: as they are, and as products want them.

    Args:
        read (Callable): Slots, int64 [n], to unit vectors, float32 [n, D].
        size (int): Slots.
        dim (int): D.
    """

    def __init__(self, read: Read, size: int, dim: int) -> None:
        self._read = read
        self._size = size
        self._dim = dim
        self._whole: NDArray[np.float32] | None = None
        self._prepared: dict[Product, Prepared] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, vectors: Vectors, order: Rows) -> 'Columns':
        """Slot i is the row ``order[i]`` of the vectors."""
        return cls(lambda slots: vectors.read(order[slots]), len(order), vectors.dim)

    def read(self, slots: Rows) -> NDArray[np.float32]:
        """Unit vectors, float32 [n, D]; a group that is not too large is read once."""
        if self._size * self._dim * 4 > GROUP_BYTES:
            return self._read(slots)
        if self._whole is None:
            self._whole = self._read(np.arange(self._size))
        if len(slots) and (np.diff(slots) == 1).all():
            return self._whole[slots[0] : slots[-1] + 1]  # a view, no copy
        return self._whole[slots]

    def prepared(self, slots: Rows, product: Product) -> Prepared:
        """What a product takes; made once where it is not too large."""
        if product is FLOAT32 or self._size * self._dim * product.itemsize > PREPARED_BYTES:
            return product.prepare(self.read(slots))
        with self._lock:
            if product not in self._prepared:
                self._prepared[product] = self._prepare(product)
        return self._prepared[product].take(slots)

    def _prepare(self, product: Product) -> Prepared:
        blocks = range(0, self._size, TILE_ROWS)
        parts = [product.prepare(self.read(np.arange(s, min(s + TILE_ROWS, self._size)))) for s in blocks]
        return Prepared.joined(parts)


def highest(
    x: NDArray[np.float32], below: Rows | None, slots: Rows, columns: Columns, precision: Precision
) -> tuple[NDArray[np.float32], Rows]:
    """The settled maximum of each row of ``x`` over some columns; ties go to the lower slot.

    Args:
        x (NDArray[np.float32]): [n, D], unit rows.
        below (NDArray[np.int64], optional): [n], ascending; row i sees only slots smaller than ``below[i]``. None: all of them.
        slots (NDArray[np.int64]): [c], ascending, in order of preference.
        columns (Columns): Their vectors.
        precision (Precision): What proposes.

    Returns:
        tuple: Canonical cosine, float32 [n] (NaN if none), and slot, int64 [n] (-1 if none).
    """
    product = precision.of(len(slots))
    cosine, slot, undecided = _propose_and_settle(x, below, slots, columns, product)
    while product.finer is not None and len(x):
        precision.note(len(x), int(undecided.sum()))
        product = product.finer
        if not undecided.any():
            return cosine, slot
        rows = np.flatnonzero(undecided)
        some = None if below is None else below[rows]
        cosine[rows], slot[rows], undecided[rows] = _propose_and_settle(x[rows], some, slots, columns, product)
    if undecided.any():
        some = None if below is None else below[undecided]
        cosine[undecided], slot[undecided] = _by_float64(x[undecided], some, slots, columns)
    return cosine, slot


def settle(x: NDArray[np.float32], row: Rows, slot: Rows, read: Read) -> NDArray[np.float32]:
    """Canonical cosines of the pairs ``(x[row], read(slot))``, float32 [pairs]."""
    settled = np.empty(len(row), np.float32)
    for start in range(0, len(row), PAIRS):
        part = slice(start, start + PAIRS)
        settled[part] = canonical_cosine(x[row[part]], read(slot[part]))
    return settled


# --- private


def _propose_and_settle(
    x: NDArray[np.float32], below: Rows | None, columns: Rows, group: Columns, product: Product
) -> tuple[NDArray[np.float32], Rows, NDArray[np.bool_]]:
    """:func:`highest` by one product; the third array, bool [n], marks rows that it cannot decide."""
    mine, dim = product.prepare(x), x.shape[1]
    spread = 0.0  # highest error of the columns so far
    best = np.full(len(x), -np.inf, np.float32)
    dense = np.zeros(len(x), bool)
    proposals: list[tuple[Rows, Rows, NDArray[np.float32]]] = []
    for slots in _tiles(columns, below):
        # rows that see none of these columns are left out of the product, not only masked
        start = 0 if below is None else int(np.searchsorted(below, slots[0], side='right'))
        theirs = group.prepared(slots, product)
        spread = max(spread, float(theirs.error.max()))
        found = product.multiply(mine[start:], theirs)
        if below is not None:
            stop = int(np.searchsorted(below, slots[-1], side='right'))
            np.copyto(found[: stop - start], -np.inf, where=slots >= below[start:stop, None])
        top = found.max(axis=1)
        np.maximum(best[start:], top, out=best[start:])
        lowest = best[start:] - margin(product, mine.error[start:], spread, best[start:], dim)
        threshold = np.where(dense[start:] | np.isneginf(top), np.float32(np.inf), lowest)
        hit = np.flatnonzero(top >= threshold)
        if 2 * len(hit) > len(found):  # most rows: scanning them all is cheaper than copying some
            row, column = _true_cells(found >= threshold[:, None])
        else:
            row, column = _true_cells(found[hit] >= threshold[hit, None])
            row = hit[row]
        many = np.bincount(row, minlength=len(found)) > (CANDIDATES if product.finer is None else COARSE_CANDIDATES)
        if many.any():
            dense[start:] |= many
            few = ~many[row]
            row, column = row[few], column[few]
            if product.finer is not None and dense.mean() > GIVE_UP:
                dense[:] = True
                break
        proposals.append((start + row, slots[column], found[row, column]))

    cosine = np.full(len(x), np.nan, np.float32)
    slot = np.full(len(x), -1, np.int64)
    if proposals and not dense.all():
        row, at, guess = (np.concatenate(parts) for parts in zip(*proposals, strict=True))
        lowest = best - margin(product, mine.error, spread, best, dim)
        open_ = (guess >= lowest[row]) & ~dense[row]
        if product.finer is not None:
            dense |= np.bincount(row[open_], minlength=len(x)) > ALL_CANDIDATES
            open_ &= ~dense[row]
        row, at = row[open_], at[open_]
        settled = settle(x, row, at, group.read)
        # best first within a row: highest canonical cosine, then the preferred column
        order = np.lexsort((at, -settled, row))
        first = order[np.r_[True, row[order][1:] != row[order][:-1]]] if len(order) else order
        cosine[row[first]], slot[row[first]] = settled[first], at[first]
    return cosine, slot, dense


def _by_float64(
    x: NDArray[np.float32], below: Rows | None, columns: Rows, group: Columns
) -> tuple[NDArray[np.float32], Rows]:
    """:func:`highest` for rows with many near-equal columns: float64 products decide all but a rounding hair's breadth."""
    hair = float64_margin(x.shape[1])
    wide = x.astype(np.float64)
    cosine = np.full(len(x), -np.inf, np.float32)
    slot = np.full(len(x), -1, np.int64)
    for slots in _tiles(columns, below):
        product = wide @ group.read(slots).T.astype(np.float64)
        if below is not None and slots[-1] >= below.min():
            np.copyto(product, -np.inf, where=slots >= below[:, None])
        low = np.minimum(product - hair, 1.0).astype(np.float32)
        high = np.minimum(product + hair, 1.0).astype(np.float32)
        leader = np.maximum(cosine, low.max(axis=1))
        row, column = np.nonzero((high >= leader[:, None]) & (high != low))
        low[row, column] = settle(x, row, slots[column], group.read)
        first = low.argmax(axis=1)
        value = low[np.arange(len(x)), first]
        better = value > cosine
        cosine[better], slot[better] = value[better], slots[first[better]]
    cosine[slot < 0] = np.nan
    return cosine, slot


def _true_cells(mask: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    """``np.nonzero`` of a matrix with few true cells, several times faster."""
    row, column = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return row, column


def _tiles(columns: Rows, below: Rows | None) -> Iterator[Rows]:
    """Columns tile by tile: wide ones where every row sees every column, narrow ones along the diagonal."""
    wide = stop = len(columns)
    if below is not None:
        wide, stop = np.searchsorted(columns, [below[0], below[-1]]) if len(below) else (0, 0)
    bounds = [*range(0, wide, TILE_COLUMNS), *range(wide, stop, DIAGONAL_COLUMNS), stop]
    for start, end in itertools.pairwise(bounds):
        yield columns[start:end]
