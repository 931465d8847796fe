"""Which columns may still be the best of which rows, by the products of their projections.

    panels = Panels(rows, projection, group, parts, hidden)
    some, slots = panels.leads()                         # a column of each row that is likely to be its best
    panels.share(least)                                  # of the products are left over
    for some, slots, vectors in panels.left_over(least):
        ...                                              # all other columns are below ``least()`` of their row

The highest product of a row is kept for each panel of similar columns, so that the better the best that is known of a row, the
more is pruned, without another product.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mmdel.selection.product_tiles import scratch
from mmdel.selection.projection import Projected, Projection

Rows = NDArray[np.int64]
Hidden = Callable[[Rows, Rows], NDArray[np.bool_] | None]

AT_ONCE = 512
"""Rows multiplied at a time, so that the tile stays in the cache."""

PANEL = 128
"""Columns that are pruned together."""

TILE_PANELS = 8
"""Panels whose products are made at a time, and whose columns are read together."""

TOGETHER = 1.25
"""Neighbouring panels are multiplied together where that makes at most so many times the products."""


class Columns(Protocol):
    """Vectors by slot, as :class:`mmdel.selection.groups.Group` has them."""

    def projected_among(self, projection: Projection, slots: Rows) -> Projected: ...

    def windows(self, slots: Rows) -> Iterator[Rows]: ...

    def within(self, window: Rows) -> Callable[[Rows], NDArray[np.float32]]: ...


class Panels:
    """Upper bounds of the cosines of rows to panels of columns.

    Args:
        rows (Projected): [n].
        projection (Projection): Of rows and columns.
        columns (Columns): By slot.
        parts (Sequence[NDArray[np.int64]]): Disjoint sets of ascending slots; similar ones of a part share a panel.
        hidden (Callable): ``hidden(numbers, slots)`` is what the first of some rows do not see, bool [first rows, slots]; None if
            they see everything.

    Attributes:
        pairs (int): Rows times columns, those that are not seen included.
    """

    def __init__(
        self, rows: Projected, projection: Projection, columns: Columns, parts: Sequence[Rows], hidden: Hidden
    ) -> None:
        slots = np.concatenate(parts)
        self.pairs = len(rows) * len(slots)
        self._source = columns
        self._hidden = hidden
        # of each window the tiles, and the panels of each
        self._windows: list[tuple[Rows, list[tuple[Rows, slice]]]] = []
        self._highest = np.empty((len(rows), 0), np.float32)
        self._bound = np.zeros(len(rows))
        if not self.pairs:
            return
        self._rows = projection.rows(rows)
        self._columns = columns.projected_among(projection, slots)
        self._bound = projection.bound(rows, self._columns.length[slots].max())
        panels = 0
        for window in (window for part in parts for window in columns.windows(part)):
            alike = window[np.argsort(self._columns.cell[window], kind='stable')]
            tiles = []
            for start in range(0, len(alike), TILE_PANELS * PANEL):
                tile = alike[start : start + TILE_PANELS * PANEL]
                tiles.append((tile, slice(panels, panels := panels - (-len(tile) // PANEL))))
            self._windows.append((window, tiles))
        self._highest = np.empty((len(rows), panels), np.float32)
        every = np.arange(len(rows))
        for tile, part in self._tiles():
            for some, products in self._products(every, tile):
                padded = products.reshape(len(some), -1, PANEL)
                self._highest[some[0] : some[-1] + 1, part] = torch.from_numpy(padded).amax(dim=2).numpy()

    def leads(self) -> tuple[Rows, Rows]:
        """The rows that see a column, and the slot of the highest product of each."""
        best = self._highest.argmax(axis=1) if self.pairs else np.zeros(len(self._highest), np.int64)
        sees = self._highest.max(axis=1, initial=-np.inf) > -np.inf
        lead = np.empty(len(best), np.int64)
        for tile, part in self._tiles():
            mine = np.flatnonzero(sees & (best >= part.start) & (best < part.stop))
            for some, products in self._products(mine, tile):
                lead[some] = tile[products.argmax(axis=1)]
        return np.flatnonzero(sees), lead[sees]

    def first(self, columns: int) -> Iterator[tuple[Rows, Rows, NDArray[np.float32]]]:
        """Of each row the panels of its highest products, as a rule enough for so many columns: rows, slots and their vectors."""
        count = min(-(-columns // PANEL) + 1, self._highest.shape[1])
        chosen = np.argpartition(-self._highest, count - 1, axis=1)[:, :count]
        panel = np.argsort(chosen, axis=None, kind='stable')
        ends = np.searchsorted(chosen.ravel()[panel], np.arange(self._highest.shape[1] + 1))
        for window, tiles in self._windows:
            vectors = self._source.within(window)
            for tile, part in tiles:
                for number in range(part.start, part.stop):
                    rows = panel[ends[number] : ends[number + 1]] // count
                    slots = tile[(number - part.start) * PANEL : (number + 1 - part.start) * PANEL]
                    if len(rows):
                        yield rows, slots, vectors(slots)

    def share(self, least: NDArray[np.float64]) -> float:
        """The part of all pairs that :meth:`left_over` has."""
        return np.count_nonzero(self._possible(least, slice(None))) * PANEL / max(self.pairs, 1)

    def left_over(self, least: Callable[[], NDArray[np.float64]]) -> Iterator[tuple[Rows, Rows, NDArray[np.float32]]]:
        """Rows, slots and their vectors, of which no pair that may be at least ``least`` of its row, [n], is left out.

        ``least`` is asked again and again: it may rise.
        """
        for window, tiles in self._windows:
            vectors = self._source.within(window)
            for tile, part in tiles:
                possible = self._possible(least(), part)
                for alike in _alike(possible):
                    slots = tile[alike.start * PANEL : alike.stop * PANEL]
                    yield np.flatnonzero(possible[:, alike].any(axis=1)), slots, vectors(slots)

    def _possible(self, least: NDArray[np.float64], panels: slice) -> NDArray[np.bool_]:
        """Which panels of each row may hold a cosine of at least ``least``, bool [n, panels]."""
        highest = self._highest[:, panels]
        lowest = (least - self._bound).astype(np.float32)
        possible: NDArray[np.bool_] = (highest >= lowest[:, None]) & (highest > -np.inf)
        return possible

    def _tiles(self) -> Iterator[tuple[Rows, slice]]:
        for _, tiles in self._windows:
            yield from tiles

    def _products(self, numbers: Rows, slots: Rows) -> Iterator[tuple[Rows, NDArray[np.float32]]]:
        """Some rows at a time with their products, [rows, slots and what fills the last panel]; what is not seen is -inf."""
        columns = np.take(self._columns.data, slots, axis=0)
        width = -(-len(slots) // PANEL) * PANEL
        for start in range(0, len(numbers), AT_ONCE):
            some = numbers[start : start + AT_ONCE]
            tile = scratch('projection', len(some), width, lambda size: np.empty(size, np.float32))
            np.matmul(self._rows.data[some], columns.T, out=tile[:, : len(slots)])
            tile[:, len(slots) :] = -np.inf
            if (hidden := self._hidden(some, slots)) is not None:
                np.copyto(tile[: len(hidden), : len(slots)], -np.inf, where=hidden)
            yield some, tile


def _alike(possible: NDArray[np.bool_]) -> Iterator[slice]:
    """Neighbouring panels of bool [rows, panels] that are possible for about the same rows, so that one product does for them."""
    rows, start = possible[:, 0], 0
    for panel in range(1, possible.shape[1]):
        mine = possible[:, panel]
        both = rows | mine
        apart = np.count_nonzero(rows) * (panel - start) + np.count_nonzero(mine)
        if np.count_nonzero(both) * (panel + 1 - start) <= TOGETHER * apart:
            rows = both
            continue
        if rows.any():
            yield slice(start, panel)
        rows, start = mine, panel
    if rows.any():
        yield slice(start, possible.shape[1])
