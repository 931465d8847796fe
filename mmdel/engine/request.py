"""What a run was asked, as it lies in its work dir: a result is replaced only by the answer to the same question.

    Request(...).write(folder)                # request.json
    request.differs(stated(folder))           # ('asked.eta', 0.8, 0.75), None where nothing does

The file describes the run on the machine that it ran on, paths included; ``subset.parquet``, which travels, carries none. Where
the file is missing, the subset's metadata tell what they know.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmdel.compute.file_state import file_state
from mmdel.compute.files import write_text
from mmdel.subset import Subset, is_frame

REQUEST = 'request.json'

FORMAT = 1

SAMPLE = 1000
"""Images of an old result that are looked for at most."""

_NOT_WHICH_IMAGES = ('pipeline', 'lazy_init', 'serialize_data', 'max_refetch')
"""Keys of a dataset's config that do not decide which images it has."""


@dataclass(frozen=True)
class Request:
    """The question of a run. What is None of ``dataset`` and ``embedder`` is not known yet and differs from nothing.

    Args:
        selector (dict): What decides the ranking.
        embedder_type (str): The type of the embedder.
        center (bool): Whether the mean is subtracted.
        asked (dict): The cut, ``eta`` or ``ratio``.
        guards (dict, optional): What must stay and what must not.
        exclude_near (dict, optional): What is a copy of a test image.
        against (tuple[str, ...]): Absolute paths of these test images, or of configs that name them.
        update (str, optional): sha256 of the subset whose decisions stay.
        dataset (dict, optional): From :func:`dataset_of`, or the paths of given vectors. Defaults to None.
        embedder (dict, optional): What the vectors depend on. Defaults to None.
    """

    selector: dict[str, Any]
    embedder_type: str
    center: bool
    asked: dict[str, Any]
    guards: dict[str, Any] | None
    exclude_near: dict[str, Any] | None
    against: tuple[str, ...]
    update: str | None
    dataset: dict[str, Any] | None = None
    embedder: dict[str, Any] | None = None

    def write(self, folder: Path) -> None:
        """Write ``request.json``."""
        text = json.dumps({'format': FORMAT, **asdict(self)}, sort_keys=True, indent=1, ensure_ascii=False)
        write_text(folder / REQUEST, text + '\n')

    def differs(self, stated: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
        """The first thing that was asked otherwise, and both values; None where nothing was. Where the images lie is not one.

        Args:
            stated (Mapping): What is known of another request, by the names of this one.
        """
        now = json.loads(json.dumps(asdict(self)))
        unknown = {name for name in ('dataset', 'embedder') if now[name] is None or stated.get(name) is None}
        names = [name for name in now if name in stated and name not in unknown]
        before, after = ({name: _without_root(name, each[name]) for name in names} for each in (stated, now))
        return difference(before, after)


def stated(folder: Path) -> dict[str, Any]:
    """What ``request.json`` says, {} where there is none that can be read."""
    try:
        values = json.loads((folder / REQUEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) and values.get('format') == FORMAT else {}


def metadata(file: Path) -> dict[str, Any]:
    """What a subset file says of itself, {} where it cannot be read; the table is not read."""
    try:
        found = json.loads((pq.read_schema(file).metadata or {})[b'mmdel'])
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return {}
    return found if isinstance(found, dict) else {}


def difference(old: Any, now: Any, name: str = '') -> tuple[str, Any, Any] | None:
    """The first place at which two JSON values differ, by dotted name, and both values there; None where they are equal."""
    if isinstance(old, dict) and isinstance(now, dict):
        for key in sorted({*old, *now}):
            found = difference(old.get(key), now.get(key), f'{name}.{key}' if name else key)
            if found:
                return found
        return None
    return None if old == now else (name, old, now)


def dataset_of(config: Mapping[str, Any], root: str) -> dict[str, Any]:
    """Which images are meant: the folder, and the config without what decides nothing, its roots relative to that folder.

    Args:
        config (Mapping): Of the dataset.
        root (str): The folder that keys are relative to, '' where there is none.
    """
    root = os.path.realpath(root) if root else ''
    return {'config': _plain(config, root), 'root': root}


def still_there(previous: Subset, images: pa.Table) -> tuple[int, int]:
    """How many images of an old result are among these, of how many that were looked for (:data:`SAMPLE` at most).

    Args:
        previous (Subset): The old result.
        images (pa.Table): ``image``, and ``path`` where there are files, which then must have the size that the result states.
    """
    table = previous.readable_rows.select(['image', 'bytes'])
    table = table.take(pa.array(np.arange(0, len(table), max(1, -(-len(table) // SAMPLE)))))
    place = pc.index_in(table['image'], value_set=images['image'].combine_chunks())
    files = images['path'].take(place).to_pylist() if 'path' in images.column_names else [None] * len(table)
    found = 0
    for key, size, row, file in zip(
        table['image'].to_pylist(), table['bytes'].to_pylist(), place.to_pylist(), files, strict=True
    ):
        sized = file is not None and size is not None and not is_frame(key)
        found += row is not None and (not sized or file_state(file).size == size)
    return found, len(table)


def _without_root(name: str, value: Any) -> Any:
    if name == 'dataset' and isinstance(value, dict):
        return {key: each for key, each in value.items() if key != 'root'}
    return value


def _plain(value: Any, root: str) -> Any:
    if isinstance(value, Mapping):
        plain = {str(name): _plain(each, root) for name, each in value.items() if name not in _NOT_WHICH_IMAGES}
        if root and isinstance(value.get('data_root'), str | os.PathLike):
            plain['data_root'] = os.path.relpath(os.path.realpath(value['data_root']), root)
        return plain
    if isinstance(value, list | tuple):
        return [_plain(each, root) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
