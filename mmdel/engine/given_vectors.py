"""People's own vectors (``--embeddings FILE.npy``), as if an embedder had made them."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmdel.embedding.array_file import ArrayFile
from mmdel.embedding.embedder import Embedded
from mmdel.embedding.vectors import ChosenRows, RowSource
from mmdel.errors import DatasetError

BLOCK_BYTES = 16 << 20
"""Text of keys that is cut into lines at a time."""


def read_given_vectors(embeddings: str, keys: str | None) -> Embedded:
    """Open a .npy file and name its rows.

    Args:
        embeddings (str): A .npy file with floats [N, D].
        keys (str, optional): A text file with one key a line, row by row. None: row numbers, padded with zeros so that the
            order of the keys is the order of the rows.

    Raises:
        VectorError: The file is not a two-dimensional array of floats, or holds a pickle.
        DatasetError: Not one key for each row, or a key stands twice.
    """
    source: RowSource = ArrayFile(embeddings)
    size, dim = source.shape
    if keys is None:
        images = _row_numbers(size)
    else:
        names = _read_keys(keys, size, embeddings)
        order = pc.sort_indices(names)
        images = names.take(order)
        _refuse_repeated(images, keys)
        if not images.equals(names):
            source = ChosenRows(source, order.to_numpy().astype(np.int64))
    table = pa.table({'image': images})
    return Embedded(table, source, (), {'type': 'given vectors', 'dtype': str(source.dtype), 'dim': dim})


def _row_numbers(rows: int) -> pa.StringArray:
    digits = len(str(rows - 1))
    return pc.utf8_lpad(pa.array(np.arange(rows)).cast(pa.string()), digits, '0')


def _read_keys(path: str, rows: int, embeddings: str) -> pa.ChunkedArray:
    """The lines of a file, which may be millions: never all of them as Python objects."""
    try:
        keys = pa.chunked_array([*_lines(path)], pa.string())
    except (OSError, pa.ArrowInvalid) as error:
        raise DatasetError(f'The keys file {path} cannot be read as UTF-8 text ({error}).') from error
    if len(keys) != rows:
        raise DatasetError(f'{path} has {len(keys):,} lines, {embeddings} has {rows:,} rows; one key a row is needed.')
    return keys


def _lines(path: str) -> Iterator[pa.StringArray]:
    rest = b''
    with open(path, 'rb') as file:
        while block := file.read(BLOCK_BYTES):
            text, newline, rest = (rest + block).rpartition(b'\n')
            if newline:
                yield _cut(text)
    if rest:
        yield _cut(rest)


def _cut(text: bytes) -> pa.StringArray:
    return pc.utf8_rtrim(pc.split_pattern(pa.array([text]).cast(pa.string()), '\n').values, '\r')


def _refuse_repeated(images: pa.ChunkedArray, path: str) -> None:
    """Sorted keys must differ."""
    images = images.combine_chunks()
    twice = pc.index(pc.equal(images[1:], images[:-1]), True).as_py()
    if twice >= 0:
        raise DatasetError(f'{path}: the key {images[twice].as_py()!r} stands twice; every row needs a key of its own.')
