"""Which images and videos lie below a folder.

Nothing is opened: a listing tells what the folder says. What it can already tell to be unusable (a dangling link, a
name that is not UTF-8) is a row of the ledger, never a crash; what is no image at all is counted in a note.

    listing = list_images('data/pool')
    listing.keys     # ('a/1.jpg', 'a/2.png', ...)
    listing.ledger   # (('a/lost.jpg', 'dangling link to ../3.jpg'), ...)
    listing.videos   # ('clips/a.avi', ...)
    listing.path('a/1.jpg')
    listing.notes    # ('12 files with other endings ignored (10 .txt, 2 .csv)',)
"""

import os
import stat
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mmdel import storage
from mmdel.datasets import keys, listing_cache, videos
from mmdel.errors import DatasetError

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
"""Endings of image files; upper case counts, too."""


@dataclass(frozen=True)
class Listing:
    """The images below a folder.

    Args:
        folder (str): The folder as it was given.
        keys (tuple[str, ...]): Keys relative to the folder, sorted.
        spelled (Mapping[str, str]): The path below the folder of images and videos whose key is spelled otherwise.
        ledger (tuple): ``(key, reason)`` of image files that cannot be used, sorted.
        notes (tuple[str, ...]): What else was seen, for people. Defaults to ().
        videos (tuple[str, ...]): Keys of video files, sorted. Defaults to ().
    """

    folder: str
    keys: tuple[str, ...]
    spelled: Mapping[str, str] = field(hash=False)
    ledger: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()
    videos: tuple[str, ...] = ()

    def path(self, key: str) -> str:
        """Where an image, a video or a frame of one can be opened."""
        if self.spelled and key not in self.spelled and (frame := videos.split_frame(key)):
            return self.path(frame[0]) + key[len(frame[0]) :]
        return os.path.join(self.folder, self.spelled.get(key, key))


def list_images(folder: str | os.PathLike[str], within: Sequence[str] = (), with_videos: bool = False) -> Listing:
    """All images below a folder, at any depth; links to files and folders are followed.

    Args:
        folder (str): The folder that keys are relative to.
        within (Sequence[str]): Subfolders to look into instead of the whole folder. Defaults to ().
        with_videos (bool): Whether videos are listed, too. Defaults to False; they are then counted among the other endings.

    Raises:
        DatasetError: There is no such folder, or nothing in it that is asked for.
        StorageError: The storage failed: what lies in a folder that cannot be listed changes the whole answer.
    """
    folder = os.fspath(folder)
    if not storage.is_dir(folder):
        found = 'a file, not a folder' if os.path.exists(folder) else 'not there'
        raise DatasetError(f'{folder} is {found}. Give the folder that holds the images.')
    endings = SUFFIXES + videos.SUFFIXES * with_videos
    known = listing_cache.load(folder, within, endings)
    if known:
        return _sorted_out(Listing(folder, tuple(known[0]), {}, (), known[1]), with_videos)
    started = time.time_ns()
    walk = _Walk(folder, endings)
    walk.run([f'{subfolder}/' for subfolder in within] or [''])
    notes = walk.notes()
    if not walk.files and not walk.ledger:
        seen = f' {notes[0]}.' if notes else ' The folder is empty.'
        looked_for = ', '.join(ending[1:] for ending in endings)
        raise DatasetError(f'There is no image (looked for {looked_for}) below {folder}.{seen}')
    listing = replace(select(folder, walk.files, walk.ledger), notes=notes)
    # names that are spelled otherwise than their keys, and files that are not there now, are looked at again every time
    if walk.settled and not listing.ledger and not listing.spelled:
        listing_cache.save(folder, within, endings, listing.keys, notes, walk.folders, started)
    return _sorted_out(listing, with_videos)


def select(folder: str, images: Iterable[str], ledger: Iterable[tuple[str, str]]) -> Listing:
    """Sort out unusable names.

    Args:
        folder (str): The folder.
        images (Iterable[str]): Paths relative to it, in any order.
        ledger (Iterable[tuple[str, str]]): ``(path relative to it, reason)`` of files known to be unusable.
    """
    usable, spelled, refused = keys.unique_keys(images)
    rows = dict(refused)
    for path, reason in ledger:
        key = keys.normalise(path)
        rows[keys.escape(path) if key in rows or keys.is_among(usable, key) else key] = reason
    return Listing(folder, tuple(usable), spelled, tuple(sorted(rows.items())))


