"""How the rows of a group are cut into pieces: for processes, that must agree, and for the threads of each, that need not."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mmdel.selection.groups import Group
from mmdel.selection.made_once import MadeOnce

Rows = NDArray[np.int64]

LEAST_ROWS, MOST_ROWS = 1024, 4096
"""Of a piece of a large group. Where columns are read and prepared again for each piece, it has the most."""

PIECES = 4
"""Pieces that the groups are cut into at least, so that threads have work until the end; none below 128 rows. More of them cost a
small group more than they gain."""

PIECES_OF_LARGE = 32
"""Pieces that a large group is cut into at least, for as many threads; the rows of a piece share what its columns cost."""

RUN_ROWS = 8192
"""Rows of a run at most."""


class Run:
    """Rows that follow each other in a group, cut into pieces when one of them is asked for.

    Where columns are pruned, similar rows are in one piece: they have the same columns left over. Pieces of a run may be cut in
    another way by another machine, whose sums differ, so one process has to take all of them.

    Args:
        group (Group): Has the rows.
        start, stop (int): They are its slots.
        pieces (int): How many to make of them.
    """

    def __init__(self, group: Group, start: int, stop: int, pieces: int) -> None:
        self.group = group
        self.pieces = pieces
        self._slots = np.arange(start, stop)
        self._cut: MadeOnce[list[Rows]] = MadeOnce(1)

    def piece(self, number: int) -> Rows:
        """Slots, ascending."""
        if self.pieces == 1:
            return self._slots
        projection = self.group.projection
        if projection is not None:
            # all threads that wait for the cut do a part of this
            self.group.projected_among(projection, self._slots)
        return self._cut.get(0, self._make)[number]

    def _make(self, number: int) -> list[Rows]:
        projection, slots = self.group.projection, self._slots
        if projection is not None:
            cell = self.group.projected_among(projection, slots).cell[slots]
            slots = slots[np.argsort(cell, kind='stable')]
        return [np.sort(piece) for piece in np.array_split(slots, self.pieces)]


def runs(group: Group, groups: int, processes: int) -> Iterator[Run]:
    """Of one of so many groups, for so many processes; those that take longest first."""
    size = len(group)
    step = int(np.clip(size // PIECES_OF_LARGE, LEAST_ROWS, MOST_ROWS)) if group.held else MOST_ROWS
    step = max(min(step, size // max(1, PIECES // groups) // 128 * 128), min(128, step))
    run = max(step, min(RUN_ROWS, size if processes == 1 else size // PIECES_OF_LARGE) // step * step)
    for start in reversed(range(0, size, run)):
        stop = min(start + run, size)
        yield Run(group, start, stop, -(-(stop - start) // step))
