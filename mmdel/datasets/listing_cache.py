"""What a large folder held the last time, for as long as none of its folders has changed.

Adding, removing or renaming a file changes the time of the folder it lies in, so a listing is known to be right after a look at
the folders alone, which are thousands of times fewer. A listing is kept only where that is certain: not with links that lead
nowhere (their targets may come), and not right after a change (the clock of a folder may be too coarse to show another).
"""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmdel.files import atomic

LISTING_DIR = 'work_dirs/.listings'
"""Where listings are kept between runs; where it cannot be written they are made anew."""

WORTH_IT = 20_000
"""Files from which on a listing is kept; fewer are listed in a moment."""

COARSE_NS = 2_000_000_000
"""Folders that have changed within this time before they were listed may change again without a new time."""

FORMAT = 1

State = tuple[int, int, int]


def state_of(status: os.stat_result) -> State:
    """By which a folder is known to be unchanged: device, number, and time of change."""
    return status.st_dev, status.st_ino, status.st_mtime_ns


def load(top: str, within: Sequence[str], endings: Sequence[str]) -> tuple[list[str], tuple[str, ...]] | None:
    """Files below a folder and notes for people, None where nothing is known or a folder has changed.

    Args:
        top (str): The folder.
        within (Sequence[str]): Subfolders that were looked into.
        endings (Sequence[str]): Of the files.
    """
    try:
        table = pq.read_table(_path(top, within, endings), memory_map=False, partitioning=None)
        known = json.loads(table.schema.metadata[b'listing'])
        folders = known['folders'].items()
        if known['format'] != FORMAT or any(
            list(state_of(os.stat(os.path.join(top, folder)))) != state for folder, state in folders
        ):
            return None
        return table['file'].to_pylist(), tuple(known['notes'])
    except Exception:  # absent, or damaged in whatever way: it is made again
        return None


def save(
    top: str,
    within: Sequence[str],
    endings: Sequence[str],
    files: Sequence[str],
    notes: Sequence[str],
    folders: dict[str, State],
    started_ns: int,
) -> None:
    """Keep a listing where it is worth it.

    Args:
        top (str): The folder.
        within (Sequence[str]): Subfolders that were looked into.
        endings (Sequence[str]): Of the files.
        files (Sequence[str]): The files.
        notes (Sequence[str]): For people.
        folders (dict[str, tuple]): :func:`state_of` of each folder before it was listed, by its path below ``top``.
        started_ns (int): When listing began, nanoseconds since the epoch.
    """
    newest = max(mtime for _, _, mtime in folders.values())
    if len(files) < WORTH_IT or newest > min(started_ns, time.time_ns()) - COARSE_NS:
        return
    known = {'format': FORMAT, 'notes': list(notes), 'folders': folders}
    try:
        table = pa.table({'file': list(files)}).replace_schema_metadata({'listing': json.dumps(known)})
        with atomic(_path(top, within, endings)) as temporary:
            pq.write_table(table, temporary)
    except (OSError, UnicodeError, pa.ArrowException):  # a folder that is not ours, or names that are no text
        return


def _path(top: str, within: Sequence[str], endings: Sequence[str]) -> Path:
    asked = json.dumps([os.path.abspath(top), sorted(within), sorted(endings)])
    return Path(LISTING_DIR) / f'{hashlib.sha256(asked.encode("utf-8", "surrogateescape")).hexdigest()[:32]}.parquet'
