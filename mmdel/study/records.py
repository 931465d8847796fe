"""The record of each run: a small JSON file in ``records/``, in the work dir of a study.

    record = read_record(work_dir, run)
    is_done(work_dir, run, record)        # finished, with these inputs, and its files are what they were

Existence of a result proves nothing: a run counts as done if its record says so, for the digest of inputs that the plan has now,
and every file that other runs take from it has the sha256 that was noted when it ended.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmdel.compute.files import file_digest, write_text
from mmdel.study.plan import Run

DONE, FAILED, STARTED = 'done', 'failed', 'started'


@dataclass(frozen=True)
class Record:
    """One start of a run.

    Args:
        status (str): 'started', 'done' or 'failed'.
        digest (str): Of the run's inputs.
        seconds (float): Wall time. Defaults to 0.
        files (dict[str, str]): Name in the run's folder -> sha256 of what later runs read. Defaults to {}.
        results (dict): What the run gave, JSON-able. Defaults to {}.
        message (str): Why it failed. Defaults to ''.
    """

    status: str
    digest: str
    seconds: float = 0.0
    files: dict[str, str] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    message: str = ''


def record_path(work_dir: Path, run: Run, suffix: str = '.json') -> Path:
    """The file of a run's record; with another suffix, of what lies beside it ('.log', '.lock')."""
    return work_dir / 'records' / f'{run.name}{suffix}'


def read_record(work_dir: Path, run: Run) -> Record | None:
    """The record of a run with these inputs; None where there is none, or none that can be read."""
    try:
        record = Record(**json.loads(record_path(work_dir, run).read_text(encoding='utf-8')))
    except (OSError, ValueError, TypeError):
        return None
    return record if record.digest == run.digest else None


def write_record(work_dir: Path, run: Run, record: Record) -> None:
    """Write atomically."""
    path = record_path(work_dir, run)
    write_text(path, json.dumps(asdict(record), sort_keys=True, indent=1, allow_nan=False) + '\n')


def is_done(work_dir: Path, run: Run, record: Record | None) -> bool:
    """Whether the run need not be run again for those that take its files."""
    if record is None or record.status != DONE or record.digest != run.digest:
        return False
    folder = work_dir / run.name
    return all(_unchanged(folder / name, digest) for name, digest in record.files.items())


def _unchanged(path: Path, digest: str) -> bool:
    return os.path.isfile(path) and file_digest(path) == digest
