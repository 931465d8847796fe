"""TypiClust: the most typical image of each cluster, for very few images.

Hacohen, Dekel and Weinshall, Active learning on a budget: opposite strategies suit high and low budgets, ICML 2022 (arXiv
2202.02794), section 3.2: as many clusters as images to keep, and of each the image whose 20 nearest neighbours are nearest.
"""

import numpy as np
import pyarrow as pa

from mmdel import similarity
from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import Vectors
from mmdel.errors import ConfigError
from mmdel.registry import CLUSTERERS, SELECTORS
from mmdel.selection.selector import BaseSelector, Ranking, asked_size, fill, ranking_of


@SELECTORS.register_module()
class TypiClust(BaseSelector):
    """k-means with at most ``most`` clusters; largest first, each gives its most typical image, and again until there are enough.

    Typicality is one over the mean distance to the nearest images of the same cluster. Each ratio is a run of its own.

    Args:
        neighbours (int): Nearest images that it counts, of small clusters half of them. Defaults to 20, as in the paper.
        most (int): Clusters. Defaults to 500, as in the authors' code.
        least (int): Clusters of no more images than this give none, while there are others. Defaults to 5, as in their code.
        clusterer (dict, optional): Config of the clusterer, without ``num_clusters``. Defaults to None
            (``dict(type='mmdel.FaissKMeans')``).

    Raises:
        ConfigError: An argument is out of its range.
    """

    recut = 'none'
    recut_hint = 'TypiClust makes as many clusters as images are wanted.'

    def __init__(self, neighbours: int = 20, most: int = 500, least: int = 5, clusterer: dict | None = None) -> None:
        if neighbours < 1 or most < 1 or least < 0:
            raise ConfigError(f'neighbours and most are at least 1 and least 0, got {neighbours}, {most}, {least}.')
        self._clusterer = dict(clusterer or dict(type='mmdel.FaissKMeans'))
        if 'num_clusters' in self._clusterer:
            raise ConfigError('The num_clusters of TypiClust follows from the number of images to keep; leave it out.')
        self.neighbours, self.most, self.least = neighbours, most, least
        self.clusterer = CLUSTERERS.build(self._clusterer)

    def rank(self, vectors: Vectors, table: pa.Table, size: int | None = None, progress: Stages = SILENT) -> Ranking:
        size = asked_size(size, len(vectors), 'TypiClust')
        clusterer = CLUSTERERS.build({**self._clusterer, 'num_clusters': min(size, self.most)})
        clustering = clusterer.fit(vectors, np.arange(len(vectors)), progress)
        clusters = [np.flatnonzero(clustering.label == number) for number in range(len(clustering.centroids))]
        clusters.sort(key=lambda rows: (len(rows) <= self.least, -len(rows), rows[:1].tolist()))
        large = max(1, sum(len(rows) > self.least for rows in clusters))
        chosen: list[int] = []
        with progress.stage('choose', size) as tick:
            while len(chosen) < size:
                # small clusters give only when all others are used up
                giving = range(large) if any(len(rows) for rows in clusters[:large]) else range(len(clusters))
                for number in giving:
                    rows = clusters[number]
                    if len(rows) and len(chosen) < size:
                        typical = self._most_typical(vectors, rows)
                        chosen.append(int(rows[typical]))
                        clusters[number] = np.delete(rows, typical)
                        tick(1)
        return ranking_of(
            fill(vectors, np.array(chosen, np.int64), progress),
            cluster=clustering.label,
            distance=(1 - clustering.cosine).astype(np.float32),
            centroids=clustering.centroids,
            notes=(clustering.note,),
            kept=size,
        )

    def _most_typical(self, vectors: Vectors, rows: np.ndarray) -> int:
        k = min(self.neighbours, len(rows) // 2)
        if k == 0:
            return 0
        cosine, place = similarity.top_k(vectors, rows, rows, k + 1)
        others = place != np.arange(len(rows))[:, None]
        others[others.all(axis=1), -1] = False  # of copies each is nearest to another one
        distance = np.sqrt(np.maximum(2 - 2 * cosine.astype(np.float64)[others].reshape(len(rows), k), 0))
        return int(distance.mean(axis=1).argmin())
