"""People's own vectors (``--embeddings FILE.npy``), as if an embedder had made them."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from mmdel.embedding.array_file import ArrayFile
from mmdel.embedding.embedder import Embedded
from mmdel.embedding.vectors import ChosenRows, RowSource
from mmdel.errors import DatasetError


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
    names = _row_numbers(size) if keys is None else _read_keys(keys, size, embeddings)
    images = pa.array(names, pa.string())
    order = np.array(pa.compute.sort_indices(images), np.int64)
    table = pa.table({'image': images.take(pa.array(order))})
    if not (order == np.arange(size)).all():
        source = ChosenRows(source, order)
    return Embedded(table, source, (), {'type': 'given vectors', 'dtype': str(source.dtype), 'dim': dim})


def _row_numbers(rows: int) -> list[str]:
    digits = len(str(rows - 1))
    return [f'{row:0{digits}d}' for row in range(rows)]


def _read_keys(path: str, rows: int, embeddings: str) -> list[str]:
    try:
        lines = Path(path).read_text(encoding='utf-8').split('\n')
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f'The keys file {path} cannot be read as UTF-8 text ({error}).') from error
    names = [line.rstrip('\r') for line in (lines[:-1] if lines[-1] == '' else lines)]
    if len(names) != rows:
        raise DatasetError(f'{path} has {len(names):,} lines, {embeddings} has {rows:,} rows; one key a row is needed.')
    if len(set(names)) != rows:
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise DatasetError(f'{path}: the key {twice!r} stands twice; every row needs a key of its own.')
    return names
