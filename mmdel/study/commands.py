"""The command of each run: ordinary tools with an ordinary config in an ordinary work dir.

write_config(plan, run)
command_line(plan, run, tools)      # ['python', 'tools/train.py', 'configs/...py', '--work-dir', ...]
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from pprint import pformat
from typing import Any

from mmdel.compute.files import write_text
from mmdel.study.outputs import MissingOutput, encoder_file
from mmdel.study.plan import EVALUATE, FINETUNE, METRICS, PRETRAIN, SELECT, SUBSET, Plan, Run
from mmdel.study.records import read_record

_THREADS = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')


def config_path(plan: Plan, run: Run) -> Path:
    """Where the config of a run lies."""
    return plan.study.work_dir / 'configs' / f'{run.name}.py'


def write_config(plan: Plan, run: Run) -> None:
    """Write the config of a run: complete, without a base."""
    values = run.config.to_dict().items()
    lines = [f'{name} = {pformat(value, width=120, sort_dicts=False)}\n' for name, value in values]
    write_text(config_path(plan, run), ''.join(lines))


def command_line(plan: Plan, run: Run, tools: Path, resume: bool = False) -> list[str]:
    """What starts a run whose needs are done.

    Args:
        plan (Plan): The plan.
        run (Run): The run.
        tools (Path): The folder of ``train.py``, ``test.py`` and ``dedup.py``.
        resume (bool): Whether a training goes on from its latest checkpoint. Defaults to False.

    Raises:
        MissingOutput: A run that it needs did not leave what it should have.
    """
    folder = plan.study.work_dir / run.name
    script = {SELECT: 'dedup.py', PRETRAIN: 'train.py', FINETUNE: 'train.py', EVALUATE: 'test.py'}[run.kind]
    command = [sys.executable, str(tools / script), str(config_path(plan, run))]
    if run.kind == EVALUATE:
        command.append(str(_needed(plan, run, 'model') / _results(plan, run, 'model')['checkpoint']))
        command += ['--metrics-out', str(folder / METRICS)]
    command += ['--work-dir', str(folder)]
    if run.kind == SELECT:
        command += ['--ratio', repr(run.ratio), '--overwrite', '--no-report']
    if run.full_epochs is not None:
        command += ['--equal-compute', str(run.full_epochs)]
    if run.kind == FINETUNE and 'encoder' in run.needs:
        _, name = encoder_file(_results(plan, run, 'encoder'), run.share)
        command += ['--pretrained', str(_needed(plan, run, 'encoder') / name)]
    if run.kind in (FINETUNE, EVALUATE) and _weighs(run):
        subset = str(_needed(plan, run, 'subset') / SUBSET) if 'subset' in run.needs else '1'
        command += ['--retention', subset]
    return [*command, '--resume'] if resume else command


def environment(plan: Plan) -> dict[str, str]:
    """The environment of every run."""
    threads = plan.study.threads
    return {**os.environ, **({} if threads is None else dict.fromkeys(_THREADS, str(threads)))}


def _needed(plan: Plan, run: Run, role: str) -> Path:
    return plan.study.work_dir / run.needs[role]


def _results(plan: Plan, run: Run, role: str) -> dict[str, Any]:
    record = read_record(plan.study.work_dir, plan.runs[run.needs[role]])
    if record is None or not record.results:
        raise MissingOutput(f'{run.needs[role]} has no record, and {run.name} needs it.')
    return record.results


def _weighs(run: Run) -> bool:
    """Whether the config weighs its metric by the share of data."""
    found = run.config.get('test_evaluator')
    return isinstance(found, Mapping) and found.get('type') == 'mmdel.NormDELEvaluator'
