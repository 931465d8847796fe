"""Which images belong together by what the dataset tells, and how groups share a ranking.

strata(table, 'source')     # [rows of one source, rows of the next, ...], ordered by name
sequences(table)            # the same for videos or folders, each in the order of time
Timeline.of(table).gap(i, j)  # how many frames two rows are apart
shared_out(groups)          # one order in which every group always has its share
"""

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel.errors import ConfigError
from mmdel.subset.columns import GROUPS

Rows = NDArray[np.int64]

STRATA = (*GROUPS, 'folder')
"""What images can be grouped by: columns of the table, and the folder that the key names."""

KNOWN = 'known'
"""In place of one of these: whose the images are where the dataset tells it, see :func:`known_group`."""


def strata(table: pa.Table, by: str) -> list[Rows]:
    """Group rows by a column; rows without a value are a group of their own.

    Args:
        table (pa.Table): N rows with ``image`` and the column.
        by (str): One of :data:`STRATA`.

    Returns:
        list[NDArray[np.int64]]: Groups ordered by name, rows ascending in each.

    Raises:
        ConfigError: ``by`` is not known, or no image has a value.
    """
    if by not in STRATA:
        raise ConfigError(f'Images are grouped by one of {", ".join(STRATA)}, got {by!r}.')
    if by == 'folder':
        names = [posixpath.dirname(key) for key in table['image'].to_pylist()]
    else:
        if by not in table.column_names or table[by].null_count == len(table) > 0:
            raise ConfigError(f'The images cannot be grouped by {by}: the dataset tells none. Group them by folder.')
        names = ['' if name is None else name for name in table[by].to_pylist()]
    return _grouped(names)


def known_group(table: pa.Table) -> str | None:
    """Whose the images are: 'patient' where the dataset tells at least two of them, else 'video' likewise, else None."""
    for name in ('patient', 'video'):
        if name in table.column_names and len(table[name].drop_null().unique()) > 1:
            return name
    return None


def groups_by(table: pa.Table, by: str) -> list[Rows]:
    """As :func:`strata`, but images without a video go by their folder; of ``by`` 'video' each group is in the order of time."""
    return sequences(table) if by == 'video' else strata(table, by)


def sequences(table: pa.Table) -> list[Rows]:
    """Group rows by video where it is known and by folder elsewhere, and put each group into the order of time.

    Time is the frame number where the dataset tells it, else the key with its numbers read as numbers (2 before 10).
    """
    keys = table['image'].to_pylist()
    videos = table['video'].to_pylist() if 'video' in table.column_names else [None] * len(keys)
    frames = table['frame'].to_pylist() if 'frame' in table.column_names else [None] * len(keys)
    # a folder may hold frames of several videos, and two folders videos of one name
    names = [
        f'{posixpath.dirname(key)}/{"" if video is None else video}' for key, video in zip(keys, videos, strict=True)
    ]

    def time(row: int) -> tuple[float, list[tuple[int, str]]]:
        frame = frames[row]
        return (float('inf') if frame is None else float(frame), _natural(keys[row]))

    return [np.array(sorted(group.tolist(), key=time), np.int64) for group in _grouped(names)]


@dataclass(frozen=True)
class Timeline:
    """Where each image stands in time.

    Args:
        sequence (NDArray[np.int64]): [N], its video or folder.
        place (NDArray[np.int64]): [N], 0, 1, ... in the order of time.
    """

    sequence: Rows
    place: Rows

    @classmethod
    def of(cls, table: pa.Table) -> 'Timeline':
        """Read off a table with ``image`` and, where known, ``video`` and ``frame``."""
        sequence, place = np.empty((2, len(table)), np.int64)
        for number, rows in enumerate(sequences(table)):
            sequence[rows], place[rows] = number, np.arange(len(rows))
        return cls(sequence, place)

    def gap(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
        """Steps between two images, [pairs]; infinite between two sequences."""
        steps = np.abs(self.place[left] - self.place[right])
        return np.where(self.sequence[left] == self.sequence[right], steps, np.inf)

    def pairs(self, steps: int) -> tuple[Rows, Rows]:
        """All pairs of rows less than ``steps`` apart, each once; each row with itself among them."""
        line = np.lexsort((self.place, self.sequence))
        left, right = [], []
        for apart in range(min(steps, len(line))):
            before, after = line[: len(line) - apart], line[apart:]
            together = self.sequence[before] == self.sequence[after]
            left.append(before[together])
            right.append(after[together])
        return np.concatenate(left), np.concatenate(right)


def shared_out(groups: Sequence[Rows]) -> Rows:
    """Merge ordered groups so that every prefix holds each group's share of the whole, rounded (Webster's method).

    Row i of a group of m comes at (i + 1/2) / m; equal ones in the order of the groups. So the shares are nested over
    prefixes, which rounding each size by itself would not give.
    """
    if not groups:
        return np.empty(0, np.int64)
    # exact fractions (2 i + 1) / (2 m) compared as floats: equal fractions of unequal m must stay equal
    at = np.concatenate([(2 * np.arange(len(group)) + 1) / (2 * len(group)) for group in groups])
    number = np.concatenate([np.full(len(group), i) for i, group in enumerate(groups)])
    return np.concatenate(list(groups))[np.lexsort((number, at))]


def _grouped(names: Sequence[str]) -> list[Rows]:
    groups: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        groups.setdefault(name, []).append(row)
    return [np.array(groups[name], np.int64) for name in sorted(groups)]


def _natural(key: str) -> list[tuple[int, str]]:
    """``img10`` as ``[(-1, 'img'), (10, '10')]``: numbers compare as numbers, and with texts by their place."""
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r'(\d+)', key) if part]
