"""The greedy rule: a row stays unless one that stays, and is preferred, is more similar than eta."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdel.compute.progress import Tick
from mmdel.similarity.canonical import Rows, float32_error, pair_cosines
from mmdel.similarity.exclusion import Exclusion
from mmdel.similarity.neighbours import Neighbours
from mmdel.similarity.pool import Pool, UnitVectors
from mmdel.similarity.search import Search
from mmdel.similarity.tasks import Comparison, Task, Unit, share, silent
from mmdel.similarity.tuning import Tuning, default_tuning


def greedy(
    vectors: UnitVectors, groups: Sequence[Rows], eta: float, tick: Tick = silent, tuning: Tuning | None = None
) -> tuple[Neighbours, NDArray[np.bool_]]:
    """Go through each group in order of preference and keep a row unless a kept one is more similar than eta.

    Groups are disjoint, each in order of preference. A row goes if its canonical cosine to a kept one is above float32(eta).
    ``tick`` is told the number of rows decided; ``tuning`` decides speed alone. Returned are the highest cosine of each row to a
    *kept* one that is preferred, and what is kept, bool [N].
    """
    # within a group each decision waits for those before it
    some = [Comparison(group) for group in sorted(groups, key=len, reverse=True)]
    task = GreedyTask(some, tuning or default_tuning(), eta=np.float32(eta))
    units = [Unit((number,), None, one.pairs, len(one.rows)) for number, one in enumerate(some)]
    found, kept = Neighbours.none(len(vectors)), np.zeros(len(vectors), bool)
    for order, cosine, slot, stays in share(vectors, task, units, tick, 'rows'):
        found.cosine[order], kept[order] = cosine, stays
        found.row[order] = np.where(slot < 0, -1, order[slot])
    return found, kept


@dataclass
class GreedyTask(Task):
    """The decisions inside groups, each a comparison with those before."""

    eta: np.float32 = field(kw_only=True)

    def prepare(self, vectors: UnitVectors) -> None:
        """Nothing is shared by groups."""

    def compute(self, vectors: UnitVectors, unit: Unit) -> Any:
        """The rows of a group, the cosine and slot of each one's best kept one, and whether it is kept."""
        order = self.comparisons[unit.comparisons[0]].rows
        pool = Pool(vectors, order, replace(self.tuning, prune_most=0))
        cosine, slot, stays = np.full(len(order), np.nan), np.full(len(order), -1), np.zeros(len(order), bool)
        for start in range(0, len(order), (step := self.tuning.tile_rows)):
            slots = np.arange(start, min(start + step, len(order)))
            if stays[: max(start - step, 0)].sum() < self.tuning.tile_columns <= stays[:start].sum():
                pool = Pool(vectors, order, self.tuning)  # only from here on there is much to rule out
            x = pool.read(slots)
            search = Search(pool, x, Exclusion.nothing(len(x)), self.tuning, own=slots)
            before, kept = search.best(np.flatnonzero(stays))
            alive = np.flatnonzero(~(before[:, 0].astype(np.float32) > self.eta))
            survive = slots[alive[self._kept_alone(x[alive])]]
            here, there = Search(pool, x, Exclusion.before(slots), self.tuning, own=slots).best(survive)
            closer = here.astype(np.float32) > np.where(np.isnan(before), -np.inf, before).astype(np.float32)
            cosine[slots], slot[slots] = np.where(closer, here, before)[:, 0], np.where(closer, there, kept)[:, 0]
            stays[survive] = True
        return order, cosine, slot, stays

    def _kept_alone(self, x: NDArray[np.float32]) -> Rows:
        """Indices of the rows of ``x`` [n, D] that a greedy pass over them alone keeps."""
        product = x @ x.T
        above = np.tril(product > self.eta, -1)
        row, column = np.nonzero(np.tril(np.abs(product - self.eta) <= 2 * float32_error(x.shape[1]), -1))
        above[row, column] = pair_cosines(x.__getitem__, row, x.__getitem__, column).astype(np.float32) > self.eta
        kept = np.zeros(len(x), bool)
        for i in range(len(x)):
            kept[i] = not (above[i] & kept).any()
        return np.flatnonzero(kept)
