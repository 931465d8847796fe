"""Tasks that other processes do ahead of time, in order, each over two pipes.

    with closing(in_order(work, tasks, count=2)) as results:
        for result in results:
            ...

Pipes need neither shared memory nor named semaphores, both of which lie in ``/dev/shm``, where a container may have little. And a
pipe ends when the process at its other end does, however that dies: nothing here waits for a process that is no more.
"""

import itertools
import mmap
import multiprocessing
import os
import queue
import signal
import struct
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined]
from typing import Any, TypeVar

from mmdel.compute.exits import held
from mmdel.errors import LostReaderError

AHEAD = 2
"""Tasks that each process has at a time, so that it is not idle while its result is taken."""

ENDING_S = 1.0
"""How long a process has to end by itself before it is killed; it notices at once unless it is in the middle of a library."""

_NUMBER = struct.Struct('q')
_BY_HAND = tuple(getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name))

Task = TypeVar('Task')
Result = TypeVar('Result')
Note = Callable[[int], None]
Work = Callable[[Task, Note], Result]


def in_order(
    work: Callable[[Task, Note], Result],
    tasks: Iterator[Task],
    count: int,
    prepare: Callable[[], None] = lambda: None,
    name_of: Callable[[Task, int], str] = lambda task, place: f'part {place}',
) -> Generator[Result, None, None]:
    """Do tasks in other processes, which are started at once and end with the generator.

    Args:
        work (Callable): Called with a task and a function that is told the place at which the work is, from 0.
        tasks (Iterator): Asked for in this process, when they are next.
        count (int): Processes at most; no more than there are tasks.
        prepare (Callable): Called in each process first. Defaults to doing nothing.
        name_of (Callable): What is at a place of a task, for the message about a process that died there.

    Returns:
        Generator: The results, in the order of the tasks.

    Raises:
        OSError: No process can be started.
        LostReaderError: A process has died.
    """
    first = list(itertools.islice(tasks, count))
    helpers: list[_Helper] = []
    try:
        for _ in first:
            helpers.append(_Helper.start(work, prepare, helpers))
    except BaseException:
        _end(helpers)
        raise
    return _results(helpers, itertools.chain(first, tasks), name_of)


def _results(helpers: list['_Helper'], tasks: Iterator[Any], name_of: Callable[[Any, int], str]) -> Generator[Any]:
    turns = itertools.cycle(helpers)
    waiting: deque[_Helper] = deque()
    try:
        for task in itertools.islice(tasks, AHEAD * len(helpers)):
            helper = next(turns)
            helper.give(task, name_of)
            waiting.append(helper)
        while waiting:
            helper = waiting.popleft()
            result = helper.take(name_of)
            for task in itertools.islice(tasks, 1):
                helper.give(task, name_of)
                waiting.append(helper)
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        _end(helpers)


@dataclass
class _Helper:
    """One process.

    Args:
        process: Of multiprocessing.
        tasks (Connection): Where tasks go in.
        results (Connection): Where results come out.
        place (mmap, optional): Where in its task it is; None where processes share no memory.
        given (deque): What it has not done yet.
    """

    process: Any
    tasks: Connection
    results: Connection
    place: mmap.mmap | None
    given: deque[Any]

    @classmethod
    def start(cls, work: Any, prepare: Callable[[], None], others: list['_Helper']) -> '_Helper':
        # a fork starts at once; elsewhere it is unsafe or unknown
        fork = sys.platform == 'linux'
        context: Any = multiprocessing.get_context('fork' if fork else None)
        theirs, tasks = context.Pipe(duplex=False)
        try:
            results, outgoing = context.Pipe(duplex=False)
        except OSError:
            theirs.close()
            tasks.close()
            raise
        place = mmap.mmap(-1, _NUMBER.size) if fork else None
        # what a fork inherits would keep these pipes open after their owners' death
        inherited = [tasks, results, *(end for other in others for end in (other.tasks, other.results))] if fork else []
        process = context.Process(
            target=_serve, args=(work, prepare, theirs, outgoing, place, inherited), name='reader', daemon=True
        )
        try:
            with held():
                process.start()
        except OSError:
            tasks.close()
            results.close()
            raise
        finally:
            theirs.close()
            outgoing.close()
        return cls(process, tasks, results, place, deque())

    def give(self, task: Any, name_of: Callable[[Any, int], str]) -> None:
        self.given.append(task)
        try:
            self.tasks.send(task)
        except OSError:
            raise self._lost(name_of) from None

    def take(self, name_of: Callable[[Any, int], str]) -> Any:
        try:
            result = self.results.recv()
        except (EOFError, OSError):
            raise self._lost(name_of) from None
        self.given.popleft()
        return result

    def _lost(self, name_of: Callable[[Any, int], str]) -> LostReaderError:
        self.process.join(ENDING_S)
        status = self.process.exitcode
        how = (
            f'was killed by {signal.Signals(-status).name}' if status and status < 0 else f'ended with status {status}'
        )
        where = ''
        if self.place is not None and self.given:
            where = f' while it read {name_of(self.given[0], _NUMBER.unpack(self.place[:])[0])}'
        advice = 'Was the memory used up? Close other programs, or give --cfg-options embedder.batch_size=8.'
        if status in (-getattr(signal, 'SIGSEGV', 0), -getattr(signal, 'SIGBUS', 0), -getattr(signal, 'SIGABRT', 0)):
            advice = 'A library failed at this file: leave it out, and please report it.'
        return LostReaderError(
            f'A process that reads images {how}{where}. {advice} What was computed is kept, and the same command goes on.'
        )


def _end(helpers: list[_Helper]) -> None:
    for helper in helpers:
        helper.tasks.close()
        helper.results.close()
    for helper in helpers:
        helper.process.join(ENDING_S)
        if helper.process.is_alive():
            helper.process.kill()
            helper.process.join()
        helper.process.close()


# --- in the other process


def _serve(
    work: Any,
    prepare: Callable[[], None],
    tasks: Connection,
    results: Connection,
    place: mmap.mmap | None,
    inherited: list[Connection],
) -> None:
    for number in _BY_HAND:
        signal.signal(
            number, signal.SIG_IGN
        )  # they reach the whole group; the parent decides, and this process ends with it
    for end in inherited:
        end.close()
    prepare()
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    # the parent never waits for this process to take a task, while this one waits for the parent to take a result
    threading.Thread(target=_receive, args=(tasks, waiting), daemon=True).start()

    def note(number: int) -> None:
        if place is not None:
            place[:] = _NUMBER.pack(number)

    while True:
        task = waiting.get()
        try:
            result: Any = work(task, note)
        except Exception as error:
            result = ExceptionWithTraceback(error, error.__traceback__)
        try:
            results.send(result)
        except OSError:  # the parent has closed the pipe
            os._exit(0)
        except Exception:  # an exception that cannot be pickled
            with suppress(OSError):
                results.send(RuntimeError(traceback.format_exc()))


def _receive(tasks: Connection, waiting: 'queue.SimpleQueue[Any]') -> None:
    try:
        while True:
            waiting.put(tasks.recv())
    except (EOFError, OSError):
        os._exit(0)
