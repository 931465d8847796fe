"""What people know of their images and write into a table: labels, patients, videos.

table = read_metadata('mine.csv', 'my/frames', keys=('a/1.jpg', 'a/2.jpg'), others=())
table.of('a/1.jpg')      # {'label': 'polyp', 'patient': '17'}
table.notes              # ('mine.csv says nothing of 1 of 2 images, first a/2.jpg', ...)
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mmdel.errors import DatasetError, three
from mmdel.images import keys as spelling
from mmdel.images.formats import split_frame
from mmdel.subset import plain_files
from mmdel.subset.columns import METADATA, SCHEMA

KEYS = ('key', 'image', 'path', 'file', 'filename', 'file_name', 'img_path')
"""Names of the column that names the image; the first of them that is there counts."""

_OTHER_NAMES = {'center': 'centre', 'class': 'label', 'patient_id': 'patient'}

SPLITS = frozenset({'train', 'training', 'val', 'valid', 'validation', 'test', 'testing', 'trainval', 'images'})
"""Folders that are named after no class."""

CLASS_NUMBERS = 10_000
"""Labels that are whole numbers below this one are numbers of classes, as they stand."""


@dataclass(frozen=True)
class MetadataTable:
    """What a table says of images.

    Args:
        rows (Mapping[str, Mapping]): What it says of each key that it names and that is there; of a video that is its frames.
        columns (tuple[str, ...]): Which of :data:`~mmdel.subset.columns.METADATA` it has.
        notes (tuple[str, ...]): What a person should know of it.
    """

    rows: Mapping[str, Mapping[str, Any]]
    columns: tuple[str, ...]
    notes: tuple[str, ...]

    def of(self, key: str) -> Mapping[str, Any]:
        """What it says of an image: non-empty cells by the name of their column, numbers (``frame``) as such."""
        found = self.rows.get(key)
        if found is None and (frame := split_frame(key)):
            found = self.rows.get(frame[0])
        return found or {}


def read_metadata(
    path: str | os.PathLike[str], root: str | os.PathLike[str], keys: Sequence[str], others: Iterable[str]
) -> MetadataTable:
    """Read a table and find the images that its rows mean.

    A row may spell a key as it stands on disk or in a key: NFC or NFD, slashes or backslashes, with ``./``, or as the absolute
    path of a file below ``root``.

    Args:
        path (str): CSV, TSV or Parquet with a header: one of :data:`KEYS`, and some of
            :data:`~mmdel.subset.columns.METADATA`; other columns are left alone.
        root (str): The folder that keys are relative to.
        keys (Sequence[str]): The images.
        others (Iterable[str]): Keys that a row may also name: of videos, and of files that cannot be used.

    Raises:
        DatasetError: The table cannot be read, has no such columns, names no image that is there, or says two things of one
            image; or what should be a number is none.
    """
    header, *lines = plain_files.read_rows(path)
    header = [_OTHER_NAMES[name] if _OTHER_NAMES.get(name, name) not in header else name for name in header]
    place = next((header.index(name) for name in KEYS if name in header), None)
    columns = tuple(name for name in METADATA if name in header)
    if place is None or not columns:
        raise DatasetError(
            f'{path} needs a first line that names the columns: key, and one or more of {", ".join(METADATA)}; it has '
            f'{", ".join(header) or "none"}.'
        )
    files = (
        frame[0] for key in keys if (frame := split_frame(key))
    )  # a row that names a file is about all of its pictures
    images, known = set(keys), {*keys, *others, *files}
    prefix = os.path.join(spelling.normalise(os.path.abspath(root)), '')
    rows: dict[str, dict[str, Any]] = {}
    unknown: list[str] = []
    values: dict[str, str] = {}
    for line in lines:
        key = _key(line[place], prefix, known)
        if key is None:
            unknown.append(line[place])
            continue
        cells = ((name, line[header.index(name)].strip()) for name in columns)
        # equal values are one object: of a million rows there are few
        row: dict[str, Any] = {name: values.setdefault(cell, cell) for name, cell in cells if cell}
        row |= {
            name: _number(row[name], name, key, path) for name in row if pa.types.is_integer(SCHEMA.field(name).type)
        }
        if rows.setdefault(key, row) != row:
            raise DatasetError(f'{path} says two things of {key}: {rows[key]} and {row}. Take one of the rows out.')
    table = MetadataTable(rows, columns, ())
    silent = [key for key in keys if not table.of(key)]
    if len(silent) == len(images):
        raise DatasetError(
            f'{path} says nothing of any of the {len(images):,} images below {os.fspath(root)}.\n'
            f'  the table names:  {three(map(repr, unknown)) or "no image"}\n'
            f'  the images are:   {three(map(repr, keys))}\n'
            'A key is the path of an image relative to the image folder.'
        )
    name, notes = os.path.basename(os.fspath(path)), []
    if silent:
        notes.append(f'{name} says nothing of {len(silent):,} of {len(images):,} images, first {silent[0]}')
    if unknown:
        notes.append(f'{len(unknown):,} rows of {name} name no image that is there, first {unknown[0]!r}')
    ignored = [each for place_, each in enumerate(header) if place_ != place and each not in METADATA and each]
    if ignored:
        notes.append(f'columns of {name} that are not used: {", ".join(ignored)}')
    return MetadataTable(rows, columns, tuple(notes))


def ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """The classes of labels in a table: whole numbers are numbers of classes, from 0 on; names are sorted."""
    found = set(labels)
    if all(label.isascii() and label.isdecimal() and label == str(int(label)) for label in found):
        highest = max(map(int, found), default=-1)
        if highest < CLASS_NUMBERS:
            return tuple(map(str, range(highest + 1)))
    return tuple(sorted(found))


def folder_label(path: str) -> str | None:
    """The class of an image whose folders are named after classes: the first folder of its path, None where it lies in none.

    That is how ``torchvision.datasets.ImageFolder`` and ``mmpretrain.CustomDataset`` read such folders.
    """
    folder, slash, _ = path.partition('/')
    return folder if slash else None


# --- private


def _key(cell: str, prefix: str, known: set[str]) -> str | None:
    key = spelling.meant(cell, known)
    key = key if key in known else spelling.meant(cell.strip().removeprefix(prefix), known)
    return key if key in known else None


def _number(cell: str, name: str, key: str, path: str | os.PathLike[str]) -> int:
    try:
        number = float(cell)
        if number < 0 or not number.is_integer():
            raise ValueError
    except (ValueError, OverflowError):
        raise DatasetError(
            f'{path} says that {key} is the {name} {cell!r}; a {name} is a number: 0, 1, 2, ...'
        ) from None
    return int(cell) if cell.isdecimal() else int(number)
