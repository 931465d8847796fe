"""Progress of long stages: a bar with rate and ETA on a terminal, a line in a notebook, plain log lines elsewhere.

    with progress.stage('embed', total=2922, unit='images') as tick:
        tick(32)

Every stage's wall time is kept in ``progress.seconds`` for the closing table, and what is said meanwhile goes into a
log file (:func:`logged`), which is made only once the run may write into its work dir.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger
from mmengine.logging.logger import MMFormatter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Tick = Callable[[int], None]

_HELD_BACK = 10_000

_NOTEBOOK_S = 0.2
"""How often a notebook is told, at most."""


class Stages:
    """Runs stages one after another and remembers how long each took.

    Args:
        console (Console, optional): Where bars are drawn; they appear only if it is a terminal or a notebook. Defaults to None
            (silent).
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}
        self._line: Any = None

    @contextmanager
    def stage(self, name: str, total: float | None = None, unit: str = 'images') -> Iterator[Tick]:
        """Time one stage; yields a function that is called with the number of units just finished."""
        start = time.perf_counter()
        try:
            if self.console is not None and self.console.is_jupyter:
                yield self._in_notebook(name, total, unit, start)
            elif self.console is None or not self.console.is_terminal:
                yield lambda done: None
            elif total is None:
                with self.console.status(name):
                    yield lambda done: None
            else:
                with self._bar(unit) as bar:
                    task = bar.add_task(name, total=total, rate='')

                    def tick(done: int) -> None:
                        bar.advance(task, done)
                        spent = max(time.perf_counter() - start, 1e-9)
                        bar.update(task, rate=f'{bar.tasks[0].completed / spent:,.0f}')

                    yield tick
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def _in_notebook(self, name: str, total: float | None, unit: str, start: float) -> Tick:
        """One line of text for all stages; rich would need ipywidgets, which a notebook may lack."""
        from IPython.display import display

        done, told = 0, start

        def show() -> None:
            spent = time.perf_counter() - start
            text = name if total is None else f'{name}: {done:,} of {total:,.0f} {unit}, {spent:.0f} s'
            if self._line is None:
                self._line = display({'text/plain': text}, raw=True, display_id=True)
            else:
                self._line.update({'text/plain': text}, raw=True)

        def tick(more: int) -> None:
            nonlocal done, told
            done += more
            if time.perf_counter() - told > _NOTEBOOK_S or done == total:
                told = time.perf_counter()
                show()

        show()
        return tick

    def _bar(self, unit: str) -> Progress:
        return Progress(
            TextColumn('{task.description:<10}'),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn('{task.fields[rate]} ' + unit + '/s'),
            TimeElapsedColumn(),
            TextColumn('ETA'),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )


SILENT = Stages()
"""Draws nothing; the default of every function that takes a progress."""


@contextmanager
def logged(file: Path) -> Iterator[Callable[[], None]]:
    """Make 'mmdel' the current logger, and give what begins its file with all that was said before.

    Args:
        file (Path): The log file. Its folder is made with it.
    """
    logger = MMLogger.get_instance('mmdel', logger_name='mmdel', log_level='INFO')
    early = MemoryHandler(_HELD_BACK, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
    logger.addHandler(early)

    def begin() -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(file, encoding='utf-8')
        handler.setFormatter(MMFormatter(color=False, datefmt='%Y/%m/%d %H:%M:%S'))
        early.setTarget(handler)
        early.flush()
        early.flushLevel = logging.NOTSET  # from here on each line is written as it comes

    try:
        yield begin
    finally:
        logger.removeHandler(early)
        target = early.target
        early.close()
        if target is not None:
            target.close()