def file_problem(path: str) -> str | None:
    """Why there is no file to open at ``path``, or None where there is one. The file is not opened."""
    try:
        mode = storage.stat(path).st_mode
    except OSError as error:
        if not os.path.islink(path):
            return f'cannot be reached ({error.strerror})'
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return f'dangling link to {keys.normalise(os.readlink(path))}'
        return f'broken link ({error.strerror})'
    except ValueError as error:  # a null character
        return f'cannot be a path ({error})'
    return None if stat.S_ISREG(mode) else 'not a regular file'


def _sorted_out(listing: Listing, with_videos: bool) -> Listing:
    """With the videos among the keys in their own field."""
    films = tuple(filter(videos.is_video, listing.keys)) if with_videos else ()
    if not films:
        return listing
    return replace(listing, keys=tuple(key for key in listing.keys if not videos.is_video(key)), videos=films)


class _Walk:
    """One walk through a tree; paths are relative to its top, folders end in a slash."""

    def __init__(self, top: str, endings: tuple[str, ...]) -> None:
        self.top = top
        self.endings = endings
        self.files: list[str] = []
        self.ledger: list[tuple[str, str]] = []
        self.folders: dict[str, listing_cache.State] = {}
        self.settled = True
        self.hidden = 0
        self.loops = 0
        self.others: Counter[str] = Counter()

    def run(self, starts: Sequence[str]) -> None:
        stack: list[tuple[str, frozenset[tuple[int, int]]]] = [(start, frozenset()) for start in starts]
        while stack:
            inside, ancestors = stack.pop()
            path = os.path.join(self.top, inside)
            try:
                status = storage.stat(path)
                own = (status.st_dev, status.st_ino)
                self.folders[inside] = listing_cache.state_of(status)
                if own in ancestors:
                    self.loops += 1
                    continue
                entries = storage.scandir(path)
                subfolders = [folder for entry in entries if (folder := self._take(entry, inside)) is not None]
            except OSError as error:
                if inside in starts:
                    raise DatasetError(f'{path} cannot be listed ({error.strerror}).') from error
                self.ledger.append((inside.rstrip('/'), f'the folder cannot be listed ({error.strerror})'))
                continue
            stack.extend((subfolder, ancestors | {own}) for subfolder in subfolders)

    def notes(self) -> tuple[str, ...]:
        notes = []
        if self.others:
            common = sorted(self.others.items(), key=lambda item: (-item[1], item[0]))
            kinds = ', '.join(f'{number} {ending or "without ending"}' for ending, number in common[:5])
            more = ', ...' if len(common) > 5 else ''
            notes.append(f'{_count(self.others.total(), "file")} with other endings ignored ({kinds}{more})')
        if self.hidden:
            notes.append(f'{self.hidden} hidden {"file or folder" if self.hidden == 1 else "files or folders"} ignored')
        if self.loops:
            notes.append(f'{_count(self.loops, "folder link")} back to a folder above not followed')
        return tuple(notes)

    def _take(self, entry: os.DirEntry[str], inside: str) -> str | None:
        """Note one entry; the path of a folder is returned."""
        name = entry.name
        if name.startswith('.'):
            self.hidden += 1
            return None
        try:
            if storage.patiently(entry.path, entry.is_dir):
                return f'{inside}{name}/'
            whole = storage.patiently(entry.path, entry.is_file)
        except OSError:  # a link that leads to itself
            whole = False
        self.settled &= whole
        ending = os.path.splitext(name)[1].lower()
        if ending not in self.endings:
            self.others[keys.normalise(ending) if ending else ''] += 1
        elif whole:
            self.files.append(inside + name)
        else:
            self.ledger.append((inside + name, file_problem(entry.path) or 'not a regular file'))
        return None


def _count(number: int, noun: str) -> str:
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'
