"""Vectors in a ``.npy`` file, read from disk on demand.

The file is not mapped: pages of a mapped file count as memory of the process, and a pass over 15 GB of vectors would seem to need
15 GB. What was read before comes from the system's own cache either way.
"""

import io
import itertools
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdel.compute import storage
from mmdel.embedding.vectors import row_numbers
from mmdel.errors import VectorError


class ArrayFile:
    """A RowSource over a ``.npy`` file that holds [N, D].

    Args:
        path (str): The file.

    Raises:
        VectorError: The file is missing, no plain ``.npy`` file, or not a two-dimensional array of floats.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        array = self._mapped()
        if not isinstance(array, np.memmap) or array.ndim != 2 or array.dtype.kind != 'f' or not array.size:
            what = 'an .npz archive'
            if isinstance(array, np.ndarray):
                what = f'{array.dtype} of shape {array.shape}'
            raise VectorError(
                f'{self._path} holds {what}; expected floats of shape [images, dimensions], saved with numpy.save.'
            )
        self._rows, self._dim = array.shape
        self._dtype = array.dtype
        self._begin = array.offset
        self._by_row = array.flags.c_contiguous

    def __setstate__(self, state: dict[str, Any]) -> None:
        # another process of a job opens the file itself
        self.__dict__.update(state)
        array = self._mapped()
        if (array.shape, array.dtype, array.offset) != (self.shape, self._dtype, self._begin):
            raise VectorError(f'{self._path} is not the same file for all processes of the job.')

    @property
    def shape(self) -> tuple[int, int]:
        return self._rows, self._dim

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    def read(self, rows: NDArray[np.int64] | slice) -> NDArray[Any]:
        """Raw vectors, [n, D].

        Raises:
            VectorError: The file has gone, or is shorter than it was.
        """
        at = row_numbers(rows, self._rows)
        # saved from a transposed array, the file holds column after column, and a row lies all over it
        columns = 1 if self._by_row else self._dim
        size = self._dim // columns * self._dtype.itemsize
        raw = np.empty(columns * len(at) * size, np.uint8)
        together = [(start, stop, int(at[start])) for start, stop in runs(at)]

        def take() -> None:
            with io.FileIO(self._path) as file:
                for column in range(columns):
                    part = raw.data[column * len(at) * size : (column + 1) * len(at) * size]
                    for start, stop, row in together:
                        fill(part[start * size : stop * size], file, self._begin + (column * self._rows + row) * size)

        try:
            storage.patiently(self._path, take)
        except EOFError:
            raise VectorError(f'{self._path} has become shorter while it was in use; run again.') from None
        except OSError as error:
            raise VectorError(f'{self._path} cannot be read any more ({error.strerror}).') from error
        found = raw.view(self._dtype).reshape(columns, len(at), self._dim // columns)
        return found[0] if self._by_row else np.ascontiguousarray(found[..., 0].T)

    def _mapped(self) -> Any:
        try:
            return storage.patiently(self._path, lambda: np.load(self._path, mmap_mode='r', allow_pickle=False))
        except FileNotFoundError as error:
            raise VectorError(f'{self._path} is not there.') from error
        except (ValueError, OSError, EOFError) as error:
            raise VectorError(
                f'{self._path} is not a plain .npy file ({error}). Save it with numpy.save(file, array).'
            ) from error


def runs(rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Where rows that follow each other one by one start and stop: what lies together is read together."""
    return itertools.pairwise([*np.flatnonzero(np.diff(rows, prepend=-2) != 1).tolist(), len(rows)])


def fill(part: memoryview, file: io.FileIO, begin: int) -> None:
    """Read bytes from a place in a file.

    Args:
        part (memoryview): Of bytes; filled to its end.
        file (io.FileIO): Open for reading.
        begin (int): The place, in bytes.

    Raises:
        EOFError: The file has fewer.
        OSError: It cannot be read.
    """
    file.seek(begin)
    while part:
        if not (count := file.readinto(part)):
            raise EOFError
        part = part[count:]
