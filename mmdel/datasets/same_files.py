"""Checks that the files of a dataset are those that a subset was selected from; equal names do not prove it.

    refuse_other_files(subset, rows, path_of, 'work_dirs/RUN/subset.parquet')

The sizes of some files are compared with the table, and what a few of them hold with the digests in its metadata; where one
differs, the sizes of all. Frames of videos, files that are not on a local disk and subsets that know no sizes are passed over.
"""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mmengine.logging import print_log
from numpy.typing import NDArray

from mmdel.compute.files import file_state
from mmdel.errors import DatasetError
from mmdel.images.frames import content_of
from mmdel.subset import Subset

COMPARED = 64
"""Files at first."""

READ_BYTES = 64_000_000
"""Of files whose digest is compared, in all; one is always read."""

TOLERATED = 0.25
"""Share of the files that may have changed; where it is more, the images are others."""

Difference = tuple[str, str]


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
            'choose again with tools/dedup.py.',
            logger='current',
            level=logging.WARNING,
        )


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
            'If these are other images, make a subset of them: python tools/dedup.py CONFIG --dataset-from ...; if the right '
            'ones lie elsewhere, name their folder: root=...; if they are the same pictures, saved in another way: '
            'check_files=False.'
        )


def _shown(other: Sequence[Difference]) -> list[str]:
    return [f'{key}: {what}' for key, what in other[:3]]
