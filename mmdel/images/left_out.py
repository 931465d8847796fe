"""What in a folder is no picture of the pool, by names alone: what systems leave behind, what a person excludes, and masks.

    is_junk('@eaDir')            # True
    exclude = Exclusion(['old/', '*_overlay.png', '!keep_overlay.png'])
    exclude.pattern('a/old/')       # 'old/'
    exclude.pattern('a/1.jpg')      # None
    exclude.unused                  # ('*_overlay.png', '!keep_overlay.png')

A file is taken for a mask or drawn label of another one where two things come together: a folder or file is called like a mask
(``masks``, ``Ground Truth``, ``labelsTr``, ``17_mask.png``), and images of the same stems lie beside it. Where only the first
holds, the files are in doubt, and stay.

    found = find_masks({'kv/images/': ['1.jpg', '2.jpg'], 'kv/masks/': ['1.png', '2.png']})
    found.folders      # ('kv/masks/',)
    found.files        # frozenset({'kv/masks/1.png', 'kv/masks/2.png'})
    found.doubtful     # {}
"""

import functools
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pathspec import GitIgnoreSpec

from mmdel.errors import ConfigError

_JUNK = re.compile(
    # macOS and Windows
    r'__macosx|network trash folder|temporary items|thevolumesettingsfolder|icon\r'
    r'|(?:eh)?thumbs(?:_vista)?\.db(?:[:.].*)?|desktop\.ini|\$recycle\.bin|recycler|system volume information|found\.\d{3}'
    # file systems and network drives
    r'|lost\+found|[@#~]snapshots?|[@#]recycle|@recently-snapshot|@eadir|@tmp|@sharebin|.*@syno(?:eastream|resource)'
    # viewers, editors, and programs that hold a file open
    r'|zbthumbnail\.info|picasa\.ini|pspbrwse\.jbf|~\$.+|.+\.\w+~',
    re.IGNORECASE,
)


def _forms(words: str) -> frozenset[str]:
    """Words with their plurals."""
    return frozenset(form for word in words.split() for form in (word, f'{word}s', f'{word}es'))


_STRONG = _forms('mask msk gt truth groundtruth segmentation labelmap trimap')
_MASK = _STRONG | _forms('label lbl annotation annot anno ann seg segm manual')
_IMAGE = _forms(
    'image img im original orig input rgb frame photo picture raw scan slice patch tile cxr xray source src data x'
)
_FILLER = _forms(
    'dir folder ground fine coarse class object map binary color colour png jpg set '
    'train training val validation test testing tr ts'
)

_WORD = re.compile(r'[A-Z]+s?(?![a-z])|[A-Z]?[a-z]+')
_HINTS = ('mask', 'msk', 'gt', 'truth', 'seg', 'lab', 'lbl', 'ann', 'manual')
"""One of these is in every name that the patterns below fit: most folders need no closer look."""

_MASK_WORD = (
    r'(?:ground[-_ ]?truth|gtfine_\w+|gt|segmentations?|segm?|annotations?|annot?|anno|labels?|label(?:train)?ids|lbl|manual\d?'
    r'|(?:masks?|msk)(?:[-_ ]?\(?\d+\)?)?)'
)
_MASK_NAME = re.compile(rf'(?P<end>.+?)[-_. ]+{_MASK_WORD}|{_MASK_WORD}[-_. ]+(?P<start>.+)', re.IGNORECASE)
_IMAGE_NAME = re.compile(
    r'(?P<end>.+?)[-_. ]+(?:leftimg8bit|images?|img|im|orig(?:inal)?|rgb|input|raw|training|train|test|0\d{3})'
    r'|(?:images?|img|im|orig(?:inal)?|input|frame)[-_. ]+(?P<start>.+)',
    re.IGNORECASE,
)

MOST = 0.5
"""A folder called like masks, beside one called like images, holds masks where more than this share has an image."""

NEARLY_ALL = 0.9
"""The share where less of the names speaks for it."""

TRIED = 32
"""Folders beside one called like masks in which its images are looked for, those with the most similar names first."""


@dataclass(frozen=True)
class MaskFiles:
    """Masks among files.

    Args:
        files (frozenset[str]): Their paths.
        folders (tuple[str, ...]): Where they lie, sorted: a folder of masks, or one that holds images and masks.
        doubtful (Mapping[str, int]): Folders with files that are called like masks but have no images beside them, and how many.
    """

    files: frozenset[str]
    folders: tuple[str, ...]
    doubtful: Mapping[str, int]


