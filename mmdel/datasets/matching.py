"""Matches the images of a dataset with the keys of a subset, and checks that their files are those that it was selected from.

    found = match(leaves, [['/data/pool/img/1.jpg', '/data/pool/img/2.jpg']], subset.table['image'], subset.keep)
    found.rows     # [array([0, 1])], the row in the subset of each image of each leaf
    refuse_other_files(subset, found.rows[0], path_of, 'work_dirs/RUN/subset.parquet')

What the keys are relative to is not written in a subset, so that it can be used where the images lie elsewhere: bases are
tried, and the first under which every kept image is found is taken.

Equal names do not prove that the files are the same. The sizes of some files are compared with the table, and what a few of them
hold with the digests in its metadata; where one differs, the sizes of all. Frames of videos, files that are not on a local disk
and subsets that know no sizes are passed over.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from numpy.typing import NDArray

from mmdel.compute.blocks import blocks
from mmdel.compute.files import file_state
from mmdel.errors import DatasetError
from mmdel.images import keys
from mmdel.images.frames import content_of
from mmdel.subset import Subset

COMPARED = 64
"""Files whose sizes are compared at first."""

READ_BYTES = 64_000_000
"""Of files whose digest is compared, in all; one is always read."""

TOLERATED = 0.25
"""Share of the files that may have changed; where it is more, the images are others."""

Difference = tuple[str, str]


@dataclass(frozen=True)
class Match:
    """How the images of a dataset meet the keys of a subset.

    Args:
        rows (list[NDArray[np.int64]]): The row in the subset of each image of each leaf, -1 where it lists none.
        missing (list[str]): Wanted keys that no image has, sorted.
        conflict (tuple, optional): A key and two different files that have it.
    """

    rows: list[NDArray[np.int64]]
    missing: list[str]
    conflict: tuple[str, str, str] | None


def match(
    leaves: Sequence[BaseDataset],
    paths: Sequence[Iterable[str]],
    listed: pa.StringArray,
    wanted: NDArray[np.bool_],
    root: str | None = None,
) -> Match:
    """Find the bases under which the images of a dataset have the keys of a subset.

    Of the :func:`candidate_bases`, and of each leaf's own best one, the first is taken under which all wanted keys
    are found without conflict; where several do, the one that lists most images. Wanted keys alone could be met by
    chance: ``img/1.jpg`` below ``pool`` is also ``img/img/1.jpg`` below ``pool/img``.

    Args:
        leaves (Sequence[BaseDataset]): The leaves.
        paths (Sequence[Iterable[str]]): The absolute image paths of each; they are gone through several times.
        listed (pa.StringArray): [n], all keys of the subset.
        wanted (NDArray[np.bool_]): [n], those that must be found.
        root (str, optional): The base to try last instead of the folders that all leaves share. Defaults to None.
    """
    options: list[_Option] = []
    for bases in candidate_bases(leaves, examples(paths), root) or [[None] * len(leaves)]:
        parts = [_Keys.under(base, part, listed) for base, part in zip(bases, paths, strict=True)]
        options.append(_Option.of(parts, paths, wanted))
        if options[-1].sound and all(part.known == len(part.rows) for part in parts):
            break
    else:  # last of all, each leaf by itself
        own = [
            max(each, key=lambda part: part.known) for each in zip(*(option.parts for option in options), strict=True)
        ]
        options.append(_Option.of(own, paths, wanted))
    best = max(options, key=lambda option: (option.sound, sum(part.known for part in option.parts)))
    missing = listed.filter(pa.array(best.missing)).to_pylist()
    return Match([part.rows for part in best.parts], missing, best.conflict)


def candidate_bases(
    leaves: Sequence[BaseDataset], paths: Sequence[Iterable[str]], root: str | None = None
) -> list[list[str | None]]:
    """What the keys of a subset may be relative to, best first: each candidate is one base per leaf.

    The image prefix of each leaf, its ``data_root``, then ``root`` where given, else the folders that all leaves share.

    Args:
        leaves (Sequence[BaseDataset]): The leaves.
        paths (Sequence[Iterable[str]]): Absolute image paths of each, one of each folder at least: see :func:`examples`.
        root (str, optional): As in :func:`match`. Defaults to None.
    """
    own = [[keys.image_prefix(leaf) for leaf in leaves], [keys.data_root(leaf) for leaf in leaves]]
    shared = [keys.absolute_folder(root)] if root is not None else keys.shared_bases(leaves, paths)
    candidates = [*own, *([base] * len(leaves) for base in shared)]
    return [bases for i, bases in enumerate(candidates) if any(bases) and bases not in candidates[:i]]


def examples(paths: Sequence[Iterable[str]]) -> list[list[str]]:
    """Of the absolute paths of each leaf one for each folder: what decides which bases they have."""
    folders: list[dict[str, str]] = [{} for _ in paths]
    for found, part in zip(folders, paths, strict=True):
        for path in part:
            found.setdefault(keys.folder_of(path), path)
    return [list(found.values()) for found in folders]


def refuse_other_files(subset: Subset, rows: NDArray[np.int64], path_of: Callable[[int], str], name: str) -> None:
    """Refuse files that are not those of the table; a few that have changed are a warning.

    Args:
        subset (Subset): The subset.
        rows (NDArray[np.int64]): [n], the row of each image of the dataset, -1 where it is not listed.
        path_of (Callable): Gives the absolute path of an image by its number.
        name (str): The subset's file, for messages.

    Raises:
        DatasetError: The files are others; the message shows three of them and what to do.
    """
    told = pc.fill_null(subset.table['bytes'], -1).to_numpy().copy()
    told[subset.frames] = -1
    known = np.flatnonzero((rows >= 0) & (np.append(told, -1)[rows] >= 0))
    keys = subset.table['image']

    def other_sizes(images: NDArray[np.int64]) -> list[Difference]:
        found = []
        for image in images.tolist():
            size, path = int(told[rows[image]]), path_of(image)
            here = file_state(path).size
            if here not in (size, -1):
                found.append((keys[int(rows[image])].as_py(), f'{size:,} bytes in the subset, {here:,} in {path}'))
        return found

    some = known[:: max(1, -(-len(known) // COMPARED))]
    other = other_sizes(some)
    _refuse(other, len(some), name)
    if other:
        other, some = other_sizes(known), known
        _refuse(other, len(some), name)
    else:
        other, compared = _other_contents(subset, rows, told, path_of)
        _refuse(other, compared, name)
    if other:
        print_log(
            f'{len(other):,} files have changed since {name} was made: {"; ".join(_shown(other))}. If that is no mistake, '
            'choose again with mmdel select.',
            logger='current',
            level=logging.WARNING,
        )


# --- private


@dataclass(frozen=True)
class _Keys:
    """What the images of one leaf are under one base.

    Args:
        base (str, optional): The base.
        rows (NDArray[np.int64]): [images], the row of each in the subset, -1 where it lists none.
        known (int): How many it lists.
        others (pa.ChunkedArray): The keys that it does not list.
    """

    base: str | None
    rows: NDArray[np.int64]
    known: int
    others: pa.ChunkedArray

    @classmethod
    def under(cls, base: str | None, paths: Iterable[str], listed: pa.StringArray) -> '_Keys':
        made = (pa.array(keys.keys_under(base, block), pa.string()) for block in blocks(paths))
        names = pa.chunked_array(list(made), pa.string())
        found = pc.index_in(names, value_set=listed)
        others = names.filter(pc.and_(found.is_null(), names.is_valid()))
        rows = found.fill_null(-1).to_numpy().astype(np.int64)
        return cls(base, rows, int((rows >= 0).sum()), others)


@dataclass(frozen=True)
class _Option:
    """What the images of all leaves are under one choice of bases.

    Args:
        parts (list[_Keys]): Of each leaf.
        missing (NDArray[np.bool_]): For each row of the subset, whether it is wanted and no image has its key.
        conflict (tuple, optional): A key and two different files that have it.
    """

    parts: Sequence[_Keys]
    missing: NDArray[np.bool_]
    conflict: tuple[str, str, str] | None

    @classmethod
    def of(cls, parts: Sequence[_Keys], paths: Sequence[Iterable[str]], wanted: NDArray[np.bool_]) -> '_Option':
        images = np.zeros(len(wanted), np.int64)
        for part in parts:
            images += np.bincount(part.rows[part.rows >= 0], minlength=len(wanted))
        return cls(parts, wanted & (images == 0), _conflict(parts, paths, images > 1))

    @property
    def sound(self) -> bool:
        return not self.missing.any() and self.conflict is None


def _conflict(
    parts: Sequence[_Keys], paths: Sequence[Iterable[str]], several: NDArray[np.bool_]
) -> tuple[str, str, str] | None:
    """A key and two different files that have it, given the rows of the subset that several images meet."""
    others = pc.value_counts(pa.chunked_array([chunk for part in parts for chunk in part.others.chunks], pa.string()))
    suspects = set(others.field('values').filter(pc.greater(others.field('counts'), 1)).to_pylist())
    if not suspects and not several.any():
        return None
    files: dict[str, str] = {}
    for part, leaf in zip(parts, paths, strict=True):
        for key, path, row in _met(part, leaf):
            if (
                key is not None
                and (several[row] if row >= 0 else key in suspects)
                and files.setdefault(key, path) != path
            ):
                return key, files[key], path
    return None


def _met(part: _Keys, paths: Iterable[str]) -> Iterator[tuple[str | None, str, int]]:
    """Key, path and row of each image."""
    rows = iter(part.rows.tolist())
    for block in blocks(paths):
        yield from zip(keys.keys_under(part.base, block), block, rows, strict=False)


def _other_contents(
    subset: Subset, rows: NDArray[np.int64], told: NDArray[np.int64], path_of: Callable[[int], str]
) -> tuple[list[Difference], int]:
    """Files that hold something else than they did, and how many were compared."""
    contents = subset.metadata.get('contents')
    if not isinstance(contents, dict):
        return [], 0
    listed = pc.index_in(pa.array(contents, pa.string()), value_set=subset.table['image'].combine_chunks())
    image_of = np.full(len(told) + 1, -1)
    image_of[rows] = np.arange(len(rows))
    found, compared, read = [], 0, 0
    for (key, content), row in zip(contents.items(), listed.to_pylist(), strict=True):
        if row is None or image_of[row] < 0 or (read and read + told[row] > READ_BYTES):
            continue
        path = path_of(int(image_of[row]))
        now = content_of(path)
        read += int(told[row])
        compared += now is not None
        if now is not None and now.hex() != content:
            found.append((key, f'{path} has that size and holds something else'))
    return found, compared


def _refuse(other: Sequence[Difference], compared: int, name: str) -> None:
    if len(other) > TOLERATED * compared:
        examples = ''.join(f'  {line}\n' for line in _shown(other))
        raise DatasetError(
            f'{name} was chosen from other files: {len(other):,} of the {compared:,} that were compared differ.\n{examples}'
            'If these are other images, make a subset of them: mmdel select --dataset-from ...; if the right '
            'ones lie elsewhere, name their folder: root=...; if they are the same pictures, saved in another way: '
            'check_files=False.'
        )


def _shown(other: Sequence[Difference]) -> list[str]:
    return [f'{key}: {what}' for key, what in other[:3]]
