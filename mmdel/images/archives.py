"""Folders, zip and tar files as one thing: a list of files with sizes, each of which can be opened.

    with open_source('downloads/kvasir-seg.zip') as source:
        for member in source.members:
            data = source.read(member)
        source.problems     # (('../evil.jpg', 'leads out of the archive'), ...)

Nothing is ever unpacked to a name that an archive chose: members are handed out as bytes, and whoever writes them picks the
name. A member that could do harm (an absolute path, ``..``, a link, a device, a password, a size out of all proportion) is a
row of ``problems`` and no member; so is the second of two of one name, or of two names that only differ in case, since a tree
with both cannot live on every disk. An archive that is cut off gives what lies before the cut, and a row.
"""

import os
import posixpath
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from functools import cached_property
from typing import IO, Any

from mmdel.errors import UnreadableImage
from mmdel.images import keys
from mmdel.images.file_source import DAMAGE, FolderSource, Member, Source, words
from mmdel.images.left_out import is_junk

MAX_MEMBER_BYTES = 64 << 30
"""No file of the catalogue is near this size: the longest capsule video takes some gigabytes."""

MAX_RATIO = 1_200
"""Deflate cannot compress better than 1,032 to 1, so a larger ratio is a forged size or a sparse file."""

ARCHIVE_SUFFIXES = ('.zip', '.tar', '.tar.gz', '.tgz')
"""What is opened as an archive."""

FOREIGN_ARCHIVES = ('.rar', '.7z')
"""What datasets also come in, and nothing here can read."""


class _Archive(Source):
    """What an archive is; it is opened when it is first needed.

    Args:
        path (str): The file, or its name where ``stream`` is given.
        stream (IO[bytes], optional): An open archive. Defaults to None.
        size (int, optional): Its size in bytes where ``stream`` is given. Defaults to None.
    """

    def __init__(self, path: str | os.PathLike[str], stream: IO[bytes] | None = None, size: int | None = None) -> None:
        super().__init__(path)
        self._stream = stream
        self._size = size
        self._infos: dict[int, Any] = {}

    def close(self) -> None:
        """Close the file."""
        if opened := vars(self).pop('_archive', None):
            opened.close()


class ZipSource(_Archive):
    """The members of a zip file."""

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self._stream or self.path)

    def _list(self) -> Iterator[Member]:
        try:
            infos = self._archive.infolist()
        except DAMAGE as error:
            self._problems.append(('', f'is no whole zip file, load it again: {words(error)}'))
            return
        for order, info in enumerate(sorted(infos, key=lambda info: info.header_offset)):
            name = info.filename.replace('\\', '/')
            mode = info.external_attr >> 16
            if info.is_dir() or any(map(is_junk, name.split('/'))):
                continue
            problem = _name_problem(name) or _size_problem(info.file_size, info.compress_size)
            if not problem and mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                problem = 'is a link' if stat.S_ISLNK(mode) else 'is not a regular file'
            if not problem and info.flag_bits & 1:
                problem = 'is encrypted; unpack the archive with its password and give the folder'
            if problem:
                self._problems.append((keys.normalise(name), problem))
                continue
            self._infos[order] = info
            yield Member(posixpath.normpath(name), info.file_size, _zip_time(info), order)

    def _open(self, member: Member) -> IO[bytes]:
        return self._archive.open(self._infos[member.order])


class TarSource(_Archive):
    """The members of a tar file, compressed or not."""

    @cached_property
    def _archive(self) -> tarfile.TarFile:
        return tarfile.open(None if self._stream else self.path, 'r:*', self._stream)

    def _list(self) -> Iterator[Member]:
        size = self.path.stat().st_size if self._size is None else self._size
        order = 0
        try:
            for order, info in enumerate(self._archive):
                name = info.name.replace('\\', '/')
                if info.isdir() or any(map(is_junk, name.split('/'))):
                    continue
                problem = _name_problem(name) or _size_problem(info.size, size)
                if not problem and not (info.isreg() and info.sparse is None):
                    problem = 'is a link' if info.issym() or info.islnk() else 'is not a regular file'
                if problem:
                    self._problems.append((keys.normalise(name), problem))
                    if info.size > MAX_RATIO * max(size, 1):
                        return  # to go on would be to unpack it
                    continue
                self._infos[order] = info
                yield Member(posixpath.normpath(name), info.size, int(info.mtime) * 10**9, order)
            if self._ends_early():
                raise EOFError('the end mark is missing')
        except DAMAGE as error:
            self._problems.append(
                (
                    '',
                    f'the archive is cut off or damaged after {len(self._infos):,} files, load it again: {words(error)}',
                )
            )

    def _ends_early(self) -> bool:
        """Whether a plain tar file stops without its mark of 512 zeros; a compressed one that is cut off raises by itself."""
        if not self.path.name.lower().endswith('.tar'):
            return False
        stream: Any = self._archive.fileobj
        stream.seek(self._archive.offset)
        return len(stream.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE

    def _open(self, member: Member) -> IO[bytes]:
        stream = self._archive.extractfile(self._infos[member.order])
        if stream is None:
            raise UnreadableImage('is not a regular file')
        return stream


def open_source(path: str | os.PathLike[str], stream: IO[bytes] | None = None, size: int | None = None) -> Source:
    """The source of a folder or an archive, by its name.

    Args:
        path (str): The folder or file, or the name of ``stream``.
        stream (IO[bytes], optional): An open archive that lies in another. Defaults to None.
        size (int, optional): The size of ``stream``. Defaults to None.
    """
    if stream is None and os.path.isdir(path):
        return FolderSource(path)
    if os.fspath(path).lower().endswith('.zip'):
        return ZipSource(path, stream)
    return TarSource(path, stream, size)


def is_archive(name: str) -> bool:
    """Whether a file is opened as an archive."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)


# --- private


def _name_problem(name: str) -> str | None:
    if name.startswith('/') or name[1:3] == ':/' or (len(name) > 1 and name[1] == ':'):
        return 'has an absolute path'
    if '..' in name.split('/'):
        return 'leads out of the archive'
    return keys.name_problem(name)


def _size_problem(size: int, packed: int) -> str | None:
    if size > MAX_MEMBER_BYTES:
        return f'announces {size:,} bytes, above the limit of {MAX_MEMBER_BYTES:,}'
    if size > 1 << 20 and size > MAX_RATIO * max(packed, 1):
        return f'announces {size:,} bytes from {packed:,} packed ones, which no file of a dataset does'
    return None


def _zip_time(info: zipfile.ZipInfo) -> int:
    """As one number; zip files keep local time, so it only serves to notice changes."""
    number = 0
    for part in info.date_time:
        number = number * 100 + part
    return number
