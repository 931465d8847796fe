"""Blocks that several threads need, each made by one of them."""

import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mmdel.embedding.vectors import is_run

Block = TypeVar('Block')


class Sliced(Protocol):
    """Rows that can be had and set."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...

    def __setitem__(self, rows: Any, values: Any, /) -> None: ...


Whole = TypeVar('Whole', bound=Sliced)


class MadeOnce(Generic[Block]):
    """Blocks 0 to ``count`` - 1, made where they are first asked for.

    Threads that go through the same blocks would all wait for the one that makes the next block. Instead of waiting, a thread
    makes a later one.

    Args:
        count (int): Blocks.
    """

    def __init__(self, count: int) -> None:
        self._made: list[Block | None] = [None] * count
        self._begun = [False] * count
        self._left = count
        self._changed = threading.Condition()

    @property
    def complete(self) -> bool:
        """Whether all are made."""
        return not self._left

    def get(self, number: int, make: Callable[[int], Block]) -> Block:
        """A block; ``make`` makes any of them by its number."""
        while (block := self._made[number]) is None:
            with self._changed:
                if self._made[number] is not None:
                    continue
                mine = number if not self._begun[number] else self._next(number)
                if mine is None:
                    self._changed.wait()
                    continue
                self._begun[mine] = True
            self._finish(mine, make)
        return block

    def _next(self, number: int) -> int | None:
        """The first block behind a number that nobody has begun."""
        return next((later for later in range(number + 1, len(self._begun)) if not self._begun[later]), None)

    def _finish(self, number: int, make: Callable[[int], Block]) -> None:
        block = None
        try:
            block = make(number)
        finally:  # what could not be made is begun anew by the next one who needs it
            with self._changed:
                self._made[number], self._begun[number] = block, block is not None
                self._left -= block is not None
                self._changed.notify_all()


class MadeByBlock(Generic[Whole]):
    """Rows that are made some at a time, where one of them is first asked for, and held from then on.

    Args:
        size (int): Rows.
        step (int): Rows made at a time.
        room (Callable): ``room(made, size)`` is room for all rows, like those that were made first.
    """

    def __init__(self, size: int, step: int, room: Callable[[Whole, int], Whole]) -> None:
        self._size = size
        self._step = max(1, step)
        self._room = room
        self._allocating = threading.Lock()
        self._whole: Whole | None = None
        self._blocks: MadeOnce[Whole] = MadeOnce(-(-size // self._step))

    def whole(self, rows: NDArray[np.int64], make: Callable[[slice], Whole]) -> Whole:
        """All rows, of which these, at least one, have been made; ``make`` makes those of a slice."""
        if self._blocks.complete:
            needed = [0]
        elif is_run(rows):
            needed = list(range(int(rows[0]) // self._step, int(rows[-1]) // self._step + 1))
        else:
            needed = np.unique(rows // self._step).tolist()
        for block in needed:
            whole = self._blocks.get(block, lambda block: self._fill(block, make))
        return whole

    def of(self, rows: NDArray[np.int64], make: Callable[[slice], Whole]) -> Whole:
        """Some rows; those that follow each other are a view."""
        whole = self.whole(rows, make)
        found: Whole = whole[int(rows[0]) : int(rows[-1]) + 1] if is_run(rows) else whole[rows]
        return found

    def _fill(self, block: int, make: Callable[[slice], Whole]) -> Whole:
        part = slice(block * self._step, min((block + 1) * self._step, self._size))
        made = make(part)
        if len(made) == self._size:
            return made
        with self._allocating:
            if self._whole is None:
                self._whole = self._room(made, self._size)
        self._whole[part] = made
        return self._whole
