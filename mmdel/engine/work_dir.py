"""The work dir of a run: it holds the answer to one question, and each file in it is whole or absent.

previous = previous_subset(work_dir, request, None, overwrite=False)    # another question's answer is not replaced unasked
write_results(work_dir, chosen, origin, leaks, config)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mmengine.logging import MMLogger

from mmdel import disk_space
from mmdel.embedding.vectors import Vectors
from mmdel.engine.finished_run import CHANGES, Origin
from mmdel.engine.leak_record import remove_leaks, write_leaks
from mmdel.engine.update import Changes, OldRun
from mmdel.errors import ConfigError, SubsetError
from mmdel.files import atomic, csv_text, file_digest, write_text
from mmdel.findings import LeakReport
from mmdel.selection.selector import Ranking
from mmdel.subset import Subset

SUBSET = 'subset.parquet'

SKIPPED = 'skipped.csv'
"""The files below the image folder that were not listed, and why."""

RANKING_BYTES, RESULT_BYTES = 28, 40
"""An image's numbers in the file of a ranking, and in the other files of a run, its keys not counted."""

REQUEST = ('selector', 'embedder_type', 'center', 'asked', 'guards', 'exclude_near')
"""Metadata that say what was asked for; a work dir that holds the answer to another question is not overwritten unasked."""


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


def previous_subset(folder: Path, request: dict[str, Any], old: OldRun | None, overwrite: bool) -> Subset | None:
    """The subset that lies in a work dir already, None where there is none or it cannot be read.

    Args:
        folder (Path): The work dir.
        request (dict): What is asked now, by the names of :data:`REQUEST`.
        old (OldRun, optional): The run whose decisions stay, in an update.
        overwrite (bool): Whether the answer to another question may be replaced.

    Raises:
        ConfigError: It may not; the message says what was asked otherwise.
    """
    path = folder / SUBSET
    if not path.exists():
        return None
    try:
        previous = Subset.read(path)
    except SubsetError as error:
        MMLogger.get_current_instance().warning(f'The old result is no use and will be replaced: {error}')
        return None
    other = _other_question(path, previous, request, old)
    if other and not overwrite:
        raise ConfigError(
            f'{folder} holds the result of another run ({other}). '
            'Give this run its own --work-dir, or replace the old result with --overwrite.'
        )
    return previous


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
    disk_space.require(cache_dir, len(images) * RANKING_BYTES, 'ranking')
    # a key stands in image, in removed_by, and in up to three lists
    disk_space.require(folder, len(images) * RESULT_BYTES + 5 * text, 'results')


def write_results(
    folder: Path, chosen: Chosen, origin: Origin, leaks: LeakReport | None = None, config: str | None = None
) -> None:
    """Write everything but the report.

    Args:
        folder (Path): The work dir.
        chosen (Chosen): The decision.
        origin (Origin): Where images and vectors are.
        leaks (LeakReport, optional): What a leak check found. Defaults to None: there was none.
        config (str, optional): The resolved config. Defaults to None.
    """
    # the table first: everything else can be derived from it again
    chosen.subset.write(folder / SUBSET)
    chosen.subset.write_lists(folder)
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
    if config is not None:
        write_text(folder / 'config.py', config)


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


def _other_question(path: Path, previous: Subset, request: dict[str, Any], old: OldRun | None) -> str:
    """What was asked for otherwise, '' where nothing was."""
    updates = previous.metadata.get('updates') or [{}]
    if old is not None:
        # an update without new images is the old subset itself
        same = updates[-1].get('of') == old.digest or file_digest(path) == old.digest
        return '' if same else f'it is no update of {old.run.folder}'
    if updates[-1]:
        return 'it was updated, and its old decisions would be lost'
    for name in REQUEST:
        if previous.metadata.get(name) != request[name]:
            return f'{name}: {previous.metadata.get(name)}, now {request[name]}'
    return ''
