"""The outputs and the record of a finished run: the files that other runs use, with their digests, and the figures for the table.

Whoever reads this wants to know where a number of the results table comes from; it is here or in a metric.

    record = read_record(work_dir, run)
    is_done(work_dir, run, record)        # finished, with these inputs, and its files are what they were

Existence of a result proves nothing: a run counts as done if its record, a small JSON file in ``records/``, says so, for the
digest of inputs that the plan has now, and every file that other runs take from it has the sha256 that was noted when it ended.
"""

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmdel.compute.files import file_digest, write_text
from mmdel.compute.weights import read_weights, state_digest
from mmdel.errors import DatasetError, SubsetError
from mmdel.evaluation.training_log import read_log
from mmdel.study.plan import EVALUATE, FINETUNE, METRICS, PER_IMAGE, PRETRAIN, SELECT, SUBSET, Run
from mmdel.subset import Subset

_CHECKPOINT = re.compile(r'(epoch|iter)_(\d+)\.pth')

_TIMES = ('time', 'data_time')
"""What a log line holds beside figures, and what differs from run to run."""

DONE, FAILED, STARTED = 'done', 'failed', 'started'


class MissingOutput(Exception):
    """A run ended well and did not leave what it should have; counts as failed."""


def gather(run: Run, folder: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Look at what a run left.

    Args:
        run (Run): The run.
        folder (Path): Its work dir.

    Returns:
        tuple: ``files``, name -> sha256, and ``results``, JSON-able; what the latter hold depends on the kind of run.

    Raises:
        MissingOutput: A file is missing or of no use.
    """
    try:
        return {SELECT: _subset, PRETRAIN: _encoder, FINETUNE: _model, EVALUATE: _figures}[run.kind](folder)
    except (OSError, ValueError, SubsetError, DatasetError) as error:
        raise MissingOutput(f'{type(error).__name__}: {error}') from error


def encoder_file(results: dict[str, Any], share: float) -> tuple[int, str]:
    """The checkpoint of a pre-training after a share of it: (epoch, file name).

    Raises:
        MissingOutput: None was kept within half a tenth of that share.
    """
    checkpoints = {int(number): name for number, name in results['checkpoints'].items()}
    last = max(checkpoints)
    number = min(checkpoints, key=lambda each: (abs(each - share * last), each))
    if abs(number / last - share) > 0.05 + 1e-9:
        raise MissingOutput(
            f'The pre-training kept no checkpoint near {share:.0%} of its {last:,} epochs. Keep one for each tenth: '
            "pretraining.options={'default_hooks.checkpoint.max_keep_ckpts': -1}, with an interval of a tenth."
        )
    return number, checkpoints[number]


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


def _subset(folder: Path) -> tuple[dict[str, str], dict[str, Any]]:
    subset = Subset.read(folder / SUBSET)
    interval = subset.eta_interval()
    digest = file_digest(folder / SUBSET)
    return {SUBSET: digest}, {
        'subset': digest,
        'images': subset.metadata['images'],
        'kept': subset.metadata['kept'],
        'ratio': subset.ratio,
        'eta': None if interval is None else [interval.lower, interval.upper],
        'embedder': subset.metadata.get('embedder'),
    }


def _encoder(folder: Path) -> tuple[dict[str, str], dict[str, Any]]:
    checkpoints = _checkpoints(folder)
    files = {name: file_digest(folder / name) for name in checkpoints.values()}
    return files, {
        'epochs': max(checkpoints),
        'checkpoints': {str(number): name for number, name in checkpoints.items()},
        'weights': {name: state_digest(read_weights(str(folder / name))) for name in checkpoints.values()},
    }


def _model(folder: Path) -> tuple[dict[str, str], dict[str, Any]]:
    checkpoints = _checkpoints(folder)
    last = max(checkpoints)
    name = checkpoints[last]
    validations = [
        {key: value for key, value in line.items() if key not in _TIMES and isinstance(value, int | float)}
        for line in read_log(folder).validations
    ]
    return {name: file_digest(folder / name)}, {
        'iterations': last,
        'checkpoint': name,
        'weights': state_digest(read_weights(str(folder / name))),
        'validations': validations,
    }


def _figures(folder: Path) -> tuple[dict[str, str], dict[str, Any]]:
    metrics = json.loads((folder / METRICS).read_text(encoding='utf-8'))
    found = {name: file_digest(folder / name) for name in (PER_IMAGE,) if (folder / name).is_file()}
    return found, {'metrics': {key: value for key, value in metrics.items() if key not in _TIMES}}


def _checkpoints(folder: Path) -> dict[int, str]:
    """Number of epochs or iterations -> file, in rising order."""
    found = [(match, path.name) for path in folder.glob('*.pth') if (match := _CHECKPOINT.fullmatch(path.name))]
    # a run that counts in epochs may keep some of its iterations besides, for resuming
    kinds = {match[1] for match, _ in found}
    kind = 'epoch' if 'epoch' in kinds else 'iter'
    if not kinds:
        raise OSError(f'no checkpoint epoch_N.pth or iter_N.pth was left in {folder.name}')
    return dict(sorted((int(match[2]), name) for match, name in found if match[1] == kind))


def _unchanged(path: Path, digest: str) -> bool:
    return os.path.isfile(path) and file_digest(path) == digest
