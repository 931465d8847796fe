"""Rankings on disk: another cut of the same vectors takes seconds, not minutes.

A ranking is a function of the vectors, the table's columns, the selector's arguments and the algorithm; their digest names the
file. An algorithm has a version of its own, which stands beside it: a correction without a new release is seen. A file that is
damaged is ignored and made again.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmdel import similarity
from mmdel.compute.blocks import BLOCK
from mmdel.compute.files import atomic
from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import Vectors
from mmdel.selection.selector import BaseSelector, Ranking
from mmdel.subset.columns import names_of

_ARRAYS = (*names_of('selector'), 'gains', 'centroids')


def cached_ranking(
    cache_dir: Path,
    selector: BaseSelector,
    vectors: Vectors,
    table: pa.Table,
    size: int | None,
    progress: Stages = SILENT,
) -> tuple[Ranking, bool]:
    """The ranking from the cache, or made now and kept.

    Args:
        cache_dir (Path): Where vectors and rankings are kept.
        selector (BaseSelector): Makes the ranking.
        vectors (Vectors): N vectors.
        table (pa.Table): Their table.
        size (int, optional): How many images are wanted; counts only for methods that choose for one size.
        progress (Stages): Shows the stages. Defaults to ``SILENT``.

    Returns:
        tuple: The ranking, and whether it was known.
    """
    depends = size if selector.recut == 'none' else None
    key = ranking_key(vectors, table, selector.config(), depends, selector.versions())
    path = cache_dir / 'rankings' / f'{key}.npz'
    ranking = load_ranking(path, len(vectors))
    if ranking is not None:
        return ranking, True
    ranking = selector.rank(vectors, table, depends, progress)
    save_ranking(path, ranking)
    return ranking, False


def ranking_key(
    vectors: Vectors, table: pa.Table, selector: dict[str, Any], size: int | None, versions: Mapping[str, int]
) -> str:
    """32 hexadecimal digits that change whenever the ranking could."""
    digest = hashlib.sha256()
    about = {
        'versions': {**versions, 'comparisons': similarity.VERSION},
        'selector': selector,
        'center': vectors.center,
        'size': size,
    }
    digest.update(json.dumps(about, sort_keys=True).encode())
    digest.update(vectors.digest.encode())
    columns = table.drop_columns(['path']) if 'path' in table.column_names else table
    with pa.PythonFile(_Sink(digest), 'w') as sink, pa.ipc.new_stream(sink, columns.schema) as writer:
        # the same batches however the table happens to be cut, and no second copy of it
        for start in range(0, len(columns), BLOCK):
            block = columns.slice(start, BLOCK)
            writer.write_table(block.take(pa.array(np.arange(len(block)))).combine_chunks())
    return digest.hexdigest()[:32]


class _Sink(io.RawIOBase):
    """What is written into it goes into a digest."""

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return len(data)


def load_ranking(path: Path, size: int) -> Ranking | None:
    """The ranking of ``size`` images stored at ``path``, or None where there is no valid one."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in _ARRAYS if name in stored}
            rest = json.loads(str(stored['rest']))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if len(arrays.get('rank', ())) != size or set(rest) != {f.name for f in fields(Ranking)} - set(_ARRAYS):
        return None
    rest['notes'] = tuple(rest['notes'])
    return Ranking(**arrays, **rest)


def save_ranking(path: Path, ranking: Ranking) -> None:
    """Write atomically; runs that share the cache may write the same file at once."""
    arrays = {name: getattr(ranking, name) for name in _ARRAYS if getattr(ranking, name) is not None}
    rest = {f.name: getattr(ranking, f.name) for f in fields(ranking) if f.name not in _ARRAYS}
    with atomic(path) as temporary, open(temporary, 'wb') as file:
        np.savez(file, rest=np.array(json.dumps(rest)), **arrays)
