"""Files that are either complete or absent, and the state by which one is known to be unchanged, without reading it.

    before = file_state(path)
    ...
    file_state(path) == before     # nobody has written to it, put another file in its place, or renamed it

Size and time of modification alone do not tell: files of one size that were renumbered among each other, copied with their times
or unpacked have them in common. The time of the last change of the entry and its number on the disk do tell, where the file
system keeps them. Where it makes them up, files look changed that are not; where it has none (:func:`tells_nothing`), files that
look as they were may be others. In both cases their contents decide.
"""

import csv
import hashlib
import io
import os
import platform
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmdel.compute import storage

if TYPE_CHECKING:  # text files are read and written by interpreters without NumPy, too
    import numpy as np
    from numpy.typing import NDArray

TEMPORARY = '.tmp'
"""Suffix of files that are being written."""

_QUOTED = re.compile('[,"\r\n]')
_STAND_IN = '\ufdd0'  # no character, by Unicode's own word
_HIDDEN = re.compile(f'{_STAND_IN}(.)', re.DOTALL)


_INT64 = (1 << 63) - 1

_COARSEST_NS = 10_000_000
"""Steps of the clock of exFAT; those of FAT and of SFTP are multiples."""


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; when the block ends well, flush it to disk and rename it to ``path``.

    A reader, or a process that is killed at any moment, sees the old file or the new one and never a part of it. What a
    killed process of this machine left of the same file is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f'.{path.name}.{platform.node()}.'
    for left in path.parent.iterdir():
        process = left.name[len(prefix) : -len(TEMPORARY)]
        if (
            left.name.startswith(prefix)
            and left.suffix == TEMPORARY
            and process.isdigit()
            and not process_runs(int(process))
        ):
            left.unlink(missing_ok=True)
    temporary = path.with_name(f'{prefix}{os.getpid()}{TEMPORARY}')
    try:
        yield temporary
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        # of a full disk a library says neither the file nor, where it does, under which name it was to be
        if error.errno is not None and error.filename in (None, os.fspath(temporary)):
            error.filename, error.filename2 = os.fspath(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text with Unix line ends, atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(text.encode())


def csv_text(rows: Iterable[Iterable[Any]], end: str = '\n') -> str:
    r"""Rows as comma-separated text, the same on every version of Python; :func:`csv_rows` reads it back.

    Cells are quoted where they hold a comma, a quote or a line break; None is an empty cell. The ``csv`` module of Python 3.10
    cannot write NUL, and leaves a lone ``\r`` unquoted.

    Args:
        rows (Iterable): The rows; a cell becomes text by ``str``.
        end (str): Line end. Defaults to ``\n``.
    """
    lines = []
    for row in rows:
        cells = ['' if cell is None else str(cell) for cell in row]
        # a lone empty cell would be a blank line
        quoted = ['"' + cell.replace('"', '""') + '"' if _QUOTED.search(cell) else cell for cell in cells]
        lines.append(','.join(quoted) if cells != [''] else '""')
    return ''.join(line + end for line in lines)


def csv_rows(text: str, delimiter: str = ',') -> list[list[str]]:
    """The rows of separated text, blank lines left out.

    Args:
        text (str): The text, with line ends of any kind.
        delimiter (str): What separates cells. Defaults to ','.

    Raises:
        csv.Error: A quote is never closed, or a cell is longer than ``csv.field_size_limit()``.
    """
    hidden = '\0' in text  # Python 3.10 cannot read it
    if hidden:
        text = text.replace(_STAND_IN, _STAND_IN * 2).replace('\0', _STAND_IN + '0')
    rows = [row for row in csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True) if row]
    if hidden:
        rows = [
            [_HIDDEN.sub(lambda found: '\0' if found[1] == '0' else found[1], cell) for cell in row] for row in rows
        ]
    return rows


def file_digest(path: str | os.PathLike[str]) -> str:
    """sha256 of a file, 64 hexadecimal digits; read in blocks."""

    def digest() -> str:
        made = hashlib.sha256()
        with open(path, 'rb') as file:
            while block := file.read(1 << 20):
                made.update(block)
        return made.hexdigest()

    return storage.patiently(path, digest)


def process_runs(process: int) -> bool:
    """Whether a process of this machine runs, under whatever user."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs, as another user
        pass
    return True


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
        import numpy as np

        return not tells_nothing(np.array(self))


NO_FILE = FileState(-1, -1, -1, -1)
"""The state of what is not there."""


def tells_nothing(states: 'NDArray[np.int64]') -> 'NDArray[np.bool_]':
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


def _flush_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system can do that."""
    if hasattr(os, 'O_DIRECTORY'):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
