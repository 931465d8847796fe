"""Which columns a row is not compared with: an interval of their places.

In a triangle these are the row itself and all that stand behind it; between groups that stand one after the other, the row's own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmdel.similarity.canonical import Rows


@dataclass(frozen=True)
class Exclusion:
    """Row i is not compared with columns ``first[i] <= column < last[i]``; both int64 [n]."""

    first: Rows
    last: Rows

    @classmethod
    def nothing(cls, rows: int) -> 'Exclusion':
        """So many rows are compared with every column."""
        return cls(np.zeros(rows, np.int64), np.zeros(rows, np.int64))

    @classmethod
    def before(cls, slots: Rows) -> 'Exclusion':
        """Rows at these slots are compared with those before them."""
        return cls(slots, np.full(len(slots), np.iinfo(np.int64).max))

    def __getitem__(self, rows: Rows | NDArray[np.bool_]) -> 'Exclusion':
        return Exclusion(self.first[rows], self.last[rows])

    def mask(self, slots: Rows) -> NDArray[np.bool_] | None:
        """Bool [n, slots], true where a column is excluded; None where none is."""
        least, most = slots.min(), slots.max()
        if not ((self.first <= most) & (self.last > least)).any():
            return None
        if self.first.max() <= least:
            return slots < self.last[:, None]
        excluded: NDArray[np.bool_] = slots >= self.first[:, None]
        if self.last.min() <= most:
            excluded &= slots < self.last[:, None]
        return excluded

    def leaves(self, least: Rows, most: Rows) -> NDArray[np.bool_]:
        """Which rows may be compared with one of the columns from ``least`` to ``most``, [parts] each; bool [parts, n]."""
        return (least[:, None] < self.first) | (most[:, None] >= self.last)

    def trimmed(self, columns: Rows) -> Rows:
        """Columns, ascending, without those that every row excludes."""
        first, last = self.first.max(initial=0), self.last.min(initial=np.iinfo(np.int64).max)
        start, stop = np.searchsorted(columns, [first, last])
        return np.concatenate([columns[:start], columns[stop:]]) if start < stop else columns

    def pairs(self, slots: Rows) -> int:
        """How many pairs of rows and columns, ascending, are left."""
        excluded = np.searchsorted(slots, self.last) - np.searchsorted(slots, self.first)
        return int(len(self.first) * len(slots) - np.maximum(excluded, 0).sum())
