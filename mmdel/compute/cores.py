"""The cores that this process may use, and independent work units on them, each with single-threaded matrix libraries.

So whole units run in parallel, not only the products in them.
"""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController

SWITCH_INTERVAL = 50e-6
"""Seconds after which a thread that waits for the interpreter gets it. Python's own 5 ms are longer than a product takes."""


def usable_cores() -> int:
    """Cores that this process may use; a container or a scheduler may have limited them.

    torchrun starts several processes on a machine without dividing its cores among them, and says how many: each takes its share.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    processes = os.environ.get('LOCAL_WORLD_SIZE', '')
    return max(1, cores // int(processes)) if processes.isdigit() and int(processes) else cores


def on_threads(work: Callable[[int], None], numbers: Iterable[int], threads: int | None = None) -> None:
    """Do work units in the order of their numbers, each on the next free thread; this one is one of them.

    Args:
        work (Callable): Does the unit of a number. If it raises, no further unit is begun, and the error is raised here.
        numbers (Iterable[int]): Of the units; asked for one at a time, when a thread is free.
        threads (int, optional): Defaults to None (all cores).
    """
    waiting = iter(numbers)
    lock = threading.Lock()
    failed = threading.Event()

    def run() -> None:
        while (number := take()) is not None:
            try:
                work(number)
            except BaseException:
                failed.set()  # the others end with what they have in hand
                raise

    def take() -> int | None:
        with lock:
            return None if failed.is_set() else next(waiting, None)

    torch_threads, interval = torch.get_num_threads(), sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    others = (threads or usable_cores()) - 1
    try:
        torch.set_num_threads(1)  # for this thread: torch counts those of each that calls it
        with one_thread(), ExitStack() as stack:
            futures = []
            if others:
                pool = ThreadPoolExecutor(others, initializer=torch.set_num_threads, initargs=(1,))
                stack.callback(pool.shutdown)
                futures = [pool.submit(run) for _ in range(others)]
            try:
                run()  # here, where an interrupt arrives, too
            except BaseException:
                failed.set()
                raise
            for future in futures:
                future.result()
    finally:
        torch.set_num_threads(torch_threads)
        sys.setswitchinterval(interval)


def one_thread() -> AbstractContextManager[object]:
    """NumPy's matrix libraries use a single thread inside: where products are small, more of them wait for each other."""
    return _matrix_libraries().limit(limits=1, user_api='blas')


@contextmanager
def without_lost_threads() -> Iterator[None]:
    """In a process that was forked, the libraries' threads are gone, and who waits for them waits forever: one is used."""
    if not (_forked or type(multiprocessing.current_process()).__name__ == 'ForkProcess'):
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadpoolController().limit(limits=1):
            yield
    finally:
        torch.set_num_threads(threads)


_forked = False


def _note_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_note_fork)


@cache
def _matrix_libraries() -> ThreadpoolController:
    """NumPy's, that is; looking for them takes as long as comparing a thousand images."""
    return ThreadpoolController()
