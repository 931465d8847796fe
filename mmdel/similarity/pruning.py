"""Which columns may still be among the best of which rows, by the distances and products of their projections.

    panels = Panels(queries, slots, tuning)
    panels.nearest(k)                                    # tiles in which rows are likely to find their best
    panels.rule_out(least)
    panels.share                                         # of the products are left
    for rows, slots in panels.left(least):
        ...                                              # all other columns are below ``least()`` of their row

Cells of similar vectors are ruled out by their distance first, and what this leaves is multiplied, in few dimensions. The highest
product of a row and a panel of columns is kept, so that the better the best that is known of a row, the more is pruned.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from mmdel.similarity.canonical import Rows
from mmdel.similarity.exclusion import Exclusion
from mmdel.similarity.projection import Projected, Projection
from mmdel.similarity.tiles import buffer
from mmdel.similarity.tuning import Tuning

PROJECTED_CALL = 16
"""A multiplication of projected vectors takes as long as so many times the products of one of whole vectors."""


class Queries:
    """Rows, [n], that columns, by slot, are pruned for, both projected; and what is excluded of each row."""

    def __init__(self, rows: Projected, projection: Projection, columns: Projected, exclusion: Exclusion) -> None:
        self.rows = projection.rows(rows)
        self.projection, self.columns, self.exclusion = projection, columns, exclusion
        self.distance = projection.distances(rows)


class Panels:
    """Upper bounds of the cosines of rows to panels of similar columns.

    Args:
        queries (Queries): [n], the rows.
        slots (NDArray[np.int64]): Columns, at least one, ascending.
        tuning (Tuning): How large panels and tiles are.

    Attributes:
        share (float): Products that :meth:`left` has, over the pairs that are not excluded.
    """

    def __init__(self, queries: Queries, slots: Rows, tuning: Tuning) -> None:
        self.share = 1.0
        self._queries, self._tuning, columns = queries, tuning, queries.columns
        self._pairs = queries.exclusion.pairs(slots)
        cell = columns.cell[slots]
        order = np.argsort(cell, kind='stable')
        self._slots, cell = slots[order], cell[order]
        # parts: the cells, large ones cut
        new = np.diff(cell, prepend=-1) != 0
        place = np.arange(len(cell)) - np.flatnonzero(new).repeat(np.diff(np.flatnonzero(new), append=len(cell)))
        ends = self._part = np.append(np.flatnonzero(place % tuning.tile_columns == 0), len(cell))
        self._cell = cell[ends[:-1]]
        self._radius = np.maximum.reduceat(columns.away[self._slots], ends[:-1])
        self._seen = queries.exclusion.leaves(self._slots[ends[:-1]], self._slots[ends[1:] - 1])
        # panels: one large part, or some neighbouring ones
        full = ends[1:] // tuning.panel > ends[:-1] // tuning.panel
        self._first = np.flatnonzero(np.append(True, full[:-1]))
        self._panel = np.append(ends[self._first], len(cell))
        self._longest = float(columns.length[slots].max())
        self._error = queries.projection.error(queries.rows, self._longest)
        self._bound = np.full((len(self._first), len(queries.rows)), -np.inf, np.float32)

    def leads(self) -> tuple[Rows, Rows]:
        """Rows with a column left, and of each the column of highest bound in the nearest cell."""
        chosen = self._nearest(self._distances(), 1)
        lead = np.full(len(self._queries.rows), -1)
        for rows, _, slots, tile in self._bounds(chosen, self._part):
            lead[rows] = slots[tile.argmax(axis=1)]
        rows = np.flatnonzero(lead >= 0)
        return rows, lead[rows]

    def nearest(self, columns: int) -> Iterator[tuple[Rows, Rows]]:
        """The nearest panels of each row, as a rule enough for so many columns: rows and slots."""
        distance = np.minimum.reduceat(self._distances(), self._first, axis=0)
        yield from self._tiles(self._nearest(distance, -(-columns // self._tuning.panel) + 1).__getitem__)

    def rule_out(self, least: NDArray[np.float64]) -> None:
        """Find out which panels may hold a cosine of at least ``least`` of each row, [n], or of more."""
        reach = self._queries.projection.reach(self._queries.rows, least, self._longest)
        near = self._queries.distance[self._cell] <= self._radius[:, None] + reach
        near &= self._seen
        for rows, panels, _, tile in self._bounds(np.logical_or.reduceat(near, self._first, axis=0), self._panel):
            ends = self._panel[panels]
            self._bound[panels, rows] = np.maximum.reduceat(tile, ends - ends[0], axis=1).T
        left = np.count_nonzero(self._possible(least, slice(None)), axis=1)
        self.share = float(left @ np.diff(self._panel)) / max(self._pairs, 1)

    def _distances(self) -> NDArray[np.float32]:
        """Of each row from the middle of each part, [parts, n]; infinite where all of it is excluded."""
        distance = self._queries.distance[self._cell]
        if not self._seen.all():
            distance[~self._seen] = np.inf
        return distance

    @staticmethod
    def _nearest(distance: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
        """The lowest finite distances of each row, so many, bool [parts, n]."""
        if count >= len(distance):
            return distance < np.inf
        lowest = np.partition(distance, count - 1, axis=0)[count - 1] if count > 1 else distance.min(axis=0)
        return (distance <= lowest) & (distance < np.inf)

    def _bounds(self, near: NDArray[np.bool_], ends: Rows) -> Iterator[tuple[Rows, slice, Rows, NDArray[np.float32]]]:
        """Rows, panels, slots and products of their projections, [rows, slots], of what is near, [panels, n]."""
        for some, panels in _together(near.__getitem__, ends, self._tuning, PROJECTED_CALL * self._tuning.call):
            slots = self._slots[ends[panels.start] : ends[panels.stop]]
            columns = np.take(self._queries.columns.data, slots, axis=0)
            # so few rows at a time that the tile stays in the cache
            for rows in np.array_split(some, -(-2 * len(some) // self._tuning.tile_rows)):
                tile = buffer('projections', len(rows), len(slots))
                np.matmul(np.take(self._queries.rows.data, rows, axis=0), columns.T, out=tile)
                if (excluded := self._queries.exclusion[rows].mask(slots)) is not None:
                    np.copyto(tile, -np.inf, where=excluded)
                yield rows, panels, slots, tile

    def left(self, least: Callable[[], NDArray[np.float64]]) -> Iterator[tuple[Rows, Rows]]:
        """Rows and slots of which no pair that may be at least ``least`` of its row, [n], is left out.

        ``least`` is asked again and again: it may rise above what it was in :meth:`rule_out`, which has been called.
        """
        yield from self._tiles(lambda panels: self._possible(least(), panels))

    def _tiles(self, choose: Callable[[slice], NDArray[np.bool_]]) -> Iterator[tuple[Rows, Rows]]:
        for rows, panels in _together(choose, self._panel, self._tuning, self._tuning.call):
            yield rows, self._slots[self._panel[panels.start] : self._panel[panels.stop]]

    def _possible(self, least: NDArray[np.float64], panels: slice) -> NDArray[np.bool_]:
        """Which panels may hold a cosine of at least ``least`` of each row, bool [panels, n]."""
        bound = self._bound[panels]
        possible: NDArray[np.bool_] = (bound >= (least - self._error).astype(np.float32)) & (bound > -np.inf)
        return possible


def _together(
    choose: Callable[[slice], NDArray[np.bool_]], ends: Rows, tuning: Tuning, call: int
) -> Iterator[tuple[Rows, slice]]:
    """Neighbouring panels that are multiplied together: chosen by about the same rows, or by few; and these rows.

    ``choose`` gives what is chosen of some panels, bool [panels, rows], and is asked for one tile after the other; the columns of
    panels begin at ``ends``, [panels + 1]; a further multiplication takes as long as ``call`` products.
    """
    first = 0
    while first < len(ends) - 1:
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + tuning.tile_columns, side='right')) - 1)
        chosen = choose(slice(first, last))
        count = np.count_nonzero(chosen, axis=1)
        rows, few, start, stop = None, 0, 0, 0
        for panel in np.flatnonzero(count).tolist():
            if rows is not None:
                both = rows | chosen[panel]
                apart = few * int(ends[stop] - ends[start]) + int(count[panel] * np.diff(ends)[first + panel])
                many = int(np.count_nonzero(both))
                if many * int(ends[first + panel + 1] - ends[start]) <= 1.25 * apart + call:
                    rows, few, stop = both, many, first + panel + 1
                    continue
                yield np.flatnonzero(rows), slice(start, stop)
            rows, few = chosen[panel], int(count[panel])
            start, stop = first + panel, first + panel + 1
        if rows is not None:
            yield np.flatnonzero(rows), slice(start, stop)
        first = last
