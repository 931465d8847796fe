"""Which images and videos lie below a folder.

A listing tells what the folder says: only files whose names do not tell what they are are opened, for their first bytes. What can
already be seen to be unusable (a dangling link, a name that is not UTF-8) is a row of the ledger, never a crash; everything else
that is no image of the pool is named with the reason, and counted in a note.

    listing = list_images('data/pool')
    listing.keys     # ('a/1.jpg', 'a/2.png', ...)
    listing.ledger   # (('a/lost.jpg', 'dangling link to ../3.jpg'), ...)
    listing.videos   # ('clips/a.avi', ...)
    listing.path('a/1.jpg')
    listing.skipped  # {'no image: .txt': ('a/readme.txt',), ...}
    listing.notes    # ('12 files with other endings ignored (10 .txt, 2 .csv)',)
"""

import os
import re
import shlex
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mmdel.compute import storage
from mmdel.errors import DatasetError, counted
from mmdel.images import formats, keys
from mmdel.images.file_source import walk
from mmdel.images.formats import FOREIGN, IMAGE, PACKED, ending_of, kind_by_first_bytes
from mmdel.images.left_out import Exclusion, find_masks, is_junk

JUNK = 'hidden, or left behind by a system'
LOOP = 'a link back to a folder above'
MASK = 'mask of an image beside it'
OTHER = 'no image: '
EXCLUDED = 'excluded by '

COUNTED = 100_000
"""Files in folders that are not looked into are counted up to here: a snapshot may hold the whole disk several times."""


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
        skipped (Mapping[str, tuple[str, ...]]): Keys of all other files, sorted, by the reason. A folder that was not looked into
            stands for the files in it, and ends in a slash. Defaults to {}.
    """

    folder: str
    keys: tuple[str, ...]
    spelled: Mapping[str, str] = field(hash=False)
    ledger: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()
    videos: tuple[str, ...] = ()
    skipped: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def path(self, key: str) -> str:
        """Where an image, a video or a frame of one can be opened."""
        if self.spelled and key not in self.spelled and (frame := formats.split_frame(key)):
            return self.path(frame[0]) + key[len(frame[0]) :]
        return os.path.join(self.folder, self.spelled.get(key, key))


def list_images(
    folder: str | os.PathLike[str],
    within: Sequence[str] = (),
    with_videos: bool = False,
    exclude: Sequence[str] = (),
    with_masks: bool = True,
) -> Listing:
    """All images below a folder, at any depth; links to files and folders are followed.

    Args:
        folder (str): The folder that keys are relative to.
        within (Sequence[str]): Subfolders to look into instead of the whole folder. Defaults to ().
        with_videos (bool): Whether videos are listed, too. Defaults to False; they are then counted among the other endings.
        exclude (Sequence[str]): Patterns of files and folders to leave out, see :class:`~mmdel.images.left_out.Exclusion`.
            Defaults to ().
        with_masks (bool): Whether masks of images beside them are listed, too. Defaults to True.

    Raises:
        ConfigError: A pattern of ``exclude`` cannot be used.
        DatasetError: There is no such folder, or nothing in it that is asked for.
        StorageError: The storage failed: what lies in a folder that cannot be listed changes the whole answer.
    """
    folder = os.fspath(folder)
    if not storage.is_dir(folder):
        found = 'a file, not a folder' if os.path.exists(folder) else 'not there'
        raise DatasetError(f'{folder} is {found}. Give the folder that holds the images.')
    walk = _Walk(folder, with_videos, Exclusion(exclude))
    starts = [f'{subfolder}/' for subfolder in dict.fromkeys(within)] or ['']
    walk.run([start for start in starts if not any(start != other and start.startswith(other) for other in starts)])
    if not with_masks:
        walk.leave_masks_out(starts)
    notes = walk.notes()
    if not walk.files and not walk.ledger:
        raise DatasetError(_nothing(folder, walk, notes))
    listing = select(folder, walk.files, walk.ledger)
    skipped = {reason: tuple(sorted(map(_skipped_key, paths))) for reason, paths in sorted(walk.skipped.items())}
    listing = replace(listing, notes=notes, skipped=skipped)
    return listing if walk.found.isdisjoint(formats.endings(videos=True)) else _sorted_out(listing)


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


def masks_among(
    names: Mapping[str, Sequence[str]], folder: str, excluded: Sequence[str] = (), given: Sequence[str] = ()
) -> tuple[frozenset[str], tuple[str, ...]]:
    """Masks of images among files, see :func:`mmdel.images.left_out.find_masks`.

    Args:
        names (Mapping[str, Sequence[str]]): Names of the files in each folder, see :func:`by_folder`.
        folder (str): The folder that these lie in, for the notes.
        excluded (Sequence[str]): Paths that are left out already; masks of them are masks. Defaults to ().
        given (Sequence[str]): Folders that a person has named, each with a slash at its end. Defaults to ().

    Returns:
        tuple: The masks, and notes on them and on what may be masks.
    """
    if excluded:
        more = by_folder(excluded)
        names = {inside: [*names.get(inside, ()), *more.get(inside, ())] for inside in {**names, **more}}
    found = find_masks(names, given)
    masks = found.files.difference(excluded)
    notes = []
    if masks:
        notes.append(
            f'{counted(len(masks), "mask")} left out, in {_places(folder, found.folders)}: images of the same names lie '
            'beside them. --masks keep takes them in'
        )
    if found.doubtful:
        pattern = _pattern(next(iter(found.doubtful)))
        notes.append(
            f'{counted(sum(found.doubtful.values()), "file")} in {_places(folder, found.doubtful)}: called like masks or labels, '
            f'but not as images beside them, so they are kept. If they are no images, leave them out: --exclude {pattern}'
        )
    return masks, tuple(notes)


def by_folder(paths: Iterable[str]) -> dict[str, list[str]]:
    """The names in each folder, by its path, which is '' or ends in a slash."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        place = path.rfind('/') + 1
        names[path[:place]].append(path[place:])
    return dict(names)


