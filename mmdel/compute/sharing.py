"""Work shared by the processes of one job; a process that is alone does all of it by the same code.

    with sharing.joined('pytorch'):        # every process
        if not sharing.is_main_process():
            sharing.serve()                # until rank 0 has ended
            return
        ...                                # rank 0 runs the program as if it were alone, and somewhere in it:
        parts = sharing.share(work, vectors, tick)

    def work(vectors, claim, tick):        # every process
        for unit in claim(1000):           # each of the 1,000 work units goes to one process, the next free one
            ...
            tick(1)
        return what_was_found              # share() returns this of every process, by rank

Work units are handed out by a counter in the key-value store of the process group, so that a slow process takes fewer of them and
delays nobody. Processes wait by polling the store, never inside a collective operation: however long rank 0 alone is busy, no
timeout ends the job. Objects travel through :mod:`mmengine.dist`, and only when all processes are there to receive them.

A job ends as a whole. The first process that fails prints why, and the others end silently. A process that was killed, or whose
machine is lost, sends no more heartbeats, and the others end after :data:`SILENT_BEATS` times :data:`BEAT_S` seconds unless the
launcher has ended them before.
"""

import os
import pickle
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, NoReturn

import torch
from mmengine.dist import broadcast_object_list, gather_object, get_dist_info

from mmdel.compute import distributed, exits
from mmdel.compute.progress import Tick
from mmdel.errors import ConfigError, LostProcessError

BEAT_S = 3.0
"""Seconds between two heartbeats. Each process counts its own, so that a job that is suspended as a whole goes on."""

SILENT_BEATS = 15
"""Missed heartbeats after which a process counts as dead; a busy interpreter may miss some of its own."""

PARTING_S = 2.0
"""The process that says what went wrong has this long before others end, and the launcher then all."""

LEAVING_S = 30.0
"""How long rank 0, in which the store may live, waits for the others to leave."""

TELL_S = 0.5
"""Seconds between two exchanges of how many units are done."""

FAILED = 1
"""Exit status of a process that ends because another one has failed."""

Claim = Callable[..., Iterator[int]]
"""``claim(count, at_once=1)``: this process's of the numbers below ``count``, ``at_once`` at a time. A work calls it once."""

Work = Callable[[Any, Claim, Tick], Any]


def share(work: Work, common: Any, tick: Tick = lambda done: None, worth: bool = True) -> list[Any]:
    """Do work together with the other processes, and return what each of them returns, by rank.

    Args:
        work (Callable): A function of a module, or a partial of one. Called with ``common``, ``claim`` and ``tick``.
        common (Any): Sent to the others, but not again if it is the object of the last call. It can be pickled; the pickle goes
            from process to process and is never read from a file.
        tick (Callable): Told the units done, by any process. Defaults to doing nothing.
        worth (bool): Whether the work is worth telling the others; if not, this process does it alone. Defaults to True.
    """
    if _team is None or _team.size == 1 or _team.rank or _team.busy or not worth:
        return [work(common, everything, tick)]
    return _team.lead(work, common, tick)


def everything(count: int, at_once: int = 1) -> Iterator[int]:
    """The claim of a process that is alone."""
    return iter(range(count))


def get_world_size() -> int:
    """How many processes share the work; as in :mod:`mmengine.dist`."""
    return 1 if _team is None else _team.size


def is_main_process() -> bool:
    """Whether this process runs the program (rank 0), and does not only share its work."""
    return _team is None or _team.rank == 0


def serve() -> None:
    """Do this process's part of whatever rank 0 shares, until that has ended. Only rank 0 prints: here, prints go nowhere."""
    if _team is not None:
        with open(os.devnull, 'w') as nowhere, redirect_stdout(nowhere):
            _team.serve()


