"""Vectors in the shards of a store, read from disk on demand."""

import io
import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdel.compute import storage
from mmdel.errors import StoreError


class StoredRows:
    """Chosen rows of a store, read from its shards when asked; a :class:`~mmdel.embedding.vectors.RowSource`.

    Args:
        folder (Path): The store.
        shard (NDArray[np.int32]): [N], the shard of each row.
        vector (NDArray[np.int32]): [N], the place in the shard.
        dim (int): Dimensions.
    """

    def __init__(self, folder: Path, shard: NDArray[np.int32], vector: NDArray[np.int32], dim: int) -> None:
        self._folder = folder
        self._shard = shard
        self._vector = vector
        self._dim = dim
        self._files: dict[int, tuple[str, int]] = {}

    @property
    def shape(self) -> tuple[int, int]:
        return len(self._shard), self._dim

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    def read(self, rows: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Raw vectors, float32 [n, D].

        Raises:
            StoreError: A shard has gone, or is shorter than it was.
        """
        place = self._shard[rows].astype(np.int64) << 32 | self._vector[rows]
        order = None if (place[1:] >= place[:-1]).all() else np.argsort(place, kind='stable')
        if order is not None:
            place = place[order]
        size = 4 * self._dim
        raw = np.empty(len(place) * size, np.uint8)
        shard, begin = (place >> 32).tolist(), ((place & 0xFFFFFFFF) * size).tolist()
        for number, some in itertools.groupby(runs(place), lambda run: shard[run[0]]):
            path, data = self._file(number)
            take = partial(_take, path, [(raw.data[a * size : b * size], data + begin[a]) for a, b in some])
            try:
                storage.patiently(path, take)
            except EOFError:
                raise StoreError(f'{path} has become shorter while it was in use; run again.') from None
            except OSError as error:
                raise _gone(path, error) from error
        found = raw.view(np.float32).reshape(len(place), self._dim)
        if order is None:
            return found
        out = np.empty_like(found)
        out[order] = found
        return out

    def _file(self, number: int) -> tuple[str, int]:
        """The file of a shard and where its data begin, looked up once: a block may need rows of a thousand shards."""
        if number not in self._files:
            path = array_path(self._folder, number)
            try:
                array = storage.patiently(path, partial(np.load, path, mmap_mode='r', allow_pickle=False))
                self._files[number] = str(path), array.offset
            except OSError as error:
                raise _gone(path, error) from error
        return self._files[number]


def array_path(folder: Path, index: int) -> Path:
    """The file of a shard's vectors."""
    return folder / f'shard-{index:06d}.npy'


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


def _take(path: str, parts: list[tuple[memoryview, int]]) -> None:
    # opened anew for each block: thousands of open files would exceed the limit
    with io.FileIO(path) as file:
        for part, begin in parts:
            fill(part, file, begin)


def _gone(path: Path | str, error: OSError) -> StoreError:
    return StoreError(f'{path} has gone while it was in use ({error.strerror}); run again.')
