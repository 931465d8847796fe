"""Which columns the rows of a comparison do not see: those that stand behind them, or those of their own label."""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class HiddenColumns:
    """What rows do not see; with neither argument they see everything.

    Args:
        below (NDArray[np.int64], optional): [n], ascending; row i sees only columns smaller than ``below[i]``. Defaults to None.
        labels (tuple, optional): Of the rows, [n], and of all columns; no row sees a column with its own. Not together with
            ``below``. Defaults to None.
    """

    def __init__(self, below: Rows | None = None, labels: tuple[Rows, Rows] | None = None) -> None:
        self._below = below
        self._labels = labels

    def __call__(self, numbers: Rows, slots: Rows) -> NDArray[np.bool_] | None:
        """What the first of some rows, ascending, do not see, bool [first rows, slots]; None if all see everything."""
        if self._below is not None:
            last = slots.max()
            if last < self._below[numbers[0]]:
                return None
            below = self._below[numbers]
            some = int(np.searchsorted(below, last, side='right'))
            hidden: NDArray[np.bool_] = slots >= below[:some, None]
        elif self._labels is not None:
            hidden = self._labels[0][numbers, None] == self._labels[1][slots]
        else:
            return None
        return hidden if hidden.any() else None

    def pairs(self, rows: int, slots: Rows) -> int:
        """How many pairs of so many rows and columns, ascending, have to be compared: what labels hide is multiplied, too."""
        if self._below is None:
            return rows * len(slots)
        return int(np.searchsorted(slots, self._below).sum())

    def partly_seen(self, slots: Rows, first: Rows) -> NDArray[np.bool_] | None:
        """Which rows see a column of which part, bool [parts, rows]; None if all see one of each.

        Args:
            slots (NDArray[np.int64]): All columns, part by part.
            first (NDArray[np.int64]): [parts], where each part begins.
        """
        if self._below is not None:
            return np.minimum.reduceat(slots, first)[:, None] < self._below
        if self._labels is not None:
            mine, theirs = self._labels[0], self._labels[1][slots]
            least, most = (extreme.reduceat(theirs, first)[:, None] for extreme in (np.minimum, np.maximum))
            return (least != mine) | (most != mine)
        return None
