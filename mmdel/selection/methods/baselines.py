"""The baselines that every method has to beat: random, and every n-th frame.

RandomSelector(seed=0, stratify='source')
EveryNth()
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import Vectors
from mmdel.errors import ConfigError
from mmdel.registry import SELECTORS
from mmdel.selection import strata
from mmdel.selection.selector import BaseSelector, Ranking, asked_size, ranking_of

STEP_PARTS = 1024
"""Places on a step from which every n-th image can be counted."""


@SELECTORS.register_module()
class RandomSelector(BaseSelector):
    """A random order; with strata, one in which every stratum keeps its share at every ratio.

    Args:
        seed (int): Another seed is another draw. Defaults to 0.
        stratify (str, optional): 'source', 'label', 'patient', 'video', 'centre' or 'folder'. Defaults to None.

    Raises:
        ConfigError: ``seed`` is negative, or ``stratify`` is not known.
    """

    def __init__(self, seed: int = 0, stratify: str | None = None) -> None:
        if seed < 0:
            raise ConfigError(f'seed must be 0 or more, got {seed}.')
        if stratify is not None and stratify not in strata.STRATA:
            raise ConfigError(f'stratify must be one of {", ".join(strata.STRATA)} or None, got {stratify!r}.')
        self.seed = seed
        self.stratify = stratify

    def rank(self, vectors: Vectors, table: pa.Table, size: int | None = None, progress: Stages = SILENT) -> Ranking:
        order = np.random.default_rng(self.seed).permutation(len(vectors))
        if self.stratify is not None:
            drawn = np.argsort(order)
            order = strata.shared_out([rows[drawn[rows].argsort()] for rows in strata.strata(table, self.stratify)])
        return ranking_of(order)


@SELECTORS.register_module()
class EveryNth(BaseSelector):
    """Every n-th frame: what laboratories do today, and hard to beat on video.

    All videos (folders, where no video is known) stand one after another, each in the order of time, and the images kept
    lie evenly on that line: uniform in time, and each video keeps its share. A ratio that is no 1/n is met exactly by steps
    of two lengths. Positions for one size are not a part of those for another, so each ratio is a run of its own. The
    images not kept follow, farthest in time from a kept one first. Vectors are not looked at.

    Args:
        seed (int, optional): Draws where on its first step the line begins, for comparisons that need a spread. Defaults to
            None: every image stands in the middle of its step.

    Raises:
        ConfigError: ``seed`` is negative.
    """

    recut = 'none'
    recut_hint = 'Every n-th image of one size is not a part of those of another.'

    def __init__(self, seed: int | None = None) -> None:
        if seed is not None and seed < 0:
            raise ConfigError(f'seed must be 0 or more, or None, got {seed}.')
        self.seed = seed

    def rank(self, vectors: Vectors, table: pa.Table, size: int | None = None, progress: Stages = SILENT) -> Ranking:
        size = asked_size(size, len(vectors), 'EveryNth')
        line = np.concatenate(strata.sequences(table))
        # in whole numbers, which do not round: image i stands at (i + start) steps of length N / size
        start = STEP_PARTS // 2 if self.seed is None else int(np.random.default_rng(self.seed).integers(STEP_PARTS))
        at = (STEP_PARTS * np.arange(size) + start) * len(line) // (STEP_PARTS * size)
        gap = np.abs(np.arange(len(line)) - at[_nearest(at, len(line))])
        gap[at] = len(line)  # the kept ones first, in the order of time
        return ranking_of(line[np.argsort(-gap, kind='stable')], kept=size)


def _nearest(at: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Index of the nearest of the ascending positions ``at`` for every place of the line."""
    place = np.arange(length)
    after = np.clip(np.searchsorted(at, place), 0, len(at) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(place - at[before] < at[after] - place, before, after)
