"""ZCore: images that are nearest to random points of random subspaces, minus what is near them there.

Griffin, Marks and Corso, Zero-shot coreset selection via iterative subspace sampling, WACV 2026 (arXiv 2411.15349). Again and
again, two dimensions are drawn, and in each a value from the triangular distribution between the images' minimum and maximum
with the median as its mode. The image nearest to that point gains 1; those nearest to this image lose 1 together, in
proportion to distance**-4 in the subspace. Only the abstract was at hand: these numbers have not been compared with the
authors' code.
"""

import numpy as np
import pyarrow as pa

from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import Vectors
from mmdel.errors import ConfigError
from mmdel.registry import SELECTORS
from mmdel.selection.selector import BaseSelector, Ranking, ranking_of


@SELECTORS.register_module()
class ZCore(BaseSelector):
    """The images with the highest scores first. All vectors are held in memory.

    Args:
        samples (int, optional): Points drawn; each looks at every image. Defaults to None: ten for each image, from 10,000 to the
            paper's million.
        dimensions (int): Of each subspace. Defaults to 2.
        neighbours (int): Images that lose. Defaults to 1000.
        power (float): Of the distance. Defaults to 4.
        seed (int): Of all that is drawn. Defaults to 0.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self, samples: int | None = None, dimensions: int = 2, neighbours: int = 1000, power: float = 4.0, seed: int = 0
    ) -> None:
        if min(1 if samples is None else samples, dimensions, neighbours) < 1 or seed < 0:
            raise ConfigError('samples, dimensions and neighbours of ZCore are at least 1, and seed at least 0.')
        self.samples, self.dimensions, self.neighbours, self.power, self.seed = (
            samples,
            dimensions,
            neighbours,
            power,
            seed,
        )

    def rank(self, vectors: Vectors, table: pa.Table, size: int | None = None, progress: Stages = SILENT) -> Ranking:
        random = np.random.default_rng(self.seed)
        x = np.ascontiguousarray(vectors.read(slice(0, len(vectors))).T)
        low, middle, high = x.min(axis=1), np.median(x, axis=1), x.max(axis=1)
        samples = self.samples or int(np.clip(10 * len(vectors), 10_000, 1_000_000))
        score = random.random(len(vectors))
        varied = np.flatnonzero(high > low)
        count = min(self.dimensions, len(varied))
        with progress.stage('choose', samples, 'points') as tick:
            for _ in range(samples if count and len(vectors) > 1 else 0):
                some = random.choice(varied, count, replace=False)
                point = random.triangular(low[some], middle[some], high[some])
                there = x[some]
                hit = int(np.abs(there - point[:, None]).sum(axis=0).argmin())
                score[hit] += 1
                away = np.abs(there - there[:, hit : hit + 1]).sum(axis=0).astype(np.float64)
                away[hit] = np.inf
                near = _smallest(away, self.neighbours)
                if away[near].min() == 0:  # a copy loses all
                    score[near[away[near].argmin()]] -= 1
                else:
                    loss = (away[near] / away[near].min()) ** -self.power
                    score[near] -= loss / loss.sum()
                tick(1)
        return ranking_of(np.argsort(-score, kind='stable'))


def _smallest(values: np.ndarray, k: int) -> np.ndarray:
    """Where the k smallest values stand."""
    return np.arange(len(values)) if k >= len(values) else np.argpartition(values, k)[:k]