@contextmanager
def joined(launcher: str) -> Iterator[None]:
    """Be one of the processes that a launcher has started; leave when all of them have ended well.

    Where one of them raises something, it prints why, as the tools do, and all of them end with a status other than 0.

    Args:
        launcher (str): One of :data:`mmdel.compute.distributed.LAUNCHERS`.

    Raises:
        ConfigError: The launcher has not started this process.
    """
    global _team
    if launcher == 'none':
        yield
        return
    # what is exchanged is small and lies in main memory, on machines with GPUs too
    distributed.start(launcher, backend='gloo')
    _team = Team(torch.distributed.distributed_c10d._get_default_store(), *get_dist_info())
    _team.watch()
    try:
        yield
        _team.leave()
    except BaseException as error:
        if isinstance(error, LostProcessError):
            _team.fail(f'error: {error}', own=False)
        if isinstance(error, exits.Stopped):
            _team.fail(error.line, own=False, status=128 + error.number)
        if (line := exits.mendable(error)) is not None:
            _team.fail(f'error: {line}', status=exits.MISTAKE)
        _team.fail(exits.traceback_and_report(error))
    _team = None
    torch.distributed.destroy_process_group()


class Team:
    """The processes as one of them sees the others.

    Args:
        store (torch.distributed.Store): Shared by all.
        rank (int): Of this process.
        size (int): How many processes there are.

    Attributes:
        busy (bool): Whether this process is doing shared work.
    """

    def __init__(self, store: Any, rank: int, size: int) -> None:
        self._store = store
        self.rank = rank
        self.size = size
        self.busy = False
        self._tasks = 0
        self._common: Any = None
        self._cut = 0
        self._left = threading.Event()
        self._failing = threading.Lock()

    def lead(self, work: Work, common: Any, tick: Tick) -> list[Any]:
        """:func:`share` for rank 0 of several processes."""
        known = common is self._common
        try:
            message = pickle.dumps((work, known, None if known else common))
        except (AttributeError, TypeError, pickle.PicklingError) as error:
            raise ConfigError(
                f'This cannot be sent to the other processes: {error}. Run it with --launcher none, or keep what cannot be '
                'pickled out of the object (an embedder makes its model in build_model()).'
            ) from error
        self._common = common
        self._cut = 0
        self._tasks += 1
        self._count('tasks', 1)
        with _exchanging():
            broadcast_object_list([message])
        self.busy = True
        try:
            counted = _SharedTick(self, tick, gathers=True)
            found = work(common, self._claim, counted)
            self._meet(counted.exchange)
        finally:
            self.busy = False
        with _exchanging():
            parts = gather_object((self._cut, found)) or []
        # where processes cut the work in different ways, units were done twice or not at all
        if len({cut for cut, _ in parts}) > 1:
            raise ConfigError('The processes of this job do not run the same version of mmdel; they need to.')
        return [part for _, part in parts]

    def serve(self) -> None:
        """Take part in each task that rank 0 begins."""
        while self._next_task():
            message = [b'']
            with _exchanging():
                broadcast_object_list(message)
            work, known, common = pickle.loads(message[0])
            if not known:
                self._common = common
            self._cut = 0
            counted = _SharedTick(self, lambda done: None, gathers=False)
            found = work(self._common, self._claim, counted)
            counted.exchange()
            self._meet()
            with _exchanging():
                gather_object((self._cut, found))

    def _next_task(self) -> bool:
        self._tasks += 1
        self._wait(lambda: self._count('tasks') >= self._tasks or self._count('ended') > 0)
        return self._count('tasks') >= self._tasks

    def _meet(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until every process has done its part of the task."""
        self._count(f'done/{self._tasks}', 1)
        self._wait(lambda: self._count(f'done/{self._tasks}') == self.size, meanwhile)
        meanwhile()

    def _claim(self, count: int, at_once: int = 1) -> Iterator[int]:
        self._cut = count
        name = f'claimed/{self._tasks}'
        while (start := self._count(name, at_once) - at_once) < count:
            yield from range(start, min(start + at_once, count))

    def _wait(self, until: Callable[[], bool], meanwhile: Callable[[], None] = lambda: None) -> None:
        pause = 0.005
        while not until():
            meanwhile()
            time.sleep(pause)
            pause = min(1.5 * pause, 0.2)

    def _count(self, name: str, more: int = 0) -> int:
        """Add to a counter of the store, and return it."""
        try:
            return int(self._store.add(f'mmdel/{name}', more))
        except RuntimeError as error:
            raise LostProcessError(_GONE + _AGAIN) from error

    # --- the end of the job

    def watch(self) -> None:
        """Send heartbeats, and look at those of others: rank 0 at all, the others at rank 0."""
        threading.Thread(target=self._watch, name='watch', daemon=True).start()

    def _watch(self) -> None:
        others = range(1, self.size) if self.rank == 0 else range(1)
        last = dict.fromkeys(others, -1)
        silent = dict.fromkeys(others, 0)
        try:
            while not self._left.wait(BEAT_S):
                self._count(f'beat/{self.rank}', 1)
                if self._count('failed'):
                    self.fail('')
                for rank in others:
                    beat = self._count(f'beat/{rank}')
                    silent[rank] = silent[rank] + 1 if beat == last[rank] else 0
                    last[rank] = beat
                    if silent[rank] >= SILENT_BEATS and not self._left.is_set():
                        seconds = SILENT_BEATS * BEAT_S
                        self.fail(f'error: rank {rank} gave no sign of life for {seconds:.0f} s. {_AGAIN}', own=False)
        except LostProcessError as error:
            if not self._left.is_set():
                self.fail(f'error: {error}', own=False)

    def fail(self, why: str, own: bool = True, status: int = FAILED) -> NoReturn:
        """End, and say why the job ends if no other process has.

        Args:
            why (str): For people.
            own (bool): Whether it is this process that has failed. Defaults to True.
            status (int): With which this process ends if it is the one that says so. Defaults to :data:`FAILED`.
        """
        with self._failing:  # never released: a thread that comes second waits here for the end
            try:
                first = self._count('failed', 1) == 1
            except LostProcessError:
                first = self.rank == 1  # the store has gone with rank 0, so one of the others
            if first:
                where = f'rank {self.rank} on {socket.gethostname()} has failed:\n' if own and self.rank else ''
                print(where + why, file=sys.stderr, flush=True)
            with suppress(LostProcessError):
                if self.rank:
                    # where one process ends, the launcher ends the others, one of which may be in the middle of saying why
                    time.sleep(0 if first else PARTING_S)
                    self._count('gone', 1)
                else:
                    # the last of all, as the store may live in this process
                    give_up = time.monotonic() + BEAT_S + 2 * PARTING_S
                    self._wait(lambda: self._count('gone') >= self.size - 1 or time.monotonic() > give_up)
            # not by an exception: the main thread may be far from its end, and what is on disk is whole at any moment
            os._exit(status if first else FAILED)

    def leave(self) -> None:
        """End well: rank 0 tells the others and waits for them, as the store may live in its process."""
        if self.rank == 0:
            self._count('ended', 1)
            give_up = time.monotonic() + LEAVING_S
            self._wait(lambda: self._count('left') == self.size - 1 or time.monotonic() > give_up)
        self._left.set()
        if self.rank:
            with suppress(LostProcessError):  # rank 0 may have ended before its answer came
                self._count('left', 1)


class _SharedTick:
    """The tick of a shared work: others' units reach rank 0 through the store, and so its progress bar."""

    def __init__(self, team: Team, tick: Tick, gathers: bool) -> None:
        self._team = team
        self._tick = tick
        self._gathers = gathers
        self._name = f'units/{team._tasks}'
        self._lock = threading.Lock()
        self._pending = 0
        self._seen = 0
        self._last = time.monotonic()

    def __call__(self, done: int) -> None:
        with self._lock:
            if self._gathers:
                self._tick(done)
            else:
                self._pending += done
            if time.monotonic() - self._last > TELL_S:
                self._exchange()

    def exchange(self) -> None:
        with self._lock:
            self._exchange()

    def _exchange(self) -> None:
        self._last = time.monotonic()
        total = self._team._count(self._name, self._pending)
        self._pending = 0
        if self._gathers and total > self._seen:
            self._tick(total - self._seen)
            self._seen = total


_team: Team | None = None

_AGAIN = 'Start the job again: it goes on where it stopped.'
_GONE = 'Another process of the job cannot be reached any more, so the job ends. What it or the launcher has printed says more. '


@contextmanager
def _exchanging() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo's word for a connection that was closed at the other end
        raise LostProcessError(_GONE + _AGAIN) from error
