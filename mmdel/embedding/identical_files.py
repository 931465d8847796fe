"""Which files hold the same bytes, so that the model sees each content once.

    first = first_identical(paths, sizes)     # int64 [n]: the first file with the content of file i, often i itself

Archives hold the same picture under several names. Nothing is read of files whose size is unique, one block of those that share
it, and only what agrees there is read as a whole.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mmdel.datasets import videos
from mmdel.files import file_digest

_BLOCK = 4096
"""Bytes from the end of a file: the beginnings of images from one device are alike."""

Group = list[int]


def first_identical(paths: Sequence[str], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of the first file that holds the same bytes as each, int64 [n]; its own where there is none before.

    Frames of videos and files that cannot be read are like no other.

    Args:
        paths (Sequence[str]): The files.
        sizes (NDArray[np.int64]): [n], bytes; -1 where not known.
    """
    first = np.arange(len(paths))
    # what has no bytes may be a pipe, which must not be opened
    candidates = [i for i in np.flatnonzero(sizes > 0).tolist() if not videos.split_frame(paths[i])]
    groups = _split([candidates], lambda i: int(sizes[i]))
    groups = _split(groups, lambda i: _last_block(paths[i], int(sizes[i])))
    groups = _split(groups, lambda i: _digest(paths[i]))
    for group in groups:
        first[group] = group[0]
    return first


def _split(groups: Iterable[Group], key: Callable[[int], Hashable | None]) -> list[Group]:
    """The parts of each group that share a key, in order; what is alone or has no key is left out."""
    parts: list[Group] = []
    for group in groups:
        by_key: dict[Hashable, Group] = defaultdict(list)
        for i in group:
            if (value := key(i)) is not None:
                by_key[value].append(i)
        parts += [part for part in by_key.values() if len(part) > 1]
    return parts


def _last_block(path: str, size: int) -> bytes | None:
    try:
        with open(path, 'rb', buffering=0) as file:
            file.seek(max(0, size - _BLOCK))
            return file.read(_BLOCK)
    except (OSError, ValueError):
        return None


def _digest(path: str) -> str | None:
    try:
        return file_digest(path)
    except (OSError, ValueError):
        return None
