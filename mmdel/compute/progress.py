"""Progress of long stages: a bar with rate and ETA on a terminal, plain log lines elsewhere.

    with progress.stage('embed', total=2922, unit='images') as tick:
        tick(32)

Every stage's wall time is kept in ``progress.seconds`` for the closing table.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Tick = Callable[[int], None]


class Stages:
    """Runs stages one after another and remembers how long each took.

    Args:
        console (Console, optional): Where bars are drawn; bars appear only if it is a terminal. Defaults to None (silent).
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, total: float | None = None, unit: str = 'images') -> Iterator[Tick]:
        """Time one stage; yields a function that is called with the number of units just finished."""
        start = time.perf_counter()
        try:
            if self.console is None or not self.console.is_terminal:
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
