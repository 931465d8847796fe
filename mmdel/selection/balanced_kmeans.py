"""Hierarchical k-means and balanced sampling: every branch of a tree of clusters gives equally many images.

Vo et al., Automatic data curation for self-supervised learning: a clustering-based approach, TMLR 2024 (arXiv 2405.15613).
k-means of the images, k-means of its centroids, and so on; each k-means is repeated on the points nearest to its centroids, so
that centroids spread evenly over where there are images at all and not where there are most. Then a size is shared out from
the top: each cluster gets as many images as every other one, or all it has, and shares them out among its own in the same way.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.errors import ConfigError
from mmdel.registry import CLUSTERERS, SELECTORS
from mmdel.selection.clustering import Clustering
from mmdel.selection.selector import BaseSelector, Ranking, ranking_of
from mmdel.similarity import nearest_centroid

AUTO_IMAGES = 16
AUTO_CLUSTERS = 10
"""With ``num_clusters='auto'``: images in a cluster of the lowest level, and clusters in one of the next, on average. Ours."""


@SELECTORS.register_module()
class BalancedKMeans(BaseSelector):
    """Hierarchical k-means, sampled in balance; in a cluster of the lowest level the images nearest to the centroid come first.

    Balance for one size contains balance for the smaller ones (clusters give one image in turn), so one ranking serves all.

    Args:
        num_clusters (Sequence[int] | str): Clusters of each level, lowest first and falling, or 'auto': N / 16 and N / 160.
            Defaults to 'auto'.
        resamplings (int): How often each k-means is repeated on the points nearest to its centroids. Defaults to 1.
        samples (int): How many points of each cluster are taken then. Defaults to 4.
        clusterer (dict, optional): Config of the clusterer, without ``num_clusters``. Defaults to None
            (``dict(type='mmdel.FaissKMeans')``).

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self,
        num_clusters: Sequence[int] | str = 'auto',
        resamplings: int = 1,
        samples: int = 4,
        clusterer: dict | None = None,
    ) -> None:
        levels = [] if isinstance(num_clusters, str) else [int(k) for k in num_clusters]
        if num_clusters != 'auto' and (not levels or min(levels) < 1 or levels != sorted(levels, reverse=True)):
            raise ConfigError(
                f"num_clusters must be 'auto' or falling numbers of clusters, e.g. (1000, 100), got {num_clusters!r}."
            )
        if resamplings < 0 or samples < 1:
            raise ConfigError(f'resamplings must be 0 or more and samples at least 1, got {resamplings} and {samples}.')
        self._clusterer = dict(clusterer or dict(type='mmdel.FaissKMeans'))
        if 'num_clusters' in self._clusterer:
            raise ConfigError('Give the num_clusters of BalancedKMeans itself, not those of its clusterer.')
        self.num_clusters: list[int] | str = levels or 'auto'
        self.resamplings = resamplings
        self.samples = samples
        self.clusterer = CLUSTERERS.build(self._clusterer)

    def rank(self, vectors: Vectors, table: pa.Table, size: int | None = None, progress: Stages = SILENT) -> Ranking:
        lowest = -(-len(vectors) // AUTO_IMAGES)
        levels = [lowest, -(-lowest // AUTO_CLUSTERS)] if isinstance(self.num_clusters, str) else self.num_clusters
        points = vectors
        tree: list[Clustering] = []
        for k in levels:
            clustering = self._cluster(points, k, progress)
            tree.append(clustering)
            keys = [f'centroid {i}' for i in range(len(clustering.centroids))]
            points = Vectors(ArraySource(clustering.centroids), keys)
        lowest_level = tree[0]
        order = in_turn([level.label for level in tree], -lowest_level.cosine)
        return ranking_of(
            order,
            cluster=lowest_level.label,
            distance=(1 - lowest_level.cosine).astype(np.float32),
            centroids=lowest_level.centroids,
            notes=(f'clusters of {len(tree)} levels: {", ".join(str(len(level.centroids)) for level in tree)}',),
        )

    def _cluster(self, points: Vectors, k: int, progress: Stages) -> Clustering:
        """k-means, repeated on the points nearest to its centroids."""
        clusterer = CLUSTERERS.build({**self._clusterer, 'num_clusters': k})
        rows = np.arange(len(points))
        clustering = clusterer.fit(points, rows, progress)
        for _ in range(self.resamplings):
            order = np.lexsort((rows, -clustering.cosine, clustering.label))
            sample = np.sort(order[_place_in_group(clustering.label[order]) < self.samples])
            centroids = clusterer.fit(points, sample, progress).centroids
            label, cosine = nearest_centroid(points, rows, centroids)
            clustering = Clustering(label, cosine, centroids, clustering.note)
        return clustering


def in_turn(labels: Sequence[NDArray[np.int32]], preference: NDArray[np.float64]) -> NDArray[np.int64]:
    """The order in which the clusters of a tree give one image in turn.

    Args:
        labels (Sequence[NDArray[np.int32]]): The cluster of each image, the cluster of each of these clusters, and so on.
        preference (NDArray[np.float64]): [N]; inside a cluster of the lowest level the smallest comes first, ties to the
            smaller row.
    """
    group = labels[0].astype(np.int64)
    order = np.lexsort((preference, group))
    place = np.empty(len(group), np.int64)
    place[order] = _place_in_group(group[order])
    for parents in [*labels[1:], np.zeros(int(labels[-1].max()) + 1, np.int32)]:
        parent = parents[group].astype(np.int64)
        # all first images of the parent's clusters, then all second ones, ...
        order = np.lexsort((group, place, parent))
        place = np.empty(len(group), np.int64)
        place[order] = _place_in_group(parent[order])
        group = parent
    return np.argsort(place)


def _place_in_group(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, 2, ... in every run of equal values."""
    start = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    return np.arange(len(group)) - np.repeat(start, np.diff(np.r_[start, len(group)]))
