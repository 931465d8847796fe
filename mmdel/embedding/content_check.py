"""Which files hold the same bytes, so that the model sees each content once.

    first = first_identical(paths, sizes)            # int64 [n]: the first file with the content of file i, often i itself
    contents_of(paths)                               # 16 bytes each that tell what is in it
    unchanged(paths, rows, states)                   # bool [n]: whether a file is still the one that was noted

Archives hold the same picture under several names. Nothing is read of files whose size is unique, one block of those that share
it, and only what agrees there is read as a whole.
"""

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel.compute import storage
from mmdel.compute.files import tells_nothing
from mmdel.compute.progress import SILENT, Stages, Tick
from mmdel.embedding.store import STATE
from mmdel.errors import StorageError
from mmdel.images import formats
from mmdel.images.frames import CONTENT_BYTES, content_of, digest_of

READERS = 16
"""Files read at once: on a network drive each is waited for."""

_BLOCK = 4096
"""Bytes from the end of a file: the beginnings of images from one device are alike."""

_AT_A_TIME = 4096

Group = list[int]


def contents_of(paths: Sequence[str], tick: Tick = lambda done: None) -> pa.Array:
    """:func:`~mmdel.images.frames.content_of` each, null where it is None; several are read at once.

    Args:
        paths (Sequence[str]): [n], image files and frames.
        tick (Callable): Called with numbers that add up to n. Defaults to a function that does nothing.
    """
    found: list[bytes | None] = []
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(paths), _AT_A_TIME):
            for content in pool.map(_content, paths[start : start + _AT_A_TIME]):
                found.append(content)
                tick(1)
    return pa.array(found, pa.binary(CONTENT_BYTES))


def unchanged(
    paths: pa.Array, noted: pa.Table, states: NDArray[np.int64], progress: Stages = SILENT
) -> NDArray[np.bool_]:
    """Whether each file holds what it held, bool [n]; where its state does not tell, it is read.

    Args:
        paths (pa.Array): [n], the files.
        noted (pa.Table): [n], their :data:`~mmdel.embedding.store.STATE` and ``content`` then.
        states (NDArray[np.int64]): [n, 4], their state now.
        progress (Stages): Shows the reading. Defaults to ``SILENT``.
    """
    before = np.stack([noted[name].to_numpy() for name in STATE], axis=1)
    same = (before == states).all(axis=1) & ~tells_nothing(states)
    doubtful = np.flatnonzero(~same & (before[:, 0] == states[:, 0]))
    held = noted['content'].take(pa.array(doubtful)).to_pylist()
    with progress.stage('cache', total=len(doubtful), unit='files') as tick:
        holds = contents_of(paths.take(pa.array(doubtful)).to_pylist(), tick).to_pylist()
    same[doubtful] = [one is not None and one == other for one, other in zip(held, holds, strict=True)]
    return same


def first_identical(paths: pa.StringArray, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of the first file that holds the same bytes as each, int64 [n]; its own where there is none before.

    Frames of videos and files that cannot be read are like no other.

    Args:
        paths (pa.StringArray): [n], the files.
        sizes (NDArray[np.int64]): [n], bytes; -1 where not known.
    """
    first = np.arange(len(paths))
    # what has no bytes may be a pipe, which must not be opened
    files = np.flatnonzero(sizes > 0)
    for group in _of_one_size(files, sizes[files]):
        group = [i for i in group if not formats.split_frame(paths[i].as_py())]
        for part in _split(group, lambda i: _last_block(paths[i].as_py(), int(sizes[i]))):
            for same in _split(part, lambda i: _digest(paths[i].as_py())):
                first[same] = same[0]
    return first


def _of_one_size(files: NDArray[np.int64], sizes: NDArray[np.int64]) -> Iterator[Group]:
    """The files that share their size, in order; one group after another."""
    order = np.argsort(sizes, kind='stable')
    ends = np.append(np.flatnonzero(np.diff(sizes[order])) + 1, len(order))
    for start, end in itertools.pairwise([0, *ends.tolist()]):
        if end - start > 1:
            yield files[order[start:end]].tolist()


def _split(group: Group, key: Callable[[int], bytes | None]) -> list[Group]:
    """The parts of a group that share a key, in order; what is alone or has no key is left out."""
    by_key: dict[bytes, Group] = defaultdict(list)
    for i in group:
        if (value := key(i)) is not None:
            by_key[value].append(i)
    return [part for part in by_key.values() if len(part) > 1]


def _last_block(path: str, size: int) -> bytes | None:
    def block() -> bytes:
        with open(path, 'rb', buffering=0) as file:
            file.seek(max(0, size - _BLOCK))
            return file.read(_BLOCK)

    try:
        # of a million files of one size a million blocks would be kept
        return hashlib.blake2b(storage.patiently(path, block), digest_size=16).digest()
    except (OSError, ValueError, StorageError):  # who reads the file as a whole says so
        return None


def _digest(path: str) -> bytes | None:
    try:
        return digest_of(path)
    except StorageError:
        return None


def _content(path: str) -> bytes | None:
    try:
        return content_of(path)
    except StorageError:  # the file is then read to be embedded, and that says so
        return None
