"""Storage that fails or is full: what is read is asked for again, and room is asked for before anything is written.

    data = storage.read(path)                                   # whole, or StorageError
    found = storage.patiently(path, lambda: work_on(path))      # any call that may raise OSError
    storage.require_space(folder, nbytes, 'results')            # or StoreError, before anything is written

A network drive that is away for a moment, a process that has too many files open, a disk that times out: the file is as good as
before, and is never blamed. Such an OSError is waited out, and one that stays becomes a :class:`~mmdel.errors.StorageError`;
every other one (no such file, no permission) passes through at once.

Waiting that did not help makes the next wait half as long, and waiting that helped restores it, so that ten thousand files of a
disk that is gone do not cost ten seconds each.
"""

import errno
import io
import logging
import os
import shutil
import stat as modes
import time
from collections.abc import Callable
from typing import TypeVar

from mmengine.logging import print_log

from mmdel.errors import StorageError, StoreError

ERRNOS = frozenset(
    getattr(errno, name)
    for name in (
        # the process or the machine has too much to do
        'EAGAIN', 'EBUSY', 'EINTR', 'EMFILE', 'ENFILE', 'ENOLCK', 'ENOMEM',
        # the medium
        'EBADMSG', 'EIO', 'EMEDIUMTYPE', 'ENODATA', 'ENODEV', 'ENOMEDIUM', 'ENXIO', 'EUCLEAN',
        # the way to it
        'ECOMM', 'ECONNABORTED', 'ECONNREFUSED', 'ECONNRESET', 'EHOSTDOWN', 'EHOSTUNREACH', 'EKEYEXPIRED', 'ENETDOWN',
        'ENETRESET', 'ENETUNREACH', 'ENOLINK', 'ENONET', 'ENOTCONN', 'EPROTO', 'EREMOTEIO', 'ESHUTDOWN', 'ESTALE', 'ETIMEDOUT',
    )
    if hasattr(errno, name)
)  # fmt: skip
"""What the system says where the storage failed, and not the file; Windows and macOS lack some of these."""

WAITS = (0.1, 0.5, 1.5, 3.0, 5.0)
"""Seconds between tries, about ten in all: a network drive that changes its server is away for some seconds."""

MANY = 8
"""Files that the storage does not give, each made up for by :data:`GOOD` others, after which a run ends."""

GOOD = 4

Result = TypeVar('Result')


SAID_FROM = 100_000_000
"""Bytes; less needs no word."""


def failed(error: BaseException) -> bool:
    """Whether an error says that the storage failed."""
    return isinstance(error, OSError) and error.errno in ERRNOS


def patiently(path: str | os.PathLike[str], call: Callable[[], Result]) -> Result:
    """What a call gives, which is called again where the storage fails.

    Args:
        path (str): What is read, for people.
        call (Callable): Begins anew each time.

    Raises:
        StorageError: The storage failed every time.
        OSError: Whatever else the call raises.
    """
    global _patience
    for tries, wait in enumerate((*WAITS, None), 1):
        try:
            found = call()
        except OSError as error:
            if not failed(error):
                raise
            if wait is None:
                _patience /= 2
                raise _error(path, error, tries) from error
            _say(path, error)
            time.sleep(wait * _patience)
        else:
            if tries > 1:
                _patience = 1.0
            return found
    raise AssertionError('a call without a try')


def read(path: str | os.PathLike[str]) -> bytes:
    """The whole file."""

    def whole() -> bytes:
        with open(path, 'rb') as file:
            return _not_cut_off(file.read(), os.fstat(file.fileno()).st_size, path)

    return patiently(path, whole)


def stat(path: str | os.PathLike[str]) -> os.stat_result:
    """As ``os.stat``."""
    return patiently(path, lambda: os.stat(path))


def scandir(path: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    """All entries of a folder, or none: a listing that breaks off in the middle begins again."""

    def entries() -> list[os.DirEntry[str]]:
        with os.scandir(path) as found:
            return list(found)

    return patiently(path, entries)


def is_dir(path: str | os.PathLike[str]) -> bool:
    """As ``os.path.isdir``, which would take a folder that cannot be reached for none."""
    try:
        return modes.S_ISDIR(stat(path).st_mode)
    except (OSError, ValueError):
        return False


def is_file(path: str | os.PathLike[str]) -> bool:
    """As ``os.path.isfile``, likewise."""
    try:
        return modes.S_ISREG(stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _not_cut_off(data: bytes | None, length: int, path: str | os.PathLike[str]) -> bytes:
    """What was read: Python makes of EAGAIN at the beginning of a file None, and in the middle its end."""
    if data is None or len(data) < length:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), os.fspath(path))
    return data


