"""Products of some vectors with others, to be searched where they were made: by NumPy, in bfloat16, or on a device of torch."""

import threading
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

_SCRATCH = threading.local()


class Tile(Protocol):
    """Products of some rows with some columns, to be searched; what is hidden counts as minus infinity."""

    def hide(self, rows: int, mask: NDArray[np.bool_]) -> None:
        """Hide cells of the first ``rows`` rows, bool [rows, columns] or broadcastable to it."""

    def highest(self, axis: int = 1, above_zero: bool = False) -> NDArray[np.float32]:
        """The maximum along an axis, float32; with ``above_zero`` a negative one may be that of any negative cell."""

    def at_least(
        self, threshold: NDArray[np.float32], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of the cells that may be at least their row's ``threshold``, of some rows, by row and column."""

    def values(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float32]:
        """Some cells, float32 [cells]."""


class ArrayTile:
    """Products as NumPy holds them, float32 [rows, columns]."""

    def __init__(self, cells: NDArray[np.float32]) -> None:
        self._cells = cells

    def hide(self, rows: int, mask: NDArray[np.bool_]) -> None:
        np.copyto(self._cells[:rows], -np.inf, where=mask)

    def highest(self, axis: int = 1, above_zero: bool = False) -> NDArray[np.float32]:
        return _highest(self._cells, axis)

    def at_least(
        self, threshold: NDArray[np.float32], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return _true_cells(self._cells, threshold[rows], rows)

    def values(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._cells[row, column]


class BFloat16Tile:
    """Products as bfloat16 bits, int16 [rows, columns]: NumPy knows no bfloat16, but compares integers faster than torch.

    The bits of positive numbers are ordered like the numbers. Those of negative ones are in reverse order, which is only put
    right where negative numbers matter.
    """

    def __init__(self, bits: NDArray[np.int16]) -> None:
        self._bits = bits
        self._ordered = False

    def hide(self, rows: int, mask: NDArray[np.bool_]) -> None:
        self._order()
        np.copyto(self._bits[:rows], np.iinfo(np.int16).min, where=mask)

    def highest(self, axis: int = 1, above_zero: bool = False) -> NDArray[np.float32]:
        best = _highest(self._bits, axis)
        if not self._ordered and not above_zero and (best < 0).any():
            self._order()
            best = _highest(self._bits, axis)
        return np.where(best == np.iinfo(np.int16).min, np.float32(-np.inf), self._decoded(best))

    def at_least(
        self, threshold: NDArray[np.float32], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        threshold = threshold[rows]
        if not self._ordered and (threshold <= 0).any():
            self._order()
        bits = np.ascontiguousarray(threshold).view(np.uint32)
        # rounded down: cut off above zero, and one step further below it
        high = (bits >> 16) + ((threshold < 0) & ((bits & 0xFFFF) != 0))
        high[threshold == 0] = 0x8000  # minus zero is not less than zero
        key = high.astype(np.uint16).view(np.int16)
        return _true_cells(self._bits, np.where(key < 0, key ^ np.int16(0x7FFF), key), rows)

    def values(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._decoded(self._bits[row, column])

    def _decoded(self, bits: NDArray[np.int16]) -> NDArray[np.float32]:
        if self._ordered:
            bits = np.where(bits < 0, bits ^ np.int16(0x7FFF), bits)
        return (bits.view(np.uint16).astype(np.uint32) << 16).view(np.float32)

    def _order(self) -> None:
        if not self._ordered:
            self._bits ^= (self._bits >> 15) & np.int16(0x7FFF)
            self._ordered = True


class TorchTile:
    """Products on a device of torch, float32 [rows, columns]; only what may matter is copied from there."""

    def __init__(self, cells: torch.Tensor) -> None:
        self._cells = cells

    def hide(self, rows: int, mask: NDArray[np.bool_]) -> None:
        where = torch.from_numpy(np.ascontiguousarray(mask)).to(self._cells.device)
        self._cells[:rows].masked_fill_(where, -np.inf)

    def highest(self, axis: int = 1, above_zero: bool = False) -> NDArray[np.float32]:
        return self._cells.amax(dim=axis).cpu().numpy()

    def at_least(
        self, threshold: NDArray[np.float32], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        where = torch.from_numpy(rows).to(self._cells.device)
        limit = torch.from_numpy(threshold[rows]).to(self._cells.device)
        found = (self._cells[where] >= limit[:, None]).nonzero().cpu().numpy()
        return rows[found[:, 0]], found[:, 1]

    def values(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float32]:
        device = self._cells.device
        return self._cells[torch.from_numpy(row).to(device), torch.from_numpy(column).to(device)].cpu().numpy()


def scratch(kind: str, rows: int, columns: int, make: Any) -> Any:
    """A matrix in memory that this thread uses again and again: fresh memory is slow to touch."""
    held = getattr(_SCRATCH, kind, None)
    if held is None or len(held) < rows * columns:
        held = make(rows * columns)
        setattr(_SCRATCH, kind, held)
    return held[: rows * columns].reshape(rows, columns)


def _highest(cells: NDArray[Any], axis: int) -> NDArray[Any]:
    """The maximum along an axis; torch finds it in half of NumPy's time."""
    return torch.from_numpy(cells).amax(dim=axis).numpy()


def _true_cells(
    cells: NDArray[Any], threshold: NDArray[Any], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the cells of some rows that are at least their row's threshold, [rows]."""
    # np.take lets other threads run meanwhile, an index does not
    above = np.take(cells, rows, axis=0) >= threshold[:, None]
    row, column = np.divmod(np.flatnonzero(above), cells.shape[1])
    return rows[row], column
