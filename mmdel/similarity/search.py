"""The search: of each row the k columns of highest canonical cosine.

Fast products generate candidates, the canonical cosine verifies them; ties go to the column that is listed first.
"""

from collections.abc import Iterator
from copy import copy

import numpy as np
from numpy.typing import NDArray

from mmdel.similarity.canonical import Read, Rows, float32_error, float64_error, pair_cosines
from mmdel.similarity.exclusion import Exclusion
from mmdel.similarity.pool import Pool
from mmdel.similarity.projection import Projection
from mmdel.similarity.pruning import Cells
from mmdel.similarity.tiles import Tile, multiply, rows_of
from mmdel.similarity.tuning import Tuning

Best = tuple[NDArray[np.float64], Rows]
"""Canonical cosine before rounding, float64 [n, k] (NaN where there are fewer), and slot, int64 [n, k] (-1); best first."""


class Search:
    """Some rows, compared with the columns of a pool.

    Args:
        pool (Pool): Has the columns, in order of preference.
        x (NDArray[np.float32]): [n, D], unit rows.
        exclusion (Exclusion): Of the rows.
        tuning (Tuning): Decides speed.
        k (int): How many columns are wanted. Defaults to 1.
        floor (float): Only canonical cosines above it count. Defaults to -inf.
        own (NDArray[np.int64], optional): [n], slots of ``x`` itself where the pool has it. Defaults to None.
    """

    def __init__(
        self,
        pool: Pool,
        x: NDArray[np.float32],
        exclusion: Exclusion,
        tuning: Tuning,
        k: int = 1,
        floor: float = -np.inf,
        own: Rows | None = None,
    ) -> None:
        self._pool, self._x, self._exclusion, self._tuning, self._k, self._own = pool, x, exclusion, tuning, k, own
        self._factor = pool.factor(x)
        self._floor = np.float32(floor)
        self._found = _Candidates(len(x), k, float(self._floor), float32_error(pool.dim), tuning.candidates)

    def best(self, columns: Rows | None = None) -> Best:
        """The k best columns of each row, of some ascending slots of the pool, [c]; None is all."""
        columns = self._exclusion.trimmed(np.arange(len(self._pool)) if columns is None else columns)
        pruning = self._pool.pruning if len(columns) >= self._tuning.tile_columns else None
        for number, (window, read) in enumerate(self._pool.windows(columns)):
            tiles = self._plain(window)
            if pruning is not None:
                cells = self._cells(pruning, window, read)
                if number == 0 and cells.share > self._tuning.prune_left:
                    pruning = None
                else:
                    tiles = cells.left(lambda: np.where(self._found.dense, np.inf, self._found.least))
            for rows, slots in tiles:
                self._multiply(rows, slots, read, self._found)
        row, slot = self._found.forget_low()
        exact = pair_cosines(self._read, row, self._pool.read, slot)
        above = exact.astype(np.float32) > self._floor
        exact, slot = highest(len(self._x), self._k, row[above], exact[above], slot[above])
        dense, step = np.flatnonzero(self._found.dense), self._tuning.tile_rows
        for some in (dense[start : start + step] for start in range(0, len(dense), step)):
            exact[some], slot[some] = self.in_float64(some, columns)
        return exact, slot

    def left_by_pruning(self, projection: Projection) -> float:
        """The part of all products that pruning leaves, seen at the first window of columns."""
        windows = self._pool.windows(self._exclusion.trimmed(np.arange(len(self._pool))))
        return next((self._cells(projection, *window).share for window in windows), 1.0)

    def _read(self, rows: Rows) -> NDArray[np.float32]:
        return np.take(self._x, rows, axis=0)

    def _plain(self, columns: Rows) -> Iterator[tuple[Rows, Rows]]:
        """All products: rows and slots of each tile."""
        ends = np.unique(np.concatenate([self._exclusion.first, self._exclusion.last]))
        start = 0
        while start < len(columns):
            slots = columns[start : start + self._tuning.tile_columns]
            inside = np.searchsorted(ends, slots[[0, -1]], side='right')
            if inside[0] < inside[1]:  # up to a diagonal, or a little along it, where one side is thrown away
                slots = slots[: max(self._tuning.diagonal_columns, int(np.searchsorted(slots, ends[inside[0]])))]
            # rows that exclude all of these columns are left out of the product, not only masked
            rows = np.flatnonzero(self._exclusion.leaves(slots[:1], slots[-1:])[0])
            if len(rows):
                yield rows, slots
            start += len(slots)

    def _cells(self, projection: Projection, columns: Rows, read: Read) -> Cells:
        """Some columns, of which as much is ruled out as the best of the nearest ones allows."""
        x = projection.of(self._x) if self._own is None else projection.columns[self._own]
        cells = Cells(projection, x, self._exclusion, columns)
        unknown = np.isneginf(self._found.least).any()
        if unknown and self._k == 1:
            row, slot = cells.likely()
            exact = pair_cosines(self._read, row, read, slot).astype(np.float32)
            self._found.least[row] = np.maximum(self._found.least[row], exact)
        elif unknown:
            guess = self._found.apart()
            for rows, slots in cells.nearest(self._k):
                self._multiply(rows, slots, read, guess)
            guess.forget_low()
        cells.rule_out(self._found.least)
        return cells

    def _multiply(self, rows: Rows, slots: Rows, read: Read, found: '_Candidates') -> None:
        tile = multiply(rows_of(self._factor, rows), read(slots))
        if (excluded := self._exclusion[rows].mask(slots)) is not None:
            tile.exclude(excluded)
        found.add(rows, slots, tile)

    def in_float64(self, rows: Rows, columns: Rows) -> Best:
        """The same for rows with many near-equal columns: float64 products decide all but a hair's breadth."""
        x, exclusion, error = self._read(rows), self._exclusion[rows], float64_error(self._pool.dim)
        wide = x.astype(np.float64)
        cosine = np.full((len(rows), self._k), -np.inf, np.float32)
        slot = np.full((len(rows), self._k), -1, np.int64)
        for start in range(0, len(columns), self._tuning.tile_columns):
            slots = columns[start : start + self._tuning.tile_columns]
            product = wide @ self._pool.read(slots).T.astype(np.float64)
            if (excluded := exclusion.mask(slots)) is not None:
                np.copyto(product, -np.inf, where=excluded)
            low, high = (np.minimum(product + side, 1.0).astype(np.float32) for side in (-error, error))
            row, column = np.nonzero((high != low) & (high > cosine[:, -1:]))
            low[row, column] = pair_cosines(x.__getitem__, row, self._pool.read, slots[column]).astype(np.float32)
            better = np.flatnonzero(low.max(axis=1) > cosine[:, -1])
            known = np.concatenate([cosine[better], low[better]], axis=1)
            order = np.argsort(-known, axis=1, kind='stable')[:, : self._k]  # of equals, what came first
            cosine[better] = np.take_along_axis(known, order, axis=1)
            places = np.concatenate([slot[better], np.broadcast_to(slots, (len(better), len(slots)))], axis=1)
            slot[better] = np.take_along_axis(places, order, axis=1)
        slot[~(cosine > self._floor)] = -1
        row, place = np.nonzero(slot >= 0)
        exact = np.full(slot.shape, np.nan)
        exact[row, place] = pair_cosines(x.__getitem__, row, self._pool.read, slot[row, place])
        return exact, slot


