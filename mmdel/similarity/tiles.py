"""Float32 products of some rows with some columns: by NumPy in memory, or by torch on a device, searched where they were made."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmdel.similarity.canonical import Rows

_BUFFERS = threading.local()


class ArrayTile:
    """Products as NumPy holds them, float32 [rows, columns]; what is excluded is minus infinity."""

    def __init__(self, cells: NDArray[np.float32]) -> None:
        self._cells = cells

    def exclude(self, mask: NDArray[np.bool_]) -> None:
        """Exclude cells, bool [rows, columns]."""
        np.copyto(self._cells, -np.inf, where=mask)

    def highest(self, k: int = 1) -> NDArray[np.float32]:
        """The k-th highest of each row, float32 [rows]; of at least k columns."""
        return row_maximum(self._cells) if k == 1 else np.partition(self._cells, -k, axis=1)[:, -k]

    def at_least(self, threshold: NDArray[np.float32], rows: Rows) -> tuple[Rows, Rows, NDArray[np.float32]]:
        """Row, column and product of the cells of some rows that reach their threshold, [rows]."""
        above = np.take(self._cells, rows, axis=0) >= threshold[:, None]
        row, column = np.divmod(np.flatnonzero(above), self._cells.shape[1])
        row = rows[row]
        return row, column, self._cells[row, column]


class TorchTile:
    """The same on a device; only what may matter is copied from there."""

    def __init__(self, cells: torch.Tensor) -> None:
        self._cells = cells

    def exclude(self, mask: NDArray[np.bool_]) -> None:
        self._cells.masked_fill_(torch.from_numpy(mask).to(self._cells.device), -np.inf)

    def highest(self, k: int = 1) -> NDArray[np.float32]:
        return self._cells.topk(k, dim=1).values[:, -1].cpu().numpy()

    def at_least(self, threshold: NDArray[np.float32], rows: Rows) -> tuple[Rows, Rows, NDArray[np.float32]]:
        where, least = (torch.from_numpy(each).to(self._cells.device) for each in (rows, threshold))
        cells = self._cells[where]
        found = (cells >= least[:, None]).nonzero(as_tuple=True)
        row, column = (each.cpu().numpy() for each in found)
        return rows[row], column, cells[found].cpu().numpy()


def multiply(left: Any, right: Any) -> ArrayTile | TorchTile:
    """The products of two arrays in memory, or of two tensors on a device, float32 [rows, D] and [columns, D]."""
    if isinstance(left, torch.Tensor):
        return TorchTile(left @ right.T)
    return ArrayTile(np.matmul(left, right.T, out=buffer('products', len(left), len(right))))


@contextmanager
def full_float32() -> Iterator[None]:
    """Products of torch have all 24 digits of float32 inside, whatever a program has allowed for speed."""
    allowed = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('highest')
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(allowed)


def buffer(name: str, rows: int, columns: int) -> NDArray[np.float32]:
    """A float32 matrix, one of each name for each thread, used again and again: fresh memory is slow to touch."""
    held = getattr(_BUFFERS, name, None)
    if held is None or len(held) < rows * columns:
        held = np.empty(rows * columns, np.float32)
        setattr(_BUFFERS, name, held)
    return held[: rows * columns].reshape(rows, columns)


def row_maximum(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """The maximum along the last axis; torch finds it in half of NumPy's time."""
    return torch.from_numpy(cells).amax(dim=-1).numpy()


def rows_of(array: Any, rows: Rows) -> Any:
    """Some rows of an array or a tensor: a view where they follow each other."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return array[int(rows[0]) : int(rows[-1]) + 1]
    if isinstance(array, torch.Tensor):
        return array.index_select(0, torch.from_numpy(rows).to(array.device))
    return np.take(array, rows, axis=0)  # lets other threads run meanwhile, an index does not
