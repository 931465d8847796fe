"""Several batches at the same time on the CPU, each through a replica of the model.

A batch that has all cores waits in each operation of the model for the slowest of them: the one where an image is being decoded.
Batches that have some cores each do not wait for one another. The vectors are the same.
"""

import queue
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from mmdel.embedding.embedders.base_embedder import BaseEmbedder
from mmdel.embedding.reader import Batch

MODELS = 4
"""Batches at the same time at most: each holds the outputs of a layer in memory."""

Made = tuple[NDArray[np.int64], NDArray[np.float32] | None]
"""Places of readable images in a batch, [k], and their vectors, [k, D]; None without images."""


def embed_batches(embedder: BaseEmbedder, stream: Iterator[Batch]) -> Generator[tuple[Batch, Made], None, None]:
    """Embed batches in order.

    Args:
        embedder (BaseEmbedder): Makes the vectors; its model is there.
        stream (Iterator[Batch]): Batches, read ahead of those that are given.

    Yields:
        tuple: A batch and what was made of it.

    Raises:
        ConfigError: The model does not return [B, D].
    """
    threads = torch.get_num_threads()
    count = min(MODELS, threads)
    replicas = embedder.replicas(count - 1)
    if not replicas:
        for batch in stream:
            yield batch, _embedded(embedder, batch)
        return
    idle: queue.SimpleQueue[BaseEmbedder] = queue.SimpleQueue()
    for each in (embedder, *replicas):
        idle.put(each)

    def embedded(batch: Batch) -> Made:
        mine = idle.get()
        try:
            return _embedded(mine, batch)
        finally:
            idle.put(mine)

    # torch counts its threads for each thread that calls it
    pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(threads // count,))
    waiting: deque[tuple[Batch, Future[Made]]] = deque()
    try:
        for batch in stream:
            waiting.append((batch, pool.submit(embedded, batch)))
            if len(waiting) > count:
                batch, made = waiting.popleft()
                yield batch, made.result()
        for batch, made in waiting:
            yield batch, made.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _embedded(embedder: BaseEmbedder, batch: Batch) -> Made:
    readable = np.flatnonzero([note.reason is None for note in batch.notes])
    return readable, embedder.embed(batch.images)[readable] if len(readable) else None
