"""How a command ends: successfully, or with one line that says what was wrong and what to do.

    end_with(run, args, kept='vectors made so far are kept')

=============================  ============================================================  ===============
what happened                  what is said                                                  exit status
=============================  ============================================================  ===============
nothing                        what the command says                                         0, 1 or 3
a mistake, a missing library   the message                                                   2
libraries that clash           the message, and what :mod:`mmdel.compute.installation` says of it      2
the machine: no space, memory  the file and what to do                                       2
Ctrl-C, SIGTERM, SIGHUP        what is kept, and that the same command goes on               130, 143, 129
the reader of a pipe has gone  nothing                                                       141
anything else, a bug of ours   the traceback, and where to report it                         1
=============================  ============================================================  ===============

What 1 and 3 of a command are, and all of this for people: docs/commands.md.
"""

import errno
import logging
import multiprocessing
import os
import platform
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, TypeVar

import mmdel
from mmdel.compute import installation as doctor
from mmdel.errors import MmdelError, UnreadableImage

MISTAKE = 2
"""Exit status where a person has to do something: in what was typed, in a config, in the data, on the machine."""

PIPE_CLOSED = 128 + 13
"""As of a program that SIGPIPE ends."""

GRACE_S = 3.0
"""So long a command that was told to end may put things away; it may be in the middle of a library that takes longer."""

KEPT = 'no file is left half written; start the same command again'

SIGNALS = {
    getattr(signal, name): f'{name}{how}'
    for name, how in (('SIGINT', ', Ctrl-C'), ('SIGTERM', ''), ('SIGHUP', ', the terminal was closed'))
    if hasattr(signal, name)
}

Arguments = TypeVar('Arguments')


class Stopped(KeyboardInterrupt):
    """A signal told the command to end.

    Args:
        number (int): The signal.
        line (str): What is said of it.
    """

    def __init__(self, number: int, line: str) -> None:
        super().__init__(number, line)
        self.number = number
        self.line = line


def end_with(run: Callable[[Arguments], int | None], args: Arguments, kept: str = KEPT) -> None:
    """Run a command, and exit with the status that it returns unless that is 0 or None.

    Args:
        run (Callable): The command.
        args: What it is called with.
        kept (str): What is kept where it is stopped in the middle, and how to go on. Defaults to :data:`KEPT`.

    Raises:
        SystemExit: It did not end well.
    """
    logging.raiseExceptions = False  # a log that cannot be written is no reason to bury the terminal in tracebacks
    stops = _Signals(kept)
    try:
        with stops:
            os.getcwd()  # where the current folder was removed, libraries end the process while they are loaded
            status = run(args)
            sys.stdout.flush()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or stops.first:  # a library may have made another error of it
            number = stops.first or getattr(error, 'number', signal.SIGINT)
            print(stopped_line(number, kept), file=sys.stderr)
            raise SystemExit(128 + number) from None
        if isinstance(error, BrokenPipeError):
            with suppress(OSError, ValueError):  # so that nothing is flushed into the pipe at the very end
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(PIPE_CLOSED) from None
        line = mendable(error)
        if line is None or isinstance(error, ImportError):
            clashes = doctor.explain(error)
            line = '\n'.join([line or repr(error), *map(str, clashes)]) if clashes else line
        if line is not None:
            print(f'error: {line}', file=sys.stderr)
            raise SystemExit(MISTAKE) from None
        if isinstance(error, Exception):
            sys.excepthook = _with_report_line(sys.excepthook)
        raise
    if status:
        raise SystemExit(status)


def mendable(error: BaseException) -> str | None:
    """What a person can do about an error, in one line; None for a bug of mmdel's.

    Args:
        error (BaseException): What a command raised.
    """
    text = _said_in_worker(str(error))
    if isinstance(error, (MmdelError, ImportError)):
        return text
    if isinstance(error, UnreadableImage):
        return f'{text}. Leave the file out, or train without such files: dict(type="mmdel.LoadFrame", skip_unreadable=True).'
    if isinstance(error, MemoryError) or type(error).__name__ == 'OutOfMemoryError' or 'DefaultCPUAllocator' in text:
        return (
            f'The memory is used up ({text.partition(chr(10))[0] or "no word from the system"}). Close other programs, or take '
            'fewer images at a time: --cfg-options embedder.batch_size=8 (in a training: train_dataloader.batch_size).'
        )
    if isinstance(error, RuntimeError) and text.startswith('DataLoader worker'):
        return (
            f'{text.partition(chr(10))[0]} Is /dev/shm too small (docker run --shm-size=8g), or the memory used up? '
            'train_dataloader.num_workers=0 needs neither.'
        )
    if isinstance(error, RuntimeError) and "can't start new thread" in text:
        return 'The system starts no more threads for this user (ulimit -u, or the limit of the container). Raise it.'
    return _of_the_system(error) if isinstance(error, OSError) else None


def stopped_line(number: int, kept: str = KEPT) -> str:
    """What is said of a signal."""
    return f'stopped ({SIGNALS.get(signal.Signals(number), str(number))}): {kept}.'


