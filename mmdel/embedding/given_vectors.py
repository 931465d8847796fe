"""People's own vectors, as if an embedder had made them: of a file (``--embeddings FILE.npy``), read on demand, or in memory.

The file is not mapped: pages of a mapped file count as memory of the process, and a pass over 15 GB of vectors would seem to need
15 GB. What was read before comes from the system's own cache either way.
"""

import io
import os
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmdel.compute import storage
from mmdel.embedding.embed import Embedded
from mmdel.embedding.stored_rows import fill, runs
from mmdel.embedding.vectors import ChosenRows, RowSource, row_numbers
from mmdel.errors import DatasetError, VectorError
from mmdel.subset import plain_files


def read_given_vectors(embeddings: str, keys: str | None) -> Embedded:
    """Open a .npy file and name its rows.

    Args:
        embeddings (str): A .npy file with floats [N, D].
        keys (str, optional): A text file with one key a line, row by row, read as :mod:`mmdel.subset.plain_files` reads
            lists; blanks round a key do not count. None: row numbers, padded with zeros so that the order of the keys is the
            order of the rows.

    Raises:
        VectorError: The file is not a two-dimensional array of floats, or holds a pickle.
        DatasetError: The keys are no text, not one for each row, or a key stands twice; the message names the lines.
    """
    source = ArrayFile(embeddings)
    return named_vectors(source, None if keys is None else _read_keys(keys, source.shape[0], embeddings), keys or '')


def named_vectors(
    source: RowSource, names: pa.ChunkedArray | None = None, where: str = 'keys', columns: pa.Table | None = None
) -> Embedded:
    """Name vectors that are there already.

    Args:
        source (RowSource): [N, D], floats.
        names (pa.ChunkedArray, optional): [N], the key of each. Defaults to None: row numbers, padded likewise.
        where (str): What the keys are called in a message. Defaults to 'keys'.
        columns (pa.Table, optional): [N], further columns of :data:`~mmdel.subset.columns.SEEN`. Defaults to None.

    Raises:
        DatasetError: A key stands twice.
    """
    size, dim = source.shape
    table = pa.table({'image': row_keys(size) if names is None else names})
    if columns is not None:
        for name in columns.column_names:
            table = table.append_column(name, columns[name])
    if names is not None:
        order = pc.sort_indices(names)
        table, order = table.take(order), order.to_numpy().astype(np.int64)
        _refuse_repeated(table['image'], order, where)
        if not table['image'].equals(names):
            source = ChosenRows(source, order)
    return Embedded(table, source, (), {'type': 'given vectors', 'dtype': str(source.dtype), 'dim': dim})


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


def row_keys(rows: int) -> pa.StringArray:
    """Numbers from 0 as keys, [rows], padded with zeros so that their order is that of the rows."""
    digits = len(str(rows - 1))
    return pc.utf8_lpad(pa.array(np.arange(rows)).cast(pa.string()), digits, '0')


def _read_keys(path: str, rows: int, embeddings: str) -> pa.ChunkedArray:
    """The lines of a file, which may be millions: never all of them as Python objects."""
    blocks = [_trimmed(pc.split_pattern(pa.array([text]), '\n').values) for text in plain_files.text_blocks(path)]
    keys = pa.chunked_array(blocks, pa.string())
    there = np.flatnonzero(pc.not_equal(pc.binary_length(keys), 0).to_numpy())
    last = int(there[-1]) + 1 if len(there) else 0
    if len(there) < last:  # what follows the last key shifts nothing
        blank = int(np.flatnonzero(np.diff(there, prepend=-1) > 1)[0])
        line = int(there[blank - 1]) + 2 if blank else 1
        raise DatasetError(
            f'Line {line:,} of {path} is blank, and line n names row n of {embeddings}. '
            'Write the missing key, or take the line out.'
        )
    if last != rows:
        raise DatasetError(f'{path} has {last:,} lines, {embeddings} has {rows:,} rows; one key a row is needed.')
    return keys.slice(0, last)


def _trimmed(lines: pa.StringArray) -> pa.StringArray:
    """:func:`mmdel.subset.plain_files.trimmed` of each."""
    return pc.utf8_trim_whitespace(pc.utf8_trim(pc.utf8_trim_whitespace(lines), plain_files.MARK))


def _refuse_repeated(images: pa.ChunkedArray, order: NDArray[np.int64], path: str) -> None:
    """Sorted keys must differ; ``order`` is the row of each."""
    images = images.combine_chunks()
    twice = pc.index(pc.equal(images[1:], images[:-1]), True).as_py()
    if twice >= 0:
        one, other = sorted((order[twice : twice + 2] + 1).tolist())
        raise DatasetError(
            f'{path}: the key {images[twice].as_py()!r} stands twice, in the lines {one:,} and {other:,}; every row needs a key '
            'of its own.'
        )
