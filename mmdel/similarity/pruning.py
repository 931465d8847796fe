"""Which columns may still be among the best of which rows, by the distances and products of their projections.

    cells = Cells(projection, rows, exclusion, slots)
    cells.likely(), cells.nearest(k)                     # where rows are likely to find their best, or the k best
    cells.rule_out(least)
    cells.share                                          # of the products are left
    for rows, slots in cells.left(least):
        ...                                              # all other columns are below ``least()`` of their row

Cells of similar vectors are ruled out by their distance first, and what this leaves is multiplied, in few dimensions. The highest
product of a row and a cell is kept, so that the better the best that is known of a row, the more is pruned.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from mmdel.similarity.canonical import Rows
from mmdel.similarity.exclusion import Exclusion
from mmdel.similarity.projection import Projected, Projection
from mmdel.similarity.tiles import buffer


class Cells:
    """Upper bounds of the cosines of rows to cells of similar columns, large ones cut; leave a ``share`` of the products.

    Args:
        projection (Projection): Has made ``rows``, and has the columns.
        rows (Projected): [n].
        exclusion (Exclusion): Of the rows.
        slots (NDArray[np.int64]): Columns, at least one, ascending.
    """

    def __init__(self, projection: Projection, rows: Projected, exclusion: Exclusion, slots: Rows) -> None:
        columns, tuning = projection.columns, projection.tuning
        self._projection, self._rows, self._columns = projection, projection.rows(rows), columns
        self._exclusion, self._tuning, self._pairs = exclusion, tuning, exclusion.pairs(slots)
        order = np.argsort(columns.cell[slots], kind='stable')
        self._slots = slots[order]
        cell = columns.cell[self._slots]
        new = np.flatnonzero(np.diff(cell, prepend=-1))
        place = np.arange(len(cell)) - new.repeat(np.diff(new, append=len(cell)))
        self._ends = np.append(np.flatnonzero(place % tuning.tile_columns == 0), len(cell))
        first = self._ends[:-1]
        self._radius = np.maximum.reduceat(columns.away[self._slots], first)[:, None]
        self._distance = projection.distances(rows)[cell[first]]
        # infinitely far: all of the cell is excluded
        self._distance[~exclusion.leaves(self._slots[first], self._slots[self._ends[1:] - 1])] = np.inf
        self._longest = float(columns.length[slots].max())
        self._error = projection.error(rows, self._longest)
        self._bound = np.full(self._distance.shape, -np.inf, np.float32)

    def nearest(self, k: int) -> Iterator[tuple[Rows, Rows]]:
        """The nearest cells of each row, as a rule enough for k columns: rows and slots."""
        yield from self._tiles(self._nearest(k).__getitem__)

    def likely(self) -> tuple[Rows, Rows]:
        """Rows, and the slot of the highest product of each in its nearest cells: it is often the best."""
        slot = np.full(len(self._error), -1)
        for rows, _, slots, tile in self._products(self._nearest(1)):
            slot[rows] = slots[tile.argmax(axis=1)]
        return (rows := np.flatnonzero(slot >= 0)), slot[rows]

    def rule_out(self, least: NDArray[np.float64]) -> None:
        """Find out which cells may hold a cosine of at least ``least`` of each row, [n], or of more."""
        near = self._distance <= self._radius + self._projection.reach(self._rows, least, self._longest)
        for rows, cells, _, tile in self._products(near):
            self._bound[cells, rows] = np.maximum.reduceat(tile, self._ends[cells] - self._ends[cells.start], axis=1).T
        left = np.count_nonzero(self._possible(least, slice(None)), axis=1)
        self.share = float(left @ np.diff(self._ends)) / max(self._pairs, 1)

    def left(self, least: Callable[[], NDArray[np.float64]]) -> Iterator[tuple[Rows, Rows]]:
        """Rows and slots of which no pair that may be at least ``least()`` of its row, [n], is left out; it may rise."""
        yield from self._tiles(lambda cells: self._possible(least(), cells))

    def _nearest(self, k: int) -> NDArray[np.bool_]:
        count = min(1 - (-2 * (k - 1) // self._tuning.cell), len(self._distance))
        lowest = np.partition(self._distance, count - 1, axis=0)[count - 1] if count > 1 else self._distance.min(axis=0)
        return (self._distance <= lowest) & (self._distance < np.inf)

    def _products(self, chosen: NDArray[np.bool_]) -> Iterator[tuple[Rows, slice, Rows, NDArray[np.float32]]]:
        """Projected products of rows and cells that are chosen, bool [cells, n], and others: rows, cells, slots and a tile."""
        call = self._tuning.call * self._projection.dim // self._columns.data.shape[1]
        for some, cells in _together(chosen.__getitem__, self._ends, self._tuning.tile_columns, call):
            slots = self._slots[self._ends[cells.start] : self._ends[cells.stop]]
            columns = np.take(self._columns.data, slots, axis=0)
            # so few rows at a time that the tile stays in the cache
            for rows in np.array_split(some, -(-2 * len(some) // self._tuning.tile_rows)):
                tile = buffer('projections', len(rows), len(slots))
                np.matmul(np.take(self._rows.data, rows, axis=0), columns.T, out=tile)
                if (excluded := self._exclusion[rows].mask(slots)) is not None:
                    np.copyto(tile, -np.inf, where=excluded)
                yield rows, cells, slots, tile

    def _tiles(self, choose: Callable[[slice], NDArray[np.bool_]]) -> Iterator[tuple[Rows, Rows]]:
        for rows, cells in _together(choose, self._ends, self._tuning.tile_columns, self._tuning.call):
            yield rows, self._slots[self._ends[cells.start] : self._ends[cells.stop]]

    def _possible(self, least: NDArray[np.float64], cells: slice) -> NDArray[np.bool_]:
        """Which cells may hold a cosine of at least ``least`` of each row, bool [cells, n]."""
        bound = self._bound[cells]
        possible: NDArray[np.bool_] = (bound >= (least - self._error).astype(np.float32)) & (bound > -np.inf)
        return possible


def _together(
    choose: Callable[[slice], NDArray[np.bool_]], ends: Rows, most: int, call: int
) -> Iterator[tuple[Rows, slice]]:
    """Neighbouring cells that are multiplied together: chosen by about the same rows, or by few; and these rows.

    ``choose`` gives what is chosen of some cells, bool [cells, rows], and is asked for up to ``most`` columns at a time; the
    columns of cells begin at ``ends``, [cells + 1]; a further multiplication takes as long as ``call`` products.
    """
    first, width = 0, np.diff(ends)
    while first < len(ends) - 1:
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + most, side='right')) - 1)
        chosen = choose(slice(first, last))
        count = np.count_nonzero(chosen, axis=1)
        rows, few, start, stop = None, 0, 0, 0
        for cell in np.flatnonzero(count).tolist():
            if rows is not None:
                both = rows | chosen[cell]
                apart = few * int(ends[stop] - ends[start]) + int(count[cell] * width[first + cell])
                many = int(np.count_nonzero(both))
                if many * int(ends[first + cell + 1] - ends[start]) <= 1.25 * apart + call:
                    rows, few, stop = both, many, first + cell + 1
                    continue
                yield np.flatnonzero(rows), slice(start, stop)
            rows, few = chosen[cell], int(count[cell])
            start, stop = first + cell, first + cell + 1
        if rows is not None:
            yield np.flatnonzero(rows), slice(start, stop)
        first = last