def find_masks(folders: Mapping[str, Sequence[str]], given: Sequence[str] = ()) -> MaskFiles:
    """Find the masks among image files.

    Args:
        folders (Mapping[str, Sequence[str]]): Names of the image files in each folder, by the path of the folder, which is '' or
            ends in a slash.
        given (Sequence[str]): Folders that a person has named: these are what they are called for. Defaults to ().
    """
    files: set[str] = set()
    places: set[str] = set()
    doubtful: dict[str, int] = {}
    below = _called_like_masks(folders, {top for folder in given for top in _tops(folder)})
    beside = _children(folders, {_parent(top) for top in below})
    for top, inside in below.items():
        if not places.isdisjoint(_tops(top)) or any(_holds_images(folder[len(top) :]) for folder in inside):
            continue
        own = [(folder[len(top) :], name) for folder in inside for name in folders[folder]]
        if _have_images(top, own, beside[_parent(top)], folders):
            places.add(top)
            files.update(top + folder + name for folder, name in own)
        elif _is_telling(_name(top)):
            doubtful[top] = len(own)
    settled = places | doubtful.keys()
    for folder, names in folders.items():
        masks, lone = _masks_among(names)
        if not (masks or lone) or not settled.isdisjoint(_tops(folder)):
            continue
        if len(masks) >= len(lone):
            files.update(folder + name for name in masks)
            places.add(folder)
        else:
            doubtful[folder] = len(masks) + len(lone)
    return MaskFiles(frozenset(files), tuple(sorted(places)), dict(sorted(doubtful.items())))


def is_junk(name: str) -> bool:
    """Whether a file or folder is hidden or what systems leave behind, and so no part of any dataset."""
    return (name.startswith('.') and name not in ('.', '..')) or _JUNK.fullmatch(name) is not None


