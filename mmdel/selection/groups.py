"""Vectors that are compared with each other, as products need them: read, prepared and projected where they are first needed."""

import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmdel.embedding.vectors import is_run
from mmdel.selection import proposers
from mmdel.selection.made_once import MadeByBlock
from mmdel.selection.projection import Projected, Projection
from mmdel.selection.proposers import Float32, LowPrecision, Prepared, Proposer

Rows = NDArray[np.int64]

BLOCK = 1024
"""Vectors read and prepared at a time."""

GROUP_BYTES = 64 << 20
"""Groups up to this size are held in memory as float32 while they are compared; of larger ones so much is read at a time."""

PREPARED_BYTES = 512 << 20
"""Groups up to this size are held in memory in low precision while they are compared."""

LOW_ROWS = 2048
"""Groups of fewer rows are compared in float32: they take no time, or have no second tile to gain from."""

PRUNED_NUMBERS, PRUNED_DIMENSIONS = 3 << 20, 192
"""Groups of fewer numbers, rows times dimensions, are not pruned: all their products take less time than finding out which are
needed. Nor are vectors of fewer dimensions, which have little left to save."""

PRUNED_MOST = 4 << 20
"""Nor are groups of more rows: what is held for pruning would take gigabytes."""

SAMPLE = 1024
"""Rows of a group that its mean, dimensions and cells are taken from."""

UNPROFITABLE = 0.25
"""Share of rows that fall back to float32, in one tile or among all rows, from which float32 is used at once."""

PAIR_CELLS = 90
"""Low precision saves as much time on so many products as it takes to settle a pair: its vectors are far apart in memory."""

TRIED_ROWS = 512
"""Rows that low precision is tried on before it is judged."""

LEFT, LEFT_BESIDE_LOW = 0.4, 0.2
"""Share of the products that pruning leaves over up to which it is worth its own, beside float32 and beside low precision."""

TRIED_CELLS = 1 << 24
"""Products that pruning is tried on before it is judged."""

FLOAT32 = Float32()


