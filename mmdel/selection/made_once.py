"""Blocks that several threads need, each made by one of them."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Block = TypeVar('Block')


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
