"""Runs a plan: what is not done yet, each run after those that it depends on, several at a time.

    execute(plan, Path('tools'), jobs=2)

Killed at any moment and started again, it ends with the same table. A run is recorded as done after its process has ended and
its files have been looked at; a run that was interrupted starts again in an empty folder (or goes on, where the study says
``resume``). On Linux the processes die with this one; elsewhere one that was left behind keeps its run locked until it ends.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mmdel.errors import ConfigError, DatasetError, LockedError
from mmdel.study import commands, outputs, results
from mmdel.study.outputs import DONE, FAILED, STARTED, Record, is_done, read_record, record_path, write_record
from mmdel.study.plan import EVALUATE, FINETUNE, PRETRAIN, Plan, Run

POLL = 0.02
"""Seconds between two looks at the processes."""

ENDING_S = 2.0
"""So long processes that are told to end may put things away, where the study itself is stopped."""

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == 'linux' else None

Say = Callable[[str], None]


def pending(plan: Plan, table: results.Results) -> list[Run]:
    """The runs that are to be made, in an order in which each comes after what it needs.

    Cells that the table knows are done, whatever became of their work dirs; of the other cells those runs are left out that
    are done and unchanged.
    """
    work_dir = plan.study.work_dir
    found: dict[str, Run] = {}
    done: set[str] = set()

    def visit(name: str) -> None:
        run = plan.runs[name]
        if name in found or name in done:
            return
        if is_done(work_dir, run, read_record(work_dir, run)):
            done.add(name)
            return
        for need in run.needs.values():
            visit(need)
        found[name] = run

    known = {row['cell'] for row in table.planned if row['status'] == DONE}
    for cell in plan.cells:
        if cell.digest not in known:
            # an evaluation without a row is made again, whatever its record says
            for need in plan.runs[cell.runs[-1]].needs.values():
                visit(need)
            found[cell.runs[-1]] = plan.runs[cell.runs[-1]]
    return list(found.values())


def execute(plan: Plan, tools: Path, jobs: int = 1, say: Say = lambda line: None) -> results.Results:
    """Run everything that is not done, and write the table after each evaluation.

    A run that fails is recorded with the last line of its log, and so are the cells that need it; the others go on. The next
    start tries it again.

    Args:
        plan (Plan): The plan.
        tools (Path): The folder of ``train.py``, ``test.py`` and ``dedup.py``.
        jobs (int): How many runs at a time. Defaults to 1.
        say (Callable): Told one line whenever something happens. Defaults to saying nothing.

    Raises:
        ConfigError: ``jobs`` is below 1.
        LockedError: Another process is running this study.
    """
    if jobs < 1:
        raise ConfigError(f'--jobs needs at least 1, got {jobs}.')
    work_dir = plan.study.work_dir
    work_dir.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work_dir / '.lock').acquire(blocking=False):
            return _Loop(plan, tools, jobs, say).run()
    except Timeout as error:
        raise LockedError(
            f'Another process is running the study in {work_dir}. Wait for it, or give --work-dir.'
        ) from error


def execute_one(plan: Plan, tools: Path, name: str, say: Say = lambda line: None) -> bool:
    """Run one run of a plan, as a cluster's job does; everything that it needs must be done.

    Returns:
        bool: Whether it is done now.

    Raises:
        ConfigError: The plan has no such run, or something that it needs is not done.
    """
    work_dir = plan.study.work_dir
    run = plan.runs.get(name)
    if run is None:
        raise ConfigError(
            f'The study has no run {name!r}; --dry-run lists them. Was the config changed since it was submitted?'
        )
    for need in run.needs.values():
        if not is_done(work_dir, plan.runs[need], read_record(work_dir, plan.runs[need])):
            raise ConfigError(f'{name} needs {need}, which is not done.')
    if is_done(work_dir, run, read_record(work_dir, run)):
        say(f'done before: {name}')
        return True
    started = _start(plan, run, tools)
    while started.process.poll() is None:
        time.sleep(POLL)
    return _finish(plan, started).status == DONE


@dataclass(frozen=True)
class _Started:
    """A run that is under way."""

    run: Run
    process: subprocess.Popen
    lock: FileLock
    clock: float


class _Loop:
    """Keeps up to ``jobs`` processes busy; one thread, so that processes may be tied to it."""

    def __init__(self, plan: Plan, tools: Path, jobs: int, say: Say) -> None:
        self.plan, self.tools, self.jobs, self.say = plan, tools, jobs, say
        self.waiting: list[Run] = []
        self.active: list[_Started] = []
        self.failed: set[str] = set()
        self.ended = self.total = 0

    def run(self) -> results.Results:
        table = results.collect(self.plan)
        self.waiting = pending(self.plan, table)
        self.total = len(self.waiting)
        try:
            while self.waiting or self.active:
                self._fill()
                self._reap()
                time.sleep(POLL)
        finally:
            for started in self.active:  # only where something was raised
                started.process.terminate()
            for started in self.active:
                try:
                    started.process.wait(ENDING_S)
                except subprocess.TimeoutExpired:
                    started.process.kill()
                    started.process.wait()
        table = results.collect(self.plan)
        results.write_results(self.plan, table)
        return table

    def _fill(self) -> None:
        unfinished = {run.name for run in self.waiting} | {started.run.name for started in self.active}
        for run in list(self.waiting):
            needs = set(run.needs.values())
            if needs & self.failed:
                self.waiting.remove(run)
                self.failed.add(run.name)
                self.ended += 1
                self.say(f'[{self.ended}/{self.total}] not run, because what it needs failed: {run.name}')
            elif len(self.active) < self.jobs and not needs & unfinished:
                self.waiting.remove(run)
                try:
                    self.active.append(_start(self.plan, run, self.tools))
                    self.say(f'started: {run.name}')
                except outputs.MissingOutput as error:
                    self._failed(run, str(error))

    def _reap(self) -> None:
        for started in list(self.active):
            if started.process.poll() is None:
                continue
            self.active.remove(started)
            record = _finish(self.plan, started)
            if record.status == FAILED:
                self._failed(started.run, record.message, recorded=True)
                continue
            self.ended += 1
            self.say(f'[{self.ended}/{self.total}] done in {record.seconds:.0f} s: {started.run.name}')
            if started.run.kind == EVALUATE:
                results.write_results(self.plan, results.collect(self.plan))

    def _failed(self, run: Run, message: str, recorded: bool = False) -> None:
        if not recorded:
            write_record(self.plan.study.work_dir, run, Record(FAILED, run.digest, message=message))
        self.failed.add(run.name)
        self.ended += 1
        log = record_path(self.plan.study.work_dir, run, '.log')
        self.say(f'[{self.ended}/{self.total}] FAILED: {run.name}: {message} (its log: {log})')


def _start(plan: Plan, run: Run, tools: Path) -> _Started:
    """Empty the run's folder, write its config and start its tool."""
    work_dir = plan.study.work_dir
    lock = FileLock(record_path(work_dir, run, '.lock'))
    record_path(work_dir, run).parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise LockedError(f'{run.name} is being run by another process. Wait until it has ended.') from error
    try:
        resume = _clear(plan, run)
        write_record(work_dir, run, Record(STARTED, run.digest))
        commands.write_config(plan, run)
        command = commands.command_line(plan, run, tools, resume)
        with open(record_path(work_dir, run, '.log'), 'ab' if resume else 'wb') as log:
            log.write(f'$ {" ".join(command)}\n'.encode())
            log.flush()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=commands.environment(plan),
                preexec_fn=None if _LIBC is None else partial(_die_with_parent, os.getpid()),
            )
    except BaseException:
        lock.release()
        raise
    return _Started(run, process, lock, time.monotonic())


