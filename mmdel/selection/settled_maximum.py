"""The highest canonical cosine of each row to some columns, and the column: fast products propose, the canonical number settles.

Every column whose product lies within the proven bound of its row's best (:mod:`mmdel.selection.proposers`) is settled by the
canonical number of :mod:`mmdel.embedding.vectors`, once all tiles have been seen. Ties go to the column that is listed first. So
the result is the same for any proposer, tile size and thread count. Rows with too many such columns are compared again, from
bfloat16 in float32, from float32 in float64.
"""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmdel.embedding.vectors import canonical_cosine, is_run
from mmdel.selection import proposers
from mmdel.selection.made_once import MadeOnce
from mmdel.selection.proposers import Float32, LowPrecision, Prepared, Proposer, float64_margin
from mmdel.selection.refinement import refined

Rows = NDArray[np.int64]
Read = Callable[[Rows], NDArray[np.float32]]

TILE_ROWS = 1024
TILE_COLUMNS = 1024
"""Shape of one product. Large enough for the matrix library, small enough that the tile stays in the cache for the maximum."""

DIAGONAL_COLUMNS = 128
"""Width of the tiles along the diagonal of a triangle: what they compute above it is thrown away."""

GROUP_BYTES = 64 << 20
"""Groups up to this size are held in memory as float32 while they are compared."""

PREPARED_BYTES = 512 << 20
"""Groups up to this size are held in memory in low precision while they are compared."""

PAIRS = 128
"""Pairs settled at a time: what stays in the cache of a core."""

LOW_ROWS = 2048
"""Groups of fewer rows are compared in float32: they take no time, or have no second tile to gain from."""

OFF_TARGET = 2.0**-6
"""Rows are aimed again when the best of one lies so far above what it was aimed at."""

HELD_CANDIDATES = 64
"""Candidates of a row, on average, beyond which those that are none any more are forgotten."""

SAMPLE = 1024
"""Rows of a group that its mean is taken from."""

UNPROFITABLE = 0.25
"""Share of rows that fall back to float32, in one tile or among all rows, from which float32 is used at once."""

PAIR_CELLS = 90
"""Low precision saves as much time on so many products as it takes to settle a pair: its vectors are far apart in memory."""

TRIED_ROWS = 512
"""Rows that low precision is tried on before it is judged."""

FLOAT32 = Float32()


class Precision:
    """Which products propose, and how often they were of no use.

    Args:
        name (str): 'auto' (bfloat16 for large groups where the processor is fast at it and it pays, else float32), 'float32', or
            'bfloat16' (for all groups). Decides speed alone. Defaults to 'auto'.
        device (str): 'cpu', or a CUDA device of torch: float16 there unless ``name`` is 'float32'. Defaults to 'cpu'.

    Raises:
        ConfigError: This machine has no such precision or device.
    """

    def __init__(self, name: str = 'auto', device: str = 'cpu') -> None:
        proposers.check_precision(name, device)
        self.adapts = name == 'auto'
        self._name = name
        self._device = device
        self._lock = threading.Lock()
        self._pairs = 0
        self._cells = 0
        self.compared = 0
        self.fallen = 0

    def proposer(self, size: int, sample: Callable[[], NDArray[np.float32]]) -> Proposer:
        """The one for a group.

        Args:
            size (int): Vectors in it.
            sample (Callable): Gives some of them, [n, D].
        """
        if self._name == 'float32' or not size:
            return FLOAT32
        if self._name == 'auto' and (
            size < LOW_ROWS or not self.pays() or (self._device == 'cpu' and not proposers.has_fast_bfloat16())
        ):
            return FLOAT32
        return LowPrecision(sample(), self._device)

    def pays(self) -> bool:
        """Whether low precision has been worth it so far: it has settled most rows, with few pairs for its products."""
        if not self.adapts or self.compared < TRIED_ROWS:
            return True
        return self.fallen <= UNPROFITABLE * self.compared and self._pairs * PAIR_CELLS <= self._cells

    def count(self, compared: int, fallen: int, pairs: int, cells: int) -> None:
        """Low precision was tried for some rows, and was no use for some of these; pairs were settled, of so many products."""
        with self._lock:
            self.compared += compared
            self.fallen += fallen
            self._pairs += pairs
            self._cells += cells


class Readable(Protocol):
    """Unit vectors by row, as :class:`mmdel.embedding.vectors.Vectors` gives them."""

    @property
    def dim(self) -> int: ...

    def read(self, rows: Rows) -> NDArray[np.float32]: ...

    def among(self, rows: Rows) -> tuple[NDArray[np.float32], Rows]: ...


