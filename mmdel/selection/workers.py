"""Threads over independent pieces of work, of which the processes of a job may each take some."""

import sys
import threading
from collections.abc import Callable
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
        self._pieces: list[Callable[[], None] | None] = []

    def __enter__(self) -> 'Workers':
        return self

    def submit(self, work: Callable[..., None], *arguments: Any) -> None:
        self._pieces.append(partial(work, *arguments))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is not None:
            return
        numbers = self._claim(len(self._pieces), 1 + len(self._pieces) // PIECES_APART)
        lock = threading.Lock()

        def run() -> None:
            while (piece := take()) is not None:
                try:
                    piece()
                except BaseException:
                    self._pieces = [None] * len(self._pieces)  # the others end with what they have in hand
                    raise

        def take() -> Callable[[], None] | None:
            with lock:
                number = next(numbers, None)
            if number is None:
                return None
            # what a piece has read is given up with it
            piece, self._pieces[number] = self._pieces[number], None
            return piece

        torch_threads, interval = torch.get_num_threads(), sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL)
        try:
            # torch counts its threads for each thread that calls it
            with (
                _matrix_libraries().limit(limits=1, user_api='blas'),
                ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,)) as pool,
            ):
                futures = [pool.submit(run) for _ in range(min(self._threads, len(self._pieces)))]
                for future in futures:
                    future.result()
        finally:
            torch.set_num_threads(torch_threads)
            sys.setswitchinterval(interval)


@cache
def _matrix_libraries() -> ThreadpoolController:
    """NumPy's, that is; looking for them takes as long as comparing a thousand images."""
    return ThreadpoolController()
