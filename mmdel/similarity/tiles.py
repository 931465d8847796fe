"""Float32 products of some rows with some columns: by NumPy, or by torch on a device, searched where they were made."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmdel.embedding.vectors import is_run
from mmdel.similarity.canonical import Rows

_BUFFERS = threading.local()


class Tile:
    """Float32 products, [rows, columns], where they were made; what is excluded is minus infinity."""

    def __init__(self, cells: torch.Tensor) -> None:
        self._cells = cells

    def exclude(self, mask: NDArray[np.bool_]) -> None:
        """Exclude cells, bool [rows, columns]."""
        self._cells.masked_fill_(self._beside(mask), -np.inf)

    def highest(self, k: int = 1) -> NDArray[np.float32]:
        """The k-th highest of each row, float32 [rows]; of at least k columns."""
        if k > 1 and not self._cells.is_cuda:
            return np.partition(self._cells.numpy(), -k, axis=1)[:, -k]  # several times as fast as torch
        found = self._cells.amax(dim=1) if k == 1 else self._cells.topk(k, dim=1).values[:, -1]
        return found.cpu().numpy()

    def at_least(self, threshold: NDArray[np.float32], rows: Rows) -> tuple[Rows, Rows, NDArray[np.float32]]:
        """Row, column and product of the cells of some rows that reach their threshold, [rows]."""
        cells = self._cells.index_select(0, self._beside(rows))
        above = (cells >= self._beside(threshold)[:, None]).cpu().numpy()
        place = np.flatnonzero(above)
        row, column = np.divmod(place, above.shape[1])
        return rows[row], column, cells.view(-1)[self._beside(place)].cpu().numpy()

    def _beside(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._cells.device)


def multiply(left: Any, right: Any) -> Tile:
    """The products of two arrays, by NumPy, or of two tensors on a device; float32 [rows, D] and [columns, D]."""
    if isinstance(left, torch.Tensor):
        return Tile(torch.mm(left, right.T))
    return Tile(torch.from_numpy(np.matmul(left, right.T, out=buffer('products', len(left), len(right)))))


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


def rows_of(array: Any, rows: Rows) -> Any:
    """Some rows of an array or a tensor: a view where they follow each other."""
    if is_run(rows):
        return array[int(rows[0]) : int(rows[-1]) + 1]
    if isinstance(array, torch.Tensor):
        return array.index_select(0, torch.from_numpy(rows).to(array.device))
    return np.take(array, rows, axis=0)  # lets other threads run meanwhile, an index does not