class Group:
    """Some vectors that are compared with each other, or that others are compared with.

    They are read and prepared where they are first needed, and held as long as they are not too many.

    Args:
        vectors (Vectors): All vectors, or anything with their ``read`` and ``dim``.
        order (NDArray[np.int64]): [n], rows of them; slot i is row ``order[i]``.
        precision (Precision): Which products propose.
    """

    def __init__(self, vectors: Readable, order: Rows, precision: Precision) -> None:
        self._vectors = vectors
        self._order = order
        self._lock = threading.Lock()
        self._allocating = threading.Lock()
        self._proposer: Proposer | None = None
        # a run is a view where vectors are in memory, and read at once
        self._step = max(1, len(order)) if is_run(order) else TILE_COLUMNS
        self._whole: NDArray[np.float32] | None = None
        self._read: MadeOnce[NDArray[np.float32]] = MadeOnce(-(-len(order) // self._step))
        self._prepared: MadeOnce[Prepared] = MadeOnce(-(-len(order) // TILE_COLUMNS))
        self.precision = precision

    def __len__(self) -> int:
        return len(self._order)

    @property
    def held(self) -> bool:
        """Whether what is prepared stays in memory."""
        return len(self) * self._vectors.dim * 2 <= PREPARED_BYTES

    @property
    def _fits(self) -> bool:
        """Whether what is read stays in memory."""
        return len(self) * self._vectors.dim * 4 <= GROUP_BYTES

    @property
    def proposer(self) -> Proposer:
        if self._proposer is None:
            every = np.arange(0, len(self), max(1, len(self) // SAMPLE))
            if self._fits:
                self.read(every)  # by all threads that wait for it, together
            with self._lock:
                if self._proposer is None:
                    self._proposer = self.precision.proposer(len(self), lambda: self.read(every))
        return self._proposer

    def read(self, slots: Rows) -> NDArray[np.float32]:
        """Vectors, float32 [slots, D]."""
        if not self._fits or not len(slots):
            return self._vectors.read(self._order[slots])
        if is_run(slots):
            whole = self._blocks(range(slots[0] // self._step, slots[-1] // self._step + 1))
            return whole[slots[0] : slots[-1] + 1]  # a view, no copy
        needed = [0] if self._read.complete else np.unique(slots // self._step).tolist()
        return self._blocks(needed)[slots]

    def among(self, slots: Rows) -> tuple[NDArray[np.float32], Rows]:
        """An array that holds the vectors of some slots, float32 [m, D], and the place of each in it."""
        if not self._fits or not len(slots):
            return self._vectors.among(self._order[slots])
        return self._blocks(np.unique(slots // self._step).tolist()), slots

    def prepared(self, proposer: Proposer, slots: Rows) -> Prepared:
        """Vectors as a proposer multiplies them."""
        if proposer is not self._proposer or proposer is FLOAT32 or not self.held or not is_run(slots):
            return proposer.prepare(self.read(slots))
        block = int(slots[0]) // TILE_COLUMNS
        first = block * TILE_COLUMNS
        if slots[-1] >= first + TILE_COLUMNS:
            return proposer.prepare(self.read(slots))
        return self._prepared.get(block, self._prepare_block)[int(slots[0]) - first : int(slots[-1]) + 1 - first]

    def _prepare_block(self, block: int) -> Prepared:
        first = block * TILE_COLUMNS
        return self.proposer.prepare(self.read(np.arange(first, min(first + TILE_COLUMNS, len(self)))))

    def _blocks(self, blocks: Iterable[int]) -> NDArray[np.float32]:
        """All vectors, of which these blocks have been read."""
        for block in blocks:
            whole = self._read.get(block, self._read_block)
        return whole

    def _read_block(self, block: int) -> NDArray[np.float32]:
        part = slice(block * self._step, (block + 1) * self._step)
        read = self._vectors.read(self._order[part])
        if len(read) == len(self):
            return read
        with self._allocating:
            if self._whole is None:
                self._whole = np.empty((len(self), self._vectors.dim), np.float32)
        self._whole[part] = read
        return self._whole


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
    proposer = proposer or group.proposer
    if proposer is not FLOAT32 and not group.precision.pays():
        proposer = FLOAT32
    left = proposer.rows(proposer.prepare(x) if own is None else group.prepared(proposer, own))
    # no row's highest cosine is lower than this
    floor = np.full(len(x), -np.inf)
    error = np.zeros(len(x))
    found = _Candidates(floor)
    dense = np.zeros(len(x), bool)
    cells = 0
    for slots in tiles(columns, below):
        # rows that see none of these columns are left out of the product, not only masked
        start = 0 if below is None else int(np.searchsorted(below, slots[0], side='right'))
        rows, right = left[start:], group.prepared(proposer, slots)
        low, open_ = floor[start:], ~dense[start:]
        if (low - rows.offset).max(initial=0) > OFF_TARGET:
            proposer.aim(rows, low - error[start:])
        error[start:] = wrong = proposer.bound(rows, right)
        tile = proposer.tile(rows, right)
        if below is not None:
            stop = int(np.searchsorted(below, slots[-1], side='right'))
            if stop > start:
                tile.hide(stop - start, slots >= below[start:stop, None])
        if labels is not None and (same := labels[0][:, None] == labels[1][slots]).any():
            tile.hide(len(x), same)
        cells += len(open_) * len(slots)
        threshold = low - rows.offset - wrong
        highest = tile.highest(above_zero=bool((threshold > 0)[open_].all()))
        hit = np.flatnonzero(open_ & (highest >= threshold.astype(np.float32)) & ~np.isneginf(highest))
        if not len(hit):
            continue
        # candidates are near the best of this tile, too: it may be far above all before
        low[hit] = np.maximum(low[hit], proposer.least(highest[hit]) + rows.offset[hit] - wrong[hit])
        threshold[hit] = low[hit] - rows.offset[hit] - wrong[hit]
        row, column = tile.at_least(threshold.astype(np.float32), hit)
        many = np.bincount(row, minlength=len(open_)) > proposer.candidates
        if many.any():
            dense[start:] |= many
            few = ~many[row]
            row, column = row[few], column[few]
            if proposer is not FLOAT32 and dense.sum() > UNPROFITABLE * len(x) and group.precision.adapts:
                dense[:] = True
                break
        if len(row):
            value, shift = tile.values(row, column), rows.offset[row]
            least, most = proposer.least(value), proposer.most(value)
            found.add(start + row, slots[column], least + shift - wrong[row], most + shift + wrong[row])

    row, slots, most = found.possible(dense)
    pairs = len(row)
    if proposer is not FLOAT32:
        row, slots = refined(x, row, slots, most, group)
    best = np.full(len(x), np.nan, np.float32)
    slot = np.full(len(x), -1, np.int64)
    settled = settle(x, row, slots, group.read)
    # best first within a row: highest canonical cosine, then the preferred column
    order = np.lexsort((slots, -settled, row))
    first = order[np.diff(row[order], prepend=-1) != 0]
    best[row[first]], slot[row[first]] = settled[first], slots[first]
    if proposer is not FLOAT32:
        group.precision.count(len(x), int(dense.sum()), pairs, cells)
    if dense.any():
        some = None if below is None else below[dense]
        theirs = None if labels is None else (labels[0][dense], labels[1])
        if proposer is FLOAT32:
            best[dense], slot[dense] = highest_in_float64(x[dense], some, columns, group.read, theirs)
        else:
            best[dense], slot[dense] = settled_maximum(x[dense], some, columns, group, FLOAT32, theirs)
    return best, slot


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
    product = np.matmul(x, x.transpose(0, 2, 1))
    place = np.arange(width)
    np.copyto(product, -np.inf, where=(place >= place[:, None]) | (place >= sizes[:, None])[:, :, None])
    product = product.reshape(groups * width, width)
    highest = product.max(axis=1, initial=-np.inf)
    row, column = np.nonzero((product >= (highest - proposers.float32_margin(dim))[:, None]) & np.isfinite(product))
    dense = np.bincount(row, minlength=len(highest)) > FLOAT32.candidates
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
        best[at], slot[at] = highest_in_float64(x[group][own], own, place, x[group].__getitem__)
    return best.reshape(groups, width), slot.reshape(groups, width)


def highest_in_float64(
    x: NDArray[np.float32], below: Rows | None, columns: Rows, read: Read, labels: tuple[Rows, Rows] | None = None
) -> tuple[NDArray[np.float32], Rows]:
    """:func:`settled_maximum` for rows with many near-equal columns: float64 products decide all but a hair's breadth."""
    margin = float64_margin(x.shape[1])
    wide = x.astype(np.float64)
    cosine = np.full(len(x), -np.inf, np.float32)
    slot = np.full(len(x), -1, np.int64)
    for slots in tiles(columns, below):
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


def tiles(columns: Rows, below: Rows | None) -> Iterator[Rows]:
    """The columns of each tile: wide ones where every row sees every column, narrow ones along the diagonal."""
    wide = stop = len(columns)
    if below is not None:
        wide, stop = np.searchsorted(columns, [below[0], below[-1]]) if len(below) else (0, 0)
    bounds = [*range(0, wide, TILE_COLUMNS), *range(wide, stop, DIAGONAL_COLUMNS), stop]
    for start, end in itertools.pairwise(bounds):
        yield columns[start:end]
