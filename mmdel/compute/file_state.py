"""The state by which a file is known to be unchanged, without reading it.

    before = file_state(path)
    ...
    file_state(path) == before     # nobody has written to it, put another file in its place, or renamed it

Size and time of modification alone do not tell: files of one size that were renumbered among each other, copied with their times
or unpacked have them in common. The time of the last change of the entry and its number on the disk do tell, where the file
system keeps them. Where it makes them up, files look changed that are not; where it has none (:func:`tells_nothing`), files that
look as they were may be others. In both cases their contents decide.
"""

import os
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmdel.compute import storage

_INT64 = (1 << 63) - 1

_COARSEST_NS = 10_000_000
"""Steps of the clock of exFAT; those of FAT and of SFTP are multiples."""


class FileState(NamedTuple):
    """What the file system tells of a file.

    Args:
        size (int): Bytes.
        mtime_ns (int): When its contents were changed, nanoseconds since the epoch.
        ctime_ns (int): When anything of it was changed, its name included; on Windows when it was made.
        inode (int): Its number on the disk.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> 'FileState':
        """The state that ``os.stat`` found."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & _INT64)

    @property
    def tells(self) -> bool:
        """Whether a file of this very state is certain to be the same; see :func:`tells_nothing`."""
        return not tells_nothing(np.array(self))


NO_FILE = FileState(-1, -1, -1, -1)
"""The state of what is not there."""


def tells_nothing(states: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a state, even if it is the same, leaves open that the file is another one, bool [n].

    That is so without a number, and on FAT, exFAT and SFTP: there the time of the last change is a copy of that of modification.

    Args:
        states (NDArray[np.int64]): [n, 4] or [4], the fields of :class:`FileState`.
    """
    _, mtime, ctime, inode = states.T
    return (inode == 0) | ((ctime == mtime) & (mtime % _COARSEST_NS == 0))


def file_state(path: str) -> FileState:
    """The state of a file; :data:`NO_FILE` where there is none.

    Raises:
        StorageError: The storage failed.
    """
    try:
        return FileState.of(storage.stat(path))
    except (OSError, ValueError):
        return NO_FILE
