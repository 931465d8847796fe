"""Density-based pruning: fewer images are kept from dense clusters and from clusters close to others.

Abbas et al., Effective pruning of web-scale datasets based on complexity of concept clusters, ICLR 2024 (arXiv 2401.04578):
the complexity of a cluster is d_inter * d_intra, its centroid's mean cosine distance to the nearest other centroids times its
images' mean cosine distance to it; a softmax of the complexities makes shares, and a quadratic programme (their Table 4) bends
the shares of a wanted size to what the clusters hold. Inside a cluster the images farthest from the centroid stay.

The paper first removes duplicates by SemDeDup; this selector does not: without that, clusters are dense because of copies.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel.compute.progress import SILENT, Stages, Tick
from mmdel.embedding.vectors import Vectors
from mmdel.errors import ConfigError
from mmdel.registry import CLUSTERERS, SELECTORS
from mmdel.selection.selector import BaseSelector, Ranking, ranking_of

KEEPS = ('far', 'near')


@SELECTORS.register_module()
class DensityQuota(BaseSelector):
    """A quota for each cluster by its complexity.

    The quota of a cluster grows with the size of the whole, so one ranking holds the quotas of all sizes: the next image always
    comes from the cluster that lacks most of its quota.

    Args:
        temperature (float): Of the softmax; the default is that of the authors' released code. Defaults to 0.5.
        neighbours (int): Nearest other centroids in d_inter; the default is that of the released code. Defaults to 20.
        keep (str): Which images of a cluster stay first: 'far' from the centroid, as in the paper, or 'near'. Defaults to 'far'.
        clusterer (dict, optional): Config of the clusterer; the paper found 100 to 500 clusters best for its millions of images.
            Defaults to None (``dict(type='mmdel.FaissKMeans')``).

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self, temperature: float = 0.5, neighbours: int = 20, keep: str = 'far', clusterer: dict | None = None
    ) -> None:
        if not temperature > 0:
            raise ConfigError(f'temperature must be above 0, got {temperature}.')
        if neighbours < 1:
            raise ConfigError(f'neighbours must be at least 1, got {neighbours}.')
        if keep not in KEEPS:
            raise ConfigError(f'keep must be one of {", ".join(KEEPS)}, got {keep!r}.')
        self.temperature = temperature
        self.neighbours = neighbours
        self.keep = keep
        self.clusterer = CLUSTERERS.build(clusterer or dict(type='mmdel.FaissKMeans'))

    def rank(self, vectors: Vectors, table: pa.Table, size: int | None = None, progress: Stages = SILENT) -> Ranking:
        rows = np.arange(len(vectors))
        clustering = self.clusterer.fit(vectors, rows, progress)
        distance = 1 - clustering.cosine
        order = np.lexsort((rows, -distance if self.keep == 'far' else distance, clustering.label))
        clusters = np.split(order, np.flatnonzero(np.diff(clustering.label[order])) + 1)
        centroids = clustering.centroids[[clustering.label[cluster[0]] for cluster in clusters]]
        d_intra = np.array([distance[cluster].mean() for cluster in clusters])
        share = shares(d_intra * _d_inter(centroids, self.neighbours), self.temperature)
        with progress.stage('choose', len(vectors)) as tick:
            turns = turns_by_quota(share, np.array([len(cluster) for cluster in clusters]), tick)
        # the i-th turn of a cluster is its i-th image
        merged = np.empty(len(rows), np.int64)
        merged[np.argsort(turns, kind='stable')] = np.concatenate(clusters)
        return ranking_of(
            merged,
            cluster=clustering.label,
            distance=distance.astype(np.float32),
            centroids=clustering.centroids,
            notes=(clustering.note,),
        )


def shares(complexity: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Softmax of complexity / temperature, float64 [clusters]."""
    weight = np.exp((complexity - complexity.max()) / temperature)
    return weight / weight.sum()


def quotas(share: NDArray[np.float64], capacity: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """What each cluster keeps of ``size`` images: closest to share * size, at least 1, at most its capacity, ``size`` in all.

    min sum (x - share * size)² under these bounds is solved by x = clip(share * size + c, 1, capacity) with the one c that
    gives the sum, found exactly: the sum is piecewise linear in c.

    Args:
        share (NDArray[np.float64]): [clusters], sums to 1.
        capacity (NDArray[np.int64]): [clusters], at least 1 each.
        size (int): From the number of clusters to the sum of the capacities.
    """
    wanted = share * size
    bends = np.concatenate([1 - wanted, capacity - wanted])
    order = np.argsort(bends, kind='stable')
    slope = np.cumsum(np.r_[np.ones(len(share)), -np.ones(len(share))][order])
    total = len(share) + np.r_[0.0, np.cumsum(slope[:-1] * np.diff(bends[order]))]
    return np.clip(wanted + np.interp(size, total, bends[order]), 1, capacity)


def turns_by_quota(
    share: NDArray[np.float64], capacity: NDArray[np.int64], tick: Tick = lambda done: None
) -> NDArray[np.int64]:
    """Which cluster gives the next image, int64 [sum of capacities]: each its first, then who lacks most of its quota.

    Ties to the larger share, then to the earlier cluster.
    """
    images = int(capacity.sum())
    turns = np.empty(images, np.int64)
    clusters = len(share)
    turns[:clusters] = np.argsort(-share, kind='stable')
    given = np.ones(clusters)
    for done in range(clusters, images):
        lacking = quotas(share, capacity, done + 1) - given
        lacking[given >= capacity] = -np.inf  # rounding must not ask a cluster for more than it has
        turns[done] = lacking.argmax()
        given[turns[done]] += 1
        tick(1)
    return turns


def _d_inter(centroids: NDArray[np.float32], neighbours: int) -> NDArray[np.float64]:
    """Mean cosine distance of each centroid to the nearest others, float64 [k]; 1 where there is no other."""
    if len(centroids) == 1:
        return np.ones(1)
    wide = centroids.astype(np.float64)
    # einsum without BLAS: the same bits for any thread count
    distance = 1 - np.einsum('id,jd->ij', wide, wide)
    np.fill_diagonal(distance, np.inf)
    return np.sort(distance, axis=1)[:, : min(neighbours, len(centroids) - 1)].mean(axis=1)
