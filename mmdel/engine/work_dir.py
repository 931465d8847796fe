"""The work dir of a run: it holds the answer to one question, and each file in it is whole or absent.

refuse_another(work_dir, request)             # another question's answer is not replaced unasked
write_results(work_dir, chosen, origin, request, leaks)
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mmengine.logging import MMLogger

from mmdel.compute import storage
from mmdel.compute.files import atomic, csv_text, file_digest, write_text
from mmdel.embedding.vectors import Vectors
from mmdel.engine.finished_run import CHANGES, Origin
from mmdel.engine.request import Request, metadata, stated, still_there
from mmdel.engine.update import Changes
from mmdel.errors import ConfigError, SubsetError
from mmdel.leaks.leak_record import remove_leaks, write_leaks
from mmdel.selection.findings import LeakReport
from mmdel.selection.selector import Ranking
from mmdel.subset import Subset

SUBSET = 'subset.parquet'

SKIPPED = 'skipped.csv'
"""The files below the image folder that were not listed, and why."""

RANKING_BYTES, RESULT_BYTES = 28, 40
"""An image's numbers in the file of a ranking, and in the other files of a run, its keys not counted."""

SHOWN = 120
"""Characters of a value in a message."""


@dataclass(frozen=True)
class Chosen:
    """What was decided, and what it rests on.

    Args:
        subset (Subset): The decision.
        ranking (Ranking): What it was cut from.
        vectors (Vectors): Row i belongs to the i-th readable row of the subset.
        paths (Mapping): Key to file; {} for vectors without images.
        unreadable (tuple): ``(key, reason)`` of the files that could not be used.
        changes (Changes, optional): Where old decisions stay, how the images differ from theirs. Defaults to None.
    """

    subset: Subset
    ranking: Ranking
    vectors: Vectors
    paths: Mapping[str, str]
    unreadable: tuple[tuple[str, str], ...]
    changes: Changes | None = None


def previous_subset(folder: Path) -> Subset | None:
    """The subset that lies in a work dir already, None where there is none or it cannot be read."""
    path = folder / SUBSET
    if not path.exists():
        return None
    try:
        return Subset.read(path)
    except SubsetError as error:
        MMLogger.get_current_instance().warning(f'The old result is no use and will be replaced: {error}')
        return None


def refuse_another(folder: Path, request: Request) -> None:
    """Refuse to replace the answer to another question. What is not known yet of this one is not compared.

    Args:
        folder (Path): The work dir.
        request (Request): What is asked now.

    Raises:
        ConfigError: The work dir holds another answer; the message says what was asked otherwise.
    """
    path = folder / SUBSET
    told = metadata(path)
    if not told:
        return
    other = _other_question(path, told, request)
    if other:
        raise ConfigError(
            f'{folder} holds the result of another run ({other}). '
            'Give this run its own --work-dir, or replace the old result with --overwrite.'
        )


def refuse_other_images(folder: Path, dataset: Mapping[str, Any] | None, images: pa.Table) -> None:
    """Refuse to replace the result of other images: those of another folder, or where not one is left of the old ones.

    A folder that was moved as a whole still holds most of them; one that has grown or shrunk holds some.

    Args:
        folder (Path): The work dir.
        dataset (Mapping): Which images are meant now, see :class:`~mmdel.engine.request.Request`.
        images (pa.Table): These, see :func:`~mmdel.engine.request.still_there`.

    Raises:
        ConfigError: They are others.
    """
    previous = previous_subset(folder)
    if previous is None:
        return
    root = str((dataset or {}).get('root', ''))
    before = _root_of(folder) or root
    found, wanted = still_there(previous, images)
    if not wanted or (found if before == root else 2 * found >= wanted):
        return
    where = f'{before}, now {root}' if before != root else root or 'the given vectors'
    raise ConfigError(
        f'{folder} holds the result of other images (dataset: {where}; of {wanted:,} of them that were looked for {found:,} are '
        'here, with the size they had). Give this run its own --work-dir, or replace the old result with --overwrite.'
    )


def require_space(folder: Path, cache_dir: Path, images: pa.ChunkedArray) -> None:
    """Say what a run will write, and refuse to begin what cannot be written in the end.

    Args:
        folder (Path): The work dir.
        cache_dir (Path): Where the ranking is kept.
        images (pa.ChunkedArray): [N], the keys.

    Raises:
        StoreError: It has no room.
    """
    text = pc.sum(pc.binary_length(images)).as_py()
    storage.require_space(cache_dir, len(images) * RANKING_BYTES, 'ranking')
    # a key stands in image, in removed_by, and in up to three lists
    storage.require_space(folder, len(images) * RESULT_BYTES + 5 * text, 'results')


def write_results(
    folder: Path,
    chosen: Chosen,
    origin: Origin,
    request: Request,
    leaks: LeakReport | None = None,
) -> tuple[str, ...]:
    """Write everything but the report.

    Args:
        folder (Path): The work dir.
        chosen (Chosen): The decision.
        origin (Origin): Where images and vectors are.
        request (Request): What was asked.
        leaks (LeakReport, optional): What a leak check found. Defaults to None: there was none.

    Returns:
        tuple[str, ...]: What the lists leave out, for people.
    """
    # the question first, so that a run that is killed here can be started again; then the table: all else can be derived from it
    request.write(folder)
    chosen.subset.write(folder / SUBSET)
    lists = chosen.subset.write_lists(folder, origin.spelled)
    write_text(folder / 'unreadable.csv', csv_text([('image', 'reason'), *chosen.unreadable]))
    if chosen.ranking.centroids is not None:
        with atomic(folder / 'centroids.npy') as temporary, open(temporary, 'wb') as file:
            np.save(file, chosen.ranking.centroids, allow_pickle=False)
    origin.write(folder)
    # what an earlier check found was of another pool
    remove_leaks(folder)
    if leaks is not None:
        write_leaks(folder, leaks, chosen.subset)
    if chosen.changes is None:
        (folder / CHANGES).unlink(missing_ok=True)
    else:
        chosen.changes.write(folder)
    write_text(folder / 'config.py', request.config.pretty_text)
    return lists.notes


def write_skipped(folder: Path, skipped: Sequence[tuple[str, str]]) -> None:
    """Write :data:`SKIPPED`, where there is anything to say.

    Args:
        folder (Path): The work dir.
        skipped (Sequence[tuple[str, str]]): ``(key, reason)``.
    """
    if skipped:
        write_text(folder / SKIPPED, csv_text([('file', 'reason'), *skipped]))
    else:
        (folder / SKIPPED).unlink(missing_ok=True)


def _other_question(path: Path, told: Mapping[str, Any], request: Request) -> str:
    """What was asked for otherwise, '' where nothing was."""
    updates = told.get('updates') or [{}]
    if request.updated is None and updates[-1]:
        return 'it was updated, and its old decisions would be lost'
    if request.updated is not None:
        # an update without new images is the old subset itself
        if request.updated not in (updates[-1].get('of'), file_digest(path)):
            return 'it is no update of the subset that this one is to update'
        told = {}
    found = request.differs({**told, 'dataset': None}) or request.differs(stated(path.parent))
    if not found:
        return ''
    name, before, now = found
    return f'{name.replace("dataset.config", "dataset")}: {_short(before)}, now {_short(now)}'


def _root_of(folder: Path) -> str:
    """Where the images of a result lay, '' where that is not known."""
    try:
        root = (stated(folder).get('dataset') or {}).get('root') or Origin.read(folder).images
    except (SubsetError, AttributeError):
        return ''
    return os.path.realpath(root) if isinstance(root, str) and root else ''


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f'{text[: SHOWN - 3]}...'
