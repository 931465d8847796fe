"""The command of each run: ordinary tools with an ordinary config in an ordinary work dir.

write_config(plan, run)
command_line(plan, run, tools)      # ['python', 'tools/train.py', 'configs/...py', '--work-dir', ...]
submit(plan, pending, tools)        # to Slurm: one job per run, with dependencies

A job is ``tools/study.py CONFIG --run NAME``, so that it records its run as a local one would. When all have ended, ``--collect``
makes the table; submitting again hands over what failed, and what is still waiting or running is left alone.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pprint import pformat
from typing import Any

from mmdel.compute.files import write_text
from mmdel.errors import ConfigError
from mmdel.study.outputs import MissingOutput, encoder_file, read_record, record_path
from mmdel.study.plan import EVALUATE, FINETUNE, METRICS, PRETRAIN, SELECT, SUBSET, Plan, Run

_THREADS = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')

JOB = '.job'


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


def submit(
    plan: Plan, pending: Sequence[Run], study_tool: Path, arguments: Sequence[str], say: Callable[[str], None]
) -> dict[str, str]:
    """Submit every pending run that is not queued already.

    Args:
        plan (Plan): The plan.
        pending (Sequence[Run]): What is to be run, each after what it needs.
        study_tool (Path): ``tools/study.py``.
        arguments (Sequence[str]): The config and options with which a job finds the same plan.
        say (Callable): Told one line a job.

    Returns:
        dict[str, str]: Name of the run -> job id, of all runs that are queued now.

    Raises:
        ConfigError: There is no sbatch, or it refuses a job.
    """
    if shutil.which('sbatch') is None:
        raise ConfigError('--submit slurm needs sbatch on the PATH. Without Slurm: --jobs N.')
    work_dir = plan.study.work_dir
    jobs: dict[str, str] = {}
    for run in pending:
        queued = _queued(record_path(work_dir, run, JOB), run.digest)
        if queued is not None:
            jobs[run.name] = queued
            say(f'queued already as job {queued}: {run.name}')
            continue
        command = [sys.executable, str(study_tool), *arguments, '--run', run.name]
        script = record_path(work_dir, run, '.sh')
        write_text(script, f'#!/bin/bash\nexec {shlex.join(command)}\n')
        log = record_path(work_dir, run, '.slurm.log')
        options = ['--parsable', f'--job-name={run.name.replace("/", "_")}', f'--output={log}', *plan.study.sbatch]
        after = [jobs[need] for need in run.needs.values() if need in jobs]
        if after:
            options.append(f'--dependency=afterok:{":".join(after)}')
            options.append('--kill-on-invalid-dep=yes')
        done = subprocess.run(['sbatch', *options, str(script)], capture_output=True, text=True)
        if done.returncode:
            raise ConfigError(f'sbatch refused {run.name}: {done.stderr.strip() or done.stdout.strip()}')
        jobs[run.name] = done.stdout.strip().split(';')[0]
        write_text(record_path(work_dir, run, JOB), json.dumps({'job': jobs[run.name], 'digest': run.digest}))
        say(f'job {jobs[run.name]}: {run.name}')
    return jobs


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


def _queued(path: Path, digest: str) -> str | None:
    """The job that an earlier call has submitted for this run, if Slurm still has it."""
    try:
        noted = json.loads(path.read_text(encoding='utf-8'))
        job, other = str(noted['job']), noted['digest'] != digest
    except (OSError, ValueError, KeyError):
        return None
    if other or shutil.which('squeue') is None:
        return None
    done = subprocess.run(['squeue', '--noheader', '--jobs', job, '--format=%T'], capture_output=True, text=True)
    return job if done.returncode == 0 and done.stdout.strip() else None