def report_line() -> str:
    """Where a bug is reported, and with what."""
    versions = [f'mmdel {mmdel.__version__}', f'Python {platform.python_version()}', platform.platform(terse=True)]
    for name in ('torch', 'numpy', 'mmengine'):
        if name in sys.modules:
            versions.append(f'{name} {getattr(sys.modules[name], "__version__", "?")}')
    return (
        'This is a bug of mmdel and no mistake of yours. Please report it at the issue tracker of mmdel, with these lines and '
        f'{", ".join(versions)}.'
    )


def traceback_and_report(error: BaseException) -> str:
    """What is said of a bug."""
    return ''.join(traceback.format_exception(error)) + report_line()


# --- private


def _of_the_system(error: OSError) -> str | None:
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    where = ' -> '.join(names)
    what = f'{where}: {error.strerror or error}' if where else str(error)
    if error.errno in (errno.ENOSPC, getattr(errno, 'EDQUOT', errno.ENOSPC)):
        return (
            f'{what}. Make room there, or choose another place (--work-dir DIR, --cfg-options cache_dir=DIR, TMPDIR=DIR). What '
            'was computed is kept, and the same command goes on.'
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f'{what}. Get the right to it, or choose another place, for results with --work-dir DIR or --out.'
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return f'{what}. Something else is there: move it, or choose another place, for results with --work-dir DIR or --out.'
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f'{what}. Allow more open files (ulimit -n 4096), and start the same command again.'
    if error.errno == errno.ENOENT and not where and _current_folder_is_gone():
        return 'The current folder is not there any more. Change into another one, and start the command again.'
    if error.errno == errno.ENOENT and 'temporary directory' in str(error):
        return f'{error}. Set TMPDIR to a folder that can be written.'
    if 'MPLCONFIGDIR' in str(error):
        return f'{error}'
    if error.errno is None or (not where and error.errno == errno.ENOENT):
        return None
    return f'{what}. The system refused it; mend that, and start the same command again.'


def _current_folder_is_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _said_in_worker(text: str) -> str:
    """What an error says, without the traceback that a worker of torch puts into it."""
    if not text.startswith('Caught '):
        return text
    last = text.strip().splitlines()[-1]
    return last.partition(': ')[2] or last


def _with_report_line(hook: Callable[..., Any]) -> Callable[..., Any]:
    def said(kind: Any, error: Any, trace: Any) -> None:
        hook(kind, error, trace)
        print(report_line(), file=sys.stderr)

    return said


class _Signals:
    """Raises :class:`Stopped` in its block; where that does not end it in time, or a second signal comes, the process ends.

    A signal that the caller ignores, as nohup does, stays ignored. Python calls a handler between two of its own steps; the pipe
    is written to at once, whatever library is busy.

    Attributes:
        first (int): The first signal, 0 before there is one.
        held (bool): Whether it raises nothing now, see :func:`held`.
    """

    def __init__(self, kept: str) -> None:
        self.first = 0
        self.held = False
        self._kept = kept
        self._over = threading.Event()

    def __enter__(self) -> None:
        global _active
        self._before: dict[int, Any] = {}
        if threading.current_thread() is not threading.main_thread() or _active is not None:
            return
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None):
                self._before[number] = handler
        self._received, self._send = os.pipe()
        os.set_blocking(self._send, False)
        self._woken = signal.set_wakeup_fd(self._send, warn_on_full_buffer=False)
        self._watch = threading.Thread(target=self._read, name='signals', daemon=True)
        self._watch.start()
        _active = self
        for number in self._before:
            signal.signal(number, self._stop)

    def __exit__(self, *_: Any) -> None:
        global _active
        if _active is not self:
            return
        self._over.set()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._woken)
        os.write(self._send, bytes(1))
        self._watch.join()
        self._close()
        _active = None

    def forget(self) -> None:
        """In a child process, whose signals are its own."""
        signal.set_wakeup_fd(-1)
        for number in self._before:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        self._close()

    def _close(self) -> None:
        os.close(self._send)
        os.close(self._received)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if not self.first and not self._over.is_set():
            self.first = number
            if not self.held:
                self.raise_first()

    def raise_first(self) -> None:
        """Stop the block, if there was a signal."""
        if self.first:
            raise Stopped(self.first, stopped_line(self.first, self._kept))

    def _read(self) -> None:
        first = 0
        while number := os.read(self._received, 1)[0]:
            if number not in self._before:
                continue
            if first:
                _end_now(first, self._kept)
            first = number
            threading.Thread(target=self._wait, args=(number,), daemon=True).start()

    def _wait(self, number: int) -> None:
        if not self._over.wait(GRACE_S):
            _end_now(number, self._kept)


def _end_now(number: int, kept: str) -> NoReturn:
    for process in multiprocessing.active_children():
        process.kill()
        process.join(1)
    show_cursor = '\x1b[?25h\n' if sys.stderr.isatty() else ''
    with suppress(OSError):
        os.write(2, f'{show_cursor}{stopped_line(number, kept)}\n'.encode())
    os._exit(128 + number)


_active: _Signals | None = None


@contextmanager
def held() -> Iterator[None]:
    """A signal that comes inside stops afterwards: what is raised in the middle of a fork, Python only prints and forgets."""
    active = _active if threading.current_thread() is threading.main_thread() else None
    if active is None:
        yield
        return
    active.held = True
    try:
        yield
    finally:
        active.held = False
    active.raise_first()


def _forget() -> None:
    global _active
    if _active is not None:
        _active.forget()
        _active = None


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget)
