"""Keys: the names by which a subset and a dataset agree on an image.

A key is the image's path relative to a folder, the *base*: POSIX slashes, no ``./``, Unicode NFC. Symbolic links are
never resolved, because a key names what a person sees in the folder. A name that is not UTF-8, or that holds a
control character, has an escaped key; every other key is free of backslashes, so the two cannot be confused.

    >>> keys_under('/data/pool', ['/data/pool/img/1.jpg', '/elsewhere/2.jpg'])
    ['img/1.jpg', None]

Which base new keys are relative to is decided by :func:`table_base`, when they are written (:mod:`mmdel.images.image_table`).
When they are read, :mod:`mmdel.datasets.matching` tries several; every base that the first may choose is among them.
"""

import itertools
import os
import posixpath
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Container, Iterable, Sequence

import pyarrow as pa
from mmengine.dataset import BaseDataset

from mmdel.subset import plain_files

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


def meant(line: str, known: Container[str]) -> str:
    """The key that a line of a list means: blanks round it count only where an image has a name with them."""
    key = normalise(line)
    return key if key in known else normalise(plain_files.trimmed(line) or line)


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


def unique_keys(paths: Iterable[str]) -> tuple[list[str], dict[str, str], list[tuple[str, str]]]:
    """Give each relative path a key of its own.

    Returns:
        tuple: The keys of the usable ones, sorted; the path of those whose key is spelled otherwise; and
        ``(escaped key, reason)`` of the others: unusable names, and names that become the key of another file (the one
        spelled like the key stays, else the first).
    """
    plain: list[str] = []
    odd: list[tuple[str, str]] = []
    for path in paths:
        key = normalise(path)
        if key == path:  # kept instead of the key: of millions of names there is one copy
            plain.append(path)
        else:
            odd.append((key, path))
    plain.sort()
    usable = [key for key, _ in itertools.groupby(plain)]
    spelled: dict[str, str] = {}
    refused: dict[str, str] = {}
    for key, path in sorted(odd):
        problem = name_problem(path)
        if problem:
            refused[escape(path) if key in refused else key] = problem
        elif is_among(usable, key) or spelled.setdefault(key, path) != path:
            refused[escape(path)] = f'the name is another spelling of {key}, which is used instead'
    return sorted([*usable, *spelled]) if spelled else usable, spelled, sorted(refused.items())


def is_among(names: Sequence[str], key: str) -> bool:
    """Whether a key is among sorted ones."""
    place = bisect_left(names, key)
    return place < len(names) and names[place] == key


def folder_of(path: str) -> str:
    """The part of an absolute path that decides whether it lies below a base: its folder; all of it with backslashes."""
    return path if '\\' in path else path.rpartition('/')[0]


def row_of(images: pa.StringArray, key: str) -> int | None:
    """The row of a key among sorted ones, [N], found by halving; None where it is not there."""
    row = bisect_left(range(len(images)), key, key=lambda row: images[row].as_py())
    return row if row < len(images) and images[row].as_py() == key else None


# --- bases


def image_prefix(leaf: BaseDataset) -> str | None:
    """The folder that a leaf joins to its image names, absolute; None where it has none."""
    prefixes = leaf.data_prefix
    if isinstance(prefixes, str):
        return absolute_folder(prefixes)
    for name in ('img_path', 'img'):
        if name in prefixes:
            return absolute_folder(prefixes[name])
    return absolute_folder(next(iter(prefixes.values()))) if len(prefixes) == 1 else None


def data_root(leaf: BaseDataset) -> str | None:
    """The leaf's ``data_root``, absolute; None where it has none."""
    return absolute_folder(leaf.data_root)


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
        paths (Sequence[Sequence[str]]): Absolute image paths of each leaf, one of each folder (:func:`folder_of`) at least.

    Returns:
        str | None: The first one below which every image lies; None where the images share no folder.
    """
    for base in shared_bases(leaves, paths):
        if base is not None and all(None not in keys_under(base, part) for part in paths):
            return base
    return None


def shared_bases(leaves: Sequence[BaseDataset], paths: Sequence[Iterable[str]]) -> list[str | None]:
    """The folders that the leaves share, best first: of image prefixes, of data roots, of all images; None where there is none.

    Args:
        leaves (Sequence[BaseDataset]): The leaves.
        paths (Sequence[Iterable[str]]): Absolute paths of each, one of each folder (:func:`folder_of`) at least.
    """
    folders = {path.rpartition('/')[0] or '/' for part in paths for path in part}
    return [
        common_folder([image_prefix(leaf) for leaf in leaves]),
        common_folder([data_root(leaf) for leaf in leaves]),
        common_folder(sorted(folders)),
    ]


def absolute_folder(path: str | os.PathLike[str] | None) -> str | None:
    """A folder as keys know it; None for none."""
    if not path:
        return None
    text = os.fspath(path)
    return text.rstrip('/') if '://' in text else os.path.abspath(text).replace(os.sep, '/')


# --- private


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as Python carries it
        return f'\\x{code - 0xDC00:02x}'
    if code >= 0x80:  # in four digits: two would be taken for such a byte
        return f'\\u{code:04x}'
    return character.encode('unicode_escape').decode()