class _Candidates:
    """Pairs of n rows and columns that may be among the k best of their row. What is none any more is forgotten.

    Only cosines above ``floor`` count; products are off by up to ``error``; rows with more than k + ``most`` pairs are given up.

    Attributes:
        least (NDArray[np.float64]): [n], the canonical cosines of a row that count are at least this; rises.
        dense (NDArray[np.bool_]): [n], rows that have been given up.
    """

    def __init__(self, rows: int, k: int, floor: float, error: float, most: int) -> None:
        self.least = np.full(rows, floor)
        self.dense = np.zeros(rows, bool)
        self._k, self._error, self._most = k, error, most + k
        self._room = self._held = max(most // 4, 4 * k) * rows
        self._parts: list[tuple[Rows, Rows, NDArray[np.float32]]] = []
        self._size = 0

    def apart(self) -> '_Candidates':
        """Without pairs of its own, for products that will be made again: these only tell what the cosines are at least."""
        found = copy(self)
        found._parts, found._size = [], 0
        return found

    def add(self, rows: Rows, slots: Rows, tile: Tile) -> None:
        """Products of some rows with some columns."""
        highest = tile.highest().astype(np.float64)
        hit = np.flatnonzero((highest >= self._threshold(rows)) & ~self.dense[rows])
        if not len(hit):
            return
        if self._k == 1 or (len(slots) >= self._k and np.isneginf(self.least[rows]).any()):
            kth = highest if self._k == 1 else tile.highest(self._k).astype(np.float64)
            self.least[rows[hit]] = np.maximum(self.least[rows[hit]], kth[hit] - self._error)
        row, column, product = tile.at_least(self._threshold(rows[hit]), hit)
        self._parts.append((rows[row], slots[column], product))
        self._size += len(row)
        if self._size > self._room:
            self.forget_low()
            self._room = max(self._held, 2 * self._size)

    def forget_low(self) -> tuple[Rows, Rows]:
        """Forget pairs that cannot be among the k best of their row, raise what these are at least, return what is left."""
        nothing = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
        row, slot, product = (np.concatenate(column) for column in zip(nothing, *self._parts, strict=True))
        if self._k > 1:
            self._raise(row, product)
        left = (product >= self._threshold(row)) & ~self.dense[row]
        self.dense[np.bincount(row[left], minlength=len(self.dense)) > self._most] = True
        left &= ~self.dense[row]
        self._parts = [(row[left], slot[left], product[left])]
        self._size = len(self._parts[0][0])
        return self._parts[0][:2]

    def _threshold(self, rows: Rows) -> NDArray[np.float32]:
        """What products of some rows, [rows], must reach; above what is excluded."""
        return np.maximum(self.least[rows] - self._error, -2.0).astype(np.float32)

    def _raise(self, row: Rows, product: NDArray[np.float32]) -> None:
        """Where a row has k products, the k-th best cosine of it is not far below the k-th best product."""
        # by row, and by falling product: as one number, which is sorted several times as fast as two; the bits of negative
        # numbers are in reverse order
        bits = product.view(np.uint32)
        falling = np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF))
        order = np.argsort(row.astype(np.uint64) << np.uint64(32) | falling)
        size = np.bincount(row, minlength=len(self.least))
        enough = np.flatnonzero(size >= self._k)
        last = order[(np.cumsum(size) - size + self._k - 1)[enough]]
        self.least[enough] = np.maximum(self.least[enough], product[last].astype(np.float64) - self._error)


def highest(rows: int, k: int, row: Rows, exact: NDArray[np.float64], slot: Rows) -> Best:
    """The k pairs of highest canonical cosine of each row, ties to the smaller slot."""
    order = np.lexsort((slot, -exact.astype(np.float32), row))
    size = np.bincount(row, minlength=rows)
    place = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size)
    order, place = order[place < k], place[place < k]
    found = np.full((rows, k), np.nan), np.full((rows, k), -1, np.int64)
    found[0][row[order], place], found[1][row[order], place] = exact[order], slot[order]
    return found
