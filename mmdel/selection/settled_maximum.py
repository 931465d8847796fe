"""The highest canonical cosine of each row to some columns, and the column: fast products propose, the canonical number settles.

In large groups most columns are pruned before they are multiplied (:mod:`mmdel.selection.pruning`). Every other column whose
product lies within the proven bound of its row's best (:mod:`mmdel.selection.proposers`) is settled by the canonical number of
:mod:`mmdel.embedding.vectors`, once all tiles have been seen. Ties go to the column that is listed first. So the result is the
same whatever is pruned, for any proposer, tile size and thread count. Rows with too many such columns are compared again, from
bfloat16 in float32, from float32 in float64.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from mmdel.embedding.vectors import canonical_cosine
from mmdel.selection import proposers
from mmdel.selection.groups import FLOAT32, UNPROFITABLE, Group, Rows
from mmdel.selection.hidden_columns import HiddenColumns
from mmdel.selection.product_tiles import scratch
from mmdel.selection.proposers import Prepared, Proposer, float64_margin
from mmdel.selection.pruning import Panels, Queries
from mmdel.selection.refinement import refined

Read = Callable[[Rows], NDArray[np.float32]]

TILE_ROWS = 1024
TILE_COLUMNS = 1024
"""Shape of one product. Large enough for the matrix library, small enough that the tile stays in the cache for the maximum."""

DIAGONAL_COLUMNS = 128
"""Width of the tiles along the diagonal of a triangle: what they compute above it is thrown away."""

TRIANGLE_ROWS = 256
"""Rows of a whole triangle that are searched at a time."""

PRUNED_COLUMNS = 1024
"""From so many columns on, most are ruled out by the group's projection before they are multiplied."""

PAIRS = 128
"""Pairs settled at a time: what stays in the cache of a core."""

OFF_TARGET = 2.0**-6
"""Rows are aimed again when the best of one lies so far above what it was aimed at."""

HELD_CANDIDATES = 64
"""Candidates of a row, on average, beyond which those that are none any more are forgotten."""


def settled_maximum(
    x: NDArray[np.float32],
    below: Rows | None,
    columns: Rows,
    group: Group,
    proposer: Proposer | None = None,
    labels: tuple[Rows, Rows] | None = None,
    own: Rows | None = None,
) -> tuple[NDArray[np.float32], Rows]:
    """The settled maximum of each row of ``x`` over the vectors of a group.

    Args:
        x (NDArray[np.float32]): [n, D], unit rows.
        below (NDArray[np.int64], optional): [n], ascending; row i sees only columns smaller than ``below[i]``. None: all of them.
        columns (NDArray[np.int64]): [c], ascending slots of the group, in order of preference.
        group (Group): Has the columns.
        proposer (Proposer, optional): Defaults to None (the group's).
        labels (tuple, optional): Of the rows, [n], and of the group's slots; no row sees a column with its own. Not together with
            ``below``. Defaults to None.
        own (NDArray[np.int64], optional): [n], slots of ``x`` itself where the group has it: what it has prepared is used
            again. Defaults to None.

    Returns:
        tuple: Canonical cosine, float32 [n] (NaN if none), and slot, int64 [n] (-1 if none).
    """
    hidden = HiddenColumns(below, labels)
    floor = np.full(len(x), -np.inf)
    search = None
    if proposer is None and len(x) and len(columns) >= PRUNED_COLUMNS:
        search = _pruned(x, columns[: _seen(columns, below)[1]], group, hidden, own, floor)
    if search is None:
        proposer = proposer or group.proposer
        if proposer is not FLOAT32 and not group.precision.pays():
            proposer = FLOAT32
        search = _Search(x, group, proposer, hidden, own, floor)
        search.everywhere(columns, below)
    row, slots = search.possible()
    best = np.full(len(x), np.nan, np.float32)
    slot = np.full(len(x), -1, np.int64)
    settled = settle(x, row, slots, group.read)
    # best first within a row: highest canonical cosine, then the preferred column
    order = np.lexsort((slots, -settled, row))
    first = order[np.diff(row[order], prepend=-1) != 0]
    best[row[first]], slot[row[first]] = settled[first], slots[first]
    dense = search.dense
    if dense.any():
        some = None if below is None else below[dense]
        theirs = None if labels is None else (labels[0][dense], labels[1])
        if search.proposer is FLOAT32:
            best[dense], slot[dense] = highest_in_float64(x[dense], some, columns, group.read, theirs)
        else:
            best[dense], slot[dense] = settled_maximum(x[dense], some, columns, group, FLOAT32, theirs)
    return best, slot


