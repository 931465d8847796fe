"""A list of files with sizes, each of which can be opened: what folders and archives have in common, and folders."""

import os
import stat
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

from mmdel.compute import storage
from mmdel.compute.files import FileState
from mmdel.errors import StorageError, UnreadableImage
from mmdel.images import keys
from mmdel.images.left_out import is_junk

DAMAGE = (
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    tarfile.TarError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)
"""What the libraries raise for an archive that is damaged, cut off, or packed in a way that they do not know."""


@dataclass(frozen=True)
class Member:
    """One file of a source.

    Args:
        path (str): Its name, POSIX, relative to the source.
        size (int): Bytes.
        mtime (int): When it was changed, nanoseconds; 0 where an archive does not tell.
        order (int): Its place in the source: reading in this order never goes back.
        state (FileState, optional): Of a file on disk. Defaults to None.
    """

    path: str
    size: int
    mtime: int
    order: int
    state: FileState | None = None


class Source(ABC):
    """A folder or an archive; a context manager. Subclasses list and open.

    Args:
        path (str): The folder or file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._members: tuple[Member, ...] | None = None
        self._problems: list[tuple[str, str]] = []

    @property
    def members(self) -> tuple[Member, ...]:
        """What can be opened, in the order in which it is read fastest."""
        if self._members is None:
            self._members = tuple(self._checked(self._list()))
        return self._members

    @property
    def problems(self) -> tuple[tuple[str, str], ...]:
        """``(path, reason)`` of what cannot be used; '' is the source itself."""
        return tuple(self._problems) if self.members is not None else ()

    def open(self, member: Member) -> IO[bytes]:
        """A binary stream of one member.

        Raises:
            UnreadableImage: It cannot be opened.
        """
        _ = self.members  # a listing from a cache has told of the member, so that the archive itself is not listed yet
        try:
            return self._open(member)
        except UnreadableImage:
            raise
        except (*DAMAGE, KeyError) as error:
            raise UnreadableImage(f'cannot be opened: {words(error)}') from error

    def read(self, member: Member) -> bytes:
        """All bytes of one member, and never more than its header announced.

        Raises:
            UnreadableImage: It is damaged, cut off, or longer than its header says.
        """
        return b''.join(self.blocks(member))

    def blocks(self, member: Member, size: int = 1 << 20) -> Iterator[bytes]:
        """The bytes of one member, piece by piece; checked as :meth:`read` does."""
        left = member.size
        with self.open(member) as stream:
            while True:
                try:
                    block = stream.read(size)
                except DAMAGE as error:
                    if storage.failed(error):
                        raise StorageError(f'{self.path}: the storage failed ({words(error)}). Start again.') from error
                    raise UnreadableImage(f'damaged or cut off: {words(error)}') from error
                if not block:
                    break
                left -= len(block)
                if left < 0:
                    raise UnreadableImage(f'is longer than the {member.size:,} bytes that its header announces')
                yield block
        if left:
            raise UnreadableImage(f'cut off: {member.size - left:,} of {member.size:,} bytes')

    def close(self) -> None:  # noqa: B027  a folder holds nothing open
        """Close what is open."""

    def __enter__(self) -> 'Source':
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    # --- private

    @abstractmethod
    def _list(self) -> Iterable[Member]:
        """All files, whatever their names; what cannot be reached is noted as a problem."""

    @abstractmethod
    def _open(self, member: Member) -> IO[bytes]:
        """A binary stream of one member; raises what the library raises."""

    def _checked(self, members: Iterable[Member]) -> Iterator[Member]:
        seen: dict[str, str] = {}
        for member in members:
            problem = keys.name_problem(member.path)
            first = seen.setdefault(member.path.casefold(), member.path)
            if problem:
                self._problems.append((keys.escape(member.path), problem))
            elif first is not member.path:
                twin = 'stands in the archive twice' if first == member.path else f'differs from {first} in case only'
                self._problems.append((member.path, twin))
            else:
                yield member


class FolderSource(Source):
    """The files below a folder; links are followed, each folder once.

    Args:
        path (str): The folder.
        without (str, optional): A folder that does not count. Defaults to None.
    """

    def __init__(self, path: str | os.PathLike[str], without: str | os.PathLike[str] | None = None) -> None:
        super().__init__(path)
        self._without = without

    def _list(self) -> list[Member]:
        members: list[Member] = []
        entered = {_identity(self._without)} if self._without and os.path.isdir(self._without) else set()
        for inside, outcome in walk(self.path, [''], lambda entry, inside: self._take(entry, inside, members), entered):
            if isinstance(outcome, OSError):
                self._problems.append((inside.rstrip('/'), f'the folder cannot be listed ({outcome.strerror})'))
        members.sort(key=lambda member: member.path)
        return [replace(member, order=order) for order, member in enumerate(members)]

    def _take(self, entry: os.DirEntry[str], inside: str, members: list[Member]) -> str | None:
        path = inside + entry.name
        if is_junk(entry.name):
            return None
        try:
            if storage.patiently(entry.path, entry.is_dir):
                return f'{path}/'
            status = storage.patiently(entry.path, entry.stat)
        except OSError as error:
            self._problems.append((path, f'cannot be reached ({error.strerror})'))
            return None
        if stat.S_ISREG(status.st_mode):
            members.append(Member(path, status.st_size, status.st_mtime_ns, 0, FileState.of(status)))
        else:
            self._problems.append((path, 'is not a regular file'))
        return None

    def _open(self, member: Member) -> IO[bytes]:
        path = self.path / member.path
        return storage.patiently(path, lambda: open(path, 'rb'))


def walk(
    top: str | os.PathLike[str],
    starts: Sequence[str],
    take: Callable[[os.DirEntry[str], str], str | None],
    entered: set[tuple[int, int]] | None = None,
) -> Iterator[tuple[str, Literal['listed', 'loop'] | OSError]]:
    """Walk through a tree, through links, too; folders are relative to its top, and all but '' end in a slash.

    Args:
        top (str): The folder that others are relative to.
        starts (Sequence[str]): Where to begin.
        take (Callable): Gets each entry and its folder; what it returns is a folder to look into.
        entered (set, optional): Device and number of folders that are not entered (again), so that each is entered once.
            Defaults to None: only a way back to a folder above is not.

    Yields:
        tuple: A folder, once its entries have been taken, and what became of it.
    """
    stack: list[tuple[str, frozenset[tuple[int, int]]]] = [(start, frozenset()) for start in starts]
    while stack:
        inside, above = stack.pop()
        path = os.path.join(top, inside)
        try:
            own = _identity(path)
            if own in (above if entered is None else entered):
                yield inside, 'loop'
                continue
            if entered is not None:
                entered.add(own)
            subfolders = [folder for entry in storage.scandir(path) if (folder := take(entry, inside)) is not None]
        except OSError as error:
            yield inside, error
            continue
        yield inside, 'listed'
        stack.extend((subfolder, above | {own}) for subfolder in subfolders)


def words(error: BaseException) -> str:
    """An error as one line for people."""
    return ' '.join(str(error).split()) or type(error).__name__


# --- private


def _identity(folder: str | os.PathLike[str]) -> tuple[int, int]:
    status = storage.stat(folder)
    return status.st_dev, status.st_ino
