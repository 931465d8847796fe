"""Which columns may still be the best of which rows, by the products of their projections.

    panels = Panels(rows, columns, tiles, hidden)
    some, slots = panels.leads()                         # a column of each row that is likely to be its best
    for tile in range(len(tiles)):
        for some, slots in panels.left_over(tile, least):
            ...                                          # the rest of the tile is below ``least`` of its row

The highest product of a row is kept for each panel of neighbouring columns, so that the better the best that is known of a row,
the more is pruned, without another product.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mmdel.selection.product_tiles import scratch
from mmdel.selection.projection import Projected

Rows = NDArray[np.int64]
Hidden = Callable[[Rows, Rows], NDArray[np.bool_] | None]

AT_ONCE = 512
"""Rows multiplied at a time, so that the tile stays in the cache."""

PANEL = 128
"""Columns that are pruned together."""

TOGETHER = 1.25
"""Neighbouring panels are multiplied together where that makes at most so many times the products."""


class Panels:
    """Upper bounds of the cosines of rows to panels of columns, less :meth:`mmdel.selection.projection.Projection.bound`.

    Args:
        rows (Projected): [n], rows.
        columns (Projected): Columns by slot.
        tiles (Sequence[NDArray[np.int64]]): Slots of columns, some at a time, similar ones next to each other; at least one.
        hidden (Callable): ``hidden(numbers, slots)`` is what the first of some rows do not see, bool [first rows, slots]; None if
            they see everything.
    """

    def __init__(self, rows: Projected, columns: Projected, tiles: Sequence[Rows], hidden: Hidden) -> None:
        self._rows = rows
        self._columns = columns
        self._tiles = tiles
        self._hidden = hidden
        bounds = np.cumsum([0, *(-(-len(slots) // PANEL) for slots in tiles)]).tolist()
        self._parts = [slice(*part) for part in itertools.pairwise(bounds)]
        # of each row in each panel of all tiles
        self._highest = np.empty((len(rows), bounds[-1]), np.float32)
        every = np.arange(len(rows))
        for slots, part in zip(tiles, self._parts, strict=True):
            panels = part.stop - part.start
            for some, products in self._products(every, slots):
                padded = products.reshape(len(some), panels, PANEL)
                self._highest[some[0] : some[-1] + 1, part] = torch.from_numpy(padded).amax(dim=2).numpy()

    def leads(self) -> tuple[Rows, Rows]:
        """The rows that see a column, and the slot of the highest product of each."""
        best = self._highest.argmax(axis=1)
        sees = self._highest[np.arange(len(best)), best] > -np.inf
        lead = np.empty(len(best), np.int64)
        for slots, part in zip(self._tiles, self._parts, strict=True):
            mine = np.flatnonzero(sees & (best >= part.start) & (best < part.stop))
            for some, products in self._products(mine, slots):
                lead[some] = slots[products.argmax(axis=1)]
        return np.flatnonzero(sees), lead[sees]

    def left_over(self, tile: int, least: NDArray[np.float32]) -> Iterator[tuple[Rows, Rows]]:
        """Rows and slots of a tile of which no pair that may be at least ``least`` of its row, [n], is left out."""
        slots, highest = self._tiles[tile], self._highest[:, self._parts[tile]]
        possible = (highest >= least[:, None]) & (highest > -np.inf)
        for alike in _alike(possible):
            yield np.flatnonzero(possible[:, alike].any(axis=1)), slots[alike.start * PANEL : alike.stop * PANEL]

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
