"""Which columns may still be the best of which rows, by the distances and products of their projections.

    panels = Panels(Queries(rows, projection, hidden), columns, slots)
    some, lead = panels.leads(numbers)                   # a column of each row that is likely to be its best
    panels.rule_out(least)
    panels.share                                         # of the products are left over
    for some, slots in panels.left_over(least):
        ...                                              # all other columns are below ``least()`` of their row

Cells of similar vectors are ruled out by their distance first, and what this leaves over is multiplied. The highest product of a
row and a panel of cells is kept, so that the better the best that is known of a row, the more is pruned, without another product.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from mmdel.selection.hidden_columns import HiddenColumns
from mmdel.selection.product_tiles import scratch
from mmdel.selection.projection import Projected, Projection

Rows = NDArray[np.int64]

AT_ONCE = 512
"""Rows multiplied at a time, so that the tile stays in the cache."""

PANEL = 64
"""Columns that are pruned together, about; cells of fewer share a panel with their neighbours."""

WIDEST = 1024
"""Columns that are multiplied together at most, about."""

TOGETHER = 1.25
"""Neighbouring panels are multiplied together where that makes at most so many times the products."""

CALL, PROJECTED_CALL = 8192, 131072
"""Or at most so many more: a multiplication of its own takes as long, of whole vectors and of projected ones."""


class Queries:
    """Rows that columns are pruned for.

    Args:
        rows (Projected): [n].
        projection (Projection): Of rows and columns.
        hidden (HiddenColumns): Of the rows.
    """

    def __init__(self, rows: Projected, projection: Projection, hidden: HiddenColumns) -> None:
        self.rows = projection.rows(rows)
        self.projection = projection
        self.hidden = hidden
        self.distance = projection.distances(rows)

    def __len__(self) -> int:
        return len(self.rows)


class Panels:
    """Upper bounds of the cosines of rows to panels of similar columns.

    Args:
        queries (Queries): [n], the rows.
        columns (Projected): By slot.
        slots (NDArray[np.int64]): Columns, at least one, ascending.

    Attributes:
        pairs (int): To be compared.
        share (float): As many products as :meth:`left_over` has, what rows do not see included, over these.
    """

    def __init__(self, queries: Queries, columns: Projected, slots: Rows) -> None:
        self.pairs = queries.hidden.pairs(len(queries), slots)
        self.share = 1.0
        self._queries = queries
        self._columns = columns
        cell = columns.cell[slots]
        order = np.argsort(cell, kind='stable')
        self._slots, cell = slots[order], cell[order]
        # parts: the cells, large ones cut
        new = np.diff(cell, prepend=-1) != 0
        place = np.arange(len(cell)) - np.flatnonzero(new).repeat(np.diff(np.flatnonzero(new), append=len(cell)))
        self._part = np.append(np.flatnonzero(place % WIDEST == 0), len(cell))
        self._cell = cell[self._part[:-1]]
        self._radius = np.maximum.reduceat(columns.away[self._slots], self._part[:-1])
        # panels: one large part, or some neighbouring ones
        full = self._part[1:] // PANEL > self._part[:-1] // PANEL
        self._first = np.flatnonzero(np.append(True, full[:-1]))
        self._panel = np.append(self._part[self._first], len(cell))
        self._longest = float(columns.length[slots].max())
        self._bound = queries.projection.bound(queries.rows, self._longest)
        self._seen = queries.hidden.partly_seen(self._slots, self._part[:-1])
        self._highest = np.full((len(self._first), len(queries)), -np.inf, np.float32)

    def leads(self, numbers: Rows) -> tuple[Rows, Rows]:
        """Those of some rows that see a column, and the slot of the highest product of each in the nearest cell it sees."""
        distance = self._queries.distance[self._cell[:, None], numbers]
        if self._seen is not None:
            distance[~self._seen[:, numbers]] = np.inf
        nearest = distance.argmin(axis=0)
        sees = np.isfinite(distance[nearest, np.arange(len(numbers))])
        numbers, nearest = numbers[sees], nearest[sees]
        lead = np.empty(len(numbers), np.int64)
        chosen = np.zeros((len(self._cell), len(numbers)), bool)
        chosen[nearest, np.arange(len(numbers))] = True
        for mine, parts in _together(chosen.__getitem__, self._part, PROJECTED_CALL):
            slots = self._slots[self._part[parts.start] : self._part[parts.stop]]
            for at, tile in self._products(numbers[mine], slots):
                lead[mine[at]] = slots[tile.argmax(axis=1)]
        return numbers, lead

    def nearest(self, columns: int) -> Iterator[tuple[Rows, Rows]]:
        """The nearest panels of each row, as a rule enough for so many columns: rows and slots."""
        distance = np.minimum.reduceat(self._queries.distance[self._cell], self._first, axis=0)
        count = min(-(-columns // PANEL) + 1, len(distance))
        chosen = np.zeros(distance.shape, bool)
        np.put_along_axis(chosen, np.argpartition(distance, count - 1, axis=0)[:count], True, axis=0)
        for panel in range(len(chosen)):
            if len(rows := np.flatnonzero(chosen[panel])):
                yield rows, self._slots[self._panel[panel] : self._panel[panel + 1]]

    def rule_out(self, least: NDArray[np.float64]) -> None:
        """Find out which panels may hold a cosine of at least ``least`` of each row, [n], or of more."""
        reach = self._queries.projection.reach(self._queries.rows, least, self._longest)
        near = self._queries.distance[self._cell] <= self._radius[:, None] + reach
        if self._seen is not None:
            near &= self._seen
        near = np.logical_or.reduceat(near, self._first, axis=0)
        for some, panels in _together(near.__getitem__, self._panel, PROJECTED_CALL):
            ends = self._panel[panels.start : panels.stop + 1]
            for at, tile in self._products(some, self._slots[ends[0] : ends[-1]]):
                self._highest[panels, some[at]] = np.maximum.reduceat(tile, ends[:-1] - ends[0], axis=1).T
        left = np.count_nonzero(self._possible(least, slice(None)), axis=1)
        self.share = float(left @ np.diff(self._panel)) / max(self.pairs, 1)

    def left_over(self, least: Callable[[], NDArray[np.float64]]) -> Iterator[tuple[Rows, Rows]]:
        """Rows and slots of which no pair that may be at least ``least`` of its row, [n], is left out.

        ``least`` is asked again and again: it may rise above what it was in :meth:`rule_out`, which has been called.
        """
        for rows, panels in _together(lambda some: self._possible(least(), some), self._panel, CALL):
            yield rows, self._slots[self._panel[panels.start] : self._panel[panels.stop]]

    def _possible(self, least: NDArray[np.float64], panels: slice) -> NDArray[np.bool_]:
        """Which panels may hold a cosine of at least ``least`` of each row, bool [panels, n]."""
        highest = self._highest[panels]
        possible: NDArray[np.bool_] = (highest >= (least - self._bound).astype(np.float32)) & (highest > -np.inf)
        return possible

    def _products(self, numbers: Rows, slots: Rows) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Some rows, ascending, a part of them at a time with their products, [rows, slots]; what is not seen is -inf."""
        columns = np.take(self._columns.data, slots, axis=0)
        for start in range(0, len(numbers), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            some = numbers[part]
            tile = scratch('projection', len(some), len(slots), lambda size: np.empty(size, np.float32))
            np.matmul(np.take(self._queries.rows.data, some, axis=0), columns.T, out=tile)
            if (hidden := self._queries.hidden(some, slots)) is not None:
                np.copyto(tile[: len(hidden)], -np.inf, where=hidden)
            yield part, tile


def _together(choose: Callable[[slice], NDArray[np.bool_]], ends: Rows, call: int) -> Iterator[tuple[Rows, slice]]:
    """:func:`_alike` of all panels; ``choose`` is asked for some neighbouring ones after the others."""
    for panels in _spans(ends):
        for rows, alike in _alike(choose(panels), ends[panels.start : panels.stop + 1], call):
            yield rows, slice(panels.start + alike.start, panels.start + alike.stop)


def _spans(ends: Rows) -> Iterator[slice]:
    """As many panels at a time, at least one, as have :data:`WIDEST` columns."""
    start = 0
    while start < len(ends) - 1:
        stop = max(start + 1, int(np.searchsorted(ends, ends[start] + WIDEST, side='right')) - 1)
        yield slice(start, stop)
        start = stop


def _alike(chosen: NDArray[np.bool_], ends: Rows, call: int) -> Iterator[tuple[Rows, slice]]:
    """Neighbouring panels that are chosen by about the same rows, or by few, and these rows.

    Args:
        chosen (NDArray[np.bool_]): [panels, rows].
        ends (NDArray[np.int64]): [panels + 1], where the columns of each begin.
        call (int): A further multiplication takes as long as so many products.
    """
    count = np.count_nonzero(chosen, axis=1)
    panels = np.flatnonzero(count)
    if not len(panels):
        return
    start, stop = int(panels[0]), int(panels[0]) + 1
    rows, few = chosen[start], int(count[start])
    for panel in panels[1:].tolist():
        both = rows | chosen[panel]
        many = int(np.count_nonzero(both))
        apart = few * int(ends[stop] - ends[start]) + int(count[panel] * (ends[panel + 1] - ends[panel]))
        if many * int(ends[panel + 1] - ends[start]) <= TOGETHER * apart + call:
            rows, few, stop = both, many, panel + 1
            continue
        yield np.flatnonzero(rows), slice(start, stop)
        start, stop, rows, few = panel, panel + 1, chosen[panel], int(count[panel])
    yield np.flatnonzero(rows), slice(start, stop)
