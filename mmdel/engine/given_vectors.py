"""People's own vectors (``--embeddings FILE.npy``), as if an embedder had made them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmdel.embedding.array_file import ArrayFile
from mmdel.embedding.embed import Embedded
from mmdel.embedding.vectors import ChosenRows, RowSource
from mmdel.errors import DatasetError
from mmdel.subset import plain_lists


def read_given_vectors(embeddings: str, keys: str | None) -> Embedded:
    """Open a .npy file and name its rows.

    Args:
        embeddings (str): A .npy file with floats [N, D].
        keys (str, optional): A text file with one key a line, row by row, read as :mod:`mmdel.subset.plain_lists` reads
            lists; blanks round a key do not count. None: row numbers, padded with zeros so that the order of the keys is the
            order of the rows.

    Raises:
        VectorError: The file is not a two-dimensional array of floats, or holds a pickle.
        DatasetError: The keys are no text, not one for each row, or a key stands twice; the message names the lines.
    """
    source: RowSource = ArrayFile(embeddings)
    size, dim = source.shape
    if keys is None:
        images = _row_numbers(size)
    else:
        names = _read_keys(keys, size, embeddings)
        order = pc.sort_indices(names)
        images, order = names.take(order), order.to_numpy().astype(np.int64)
        _refuse_repeated(images, order, keys)
        if not images.equals(names):
            source = ChosenRows(source, order)
    table = pa.table({'image': images})
    return Embedded(table, source, (), {'type': 'given vectors', 'dtype': str(source.dtype), 'dim': dim})


def _row_numbers(rows: int) -> pa.StringArray:
    digits = len(str(rows - 1))
    return pc.utf8_lpad(pa.array(np.arange(rows)).cast(pa.string()), digits, '0')


def _read_keys(path: str, rows: int, embeddings: str) -> pa.ChunkedArray:
    """The lines of a file, which may be millions: never all of them as Python objects."""
    blocks = [_trimmed(pc.split_pattern(pa.array([text]), '\n').values) for text in plain_lists.text_blocks(path)]
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
    """:func:`mmdel.subset.plain_lists.trimmed` of each."""
    return pc.utf8_trim_whitespace(pc.utf8_trim(pc.utf8_trim_whitespace(lines), plain_lists.MARK))


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