class PatientFile:
    """A file for a library that takes every error for damage; ``failure`` says afterwards whether the storage was at fault.

    Args:
        path (str): The file.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        self.failure: StorageError | None = None
        self._file = patiently(path, lambda: io.FileIO(path))
        self.seek = self._file.seek
        self.tell = self._file.tell
        self.close = self._file.close

    def read(self, size: int = -1) -> bytes:
        """Up to so many bytes; after a failure none, so that the library ends soon."""
        if self.failure is not None:
            return b''
        begin = self._file.tell()

        def part() -> bytes:
            self._file.seek(begin)
            rest = os.fstat(self._file.fileno()).st_size - begin
            return _not_cut_off(self._file.read(size), rest if size < 0 else 0, self.name)

        try:
            return patiently(self.name, part)
        except StorageError as error:
            self.failure = error
            return b''

    def check(self) -> None:
        """Raise the StorageError that there was."""
        if self.failure is not None:
            raise self.failure


class Losses:
    """Counts files that the storage did not give: a few are rows of a ledger, many end the run."""

    def __init__(self) -> None:
        self._count = 0.0

    def good(self) -> None:
        """A file was read."""
        if self._count:
            self._count = max(0.0, self._count - 1 / GOOD)

    def add(self, error: StorageError) -> None:
        """A file was not.

        Raises:
            StorageError: They are too many.
        """
        self._count += 1
        if self._count >= MANY:
            raise StorageError(f'The storage fails for one file after the other, the last one: {error}') from error


def require_space(folder: str | os.PathLike[str], nbytes: int, what: str) -> None:
    """Say how much will be written into a folder, and refuse to begin where there is no room.

    Args:
        folder (str): Where it goes; need not be there yet.
        nbytes (int): How much, about.
        what (str): What it is: 'results'.

    Raises:
        StoreError: Less than that is free.
    """
    free = shutil.disk_usage(_existing(folder)).free
    need = f'{what}: up to {readable_size(nbytes)} will be written into {os.fspath(folder)}'
    if nbytes > free:
        raise StoreError(
            f'{need}, where {readable_size(free)} are free. Make room there, or name another place: --work-dir DIR, '
            '--cfg-options cache_dir=DIR.'
        )
    if nbytes >= SAID_FROM:
        print_log(f'{need} ({readable_size(free)} are free).', 'current')


def readable_size(nbytes: float) -> str:
    """As people read it, in powers of ten as disks are sold: '12.3 GB'."""
    for unit in ('B', 'kB', 'MB', 'GB', 'TB'):
        if nbytes < 1000 or unit == 'TB':
            break
        nbytes /= 1000
    return f'{nbytes:.0f} B' if unit == 'B' else f'{nbytes:.1f} {unit}'


def _existing(folder: str | os.PathLike[str]) -> str:
    path = os.path.abspath(folder)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def _error(path: str | os.PathLike[str], error: OSError, tries: int) -> StorageError:
    what = _what(error)
    way = 'when it is back, the same command goes on'
    if error.errno in (errno.EMFILE, errno.ENFILE):
        way = 'allow more open files (ulimit -n 4096), and the same command goes on'
    return StorageError(
        f'{os.fspath(path)} cannot be read, as the storage failed ({what}; tried {tries} times). Nothing of this is remembered, '
        f'and what was computed is kept: {way}.',
        f'the storage failed: {what}; this is not remembered',
    )


def _what(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()


def _say(path: str | os.PathLike[str], error: OSError) -> None:
    global _said
    if not _said:
        _said = True
        print_log(
            f'The storage failed at {os.fspath(path)} ({_what(error)}); trying again for up to '
            f'{sum(WAITS):.0f} s. This is said once.',
            logger='current',
            level=logging.WARNING,
        )


_patience = 1.0
_said = False