def _clear(plan: Plan, run: Run) -> bool:
    """Empty a run's folder, unless it is to go on from a checkpoint in it; returns whether it is."""
    folder = plan.study.work_dir / run.name
    if read_record(plan.study.work_dir, run) is not None:  # so an earlier start of this run has made the folder
        if plan.study.resume and run.kind in (PRETRAIN, FINETUNE) and (folder / 'last_checkpoint').is_file():
            return True
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists() and any(folder.iterdir()):
        raise ConfigError(f'{folder} is not empty, and no run of this study has a record of it. Move it away.')
    return False


def _finish(plan: Plan, started: _Started) -> Record:
    """Look at what a process left, and record it."""
    run, work_dir = started.run, plan.study.work_dir
    seconds = time.monotonic() - started.clock
    record = Record(DONE, run.digest, round(seconds, 1))
    if started.process.returncode:
        record = replace(record, status=FAILED, message=_last_words(work_dir, run, started.process.returncode))
    else:
        try:
            files, found = outputs.gather(run, work_dir / run.name)
            record = replace(record, files=files, results=found)
            if run.kind == EVALUATE:
                record = replace(record, results={**found, 'row': _row(plan, run, record)})
        except (outputs.MissingOutput, DatasetError) as error:
            record = replace(record, status=FAILED, files={}, results={}, message=str(error))
    write_record(work_dir, run, record)
    started.lock.release()
    return record


def _row(plan: Plan, run: Run, record: Record) -> dict[str, Any]:
    cell = next(cell for cell in plan.cells if cell.runs[-1] == run.name)
    records = {EVALUATE: record}
    for name in cell.runs[:-1]:
        before = read_record(plan.study.work_dir, plan.runs[name])
        if before is not None:
            records[plan.runs[name].kind] = before
    return results.finished_row(plan, cell, records)


def _last_words(work_dir: Path, run: Run, status: int) -> str:
    """What a failed process said last; an error of ours if there is one."""
    text = record_path(work_dir, run, '.log').read_text(encoding='utf-8', errors='replace')
    lines = [line.strip() for line in text.splitlines()[1:] if line.strip()]
    ours = [line for line in lines if line.startswith('error: ')]
    end = f'killed by {signal.Signals(-status).name}' if status < 0 else f'exit status {status}'
    return f'{end}: {(ours or lines or ["it said nothing"])[-1][:300]}'


def _die_with_parent(parent: int) -> None:
    """In the child, before the tool: a study that is killed leaves no training behind that writes where the next one does."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # type: ignore[union-attr]
    if os.getppid() != parent:
        os._exit(1)
