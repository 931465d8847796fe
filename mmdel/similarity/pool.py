"""The columns of a search: read and projected in one pass before it, and held as the search needs them."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mmdel.embedding.vectors import is_run
from mmdel.similarity.canonical import Read, Rows
from mmdel.similarity.projection import Projection
from mmdel.similarity.tiles import rows_of
from mmdel.similarity.tuning import Tuning


class UnitVectors(Protocol):
    """Vectors of unit length and ``dim`` numbers, all in memory (``resident``) or in a file; ``read`` gives float32 [rows, D]."""

    def __len__(self) -> int: ...

    @property
    def dim(self) -> int: ...

    @property
    def resident(self) -> bool: ...

    def read(self, rows: Rows) -> NDArray[np.float32]: ...


class UnitArray:
    """Unit vectors in memory, float32 [n, D]."""

    resident = True

    def __init__(self, unit: NDArray[np.float32]) -> None:
        self._unit = unit
        self.dim = unit.shape[1]

    def __len__(self) -> int:
        return len(self._unit)

    def read(self, rows: Rows) -> NDArray[np.float32]:
        return np.take(self._unit, rows, axis=0)


ForEach = Callable[[Callable[[int], None], Iterable[int]], object]
"""Does a piece of work for each number, by several threads if it likes."""


class Pool:
    """Vectors that others are compared with.

    Args:
        vectors (UnitVectors): All vectors.
        order (NDArray[np.int64]): [n], rows of them, in order of preference; slot i is row ``order[i]``.
        tuning (Tuning): What is read ahead, and projected.
        for_each (Callable, optional): Goes through blocks of them where there are several. Defaults to None, one after the other.

    Attributes:
        pruning (Projection | None): What columns are pruned by where that may pay; has them all. May be set to None.
    """

    def __init__(self, vectors: UnitVectors, order: Rows, tuning: Tuning, for_each: ForEach | None = None) -> None:
        self.dim = vectors.dim
        self.pruning: Projection | None = None
        self._vectors, self._order, self._tuning = vectors, order, tuning
        self._on_cpu = tuning.device == 'cpu'
        size, blocks = len(order), -(-len(order) // tuning.tile_rows)
        enough = tuning.prune_numbers <= size * self.dim and size <= tuning.prune_most
        if self._on_cpu and enough and self.dim >= tuning.prune_dimensions:
            self.pruning = Projection(vectors.read(order[::blocks]), size, tuning)
        # what is in memory is copied only where the columns of a tile come together by that
        in_place = vectors.resident and (self.pruning is not None or is_run(order))
        self._unit: Any = None
        if not self._on_cpu and vectors.resident:
            self._unit = torch.empty((size, self.dim), device=tuning.device)
        elif self._on_cpu and not in_place and size * self.dim * 4 <= tuning.window_bytes:
            self._unit = np.empty((size, self.dim), np.float32)
        needed = range(blocks if self._unit is not None or self.pruning is not None else 0)
        if for_each is not None and len(needed) > 3:  # threads take some time to begin
            for_each(self._prepare, needed)
        else:
            list(map(self._prepare, needed))

    def __len__(self) -> int:
        return len(self._order)

    @property
    def in_memory(self) -> bool:
        """Whether any vectors can be had at once."""
        return self._unit is not None or self._vectors.resident

    def read(self, slots: Rows) -> NDArray[np.float32]:
        """Vectors, float32 [slots, D]."""
        if self._unit is not None and self._on_cpu:
            return np.take(self._unit, slots, axis=0)
        return self._vectors.read(self._order[slots])

    def factor(self, unit: NDArray[np.float32]) -> Any:
        """Vectors as they are multiplied: the array, or a tensor on the device."""
        return unit if self._on_cpu else torch.from_numpy(unit).to(self._tuning.device)

    def windows(self, columns: Rows) -> Iterator[tuple[Rows, Read]]:
        """As many columns at a time, at least one, as can be had in any order, and a function that gives some as factors.

        Vectors of a file are read now, so many that they take ``window_bytes``.
        """
        size = max(1, len(columns) if self.in_memory else self._tuning.window_bytes // (4 * self.dim))
        for start in range(0, len(columns), size):
            window = columns[start : start + size]
            if self._unit is not None:
                yield window, partial(rows_of, self._unit)
            elif self.in_memory:
                yield window, self.read
            else:
                yield window, partial(_among, self.factor(self.read(window)), window)

    def _prepare(self, number: int) -> None:
        part = slice(number * self._tuning.tile_rows, (number + 1) * self._tuning.tile_rows)
        unit = self._vectors.read(self._order[part])
        if self._unit is not None:
            self._unit[part] = self.factor(unit)
        if self.pruning is not None:
            self.pruning.columns[part] = self.pruning.of(unit)


def _among(held: Any, window: Rows, slots: Rows) -> Any:
    """Some columns of a window, of which all are held, [window, D]."""
    return rows_of(held, np.searchsorted(window, slots))