def _pruned(
    x: NDArray[np.float32],
    columns: Rows,
    group: Group,
    hidden: HiddenColumns,
    own: Rows | None,
    floor: NDArray[np.float64],
) -> '_Search | None':
    """The search of the columns that a projection does not rule out; None where it leaves too many, or is not tried.

    ``floor`` is raised where it is tried: to the column of a row's highest product in the nearest cell.
    """
    projection = group.projection
    if projection is None:
        return None
    rows = projection.of(x) if own is None else group.projected(projection, own)
    queries = Queries(rows, projection, hidden)
    search = _Search(x, group, FLOAT32, hidden, own, floor)
    for number, window in enumerate(group.windows(columns)):
        vectors = group.within(window)
        panels = Panels(queries, group.projected_among(projection, window), window)
        some, lead = panels.leads(np.flatnonzero(np.isneginf(floor)))
        floor[some] = settle(x, some, lead, vectors)
        panels.rule_out(floor)
        if number == 0 and not group.precision.prunes_enough(panels.pairs, panels.share):
            return None
        search.left_over(panels, vectors)
    return search


class _Search:
    """Candidates of some rows, tile by tile; arguments as of :func:`settled_maximum`.

    Args:
        floor (NDArray[np.float64]): [n], no row's highest cosine is lower than this; raised.

    Attributes:
        proposer (Proposer): As given.
        dense (NDArray[np.bool_]): [n], rows with too many candidates to settle one by one.
    """

    def __init__(
        self,
        x: NDArray[np.float32],
        group: Group,
        proposer: Proposer,
        hidden: HiddenColumns,
        own: Rows | None,
        floor: NDArray[np.float64],
    ) -> None:
        self._x = x
        self._group = group
        self.proposer = proposer
        self._hidden = hidden
        self._rows = proposer.rows(proposer.prepare(x) if own is None else group.prepared(proposer, own))
        self._numbers = np.arange(len(x))
        self._floor = floor
        self._error = np.zeros(len(x))
        self._found = _Candidates(self._floor)
        self._cells = 0
        self._few = proposer.candidates
        self.dense = np.zeros(len(x), bool)

    def everywhere(self, columns: Rows, below: Rows | None) -> None:
        """Multiply all rows with all columns that they see."""
        for slots in _tiles(columns, below):
            # rows that see none of these columns are left out of the product, not only masked
            start = 0 if below is None else int(np.searchsorted(below, slots[0], side='right'))
            self._multiply(slice(start, None), slots, self._group.prepared(self.proposer, slots))

    def left_over(self, panels: Panels, read: Read) -> None:
        """The same without the products that panels rule out: they are below the best one known of their row."""
        # copies of an image are in one cell, so in one tile, and a row that is not settled here sees all columns again
        self._few = max(self._few, proposers.LOW_CANDIDATES)
        for some, slots in panels.left_over(lambda: np.where(self.dense, np.inf, self._floor)):
            self._multiply(some, slots, self.proposer.prepare(read(slots)))

    def possible(self) -> tuple[Rows, Rows]:
        """Rows and slots of the pairs that may be the best of their row, to be settled by the canonical number."""
        row, slots, most = self._found.possible(self.dense)
        if self.proposer is not FLOAT32:
            self._group.precision.count(len(self._x), int(self.dense.sum()), len(row), self._cells)
            row, slots = refined(self._x, row, slots, most, self._group)
        return row, slots

    def _multiply(self, some: Rows | slice, slots: Rows, right: Prepared) -> None:
        """Some rows with some columns, prepared: those that may be the best of their row are candidates."""
        proposer = self.proposer
        number, low, open_ = self._numbers[some], self._floor[some], ~self.dense[some]
        if not open_.any():
            return
        rows = self._rows[some]
        if (low - rows.offset).max(initial=0) > OFF_TARGET:
            proposer.aim(rows, low - self._error[some])
        self._error[some] = wrong = proposer.bound(rows, right)
        tile = proposer.tile(rows, right)
        if (hidden := self._hidden(number, slots)) is not None:
            tile.hide(len(hidden), hidden)
        self._cells += len(open_) * len(slots)
        threshold = low - rows.offset - wrong
        highest = tile.highest(above_zero=bool((threshold > 0)[open_].all()))
        hit = np.flatnonzero(open_ & (highest >= proposer.rounded_down(threshold)) & ~np.isneginf(highest))
        if not len(hit):
            return
        # candidates are near the best of this tile, too: it may be far above all before
        low[hit] = np.maximum(low[hit], proposer.least(highest[hit]) + rows.offset[hit] - wrong[hit])
        self._floor[some] = low
        threshold[hit] = low[hit] - rows.offset[hit] - wrong[hit]
        row, column = tile.at_least(threshold.astype(np.float32), hit)
        many = np.bincount(row, minlength=len(open_)) > self._few
        if many.any():
            self.dense[number[many]] = True
            few = ~many[row]
            row, column = row[few], column[few]
            if (
                proposer is not FLOAT32
                and self.dense.sum() > UNPROFITABLE * len(self._x)
                and self._group.precision.adapts
            ):
                self.dense[:] = True
                return
        if len(row):
            value, shift = tile.values(row, column), rows.offset[row]
            least, most = proposer.least(value), proposer.most(value)
            self._found.add(number[row], slots[column], least + shift - wrong[row], most + shift + wrong[row])


