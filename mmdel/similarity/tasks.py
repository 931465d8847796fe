"""Comparisons as tasks, and the work units that tasks are cut into: once, by whoever asks for them.

    task = Task([Comparison(rows, columns)], tuning)
    task.compute(vectors, unit)                          # a pure function of the task and the unit: rows, cosines and partners

The processes of a job get the same task and the same units, and share these (:mod:`mmdel.compute.sharing`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdel.compute import sharing
from mmdel.compute.cores import on_threads, one_thread, usable_cores
from mmdel.compute.progress import Tick
from mmdel.similarity.canonical import Rows
from mmdel.similarity.exclusion import Exclusion
from mmdel.similarity.pool import ForEach, Pool, UnitVectors
from mmdel.similarity.search import Search
from mmdel.similarity.small import best_before
from mmdel.similarity.tiles import full_float32
from mmdel.similarity.tuning import Tuning

Found = tuple[Rows, NDArray[np.float64], Rows]
"""Places among a comparison's rows, int64 [n]; canonical cosine before rounding, float64 [n, k]; and slot, int64 [n, k]."""


def silent(done: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Rows that are compared with columns.

    Args:
        rows (NDArray[np.int64]): [n], rows of the vectors.
        columns (NDArray[np.int64], optional): [c], in order of preference. Defaults to None: the rows, each with those before it.
        excluded (Exclusion, optional): Of all rows, with ``columns``. Defaults to None, nothing.
    """

    rows: Rows
    columns: Rows | None = None
    excluded: Exclusion | None = None

    @property
    def order(self) -> Rows:
        """The columns."""
        return self.rows if self.columns is None else self.columns

    @property
    def pairs(self) -> int:
        """How many pairs have to be compared."""
        if self.columns is None:
            return len(self.rows) * (len(self.rows) - 1) // 2
        return self.exclusion(np.arange(len(self.rows))).pairs(np.arange(len(self.columns)))

    def exclusion(self, places: Rows) -> Exclusion:
        """Of some of the rows."""
        if self.columns is None:
            return Exclusion.before(places)
        return Exclusion.nothing(len(places)) if self.excluded is None else self.excluded[places]


@dataclass(frozen=True)
class Unit:
    """Some rows of one comparison, or some comparisons as a whole.

    Args:
        comparisons (Sequence[int]): Numbers of them in the task.
        places (NDArray[np.int64], optional): Of the rows of a single one, ascending; None is all.
        pairs, rows (int): To be compared.
    """

    comparisons: Sequence[int]
    places: Rows | None
    pairs: int
    rows: int


@dataclass
class Task:
    """Comparisons.

    Args:
        comparisons (Sequence[Comparison]): No row in two of them.
        tuning (Tuning): Decides speed.
        k (int): How many columns of each row are wanted. Defaults to 1.
        floor (float): Only canonical cosines above it count. Defaults to -inf.
        others (UnitVectors, optional): Vectors of the columns. Defaults to None, those of the rows.
    """

    comparisons: Sequence[Comparison]
    tuning: Tuning
    k: int = 1
    floor: float = -np.inf
    others: UnitVectors | None = None
    _pool: Pool | None = field(default=None, init=False)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {'_pool': None}

    def prepare(self, vectors: UnitVectors) -> None:
        """What all units of a single comparison use, in one pass over its columns."""
        if len(self.comparisons) == 1 and self._pool is None:
            for_each = partial(on_threads, threads=self.tuning.threads)
            with one_thread():
                self._pool = self._prepared(vectors, self.comparisons[0], for_each)

    def cut(self, workers: int) -> list[Unit]:
        """Rows of a single comparison, those that take longest first, for so many threads of all processes together."""
        (one,), tuning, pool = self.comparisons, self.tuning, self._pool
        size = len(one.rows)
        step = int(np.clip(size // max(tuning.units, 4 * workers), tuning.least_rows, tuning.most_rows))
        step = max(min(step, -(-size // (2 * workers))), 1)
        places = np.arange(size)
        if pool is not None and not pool.in_memory:
            step = tuning.most_rows  # columns are read again for each unit
        elif pool is not None and pool.pruning is not None and one.columns is None:
            # similar rows in one unit, which have the same columns left; but rows near the front of a triangle have few
            places = np.lexsort((places, pool.pruning.columns.cell, places // (4 * step)))
        parts = [np.sort(places[start : start + step]) for start in reversed(range(0, size, step))]
        columns = np.arange(len(one.order))
        return [Unit((0,), part, one.exclusion(part).pairs(columns), len(part)) for part in parts]

    def batches(self) -> list[Unit]:
        """Whole comparisons: large ones alone, and of small groups as many at a time, at least one, as make a tile."""
        units: list[Unit] = []
        width = 0
        for number, one in sorted(enumerate(self.comparisons), key=lambda each: -each[1].pairs):
            if width and self._is_small(one) and (len(units[-1].comparisons) + 1) * width <= self.tuning.tile_rows:
                last = units.pop()
                units.append(Unit((*last.comparisons, number), None, last.pairs + one.pairs, last.rows + len(one.rows)))
            else:
                units.append(Unit((number,), None, one.pairs, len(one.rows)))
                width = len(one.rows) if self._is_small(one) else 0
        return units

    def compute(self, vectors: UnitVectors, unit: Unit) -> list[tuple[int, Found]]:
        """What a unit finds, by the number of the comparison."""
        some = [self.comparisons[number] for number in unit.comparisons]
        if unit.places is None and all(map(self._is_small, some)):
            found = best_before(vectors, [one.rows for one in some], self.tuning)
            return list(zip(unit.comparisons, found, strict=True))
        (number,), (one,) = unit.comparisons, some
        pool = self._pool if self._pool is not None else self._prepared(vectors, one)
        step = len(one.rows) // self.tuning.tile_rows + 1
        parts = np.array_split(np.arange(len(one.rows)), step) if unit.places is None else [unit.places]
        return [(number, (part, *self._search(vectors, one, pool, part).best())) for part in parts]

    def _is_small(self, one: Comparison) -> bool:
        plain = one.columns is None and self.k == 1 and self.floor == -np.inf
        return plain and 0 < len(one.rows) <= self.tuning.whole_rows

    def _search(self, vectors: UnitVectors, one: Comparison, pool: Pool, places: Rows) -> Search:
        own = places if one.order is one.rows else None  # slots of the rows among the columns
        x = vectors.read(one.rows[places]) if own is None else pool.read(places)
        return Search(pool, x, one.exclusion(places), self.tuning, self.k, self.floor, own)

    def _prepared(self, vectors: UnitVectors, one: Comparison, *for_each: ForEach) -> Pool:
        few = (
            4 * len(one.rows) * vectors.dim < self.tuning.prune_numbers
        )  # do not pay for the projection of the columns
        tuning = replace(self.tuning, prune_most=0) if few else self.tuning
        pool = Pool(self.others or vectors, one.order, tuning, *for_each)
        if pool.pruning is not None and len(one.rows):
            # whether pruning pays is seen by a few rows
            some = np.unique(np.linspace(0, len(one.rows) - 1, self.tuning.tile_rows // 8).astype(np.int64))
            if self._search(vectors, one, pool, some).left_by_pruning(pool.pruning) > self.tuning.prune_left:
                pool.pruning = None
        return pool


def compare(vectors: UnitVectors, task: Task, tick: Tick, counted: str = 'pairs') -> Iterator[tuple[Comparison, Found]]:
    """Do a task, and yield the comparisons with what was found of some of their rows; arguments as of :func:`share`.

    A comparison that would keep one thread busy when the others have nothing left to do is cut into rows; the rest is done one
    comparison, or several small ones, at a time.
    """
    workers = (task.tuning.threads or usable_cores()) * sharing.get_world_size()
    few = sum(one.pairs for one in task.comparisons) / (4 * workers)
    large = [one for one in task.comparisons if one.pairs > few and len(one.rows) > task.tuning.least_rows // 4]
    rest = [one for one in task.comparisons if one not in large]
    for some in filter(None, [*([one] for one in large), rest]):
        part = replace(task, comparisons=some)
        if some is not rest:
            part.prepare(vectors)
        for found in share(vectors, part, part.batches() if some is rest else part.cut(workers), tick, counted):
            for number, result in found:
                yield some[number], result


def share(vectors: UnitVectors, task: Task, units: Sequence[Unit], tick: Tick, counted: str) -> list[Any]:
    """What all units of a task find, in any order; together with the other processes of the job where it is worth it.

    Vectors and task are sent to them once. Units that take longest come first; ``tick`` is told how much has been done, here or
    elsewhere: of a unit its ``counted``, 'pairs' or 'rows'.
    """
    worth = len(units) > 1 and sum(unit.pairs for unit in units) * vectors.dim >= task.tuning.shared
    work = partial(_compute, task=task, units=units, counted=counted)
    return [found for part in sharing.share(work, vectors, tick, worth) for found in part]


def _compute(
    vectors: UnitVectors, claim: sharing.Claim, tick: Tick, task: Task, units: Sequence[Unit], counted: str
) -> list[Any]:
    """What the units that are this process's find."""
    found = []

    def one(number: int) -> None:
        found.append(task.compute(vectors, units[number]))
        tick(getattr(units[number], counted))

    with full_float32():
        task.prepare(vectors)
        numbers = claim(len(units), 1 + len(units) // 1024)  # a message for each of some 1,000 parts
        on_threads(one, numbers, min(task.tuning.threads or usable_cores(), max(1, len(units))))
    return found
