"""How many bits the 16-bit images of a pool use.

    find_max_value(paths, 'work_dirs/.embeddings/depth.parquet', max_pixels)     # 4095: 12 bits
    find_max_value(...)                                                          # None: no such images

Cameras of 10 and 12 bits write files of 16, and most of these do not say so: taken for 16 bits they are nearly black. Where a
file does not say it itself (:mod:`mmdel.images.formats.raster`), the largest value of all such files of the pool tells. Only
files that can hold 16 bits are opened, only those that do are decoded, and what was found is remembered.

    note = set_range(embedder, images.table['path'], images.root, cache_dir)

The maximum goes into the loader of the encoder, ``dict(type='mmdel.LoadFrame', max_value=4095)``, and so into the fingerprint
of the vectors, the mirror images of a leak check, and the config that lies beside the results.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmdel.compute import storage
from mmdel.compute.blocks import values
from mmdel.compute.cores import usable_cores
from mmdel.compute.files import NO_FILE, FileState, atomic, file_state
from mmdel.compute.progress import SILENT, Stages
from mmdel.errors import ConfigError, StorageError, UnreadableImage
from mmdel.images.formats import FORMATS
from mmdel.images.formats.raster import FULL_RANGE
from mmdel.images.frames import MAX_PIXELS, file_of, open_maximum

BITS = (8, 10, 12, 14, 16)
"""Depths that cameras and programs use."""

_SHALLOW = -1
_KEPT = pa.schema(
    [
        ('path', pa.string()),
        *((name, pa.int64()) for name in ('size', 'mtime_ns', 'ctime_ns', 'inode', 'maximum')),
    ]
)

_LOADERS = ('mmdel.LoadFrame', 'LoadFrame')


class Embedder(Protocol):
    """What loads images by a pipeline."""

    pipeline: list[dict[str, Any]]


def find_max_value(
    paths: pa.ChunkedArray, kept: str | os.PathLike[str], max_pixels: int, progress: Stages = SILENT
) -> int | None:
    """What the values of 16-bit images go up to, rounded up to a usual depth.

    Args:
        paths (pa.ChunkedArray): Of images, frames and pages.
        kept (str): The file in which the maximum of each image is remembered.
        max_pixels (int): Larger images are refused by the loader and do not count.
        progress (Stages): Shows the reading. Defaults to ``SILENT``.

    Returns:
        int | None: 255, 1023, 4095, 16383, or 65535 where all bits are used; None where no image has an open range.
    """
    endings = '|'.join(re.escape(ending) for each in FORMATS for ending in each.eight_bits)
    never_deep = pc.match_substring_regex(paths, rf'(?:{endings})(?:#\d+)?$', ignore_case=True)
    chosen = paths.filter(pc.invert(never_deep))
    if not len(chosen):
        return None
    found = _maxima(list(values(chosen)), Path(kept), max_pixels, progress)
    maximum = max((value for value in found if value <= FULL_RANGE), default=_SHALLOW)
    return None if maximum == _SHALLOW else next(2**bits - 1 for bits in BITS if maximum < 2**bits)


def max_value_of(embedder: Any) -> int | None:
    """The range that the fingerprint of an embedder names, None where it names none.

    Args:
        embedder: From the metadata of a subset, so anything.
    """
    pipeline = embedder.get('pipeline') if isinstance(embedder, Mapping) else None
    loader = pipeline[0] if isinstance(pipeline, list) and pipeline else None
    found = loader.get('max_value') if isinstance(loader, Mapping) else None
    return found if isinstance(found, int) and found > 0 else None


def set_range(
    embedder: Embedder,
    paths: pa.ChunkedArray,
    root: str,
    cache_dir: Path,
    old: Mapping[str, Any] | None = None,
    progress: Stages = SILENT,
) -> str | None:
    """Give the loader of an embedder the range of a pool, unless a person has, or the loader is another one.

    Args:
        embedder (Embedder): Its pipeline is changed.
        paths (pa.ChunkedArray): Of all images.
        root (str): The folder of the images.
        cache_dir (Path): Where it is remembered what was found in files.
        old (Mapping, optional): The fingerprint of a run whose decisions stay; its range holds. Defaults to None.
        progress (Stages): Shows the reading. Defaults to ``SILENT``.

    Returns:
        str | None: What a person should know, None where images are loaded as ever.

    Raises:
        ConfigError: The range of ``old`` is another one than the images have now.
    """
    if not _is_open(embedder):
        return None
    pool = hashlib.sha256(root.encode()).hexdigest()[:16]
    max_pixels: Any = embedder.pipeline[0].get('max_pixels', MAX_PIXELS)
    found = find_max_value(paths, cache_dir / 'depth' / f'{pool}.parquet', max_pixels, progress)
    if old is not None:
        found = _as_before(found, max_value_of(old) or FULL_RANGE)
    if found in (None, FULL_RANGE):
        return None
    use_range(embedder, found)
    return (
        f'16-bit images use {found.bit_length()} bits: {found:,} is taken for white, and larger values will be refused. '
        f"To load them alike in training: dict(type='mmdel.LoadFrame', max_value={found})"
    )


def use_range(embedder: Embedder, max_value: int | None) -> None:
    """Give the loader of an embedder a range that is known, likewise; None changes nothing."""
    if max_value is not None and _is_open(embedder):
        loader, *others = embedder.pipeline
        embedder.pipeline = [{**loader, 'max_value': max_value}, *others]


# --- private


def _maxima(paths: list[str], kept: Path, max_pixels: int, progress: Stages) -> list[int]:
    known = _load(kept)
    with ThreadPoolExecutor(usable_cores()) as pool:
        states = dict(zip(paths, pool.map(_state, paths), strict=True))
        rows = {
            path: known[path]
            for path, state in states.items()
            if path in known and known[path][:-1] == state and state.tells
        }
        unknown = [path for path in paths if path not in rows]
        if not unknown:
            return [row[-1] for row in rows.values()]
        look: Callable[[str], int | StorageError | None] = lambda path: _maximum(path, max_pixels)  # noqa: E731
        losses = storage.Losses()
        with progress.stage('depth', total=len(unknown)) as tick:
            for path, maximum in zip(unknown, pool.map(look, unknown), strict=True):
                if isinstance(maximum, StorageError):
                    losses.add(maximum)  # a few are a loss; who reads them to embed them says so
                elif maximum is not None:
                    losses.good()
                    rows[path] = (*states[path], maximum)
                tick(1)
    _save(kept, rows)
    return [row[-1] for row in rows.values()]


def _maximum(path: str, max_pixels: int) -> int | StorageError | None:
    """The largest value of an image with an open range, -1 for every other one; None, or why not, for what cannot be read."""
    try:
        maximum = open_maximum(path, max_pixels)
    except UnreadableImage:
        return None
    except StorageError as error:
        return error
    return _SHALLOW if maximum is None else maximum


def _state(path: str) -> FileState:
    try:
        return file_state(file_of(path))
    except StorageError:
        return NO_FILE


def _load(kept: Path) -> dict[str, tuple[int, ...]]:
    try:
        table = pq.read_table(kept, schema=_KEPT)
    except (OSError, ValueError, pa.ArrowException):  # absent, or damaged in whatever way: it is made again
        return {}
    columns = [table[name].to_pylist() for name in _KEPT.names]
    return {path: tuple(numbers) for path, *numbers in zip(*columns, strict=True)}


def _save(kept: Path, rows: dict[str, tuple[int, ...]]) -> None:
    whole = [(path, *row) for path, row in rows.items() if row[:-1] != NO_FILE]
    columns = zip(*whole, strict=True) if whole else [[] for _ in _KEPT]
    table = pa.table([pa.array(column, field.type) for column, field in zip(columns, _KEPT, strict=True)], _KEPT)
    try:
        with atomic(kept) as temporary:
            pq.write_table(table, temporary)
    except OSError:  # a folder that is not ours, or is full: it is found again
        return


def _is_open(embedder: Embedder) -> bool:
    loader = embedder.pipeline[0]
    return loader.get('type') in _LOADERS and loader.get('max_value') is None


def _as_before(found: int | None, before: int) -> int:
    """The range of an old run, into which what is there now must fit; fewer bits only where fewer were found before, too."""
    if found is None or found == before or found < before < FULL_RANGE:
        return before
    was, now = (
        'all 16 bits' if value == FULL_RANGE else f'{value.bit_length()} bits (white is {value:,})'
        for value in (before, found)
    )
    raise ConfigError(
        f'In the old run 16-bit images were taken to use {was}; those that are there now use {now}, so new images would not be '
        'comparable. Choose from all images anew, without --update.'
    )
