"""Tables that people keep of their images: CSV as spreadsheets of any country write it, TSV, or Parquet.

header, *rows = read_rows('mine.csv')      # [['key', 'label'], ['a/1.jpg', 'polyp'], ...]
"""

import csv
import os
import re
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmdel.compute.files import csv_rows
from mmdel.errors import DatasetError
from mmdel.subset import plain_lists

DELIMITERS = ',;\t'
"""What may separate cells; the one that cuts the header into most cells does."""


def read_rows(path: str | os.PathLike[str]) -> list[list[str]]:
    """The header, trimmed and in lower case, and the rows, each with as many cells; what is not there is ''.

    Args:
        path (str): ``.parquet``, or text as :mod:`mmdel.subset.plain_lists` reads it, with a first line that names the columns.

    Raises:
        DatasetError: It cannot be read, has no header, names a column twice, or a row has more cells than the header.
    """
    if os.fspath(path).lower().endswith('.parquet'):
        return _parquet(path)
    text = '\n'.join(plain_lists.text_blocks(path))
    said = re.match(r'sep=(.)\n', text)  # by which spreadsheets say it
    text = text[said.end() :] if said else text
    first = text.lstrip('\n').partition('\n')[0]
    try:
        delimiter = said[1] if said else max(DELIMITERS, key=lambda each: _cells(first, each))
        rows = csv_rows(text, delimiter)
    except csv.Error as error:
        raise DatasetError(f'{path} cannot be read as a table ({error}). Is a quote never closed?') from error
    if not rows:
        raise DatasetError(f'{path} is empty. Its first line names the columns, such as key,label.')
    header = _header(rows[0], path)
    for number, row in enumerate(rows[1:], 1):
        if any(cell.strip() for cell in row[len(header) :]):
            raise DatasetError(
                f'Row {number:,} of {path} ({plain_lists.trimmed(row[0])!r}) has {len(row)} cells, the header has {len(header)}. '
                'Put quotes round a cell that holds the separator.'
            )
    return [header, *([*row, *[''] * len(header)][: len(header)] for row in rows[1:] if any(map(str.strip, row)))]


def _cells(line: str, delimiter: str) -> int:
    try:
        return len((csv_rows(line, delimiter) or [[]])[0])
    except csv.Error:  # the quotes belong to another separator
        return 0


def _parquet(path: str | os.PathLike[str]) -> list[list[str]]:
    try:
        table = pq.read_table(path, partitioning=None)
        columns = [list(map(_cell, column.to_pylist())) for column in table.columns]
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f'{path} cannot be read as a Parquet table ({error}).') from error
    return [_header(table.column_names, path), *map(list, zip(*columns, strict=True))]


def _cell(value: Any) -> str:
    """As text; whole numbers that a library keeps as floats, because others are missing, are whole numbers."""
    if value is None or value != value:
        return ''
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _header(cells: list[str], path: str | os.PathLike[str]) -> list[str]:
    header = [plain_lists.trimmed(cell).lower() for cell in cells]
    while header and not header[-1]:
        header.pop()
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DatasetError(f'{path} has the column {twice[0]!r} twice. Rename one of them.')
    return header
