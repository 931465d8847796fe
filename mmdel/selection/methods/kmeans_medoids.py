"""One image from each cluster, the one nearest to its centroid, with as many clusters as images to keep."""

import numpy as np
import pyarrow as pa

from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import Vectors
from mmdel.errors import ConfigError
from mmdel.registry import CLUSTERERS, SELECTORS
from mmdel.selection.selector import BaseSelector, Ranking, asked_size, fill, ranking_of


@SELECTORS.register_module()
class KMeansMedoids(BaseSelector):
    """k-means with k = the number of images to keep; the image nearest to each centroid stays.

    Each ratio is a run of its own, of N k products an iteration: for thousands of clusters, not for half of a million images.
    The images not kept follow, least similar to any medoid first; they also fill up where clusters came out empty.

    Args:
        clusterer (dict, optional): Config of the clusterer, without ``num_clusters``. Defaults to None
            (``dict(type='mmdel.FaissKMeans')``).
    """

    recut = 'none'
    recut_hint = 'KMeansMedoids makes as many clusters as images are wanted.'

    def __init__(self, clusterer: dict | None = None) -> None:
        self._clusterer = dict(clusterer or dict(type='mmdel.FaissKMeans'))
        if 'num_clusters' in self._clusterer:
            raise ConfigError('The num_clusters of KMeansMedoids is the number of images to keep; leave it out.')
        self.clusterer = CLUSTERERS.build(self._clusterer)

    def rank(self, vectors: Vectors, table: pa.Table, size: int | None = None, progress: Stages = SILENT) -> Ranking:
        size = asked_size(size, len(vectors), 'KMeansMedoids')
        rows = np.arange(len(vectors))
        clustering = CLUSTERERS.build({**self._clusterer, 'num_clusters': size}).fit(vectors, rows, progress)
        order = np.lexsort((rows, -clustering.cosine, clustering.label))
        # the first of each cluster; clusters have no order of their own, keys have
        medoids = np.sort(order[np.r_[True, np.diff(clustering.label[order]) > 0]])
        return ranking_of(
            fill(vectors, medoids, progress),
            cluster=clustering.label,
            distance=(1 - clustering.cosine).astype(np.float32),
            centroids=clustering.centroids,
            notes=(clustering.note,),
            kept=size,
        )