class Precision:
    """Which products propose, and how often they were of no use.

    Args:
        name (str): 'auto' (in large groups float32 for what pruning leaves over, where that is little; else bfloat16 where the
            processor is fast at it and it pays; else float32), 'float32', or 'bfloat16' (for all groups, all products). Decides
            speed alone. Defaults to 'auto'.
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
        self._prunable = 0
        self._left = 0.0
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

    def prunes(self, size: int, dim: int) -> bool:
        """Whether to try it for a group of so many vectors of so many dimensions: enough has been ruled out so far."""
        if (
            not self.adapts
            or self._device != 'cpu'
            or size * dim < PRUNED_NUMBERS
            or size > PRUNED_MOST
            or dim < PRUNED_DIMENSIONS
        ):
            return False
        return self._prunable < TRIED_CELLS or self._left <= self._most_left() * self._prunable

    def prunes_enough(self, pairs: int, left: float) -> bool:
        """Whether it is worth pruning so many products, of which such a part is left over; is taken into account from now on."""
        with self._lock:
            self._prunable += pairs
            self._left += pairs * left
        return left <= self._most_left()

    def _most_left(self) -> float:
        return LEFT_BESIDE_LOW if proposers.has_fast_bfloat16() and self.pays() else LEFT

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

    @property
    def resident(self) -> bool: ...

    def read(self, rows: Rows) -> NDArray[np.float32]: ...

    def among(self, rows: Rows) -> tuple[NDArray[np.float32], Rows]: ...


class InMemory:
    """Unit vectors in memory, as a group reads them.

    Args:
        unit (NDArray[np.float32]): [n, D].
    """

    resident = True

    def __init__(self, unit: NDArray[np.float32]) -> None:
        self._unit = unit
        self.dim = unit.shape[1]

    def read(self, rows: Rows) -> NDArray[np.float32]:
        return np.take(self._unit, rows, axis=0)

    def among(self, rows: Rows) -> tuple[NDArray[np.float32], Rows]:
        return self._unit, rows


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
        self._proposer: Proposer | None = None
        self._projection: Projection | None = None
        # a run is a view where vectors are in memory, and read at once
        self._read: MadeByBlock[NDArray[np.float32]] = MadeByBlock(
            len(order),
            len(order) if is_run(order) else BLOCK,
            lambda made, size: np.empty((size, made.shape[1]), made.dtype),
        )
        self._prepared: MadeByBlock[Prepared] = MadeByBlock(len(order), BLOCK, lambda made, size: made.room(size))
        self._projected: MadeByBlock[Projected] = MadeByBlock(len(order), BLOCK, lambda made, size: made.room(size))
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
    def _in_any_order(self) -> bool:
        """Whether any vectors can be had at once: all are in memory, or will be."""
        return self._vectors.resident or self._fits

    @property
    def proposer(self) -> Proposer:
        """What multiplies all columns."""
        if self._proposer is None:
            sample = self._sample_when_needed()
            with self._lock:
                if self._proposer is None:
                    self._proposer = self.precision.proposer(len(self), sample)
        return self._proposer

    @property
    def projection(self) -> Projection | None:
        """What prunes columns first, where it pays; the rest is multiplied in float32."""
        if not self.precision.prunes(len(self), self._vectors.dim):
            return None
        if self._projection is None:
            sample = self._sample_when_needed()
            with self._lock:
                if self._projection is None:
                    self._projection = Projection(sample(), len(self))
        return self._projection

    def _sample_when_needed(self) -> Callable[[], NDArray[np.float32]]:
        """A function that gives some of the vectors, [n, D]; what it needs is read before, by all threads that wait for it."""
        every = np.arange(0, len(self), max(1, -(-len(self) // SAMPLE)))
        if self._fits:
            self.among(every)
        return lambda: self.read(every)

    def windows(self, slots: Rows) -> Iterator[Rows]:
        """As many slots at a time, at least one, as can be had in any order, see :meth:`within`."""
        size = max(1, len(slots) if self._in_any_order else GROUP_BYTES // (4 * self._vectors.dim))
        for start in range(0, len(slots), size):
            yield slots[start : start + size]

    def within(self, window: Rows) -> Callable[[Rows], NDArray[np.float32]]:
        """Gives the vectors, float32 [slots, D], of some slots of a window, ascending; those of a file are read now."""
        if self._in_any_order:
            return self.read
        held = self._vectors.read(self._order[window])
        return lambda slots: np.take(held, np.searchsorted(window, slots), axis=0)

    def read(self, slots: Rows) -> NDArray[np.float32]:
        """Vectors, float32 [slots, D]."""
        if not self._fits or not len(slots):
            return self._vectors.read(self._order[slots])
        return self._read.of(slots, self._read_part)

    def among(self, slots: Rows) -> tuple[NDArray[np.float32], Rows]:
        """An array that holds the vectors of some slots, float32 [m, D], and the place of each in it."""
        if not self._fits or not len(slots):
            return self._vectors.among(self._order[slots])
        return self._read.whole(slots, self._read_part), slots

    def prepared(self, proposer: Proposer, slots: Rows) -> Prepared:
        """Vectors as a proposer multiplies them."""
        if proposer is not self._proposer or proposer is FLOAT32 or not self.held or not len(slots):
            return proposer.prepare(self.read(slots))
        return self._prepared.of(slots, self._prepare_part)

    def projected(self, projection: Projection, slots: Rows) -> Projected:
        """Vectors, at least one, by the group's projection."""
        return self._projected.of(slots, lambda part: self._project(projection, part))

    def projected_among(self, projection: Projection, slots: Rows) -> Projected:
        """All vectors, of which these, at least one, have been projected."""
        return self._projected.whole(slots, lambda part: self._project(projection, part))

    def _read_part(self, part: slice) -> NDArray[np.float32]:
        return self._vectors.read(self._order[part])

    def _prepare_part(self, part: slice) -> Prepared:
        return self.proposer.prepare(self.read(np.arange(part.start, part.stop)))

    def _project(self, projection: Projection, part: slice) -> Projected:
        return projection.of(self.read(np.arange(part.start, part.stop)))