def _sorted_out(listing: Listing) -> Listing:
    """With the videos among the keys in their own field."""
    videos = tuple(filter(formats.is_video, listing.keys))
    return replace(listing, keys=tuple(key for key in listing.keys if not formats.is_video(key)), videos=videos)


class _Walk:
    """One walk through a tree; paths are relative to its top, folders end in a slash."""

    def __init__(self, top: str, with_videos: bool, exclude: Exclusion) -> None:
        self.top = top
        self.exclude = exclude
        self.endings = formats.endings(videos=False) | (formats.endings(videos=True) if with_videos else frozenset())
        self.files: list[str] = []
        self.found: set[str] = set()
        self.ledger: list[tuple[str, str]] = []
        self.skipped: defaultdict[str, list[str]] = defaultdict(list)
        self.unseen: dict[str, int] = {}
        self._of_masks: tuple[str, ...] = ()
        self._ends: list[tuple[str, int]] = []

    def run(self, starts: Sequence[str]) -> None:
        for inside, outcome in walk(self.top, starts, self._take):
            if outcome == 'listed':
                self._ends.append((inside, len(self.files)))
            elif outcome == 'loop':
                self.skipped[LOOP].append(inside)
            elif inside in starts:
                raise DatasetError(
                    f'{os.path.join(self.top, inside)} cannot be listed ({outcome.strerror}).'
                ) from outcome
            else:
                self.ledger.append((inside.rstrip('/'), f'the folder cannot be listed ({outcome.strerror})'))

    def leave_masks_out(self, starts: Sequence[str]) -> None:
        """Move masks from the files to what is skipped."""
        names: dict[str, list[str]] = {}
        first = 0
        for inside, end in self._ends:
            names[inside] = [path[len(inside) :] for path in self.files[first:end]]
            first = end
        excluded = [path for path in self._excluded() if path not in self.unseen]
        masks, self._of_masks = masks_among(names, self.top, excluded, starts)
        if masks:
            self.skipped[MASK] = sorted(masks)
            self.files = [path for path in self.files if path not in masks]

    def notes(self) -> tuple[str, ...]:
        notes = [*self._of_masks]
        if excluded := self._excluded():
            notes.append(f'{self._number(excluded)} left out by --exclude')
        for pattern in self.exclude.unused:
            notes.append(
                f'--exclude {pattern!r} matches nothing: patterns are relative to {self.top}, as in .gitignore'
            )
        others = {
            reason[len(OTHER) :]: len(paths) for reason, paths in self.skipped.items() if reason.startswith(OTHER)
        }
        if others:
            common = sorted(others.items(), key=lambda item: (-item[1], item[0]))
            kinds = ', '.join(f'{number} {kind}' for kind, number in common)
            notes.append(f'{counted(sum(others.values()), "file")} with other endings ignored ({kinds})')
        if junk := self.skipped.get(JUNK):
            named = Counter(_junk_name(path) for path in junk)
            names = _examples(
                [keys.normalise(name) for name, _ in sorted(named.items(), key=lambda item: (-item[1], item[0]))]
            )
            notes.append(f'{self._number(junk)} hidden or left behind by a system, ignored ({names})')
        if loops := self.skipped.get(LOOP):
            notes.append(f'{counted(len(loops), "folder link")} back to a folder above not followed')
        return tuple(notes)

    def _take(self, entry: os.DirEntry[str], inside: str) -> str | None:
        """Note one entry; the path of a folder to look into is returned."""
        name = entry.name
        path = inside + name
        dot = name.rfind('.')
        ending = '' if dot < 0 else name[dot:].lower()
        image = ending in self.endings
        if not image and ending in PACKED:
            image = (ending := ending_of(name)) in self.endings
        if (
            image and not self.exclude and name[0] != '.' and entry.is_file(follow_symlinks=False)
        ):  # nearly all there are
            self.files.append(path)
            self.found.add(ending)
            return None
        try:
            folder = storage.patiently(entry.path, entry.is_dir)
            whole = not folder and storage.patiently(entry.path, entry.is_file)
        except OSError:  # a link that leads to itself
            folder = whole = False
        image = image and not folder
        if name[0] == '.' or (not image and is_junk(name)):
            self._pass(entry, path, folder, JUNK)
            return None
        if self.exclude and (pattern := self.exclude.pattern(f'{path}/' if folder else path)):
            self._pass(entry, path, folder, EXCLUDED + pattern)
            return None
        if folder:
            return f'{path}/'
        if image and not whole:
            self.ledger.append((path, file_problem(entry.path) or 'not a regular file'))
        elif image or (kind := _other_kind(entry, whole)) == IMAGE:
            self.files.append(path)
            self.found.add(ending)
        else:
            self.skipped[OTHER + kind].append(path)
        return None

    def _pass(self, entry: os.DirEntry[str], path: str, folder: bool, reason: str) -> None:
        """Note what is not looked at."""
        if folder:
            path += '/'
            self.unseen[path] = 0 if entry.is_symlink() else _files_below(entry.path)
        self.skipped[reason].append(path)

    def _excluded(self) -> list[str]:
        return [path for reason, paths in self.skipped.items() if reason.startswith(EXCLUDED) for path in paths]

    def _number(self, paths: Sequence[str]) -> str:
        """How many files these are, with those in folders that were not looked into."""
        inside = [self.unseen[path] for path in paths if path in self.unseen]
        number = counted(len(paths) - len(inside) + sum(inside), 'file')
        more = 'more than ' if COUNTED in inside else ''
        return more + number + (f' in {counted(len(inside), "folder")}' if inside and len(inside) == len(paths) else '')


