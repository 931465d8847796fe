"""Reads what a training of mmpretrain or mmseg logged, from its work dir.

    log = read_log('work_dirs/kvasir-seg')
    [line['mIoU'] for line in log.validations]

A training that was resumed counts as one; of trainings that were started afresh in the same work dir the newest counts. The
log of a run that was killed in the middle of a line is read up to that line.
"""

import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmdel.errors import DatasetError


@dataclass
class Log:
    """What a training logged, in the order in which it happened.

    Args:
        path (Path): The work dir.
        train (list[dict]): Lines of training; ``step`` and ``iter`` count iterations.
        validations (list[dict]): Lines of validation; ``step`` as the run counts, ``after`` the last iteration before it.
    """

    path: Path
    train: list[dict[str, Any]] = field(default_factory=list)
    validations: list[dict[str, Any]] = field(default_factory=list)

    @property
    def seconds(self) -> float | None:
        """Time of the training iterations; None where none was logged.

        A line tells the time of one iteration; it stands for all iterations since the line before.
        """
        lines = [line for line in self.train if 'time' in line]
        if not lines:
            return None
        before = [0, *(line['step'] for line in lines[:-1])]
        return math.fsum((line['step'] - step) * line['time'] for line, step in zip(lines, before, strict=True))


def read_log(work_dir: str | os.PathLike[str]) -> Log:
    """The log of the newest training in a work dir, with what it resumed from.

    Raises:
        DatasetError: There is no such folder or no log in it, or a line is not one of mmengine's.
    """
    folder = Path(work_dir)
    if not folder.is_dir():
        raise DatasetError(f'{work_dir} is not there, or is no folder.')
    files = sorted(folder.glob('*/vis_data/scalars.json')) or sorted(folder.glob('vis_data/scalars.json'))
    log = Log(folder)
    for file in files:
        lines = list(_read_lines(file))
        # mmengine marks only lines of training with the iteration; a validation without training has step 0
        steps = [line['step'] for line in lines if 'iter' in line]
        if not steps and not any(line['step'] for line in lines):
            continue
        if not _resumed(file):
            log = Log(folder)
        elif steps:
            _forget(log, steps[0])
        for line in lines:
            if 'iter' in line:
                log.train.append(line)
            else:
                line['after'] = log.train[-1]['step'] if log.train else 0
                log.validations = [other for other in log.validations if other['step'] != line['step']]
                log.validations.append(line)
    if not log.train and not log.validations:
        raise DatasetError(
            f'{work_dir} holds no log of a training (<time>/vis_data/scalars.json). Is it the work dir of a run, and does '
            'its visualizer have a LocalVisBackend?'
        )
    return log


def _read_lines(file: Path) -> Iterator[dict[str, Any]]:
    lines = file.read_text(encoding='utf-8').splitlines()
    for number, text in enumerate(lines, start=1):
        try:
            line = json.loads(text)
            line['step'] = int(line['step'])
        except (KeyError, TypeError, ValueError) as error:
            if number == len(lines):  # the run was killed while it wrote
                return
            raise DatasetError(f'{file}, line {number}, is not a line of an mmengine log: {text[:60]!r}.') from error
        yield line


def _resumed(file: Path) -> bool:
    """Whether the run of this log was told to go on from a checkpoint; its config lies beside the log."""
    config = file.with_name('config.py')
    return (
        config.is_file() and re.search(r'^resume = True$', config.read_text(encoding='utf-8'), re.MULTILINE) is not None
    )


def _forget(log: Log, step: int) -> None:
    """Drop what a killed run had logged beyond the checkpoint from which the next one went on."""
    log.train = [line for line in log.train if line['step'] < step]
    log.validations = [line for line in log.validations if line['after'] < step]
