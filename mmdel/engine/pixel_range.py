"""The encoder is told how many bits the 16-bit images of its pool use.

    note = set_range(embedder, images.table['path'], images.root, cache_dir)

The maximum goes into the loader of the pipeline, ``dict(type='mmdel.LoadFrame', max_value=4095)``, and so into the fingerprint
of the vectors, the mirror images of a leak check, and the config that lies beside the results.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.embedders.base_embedder import BaseEmbedder
from mmdel.errors import ConfigError
from mmdel.images.depth import find_max_value, max_value_of
from mmdel.images.formats.raster import FULL_RANGE
from mmdel.images.frames import MAX_PIXELS

_LOADERS = ('mmdel.LoadFrame', 'LoadFrame')


def set_range(
    embedder: BaseEmbedder,
    paths: pa.ChunkedArray,
    root: str,
    cache_dir: Path,
    old: Mapping[str, Any] | None = None,
    progress: Stages = SILENT,
) -> str | None:
    """Give the loader of an embedder the range of a pool, unless a person has, or the loader is another one.

    Args:
        embedder (BaseEmbedder): Its pipeline is changed.
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


def use_range(embedder: BaseEmbedder, max_value: int | None) -> None:
    """Give the loader of an embedder a range that is known, likewise; None changes nothing."""
    if max_value is not None and _is_open(embedder):
        loader, *others = embedder.pipeline
        embedder.pipeline = [{**loader, 'max_value': max_value}, *others]


# --- private


def _is_open(embedder: BaseEmbedder) -> bool:
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