def _other_kind(entry: os.DirEntry[str], whole: bool) -> str:
    """What a file is that does not end like an image."""
    if ending := ending_of(entry.name):
        return keys.normalise(ending)
    if not whole:
        return 'broken link or special file without ending'
    try:
        kind = kind_by_first_bytes(entry.path)
    except OSError as error:
        return f'without ending that cannot be opened ({error.strerror})'
    return kind if kind == IMAGE else f'{kind} without ending'.lstrip()


def _nothing(folder: str, walk: _Walk, notes: Sequence[str]) -> str:
    """Why there is no image."""
    others = {reason.removeprefix(OTHER).removesuffix(' without ending') for reason in walk.skipped}
    foreign = sorted({name for ending, name in FOREIGN.items() if {ending, name} & others})
    advice = (
        ' Archives are taken one by one: --images FILE.zip.' if {'.zip', '.tar', '.tgz', '.tar.gz'} & others else ''
    )
    if foreign:
        advice += f' mmdel does not read {" and ".join(foreign)} files: convert them, for instance to PNG.'
    seen = f' {". ".join(notes)}.' if notes else ' The folder is empty.'
    looked_for = ', '.join(sorted(ending[1:] for ending in walk.endings))
    return f'There is no image (looked for {looked_for}) below {folder}.{seen}{advice}'


def _files_below(path: str) -> int:
    """How many files lie below a folder, up to :data:`COUNTED`; links are not followed."""
    number = 0
    stack = [path]
    while stack and number < COUNTED:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    else:
                        number += 1
        except OSError:  # of what is left out nothing more has to be known
            continue
    return min(number, COUNTED)


def _skipped_key(path: str) -> str:
    return keys.normalise(path) + '/' * path.endswith('/')


def _junk_name(path: str) -> str:
    name = path.rstrip('/').rpartition('/')[2]
    return '._*' if name.startswith('._') else name


def _pattern(folder: str) -> str:
    """How --exclude names a folder, as it is typed."""
    return shlex.quote('/' + re.sub(r'([\\*?\[])', r'\\\1', folder)) if folder else 'PATTERN'


def _places(top: str, folders: Iterable[str]) -> str:
    return _examples([keys.normalise(os.path.join(top, folder)) for folder in folders])


def _examples(names: Sequence[str]) -> str:
    return ', '.join(names[:3]) + (f' and {len(names) - 3:,} more' if len(names) > 3 else '')
