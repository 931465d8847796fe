"""What people have downloaded: every file below some folders, inside archives too, as one list.

    with Raw(['downloads'], cache='data/datadel/.manifest') as raw:
        raw.files[0].key     # 'downloads/kvasir-seg/Kvasir-SEG/images/a.jpg', where kvasir-seg.zip is an archive

A key is what converters recognise a dataset by: the path from the given folder on, its own name included, with archives as
folders of their name. Listing a compressed archive means to unpack it once, so listings are kept beside the result.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from mmdel.compute import storage
from mmdel.compute.files import FileState, write_text
from mmdel.errors import DatasetError, UnreadableImage
from mmdel.images.archives import ARCHIVE_SUFFIXES, FOREIGN_ARCHIVES, is_archive, open_source
from mmdel.images.file_source import FolderSource, Member, Source


@dataclass
class Place:
    """Where files lie: a folder, an archive, or an archive in an archive; opened when it is first needed.

    Args:
        path (str): The folder or archive on disk.
        inner (Member, optional): The archive inside it. Defaults to None.
        folder (bool): Whether it is a folder. Defaults to False.
        state (FileState, optional): Of the archive on disk. Defaults to None.
    """

    path: Path
    inner: Member | None = None
    folder: bool = False
    state: FileState | None = None
    _source: Source | None = field(default=None, repr=False)
    _outer: Source | None = field(default=None, repr=False)
    _stream: IO[bytes] | None = field(default=None, repr=False)

    @property
    def source(self) -> Source:
        """What reads it."""
        if self._source is None:
            if self.inner is None:
                self._source = open_source(self.path)
            else:
                self._outer = open_source(self.path)
                self._stream = self._outer.open(self.inner)
                self._source = open_source(self.inner.path, self._stream, self.inner.size)
        return self._source

    def close(self) -> None:
        """Close what is open."""
        for resource in (self._source, self._stream, self._outer):
            if resource is not None:
                resource.close()
        self._source = self._stream = self._outer = None


@dataclass(frozen=True)
class RawFile:
    """One downloaded file.

    Args:
        key (str): What it is recognised by.
        path (str): What it is called to people: as the key, with the suffixes of archives.
        member (Member): Its size, time and place there.
        place (Place): Where it lies.
    """

    key: str
    path: str
    member: Member
    place: Place

    @property
    def local(self) -> Path | None:
        """The file on disk, None in an archive."""
        return self.place.path / self.member.path if self.place.folder else None

    @property
    def signature(self) -> str:
        """Changes when the file does, or the archive that holds it; '' where the file system does not tell."""
        state = self.member.state or self.place.state
        return '-'.join(map(str, state)) if state and state.tells else ''


class Raw:
    """All files below some folders and in some archives; a context manager.

    Args:
        folders (Sequence[str]): Folders or archives.
        cache (str, optional): The folder where listings of archives are kept. Defaults to None.
        without (str, optional): A folder below them that does not count, such as the result. Defaults to None.

    Attributes:
        files (list[RawFile]): Files on disk first, then those in archives, each archive in its own order.
        problems (list[tuple[str, str, str]]): ``(key, path, reason)`` of what cannot be used.

    Raises:
        DatasetError: One of them is not there.
    """

    def __init__(
        self,
        folders: Sequence[str | os.PathLike[str]],
        cache: str | os.PathLike[str] | None = None,
        without: str | os.PathLike[str] | None = None,
    ) -> None:
        self.files: list[RawFile] = []
        self.problems: list[tuple[str, str, str]] = []
        self._cache = Path(cache) if cache else None
        self._places: list[Place] = []
        archives: list[tuple[Path, str]] = []
        for folder in folders:
            path = Path(folder)
            name = Path(os.path.abspath(path)).name
            if path.is_file() and is_archive(name):
                archives.append((path, name))
            elif path.is_dir():
                archives += self._add_folder(path, name, without)
            else:
                raise DatasetError(f'{path} is no folder and no archive ({", ".join(ARCHIVE_SUFFIXES)}).')
        for path, name in archives:
            self._add_archive(path, name)

    def close(self) -> None:
        """Close all archives."""
        for place in self._places:
            place.close()

    def __enter__(self) -> 'Raw':
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    # --- private

    def _place(
        self, path: Path, inner: Member | None = None, folder: bool = False, state: FileState | None = None
    ) -> Place:
        self._places.append(Place(path, inner, folder, state))
        return self._places[-1]

    def _add_folder(self, folder: Path, name: str, without: str | os.PathLike[str] | None) -> list[tuple[Path, str]]:
        source = FolderSource(folder, without)
        place = self._place(folder, folder=True)
        archives = []
        for member in source.members:
            path = f'{name}/{member.path}'
            if is_archive(member.path):
                archives.append((folder / member.path, path))
            elif member.path.lower().endswith(FOREIGN_ARCHIVES):
                kind = os.path.splitext(member.path)[1][1:]
                reason = f'is a .{kind} archive, which cannot be read here: unpack it beside itself'
                self.problems.append((path, path, reason))
            else:
                self.files.append(RawFile(path, path, member, place))
        self.problems += [(f'{name}/{path}', f'{name}/{path}', reason) for path, reason in source.problems]
        return archives

    def _add_archive(self, path: Path, name: str) -> None:
        state = FileState.of(storage.stat(path))
        listing = self._cached(name, state) or self._listed(path, name, state)
        places: dict[str, Place] = {}
        for inner, members in listing['files']:
            member = Member(*inner) if inner else None
            place = places.setdefault(member.path if member else '', self._place(path, member, state=state))
            prefix = f'{name}/{member.path}' if member else name
            for values in members:
                found = Member(*values)
                self.files.append(RawFile(f'{strip(prefix)}/{found.path}', f'{prefix}/{found.path}', found, place))
        for inside, reason in listing['problems']:
            shown = f'{name}/{inside}' if inside else name
            self.problems.append((strip(shown), shown, reason))

    def _listed(self, path: Path, name: str, state: FileState) -> dict[str, Any]:
        own: list[list[Any]] = []
        files: list[list[Any]] = [[None, own]]
        problems: list[list[str]] = []
        with open_source(path) as source:
            for member in source.members:
                if not is_archive(member.path):
                    own.append(_values(member))
                    continue
                place = Place(path, member)
                try:
                    inner = place.source
                    files.append([_values(member), [_values(found) for found in inner.members]])
                    problems += [
                        [f'{member.path}/{inside}' if inside else member.path, reason]
                        for inside, reason in inner.problems
                    ]
                except UnreadableImage as error:
                    problems.append([member.path, error.reason])
                finally:
                    place.close()
            problems += [list(problem) for problem in source.problems]
        listing = {'state': list(state), 'files': files, 'problems': problems}
        if self._cache:
            write_text(self._listing_file(name), json.dumps(listing))
        return listing

    def _cached(self, name: str, state: FileState) -> dict[str, Any] | None:
        if not self._cache or not state.tells:
            return None
        try:
            listing = json.loads(self._listing_file(name).read_text(encoding='utf-8'))
            return listing if listing['state'] == list(state) else None
        except (OSError, ValueError, KeyError, TypeError):  # a cache: what cannot be read is made again
            return None

    def _listing_file(self, name: str) -> Path:
        digest = hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:16]
        return (self._cache or Path()) / 'listings' / f'{digest}.json'


def strip(path: str) -> str:
    """A path without the suffixes of archives: 'a/kvasir-seg.zip/b' is 'a/kvasir-seg/b'."""
    return '/'.join(_without_suffix(part) for part in path.split('/'))


# --- private


def _without_suffix(name: str) -> str:
    for suffix in sorted(ARCHIVE_SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _values(member: Member) -> list[Any]:
    return [member.path, member.size, member.mtime, member.order]
