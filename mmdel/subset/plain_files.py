"""Lists and tables of images as plain files: written for other programs, and read whoever wrote them.

    lines = read_lines('mine.txt')                  # as they stand, without their ends
    names = names_of(lines)                         # {'a/1.jpg': 1, ...}, name to the number of its line
    header, *rows = read_rows('mine.csv')           # [['key', 'label'], ['a/1.jpg', 'polyp'], ...]

Whatever people hand over is read here, so that all of it may have what editors and other systems leave in text: a byte order
mark, UTF-16, line ends of Windows or of old Macs, blank lines, blanks round a name, and the separators that spreadsheets of any
country write. What is no text is refused.
"""

import codecs
import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmdel.compute.blocks import BLOCK
from mmdel.compute.files import atomic, csv_rows
from mmdel.errors import DatasetError

SUFFIX = re.compile(r'\.([A-Za-z][A-Za-z0-9]{0,4})')
"""What counts as the ending of a file: other dots are part of a name, as in ``1.2.840.10008``."""

BLOCK_CHARACTERS = 8 << 20
"""Text that is read at a time."""

MARK = '\ufeff'
"""Byte order mark; where lists were joined, it may begin any line."""

_ENCODINGS = (
    (codecs.BOM_UTF8, 'utf-8-sig'),
    (codecs.BOM_UTF32_LE, 'utf-32'),  # begins as that of UTF-16 does
    (codecs.BOM_UTF32_BE, 'utf-32'),
    (codecs.BOM_UTF16_LE, 'utf-16'),
    (codecs.BOM_UTF16_BE, 'utf-16'),
)

DELIMITERS = ',;\t'
"""What may separate cells; the one that cuts the header into most cells does."""


# --- reading


def read_lines(path: str | os.PathLike[str], errors: str = 'strict') -> list[str]:
    """The lines of a list, blank ones included, so that the i-th is line i + 1 of the file.

    Args:
        path (str): The file: UTF-8, or UTF-16 and UTF-32 with a mark; lines end in a line feed, a carriage return or both.
        errors (str): What becomes of bytes that are not UTF-8: 'strict' refuses them, 'surrogateescape' carries them as Python
            carries such names. Defaults to 'strict'.

    Raises:
        DatasetError: It cannot be read, or is no text.
    """
    return [line for text in text_blocks(path, errors) for line in text.split('\n')]


def text_blocks(path: str | os.PathLike[str], errors: str = 'strict') -> Iterator[str]:
    r"""The text of a list of any length, some whole lines at a time, with ``\n`` between them and none at the end.

    Raises:
        DatasetError: As in :func:`read_lines`.
    """
    try:
        with open(path, 'rb') as file:
            yield from _blocks(file, os.fspath(path), errors)
    except OSError as error:
        raise DatasetError(f'{path} cannot be read ({error.strerror or error}).') from error


def lines_of(data: bytes, name: str) -> list[str]:
    """The lines of a list that is in memory; ``name`` stands in messages. As :func:`read_lines`."""
    return [line for text in _blocks(io.BytesIO(data), name, 'strict') for line in text.split('\n')]


def trimmed(line: str) -> str:
    """A line without blanks and marks round it: what it names, unless a name of exactly that spelling is known."""
    return line.strip().strip(MARK).strip()


def names_of(lines: Iterable[str], name: Callable[[str], str] = str, source: str = '') -> dict[str, int]:
    """The names of a list and the number of the line of each, blank lines left out.

    Args:
        lines (Iterable[str]): From :func:`read_lines`.
        name (Callable): From a line to what it names. Defaults to the line itself.
        source (str): The list, as a message names it: a name that stands twice is then refused. Defaults to '': it counts once.

    Raises:
        DatasetError: A name stands twice; both lines are named.
    """
    found: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not trimmed(line):
            continue
        first = found.setdefault(name(line), number)
        if source and first != number:
            raise DatasetError(
                f'{source} names {name(line)!r} twice, in the lines {first:,} and {number:,}. Take one of them out.'
            )
    return found


def read_rows(path: str | os.PathLike[str]) -> list[list[str]]:
    """The header, trimmed and in lower case, and the rows, each with as many cells; what is not there is ''.

    Args:
        path (str): ``.parquet``, or text as :func:`text_blocks` reads it, with a first line that names the columns.

    Raises:
        DatasetError: It cannot be read, has no header, names a column twice, or a row has more cells than the header.
    """
    if os.fspath(path).lower().endswith('.parquet'):
        return _parquet(path)
    text = '\n'.join(text_blocks(path))
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
                f'Row {number:,} of {path} ({trimmed(row[0])!r}) has {len(row)} cells, the header has {len(header)}. '
                'Put quotes round a cell that holds the separator.'
            )
    return [header, *([*row, *[''] * len(header)][: len(header)] for row in rows[1:] if any(map(str.strip, row)))]