class _Candidates:
    """Pairs of rows and slots that may hold the highest cosine of their row. What is no candidate any more is forgotten.

    Args:
        floor (NDArray[np.float64]): [n], raised as candidates come: what the highest cosine of each row is at least.
    """

    def __init__(self, floor: NDArray[np.float64]) -> None:
        self._floor = floor
        self._parts: list[tuple[Rows, Rows, NDArray[np.float64]]] = []
        self._size = 0

    def add(self, row: Rows, slot: Rows, least: NDArray[np.float64], most: NDArray[np.float64]) -> None:
        """Pairs with bounds of their cosines."""
        np.maximum.at(self._floor, row, least)
        self._parts.append((row, slot, most))
        self._size += len(row)
        if self._size > HELD_CANDIDATES * len(self._floor):
            self._parts = [self._joined()]
            self._size = len(self._parts[0][0])

    def possible(self, out: NDArray[np.bool_]) -> tuple[Rows, Rows, NDArray[np.float64]]:
        """Row, slot and upper bound of those that still may be the highest, without the rows that are out, bool [n]."""
        row, slot, most = self._joined()
        left = ~out[row]
        return row[left], slot[left], most[left]

    def _joined(self) -> tuple[Rows, Rows, NDArray[np.float64]]:
        nothing = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        row, slot, most = (np.concatenate(column) for column in zip(nothing, *self._parts, strict=True))
        left = most >= self._floor[row]
        return row[left], slot[left], most[left]


