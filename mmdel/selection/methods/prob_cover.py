"""ProbCover: as many images as possible within a fixed distance of a kept one.

Yehuda, Dekel, Hacohen and Weinshall, Active learning through a covering lens, NeurIPS 2022 (arXiv 2205.11320), algorithm 1. The
distance is the largest at which balls are pure: most of them hold images of one k-means cluster alone (their section 3.3).
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel import similarity
from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import Vectors
from mmdel.errors import ConfigError
from mmdel.registry import CLUSTERERS, SELECTORS
from mmdel.selection.selector import BaseSelector, Ranking, fill, ranking_of

BLOCK = 1024
"""Rows whose balls are looked at together."""


@SELECTORS.register_module()
class ProbCover(BaseSelector):
    """Greedy maximum coverage by balls; one ranking serves every ratio. All pairs of images are compared, twice.

    Args:
        delta (float, optional): Euclidean radius between unit vectors. Defaults to None: by ``purity``.
        purity (float): The share of the balls that lie in one cluster. Defaults to 0.95, as in the paper.
        clusters (int): Of that k-means; in the paper the number of classes. Defaults to 10.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(self, delta: float | None = None, purity: float = 0.95, clusters: int = 10) -> None:
        if delta is not None and not 0 < delta <= 2:
            raise ConfigError(f'delta is a distance of unit vectors, above 0 and at most 2, got {delta}.')
        if not 0 < purity <= 1 or clusters < 1:
            raise ConfigError(f'purity is a share above 0 and clusters at least 1, got {purity} and {clusters}.')
        self.delta, self.purity, self.clusters = delta, purity, clusters

    def rank(self, vectors: Vectors, table: pa.Table, size: int | None = None, progress: Stages = SILENT) -> Ranking:
        least, note = self._threshold(vectors, progress)
        count = np.zeros(len(vectors), np.int64)
        with progress.stage('compare', len(vectors)) as tick:
            for start in range(0, len(vectors), BLOCK):
                rows = np.arange(start, min(start + BLOCK, len(vectors)))
                count[rows] = _within(vectors, rows, least).sum(axis=1)
                tick(len(rows))
        covered, chosen = np.zeros(len(vectors), bool), []
        with progress.stage('choose', len(vectors)) as tick:
            while count.max() > 0:
                chosen.append(int(count.argmax()))
                new = np.flatnonzero(_within(vectors, np.array(chosen[-1:]), least)[0] & ~covered)
                covered[new] = True
                for start in range(0, len(new), BLOCK):  # who else had them in its ball has them no longer
                    count -= _within(vectors, new[start : start + BLOCK], least).sum(axis=0)
                tick(len(new))
        return ranking_of(fill(vectors, np.array(chosen, np.int64), progress), notes=(note,))

    def _threshold(self, vectors: Vectors, progress: Stages) -> tuple[np.float32, str]:
        """The cosine that an image of a ball must be above."""
        if self.delta is not None:
            return np.float32(1 - self.delta**2 / 2), f'balls of radius {self.delta:g}, as configured'
        clusterer = CLUSTERERS.build(dict(type='mmdel.FaissKMeans', num_clusters=self.clusters))
        label = clusterer.fit(vectors, np.arange(len(vectors)), progress).label
        groups = [np.flatnonzero(label == number) for number in np.unique(label)]
        other = np.sort(np.nan_to_num(similarity.nearest_elsewhere(vectors, groups).cosine, nan=-1.0))
        least = other[int(np.ceil(self.purity * len(other))) - 1]
        return (
            least,
            f'balls of radius {np.sqrt(max(0.0, 2 - 2 * float(least))):.3f}: {self.purity:.0%} lie in one cluster',
        )


def _within(vectors: Vectors, rows: NDArray[np.int64], least: np.float32) -> NDArray[np.bool_]:
    """Bool [rows, N], whether an image lies in the ball of a row; each does in its own. Canonical, as all that decides."""
    found = np.empty((len(rows), len(vectors)), bool)
    left, margin = vectors.read(rows), 2 * similarity.float32_error(vectors.dim)
    for start in range(0, len(vectors), BLOCK):
        columns = np.arange(start, min(start + BLOCK, len(vectors)))
        product = left @ vectors.read(columns).T
        inside = product > least
        row, column = np.nonzero(np.abs(product - least) <= margin)
        inside[row, column] = (
            similarity.pair_cosines(vectors.read, rows[row], vectors.read, columns[column]).astype('f4') > least
        )
        found[:, columns] = inside
    found[np.arange(len(rows)), rows] = True
    return found