def _blocks(file: BinaryIO, name: str, errors: str) -> Iterator[str]:
    start = file.read(4)
    file.seek(0)
    encoding = next((each for mark, each in _ENCODINGS if start.startswith(mark)), 'utf-8')
    # universal line ends: no usable name holds a carriage return
    reader = io.TextIOWrapper(file, encoding, errors, newline=None)
    rest = ''
    try:
        while block := reader.read(BLOCK_CHARACTERS):
            if '\0' in block:
                raise DatasetError(
                    f'{name} is no list: it holds null characters. Save it as UTF-8 text, one name a line.'
                )
            text, end, rest = (rest + block).rpartition('\n')
            if end:
                yield text
        if rest:
            yield rest
    except UnicodeError as error:
        raise DatasetError(
            f'{name} cannot be read as UTF-8 text ({_first_bad_line(file, encoding) or error}). '
            'Save it as UTF-8, one name a line.'
        ) from error
    finally:
        reader.detach()


def _first_bad_line(file: BinaryIO, encoding: str) -> str:
    if not encoding.startswith('utf-8'):
        return ''
    file.seek(0)
    for number, line in enumerate(file, 1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            return f'line {number:,}: byte 0x{line[error.start]:02x}'
    return ''


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
    header = [trimmed(cell).lower() for cell in cells]
    while header and not header[-1]:
        header.pop()
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DatasetError(f'{path} has the column {twice[0]!r} twice. Rename one of them.')
    return header


# --- writing


@dataclass(frozen=True)
class Written:
    """Lists that were written.

    Args:
        files (tuple[Path, ...]): The files.
        notes (tuple[str, ...]): Which images are not in them, for people.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def write_lists(folder: Path, images: pa.Table, classes: Sequence[str], spelled: Mapping[str, str]) -> Written:
    """Write ``keep.txt``, ``keep_labels.txt`` (where every image has a label) and for each ending ``keep_stems.<suffix>.txt``.

    Args:
        folder (Path): Where they go; earlier ones that are not written now are removed from it.
        images (pa.Table): ``image`` and ``label``, both text.
        classes (Sequence[str]): Names of the labels; a label is written as its place among them.
        spelled (Mapping[str, str]): Keys whose file is spelled otherwise on disk, to that spelling: other programs open files.
    """
    number = pc.index_in(images['label'], pa.array(classes, pa.string()))
    labelled = len(images) > 0 and number.null_count == 0
    blank: list[str] = []
    with ExitStack() as stack:
        lists: dict[str, TextIO] = {}

        def write(name: str, lines: Iterable[str]) -> None:
            if name not in lists:
                temporary = stack.enter_context(atomic(folder / name))
                lists[name] = stack.enter_context(open(temporary, 'w', encoding='utf-8', newline='\n'))
            lists[name].writelines(line + '\n' for line in lines)

        write('keep.txt', ())
        for batch in pa.table({'image': images['image'], 'number': number}).to_batches(BLOCK):
            names = [line_of(spelled.get(key, key)) for key in batch['image'].to_pylist()]
            write('keep.txt', names)
            if labelled:
                numbers = batch['number'].to_pylist()
                write('keep_labels.txt', (f'{name} {place}' for name, place in zip(names, numbers, strict=True)))
            stems: dict[str, list[str]] = {}
            for name in names:
                stem, ending = os.path.splitext(name)
                if not (suffix := SUFFIX.fullmatch(ending)):
                    continue
                if stem[-1:].isspace():
                    blank.append(name)
                else:
                    stems.setdefault(suffix[1], []).append(stem)
            for suffix_name, lines in stems.items():
                write(f'keep_stems.{suffix_name}.txt', lines)
    for old in (*folder.glob('keep_labels.txt'), *folder.glob('keep_stems.*.txt')):
        if old.name not in lists:
            old.unlink()
    notes = []
    if blank:
        notes.append(
            f'{len(blank):,} kept images are in keep.txt but in no keep_stems list, because mmseg would strip the blank before '
            f'their ending and open other files, first {blank[0]!r}'
        )
    return Written(tuple(folder / name for name in lists), tuple(notes))


def line_of(name: str) -> str:
    """The line by which a list names a file: readers strip a blank or a mark that begins a line, so ``./`` stands before it."""
    return f'./{name}' if name[:1].isspace() or name[:1] == MARK else name
