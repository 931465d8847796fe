"""Threads over independent pieces of work, of which the processes of a job may each take some."""

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

from mmdel import sharing
from mmdel.cores import usable_cores

PIECES_APART = 1024
"""Pieces are claimed one by one up to this many, and of more at most this part of all at once."""

SWITCH_INTERVAL = 50e-6
"""Seconds after which a thread that waits for the interpreter gets it. Python's own 5 ms are longer than a product takes."""


class Workers:
    """Threads over independent pieces of work, each with single-threaded matrix libraries.

    So the whole piece runs in parallel, the maximum and the settling too, and not only the product. Pieces begin when all of them
    are known, in the order in which they were submitted, and a thread takes the next one that its process may claim.

    Args:
        threads (int, optional): None is all cores.
        claim (Callable): Says which pieces are this process's. Defaults to all of them.
    """

    def __init__(self, threads: int | None, claim: sharing.Claim = sharing.everything) -> None:
        self._threads = threads or usable_cores()
        self._claim = claim
        self._shared: list[deque[Callable[[], None]]] = []

    def __enter__(self) -> 'Workers':
        return self

    def submit(self, work: Callable[..., None], *arguments: Any) -> None:
        """A piece."""
        self.submit_together([partial(work, *arguments)])

    def submit_together(self, pieces: Iterable[Callable[[], None]]) -> None:
        """Pieces that one process must take, each by any of its threads."""
        self._shared.append(deque(pieces))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is not None:
            return
        numbers = self._claim(len(self._shared), 1 + len(self._shared) // PIECES_APART)
        count = sum(map(len, self._shared))
        mine: deque[Callable[[], None]] = deque()
        lock = threading.Lock()
        failed = threading.Event()

        def run() -> None:
            while (piece := take()) is not None:
                try:
                    piece()
                except BaseException:
                    failed.set()  # the others end with what they have in hand
                    raise

        def take() -> Callable[[], None] | None:
            nonlocal mine
            with lock:
                while not mine and (number := next(numbers, None)) is not None:
                    mine, self._shared[number] = self._shared[number], deque()
                # what a piece has read is given up with it
                return mine.popleft() if mine and not failed.is_set() else None

        torch_threads, interval = torch.get_num_threads(), sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL)
        try:
            # torch counts its threads for each thread that calls it
            with (
                _matrix_libraries().limit(limits=1, user_api='blas'),
                ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,)) as pool,
            ):
                futures = [pool.submit(run) for _ in range(min(self._threads, count))]
                for future in futures:
                    future.result()
        finally:
            torch.set_num_threads(torch_threads)
            sys.setswitchinterval(interval)


@cache
def _matrix_libraries() -> ThreadpoolController:
    """NumPy's, that is; looking for them takes as long as comparing a thousand images."""
    return ThreadpoolController()