def settled_triangles(x: NDArray[np.float32], sizes: Rows) -> tuple[NDArray[np.float32], Rows]:
    """:func:`settled_maximum` of each row over the rows before it, for many small groups at a time.

    Args:
        x (NDArray[np.float32]): [groups, rows, D]; what stands behind a group's last row is not looked at.
        sizes (NDArray[np.int64]): [groups], rows of each.

    Returns:
        tuple: Canonical cosine, float32 [groups, rows] (NaN if none), and row of the group, int64 [groups, rows] (-1 if none).
    """
    groups, width, dim = x.shape
    product = scratch('triangles', groups * width, width, lambda size: np.empty(size, np.float32))
    product = product.reshape(groups, width, width)
    # both factors are one array, so the library computes one triangle only, and copies it
    np.matmul(x, x.transpose(0, 2, 1), out=product)
    margin = proposers.float32_margin(dim)
    above = ~np.tri(TRIANGLE_ROWS, k=-1, dtype=bool)
    rows, columns = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start in range(0, width, TRIANGLE_ROWS):
        stop = min(start + TRIANGLE_ROWS, width)
        cells = product[:, start:stop, :stop]
        np.copyto(cells[:, :, start:], -np.inf, where=above[: stop - start, : stop - start])
        highest = torch.from_numpy(cells).amax(dim=2).numpy()
        hit = np.flatnonzero(cells >= (highest - margin)[:, :, None])
        group, row, column = np.unravel_index(hit, cells.shape)
        row += start
        pair = (column < row) & (row < sizes[group])
        rows.append((group * width + row)[pair])
        columns.append(column[pair])
    row, column = np.concatenate(rows), np.concatenate(columns)
    dense = np.bincount(row, minlength=groups * width) > FLOAT32.candidates
    few = ~dense[row]
    row, column = row[few], column[few]
    flat = x.reshape(groups * width, dim)
    settled = settle(flat, row, row - row % width + column, lambda slots: flat[slots])
    order = np.lexsort((column, -settled, row))
    first = order[np.r_[True, row[order][1:] != row[order][:-1]]] if len(order) else order
    best = np.full(len(flat), np.nan, np.float32)
    slot = np.full(len(flat), -1, np.int64)
    best[row[first]], slot[row[first]] = settled[first], column[first]
    for group in np.unique(np.flatnonzero(dense) // width):
        own = np.flatnonzero(dense[group * width : (group + 1) * width])
        at = group * width + own
        best[at], slot[at] = highest_in_float64(x[group][own], own, np.arange(width), x[group].__getitem__)
    return best.reshape(groups, width), slot.reshape(groups, width)


def highest_in_float64(
    x: NDArray[np.float32], below: Rows | None, columns: Rows, read: Read, labels: tuple[Rows, Rows] | None = None
) -> tuple[NDArray[np.float32], Rows]:
    """:func:`settled_maximum` for rows with many near-equal columns: float64 products decide all but a hair's breadth."""
    margin = float64_margin(x.shape[1])
    wide = x.astype(np.float64)
    cosine = np.full(len(x), -np.inf, np.float32)
    slot = np.full(len(x), -1, np.int64)
    for slots in _tiles(columns, below):
        product = wide @ read(slots).T.astype(np.float64)
        if below is not None and slots[-1] >= below.min():
            np.copyto(product, -np.inf, where=slots >= below[:, None])
        if labels is not None:
            np.copyto(product, -np.inf, where=labels[0][:, None] == labels[1][slots])
        low = np.minimum(product - margin, 1.0).astype(np.float32)
        high = np.minimum(product + margin, 1.0).astype(np.float32)
        leader = np.maximum(cosine, low.max(axis=1))
        row, column = np.nonzero((high >= leader[:, None]) & (high != low))
        low[row, column] = settle(x, row, slots[column], read)
        first = low.argmax(axis=1)
        value = low[np.arange(len(x)), first]
        better = value > cosine
        cosine[better], slot[better] = value[better], slots[first[better]]
    cosine[slot < 0] = np.nan
    return cosine, slot


def settle(x: NDArray[np.float32], row: Rows, slot: Rows, read: Read) -> NDArray[np.float32]:
    """Canonical cosines of the pairs ``(x[row], read(slot))``, float32 [pairs]."""
    settled = np.empty(len(row), np.float32)
    for start in range(0, len(row), PAIRS):
        part = slice(start, start + PAIRS)
        settled[part] = canonical_cosine(x[row[part]], read(slot[part]))
    return settled


def _tiles(columns: Rows, below: Rows | None) -> Iterator[Rows]:
    """The columns of each tile: wide ones where every row sees every column, narrow ones along the diagonal."""
    wide, stop = _seen(columns, below)
    yield from _parts(columns[:wide], TILE_COLUMNS)
    yield from _parts(columns[wide:stop], DIAGONAL_COLUMNS)


def _seen(columns: Rows, below: Rows | None) -> tuple[int, int]:
    """How many columns all rows see, and how many some do."""
    if below is None:
        return len(columns), len(columns)
    wide, stop = np.searchsorted(columns, below[[0, -1]]) if len(below) else (0, 0)
    return int(wide), int(stop)


def _parts(columns: Rows, size: int) -> Iterator[Rows]:
    """So many columns at a time."""
    for start in range(0, len(columns), size):
        yield columns[start : start + size]
