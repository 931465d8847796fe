"""Keys: the names by which a subset and a dataset agree on an image.

A key is the image's path relative to a folder, the *base*: POSIX slashes, no ``./``, Unicode NFC. Symbolic links are
never resolved, because a key names what a person sees in the folder. A name that is not UTF-8, or that holds a
control character, has an escaped key; every other key is free of backslashes, so the two cannot be confused.

    >>> keys_under('/data/pool', ['/data/pool/img/1.jpg', '/elsewhere/2.jpg'])
    ['img/1.jpg', None]

Which base the keys of a dataset are relative to is decided here for both sides: :func:`table_base` when keys are
written (:mod:`mmdel.datasets.image_table`) and :func:`match` when they are read
(:class:`mmdel.datasets.meddel_dataset.MedDELDataset`). Every base that the first may choose is among those that the
second tries.
"""

import os
import posixpath
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
from mmengine.dataset import BaseDataset

_UNSAFE = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')
_SURROGATE = re.compile('[\ud800-\udfff]')


# --- one name


def normalise(path: str | os.PathLike[str]) -> str:
    r"""The key's spelling of a path: ``.\img//1.jpg`` becomes ``img/1.jpg``; a URI keeps its ``scheme://``."""
    text = os.fspath(path).replace('\\', '/')
    scheme, separator, rest = text.rpartition('://')
    text = scheme + separator + posixpath.normpath(rest)
    if text.isascii() and text.isprintable():
        return text
    text = unicodedata.normalize('NFC', text)
    return _UNSAFE.sub(_escape, text)


def is_utf8(path: str) -> bool:
    """Whether a path can be written as text: False where Python carries bytes of another encoding in it."""
    return not _SURROGATE.search(path)


def name_problem(path: str | os.PathLike[str]) -> str | None:
    """Why a file of this name can never be used, or None where it can."""
    text = os.fspath(path)
    if text.isprintable() or not _UNSAFE.search(text):
        return None
    if not is_utf8(text):
        return 'the name is not UTF-8'
    return 'the name holds a line break or another control character'


def escape(path: str) -> str:
    """A printable spelling that no other path and no usable key has."""
    text = _UNSAFE.sub(_escape, path.replace('\\', '\\\\'))
    return text if '\\' in text else text.encode('ascii', 'backslashreplace').decode()


