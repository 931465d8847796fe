"""Submits the runs of a plan to Slurm: one job per run, with dependencies.

    submit(plan, pending, tools)

A job is ``tools/study.py CONFIG --run NAME``, so that it records its run as a local one would. When all have ended, ``--collect``
makes the table; submitting again hands over what failed, and what is still waiting or running is left alone.
"""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mmdel.compute.files import write_text
from mmdel.errors import ConfigError
from mmdel.study.plan import Plan, Run
from mmdel.study.records import record_path

JOB = '.job'


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