class Exclusion:
    """Patterns of what is left out, as in .gitignore.

    Args:
        patterns (Sequence[str]): The patterns; the last one that matches decides, and one that begins with '!' takes in again.

    Raises:
        ConfigError: One of them can match nothing.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        if isinstance(patterns, str):
            patterns = [patterns]
        self._patterns = tuple(patterns)
        for pattern in self._patterns:
            _check(pattern)
        self._spec = GitIgnoreSpec.from_lines(self._patterns)
        self._idle = list(range(len(self._patterns)))

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def pattern(self, path: str) -> str | None:
        """The pattern that leaves a path out, None where none does.

        Args:
            path (str): Relative to the folder of the images; that of a folder ends in a slash.
        """
        if self._idle:
            self._idle = [place for place in self._idle if not self._spec.patterns[place].match_file(path)]
        decision = self._spec.check_file(path)
        return self._patterns[decision.index] if decision.include and decision.index is not None else None

    @property
    def unused(self) -> tuple[str, ...]:
        """The patterns that have matched nothing."""
        return tuple(self._patterns[place] for place in self._idle)


# --- patterns


def _check(pattern: str) -> None:
    try:
        [parsed] = GitIgnoreSpec.from_lines([pattern]).patterns
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f'exclude: {pattern!r} is no pattern as in .gitignore.') from error
    if parsed.include is None:
        hint = f" A # begins a comment there; write '\\{pattern}'." if pattern.startswith('#') else ''
        raise ConfigError(f'exclude: {pattern!r} matches nothing, as in .gitignore.{hint}')


# --- folders of masks


def _called_like_masks(folders: Mapping[str, Sequence[str]], given: set[str]) -> dict[str, list[str]]:
    """Folders called like masks, outer ones first, and the folders with images in each."""
    below: defaultdict[str, list[str]] = defaultdict(list)
    for folder, names in folders.items():
        for top in _tops(folder) if names else ():
            if _words(_name(top)) & _MASK and top not in given:
                below[top].append(folder)
    return dict(sorted(below.items()))


def _children(folders: Iterable[str], parents: set[str]) -> dict[str, dict[str, list[str]]]:
    """Of each parent: its subfolders, and the folders with images in each."""
    found: dict[str, defaultdict[str, list[str]]] = {parent: defaultdict(list) for parent in parents}
    if parents:
        for folder in folders:
            for top in _tops(folder):
                if (parent := _parent(top)) in found:
                    found[parent][top].append(folder)
    return {parent: dict(children) for parent, children in found.items()}


def _holds_images(inside: str) -> bool:
    """Whether a folder in one called like masks is called like images: `segmentation/images` is a dataset for segmentation."""
    return any(_words(part) & _IMAGE and not _words(part) & _MASK for part in inside.split('/'))


def _have_images(
    top: str,
    own: Sequence[tuple[str, str]],
    beside: Mapping[str, Sequence[str]],
    folders: Mapping[str, Sequence[str]],
) -> bool:
    """Whether the files below a folder called like masks have images of their stems beside it."""
    masks = [_mask_stems(inside, name) for inside, name in own]
    if _share(masks, [('', name) for name in folders.get(_parent(top), ())]) > MOST:
        return True
    bare = [_mask_stems('', name) for _, name in own]
    rest = _words(_name(top)) - _MASK
    others = [child for child in beside if not _words(_name(child)) & _MASK]
    others.sort(key=lambda child: (-_alike(child, top), child))
    for child in others[:TRIED]:
        words = _words(_name(child))
        called_like_images = words & _IMAGE or words == rest
        if not called_like_images and (len(others) > 1 or not _words(_name(top)) & _STRONG):
            continue
        images = [(folder[len(child) :], name) for folder in beside[child] for name in folders[folder]]
        if _share(masks, images) > (MOST if called_like_images else NEARLY_ALL):
            return True
        if called_like_images and _share(bare, [('', name) for _, name in images]) > NEARLY_ALL:
            return True
    return False


def _alike(one: str, other: str) -> int:
    """How many characters two names begin with in common."""
    return next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))


def _share(masks: Sequence[Sequence[str]], images: Iterable[tuple[str, str]]) -> float:
    """The share of masks that have an image."""
    stems = {stem for inside, name in images for stem in _image_stems(inside, name)}
    return sum(any(stem in stems for stem in each) for each in masks) / len(masks) if stems else 0


def _is_telling(name: str) -> bool:
    """Whether a name alone is reason for doubt: folders of classes may well have a word of these in their names."""
    words = _words(name)
    return bool(words & _STRONG) or words <= _MASK | _FILLER | _IMAGE


# --- masks among images


def _masks_among(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names in one folder that are called like the mask of another one there; and like that of none."""
    text = '\n'.join(names).lower()
    if not any(hint in text for hint in _HINTS):
        return [], []
    bases = {name: _base(_MASK_NAME, _stem(name)) for name in names}
    images = {stem for name, base in bases.items() if not base for stem in _image_stems('', name)}
    masks = [name for name, base in bases.items() if base in images]
    return masks, [name for name, base in bases.items() if base and base not in images]


# --- names


def _tops(folder: str) -> Iterator[str]:
    """'a/b/' gives 'a/' and 'a/b/'."""
    place = folder.find('/') + 1
    while place:
        yield folder[:place]
        place = folder.find('/', place) + 1


def _parent(folder: str) -> str:
    return folder[: folder.rfind('/', 0, -1) + 1]


def _name(folder: str) -> str:
    return folder[folder.rfind('/', 0, -1) + 1 : -1]


@functools.lru_cache(maxsize=4096)
def _words(name: str) -> frozenset[str]:
    """The words of a name: 'labelsTr' gives labels and tr."""
    return frozenset(word.lower() for word in _WORD.findall(name))


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].lower()


def _base(pattern: re.Pattern[str], stem: str) -> str:
    """What is left of a stem without the word that a pattern finds, '' where it finds none."""
    found = pattern.fullmatch(stem)
    return (found['end'] or found['start']) if found else ''


def _mask_stems(inside: str, name: str) -> list[str]:
    """What the image of a mask may be called: as the mask, without a word for masks, without whatever it ends in."""
    stem = _stem(name)
    return [inside + each for each in (stem, _base(_MASK_NAME, stem), re.split('[-_ ]+[^-_ ]*$', stem)[0]) if each]


def _image_stems(inside: str, name: str) -> list[str]:
    """By what the mask of an image may call it: by all of its stem, or without a word for images."""
    stem = _stem(name)
    return [inside + each for each in (stem, _base(_IMAGE_NAME, stem)) if each]