def absolute_paths(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """``os.path.abspath`` of each path (symbolic links stay); URIs such as ``s3://bucket/1.jpg`` stay as they are."""
    folders: dict[str, str] = {}
    absolute = []
    for path in paths:
        text = os.fspath(path)
        folder, slash, name = text.rpartition('/')
        if '://' in text:
            absolute.append(text)
        elif name in ('', '.', '..') or os.sep != '/':
            absolute.append(os.path.abspath(text))
        else:
            folder += slash
            if folder not in folders:
                folders[folder] = os.path.join(os.path.abspath(folder), '')
            absolute.append(folders[folder] + name)
    return absolute


def keys_under(base: str | None, paths: Sequence[str]) -> list[str | None]:
    """The key of each absolute path relative to ``base``; None where the path lies elsewhere."""
    if base is None:
        return [None] * len(paths)
    top = normalise(base)
    top = top if top.endswith('/') else top + '/'
    folders: dict[str, str | None] = {}
    keys: list[str | None] = []
    for path in paths:
        if '\\' in path:
            path = path.replace('\\', '/')
            name = posixpath.basename(path)
            folder = path[: -len(name)] if name else path
        else:
            folder, slash, name = path.rpartition('/')
            folder += slash
        if folder not in folders:
            inside = normalise(folder)
            inside = inside if inside.endswith('/') else inside + '/'
            folders[folder] = inside[len(top) :] if inside.startswith(top) else None
        prefix = folders[folder]
        if prefix is None:
            keys.append(None)
        elif name.isascii() and name.isprintable():
            keys.append(prefix + name)
        else:
            keys.append(prefix + normalise(name))
    return keys


def unique_keys(paths: Iterable[str]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Give each relative path a key of its own.

    Returns:
        tuple: ``(key, path)`` of the usable ones, sorted by key; and ``(escaped key, reason)`` of the others:
        unusable names, and names that become the key of another file (the one spelled like the key stays, else the
        first).
    """
    usable: list[tuple[str, str]] = []
    refused: dict[str, str] = {}
    taken: dict[str, str] = {}
    for key, _, path in sorted((key, key != path, path) for key, path in ((normalise(p), p) for p in paths)):
        problem = name_problem(path)
        if problem:
            refused[escape(path) if key in refused else key] = problem
        elif key not in taken:
            taken[key] = path
            usable.append((key, path))
        elif taken[key] != path:
            refused[escape(path)] = f'the name is another spelling of {key}, which is used instead'
    return usable, sorted(refused.items())


def row_of(images: pa.StringArray, key: str) -> int | None:
    """The row of a key among sorted ones, [N], found by halving; None where it is not there."""
    row = bisect_left(range(len(images)), key, key=lambda row: images[row].as_py())
    return row if row < len(images) and images[row].as_py() == key else None


# --- bases


def image_prefix(leaf: BaseDataset) -> str | None:
    """The folder that a leaf joins to its image names, absolute; None where it has none."""
    prefixes = leaf.data_prefix
    if isinstance(prefixes, str):
        return _folder(prefixes)
    for name in ('img_path', 'img'):
        if name in prefixes:
            return _folder(prefixes[name])
    return _folder(next(iter(prefixes.values()))) if len(prefixes) == 1 else None


def data_root(leaf: BaseDataset) -> str | None:
    """The leaf's ``data_root``, absolute; None where it has none."""
    return _folder(leaf.data_root)


def common_folder(folders: Sequence[str | None]) -> str | None:
    """The deepest folder above all of them; None where one is unknown or they share nothing."""
    if not folders or None in folders:
        return None
    shared: list[str] = []
    for parts in zip(*(str(folder).split('/') for folder in folders), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    if len(shared) < (3 if '://' in str(folders[0]) else 1):  # s3: and the empty part are no folder
        return None
    return '/'.join(shared) or '/'


def table_base(leaves: Sequence[BaseDataset], paths: Sequence[Sequence[str]]) -> str | None:
    """The base of new keys: the folder of all image prefixes, else of all data roots, else of all images.

    Args:
        leaves (Sequence[BaseDataset]): The leaves.
        paths (Sequence[Sequence[str]]): The absolute image paths of each leaf.

    Returns:
        str | None: The first one below which every image lies; None where the images share no folder.
    """
    for base in _shared_bases(leaves, paths):
        if base is not None and all(None not in keys_under(base, part) for part in paths):
            return base
    return None


def candidate_bases(
    leaves: Sequence[BaseDataset], paths: Sequence[Sequence[str]], root: str | None = None
) -> list[list[str | None]]:
    """What the keys of a subset may be relative to, best first: each candidate is one base per leaf.

    The image prefix of each leaf, its ``data_root``, then ``root`` where given, else the folders that all leaves share.
    """
    own = [[image_prefix(leaf) for leaf in leaves], [data_root(leaf) for leaf in leaves]]
    shared = [_folder(root)] if root is not None else _shared_bases(leaves, paths)
    candidates = [*own, *([base] * len(leaves) for base in shared)]
    return [bases for i, bases in enumerate(candidates) if any(bases) and bases not in candidates[:i]]


@dataclass(frozen=True)
class Match:
    """How the images of a dataset meet the keys of a subset.

    Args:
        keys (list[list[str | None]]): The key of each image of each leaf; None where it has none under the base chosen.
        missing (list[str]): Wanted keys that no image has, sorted.
        conflict (tuple, optional): A key and two different files that have it.
    """

    keys: list[list[str | None]]
    missing: list[str]
    conflict: tuple[str, str, str] | None


def match(
    leaves: Sequence[BaseDataset],
    paths: Sequence[Sequence[str]],
    listed: set[str],
    wanted: set[str],
    root: str | None = None,
) -> Match:
    """Find the bases under which the images of a dataset have the keys of a subset.

    Of the :func:`candidate_bases`, and of each leaf's own best one, the first is taken under which all wanted keys
    are found without conflict; where several do, the one that lists most images. Wanted keys alone could be met by
    chance: ``img/1.jpg`` below ``pool`` is also ``img/img/1.jpg`` below ``pool/img``.

    Args:
        leaves (Sequence[BaseDataset]): The leaves.
        paths (Sequence[Sequence[str]]): The absolute image paths of each.
        listed (set[str]): All keys of the subset.
        wanted (set[str]): Those that must be found.
        root (str, optional): The base to try last instead of the folders that all leaves share. Defaults to None.
    """
    options: list[list[list[str | None]]] = []
    best, best_score = Match([[None] * len(part) for part in paths], sorted(wanted), None), (False, -1)
    for bases in [*candidate_bases(leaves, paths, root), None]:
        if bases is not None:
            options.append([keys_under(base, part) for base, part in zip(bases, paths, strict=True)])
        elif options:  # last of all, each leaf by itself
            options.append([max(rows, key=lambda row: _count(row, listed)) for rows in zip(*options, strict=True)])
        else:
            break
        rows = options[-1]
        missing = sorted(wanted.difference(*rows))
        conflict = _conflict(rows, paths)
        known = sum(_count(row, listed) for row in rows)
        score = (not missing and conflict is None, known)
        if score > best_score:
            best, best_score = Match(rows, missing, conflict), score
        if score == (True, sum(map(len, paths))):
            break
    return best


# --- private


def _count(row: Sequence[str | None], listed: set[str]) -> int:
    return sum(key in listed for key in row)


def _conflict(rows: Sequence[Sequence[str | None]], paths: Sequence[Sequence[str]]) -> tuple[str, str, str] | None:
    known = [key for row in rows for key in row if key is not None]
    if len(set(known)) == len(known):
        return None
    files: dict[str | None, str] = {}
    for row, part in zip(rows, paths, strict=True):
        for key, path in zip(row, part, strict=True):
            if key is not None and files.setdefault(key, path) != path:
                return key, files[key], path
    return None


def _shared_bases(leaves: Sequence[BaseDataset], paths: Sequence[Sequence[str]]) -> list[str | None]:
    folders = {path.rpartition('/')[0] or '/' for part in paths for path in part}
    return [
        common_folder([image_prefix(leaf) for leaf in leaves]),
        common_folder([data_root(leaf) for leaf in leaves]),
        common_folder(sorted(folders)),
    ]


def _folder(path: str | os.PathLike[str] | None) -> str | None:
    if not path:
        return None
    text = os.fspath(path)
    return text.rstrip('/') if '://' in text else os.path.abspath(text).replace(os.sep, '/')


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as Python carries it
        return f'\\x{code - 0xDC00:02x}'
    if code >= 0x80:  # in four digits: two would be taken for such a byte
        return f'\\u{code:04x}'
    return character.encode('unicode_escape').decode()
