"""Threads over independent pieces of work, each with single-threaded matrix libraries."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from threadpoolctl import threadpool_limits

from mmdel.cores import usable_cores


class Workers:
    """Runs what is submitted; leaving the ``with`` block waits for all of it and raises the first error.

    The whole piece runs in parallel, the maximum and the settling too, and not only the product.

    Args:
        threads (int, optional): None: all cores.
    """

    def __init__(self, threads: int | None) -> None:
        self._threads = threads or usable_cores()

    def __enter__(self) -> 'Workers':
        self._limits = threadpool_limits(1, user_api='blas')
        self._torch_threads = torch.get_num_threads()
        # torch counts its threads for each thread that calls it
        self._pool = ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,))
        self._futures: list[Future[None]] = []
        return self

    def submit(self, work: Callable[..., None], *arguments: object) -> None:
        self._futures.append(self._pool.submit(work, *arguments))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            self._pool.shutdown(wait=True, cancel_futures=kind is not None)
            for future in self._futures:
                if kind is None:
                    future.result()
        finally:
            torch.set_num_threads(self._torch_threads)
            self._limits.restore_original_limits()
