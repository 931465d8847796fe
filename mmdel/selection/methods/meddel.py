"""MedDEL, the paper's method (§3.2, Algorithm 1): cluster, remove outliers, remove near-duplicates.

The paper contradicts itself in places; each reading is an argument. As read here:

1. Images farther than ``epsilon`` from their centroid go first and never delete others.
2. Inside a scope, images stand in order of preference (``keep``), and an image goes if a preferred one is more similar
   than ``eta``.
   ``rule='pairwise'``: any preferred image, even one that goes itself; one pass answers every eta and ratio.
   ``rule='greedy'``: only a preferred image that *stays*; every removed image then has a kept one above eta.
3. Another iteration refits k-means on the survivors.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel import similarity
from mmdel.compute.devices import find_device
from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import Vectors
from mmdel.errors import ConfigError, SubsetError
from mmdel.registry import CLUSTERERS, SELECTORS
from mmdel.selection.clustering import Clustering, announce
from mmdel.selection.selector import BaseSelector, Decided, Ranking, ranking_of
from mmdel.subset import check_eta

PRECISIONS = ('auto', 'float32', 'bfloat16')
KEEPS = ('near', 'far', 'sharpest', 'largest', 'labelled')
SAME_DISTANCE = 1e-5
"""Distances to a centroid are the same number up to this: rounding, where later vectors added a dimension."""

BLOCK = 4096
"""Vectors read at a time when each is compared with its centroid."""

BISECTIONS = 24
"""Halvings of [-1, 1] when greedy solves eta for a size: down to the spacing of float32 cosines."""


@SELECTORS.register_module()
class MedDEL(BaseSelector):
    """Cluster, filter by epsilon, remove near-duplicates by eta.

    Args:
        epsilon (float, optional): Images whose distance to their centroid is above it are dropped; None switches the filter off.
            Defaults to 0.9 (§4.1).
        eta (float): Cosine above which an image is a duplicate, in [-1, 1]. Defaults to 0.8.
        keep (str): Who is preferred: 'near' or 'far' the centroid, 'sharpest', 'largest' (pixels) or 'labelled'; ties by
            smaller distance, then by key. 'near' is the paper's prose, 'far' its Algorithm 1. Defaults to 'near'.
        rule (str): 'pairwise' or 'greedy', see the module. Defaults to 'pairwise'.
        scope (str): 'cluster' compares inside clusters (the paper), 'global' all pairs. Defaults to 'cluster'.
        distance (str): 'cosine' (1 - cos) or 'euclidean' (between unit vectors). Defaults to 'cosine'.
        max_iterations (int): Rounds of cluster, filter and compare; ends early when a round removes nothing. Defaults to 1.
        clusterer (dict, optional): Config of the clusterer. Defaults to None (``dict(type='mmdel.FaissKMeans')``).
        precision (str): 'auto' rules out most pairs before they are multiplied, where that saves time; 'float32' multiplies all.
            'bfloat16' is accepted and is 'auto'. Decides speed, never the ranking. Defaults to 'auto'.
        device (str): Where products are made: 'cpu', or a CUDA device of torch. Decides speed, never the ranking.
            Defaults to 'cpu'.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self,
        epsilon: float | None = 0.9,
        eta: float = 0.8,
        keep: str = 'near',
        rule: str = 'pairwise',
        scope: str = 'cluster',
        distance: str = 'cosine',
        max_iterations: int = 1,
        clusterer: dict | None = None,
        precision: str = 'auto',
        device: str = 'cpu',
    ) -> None:
        check_eta(eta)
        find_device(device)
        if epsilon is not None and epsilon < 0:
            raise ConfigError(f'epsilon is a distance, at least 0 (or None for no filter), got {epsilon}.')
        for name, value, allowed in (
            ('keep', keep, KEEPS),
            ('rule', rule, ('pairwise', 'greedy')),
            ('scope', scope, ('cluster', 'global')),
            ('distance', distance, ('cosine', 'euclidean')),
            ('precision', precision, PRECISIONS),
        ):
            if value not in allowed:
                raise ConfigError(f'{name} must be one of {", ".join(allowed)}, got {value!r}.')
        if max_iterations < 1:
            raise ConfigError(f'max_iterations must be at least 1, got {max_iterations}.')
        self.epsilon = epsilon
        self.eta = eta
        self.keep = keep
        self.rule = rule
        self.scope = scope
        self.distance = distance
        self.max_iterations = max_iterations
        self.clusterer = CLUSTERERS.build(clusterer or dict(type='mmdel.FaissKMeans'))
        self._faster: dict[str, Any] = {'device': device} | ({'prune_most': 0} if precision == 'float32' else {})
        if rule == 'greedy':
            self.recut = 'none'
            self.recut_hint = "With rule='greedy' each cut is a run of its own, from the stored vectors."
        elif max_iterations > 1:
            self.recut = 'ratio'
            self.recut_hint = 'With max_iterations > 1 a ranking belongs to its eta.'
        else:
            self.recut = 'any'
            self.recut_hint = ''

    def config(self) -> dict[str, Any]:
        """The arguments, JSON-able; ``eta`` only where the ranking depends on it."""
        values = {
            name: getattr(self, name) for name in ('epsilon', 'keep', 'rule', 'scope', 'distance', 'max_iterations')
        }
        if self.recut != 'any':
            values['eta'] = self.eta
        return {'type': f'mmdel.{type(self).__name__}', **values, 'clusterer': self.clusterer.config()}

    def rank(self, vectors: Vectors, table: pa.Table, size: int | None = None, progress: Stages = SILENT) -> Ranking:
        """Not far before far, then lower redundancy (none first), then the preference of ``keep``, then key.

        With ``rule='greedy'``: the kept images by preference, then the removed ones, least similar to any kept image first.
        """
        if self.rule == 'greedy' and size is not None:
            eta, run = self._solve(vectors, table, size, progress)
        else:
            eta, run = self.eta, self._run(vectors, table, self.eta, None, progress)
        order = self._order(vectors, table, run, progress)
        belongs = self.recut != 'any'
        survivors = int((run.gone_in == _STAYS).sum())
        return ranking_of(
            order,
            cluster=run.cluster,
            distance=run.distance,
            redundancy=run.redundancy,
            removed_by=run.removed_by,
            kept=(survivors if size is None or self.rule == 'pairwise' else size) if belongs else None,
            eta=eta if belongs else None,
            centroids=run.centroids,
            notes=tuple(run.notes),
        )

    def groups(self, cluster: NDArray[np.int32]) -> list[NDArray[np.int64]]:
        """Rows that are compared with each other; all of them where iterations refitted the clusters."""
        if self.scope == 'global' or self.max_iterations > 1:
            return [np.arange(len(cluster))]
        return _by_cluster(np.arange(len(cluster)), cluster)

    # --- images that come later

    def refuses_to_extend(self) -> str:
        if self.max_iterations > 1:
            return 'With max_iterations > 1 clusters are refitted on what is left, so new images have no clusters to be put into.'
        return ''

    def extend(
        self, vectors: Vectors, table: pa.Table, old: Decided, new: NDArray[np.int64], progress: Stages = SILENT
    ) -> Ranking:
        """New images in the old clusters: first beside the images kept there, then, those that are left, among themselves.

        Each gets the distance to its centroid as ever; a far one goes and removes nobody. Of the others one goes if an old kept
        image in scope is more similar than eta; such an image removes nobody either. What is left is compared as ever, in order
        of preference: with ``rule='greedy'`` an image goes for one that stays, else for any that is preferred.
        """
        centroids = _fitting(old.centroids, vectors.dim)
        cluster = np.full(len(vectors), -1, np.int32)
        distance = np.full(len(vectors), np.nan, np.float32)
        cluster[old.kept], distance[old.kept] = old.cluster, old.distance
        self._check_centroids(vectors, old, centroids)
        with progress.stage('assign', len(new)) as tick:
            cluster[new], cosine = similarity.nearest_centroid(vectors, new, centroids, tick)
        distance[new] = self._distance(cosine)
        far = self._far(distance)[new]
        order = self._preferred(table, distance, new[~far])
        pairs = [(order, old.kept)]
        if self.scope == 'cluster':
            there = {int(cluster[rows[0]]): rows for rows in _by_cluster(old.kept, cluster)}
            nobody = np.empty(0, np.int64)
            pairs = [(rows, there.get(int(cluster[rows[0]]), nobody)) for rows in _by_cluster(order, cluster)]
        with progress.stage('compare', sum(len(rows) * len(kept) for rows, kept in pairs), 'pairs') as tick:
            found = similarity.nearest(vectors, pairs, tick, self._tuning)
        left = order[~(found.cosine[order] > np.float32(old.eta))]
        groups = [left] if self.scope == 'global' else _by_cluster(left, cluster)
        if self.rule == 'pairwise':
            with progress.stage('compare', sum(len(rows) * (len(rows) - 1) // 2 for rows in groups), 'pairs') as tick:
                among = similarity.best_preferred(vectors, groups, tick, self._tuning)
        else:
            with progress.stage('compare', len(left)) as tick:
                among, _ = similarity.greedy(vectors, groups, old.eta, tick, self._tuning)
        closer = among.cosine > np.where(np.isnan(found.cosine), -np.inf, found.cosine)
        highest = np.where(closer, among.cosine, found.cosine)[new]
        position = np.empty(len(vectors), np.int64)
        position[self._preferred(table, distance, new)] = np.arange(len(new))
        return ranking_of(
            np.lexsort((position[new], np.where(np.isnan(highest), -np.inf, highest), far)),
            cluster=cluster[new],
            distance=distance[new],
            redundancy=highest,
            removed_by=np.where(closer, among.row, found.row)[new],
            kept=int((~far & ~(highest > np.float32(old.eta))).sum()),
            eta=old.eta,
            centroids=old.centroids,
        )

    def _check_centroids(self, vectors: Vectors, old: Decided, centroids: NDArray[np.float32]) -> None:
        """The old kept images must lie where their subset says."""
        if len(old.kept) and not 0 <= old.cluster.min() <= old.cluster.max() < len(centroids):
            raise SubsetError('The centroids are fewer than the clusters of the subset: they belong to another one.')
        for start in range(0, len(old.kept), BLOCK):
            part = slice(start, start + BLOCK)
            cosine = similarity.exact_cosine(vectors.read(old.kept[part]), centroids[old.cluster[part]])
            if not np.allclose(self._distance(cosine), old.distance[part], rtol=0, atol=SAME_DISTANCE):
                raise SubsetError(
                    'The distances that the subset states are not those to the centroids: they belong to another one.'
                )

    # --- one run at one eta

    def _run(self, vectors: Vectors, table: pa.Table, eta: float, first: Clustering | None, progress: Stages) -> '_Run':
        run = _Run(len(vectors))
        alive = np.arange(len(vectors))
        for iteration in range(self.max_iterations):
            if not len(alive):
                break
            clustering = first if iteration == 0 and first is not None else self.clusterer.fit(vectors, alive, progress)
            run.first = run.first or clustering
            run.notes.append(clustering.note)
            run.centroids = clustering.centroids
            run.cluster[alive] = clustering.label
            run.distance[alive] = self._distance(clustering.cosine)
            run.redundancy[alive], run.removed_by[alive] = np.nan, -1
            far = self._far(run.distance)[alive]
            order = self._preferred(table, run.distance, alive[~far])
            groups = [order] if self.scope == 'global' else _by_cluster(order, run.cluster)
            if self.rule == 'pairwise':
                pairs = sum(len(group) * (len(group) - 1) // 2 for group in groups)
                announce(pairs, vectors.dim)
                with progress.stage('compare', pairs, 'pairs') as tick:
                    found = similarity.best_preferred(vectors, groups, tick, self._tuning)
            else:
                with progress.stage('compare', len(order)) as tick:
                    found, _ = similarity.greedy(vectors, groups, eta, tick, self._tuning)
            run.redundancy[order], run.removed_by[order] = found.cosine[order], found.row[order]
            stays = ~far & ~(run.redundancy[alive] > np.float32(eta))
            run.gone_in[alive[~stays]] = iteration
            if stays.all():
                break
            alive = alive[stays]
        return run

    def _solve(self, vectors: Vectors, table: pa.Table, size: int, progress: Stages) -> tuple[float, '_Run']:
        """The largest eta found by bisection at which a greedy run keeps at most ``size`` images.

        Where even eta = -1 keeps more (one image a cluster), that run is returned.
        """
        low, high = -1.0, 1.0
        best = self._run(vectors, table, low, None, progress)
        for _ in range(BISECTIONS):
            eta = float(np.float32((low + high) / 2))
            run = self._run(vectors, table, eta, best.first, progress)
            kept = int((run.gone_in == _STAYS).sum())
            if kept > size:
                high = eta
                continue
            low, best = eta, run
            if kept == size:
                break
        best.notes.append(f'greedy reaches {size} images at eta {low:.6f}')
        return low, best

    def _order(self, vectors: Vectors, table: pa.Table, run: '_Run', progress: Stages) -> NDArray[np.int64]:
        rows = np.arange(len(vectors))
        preferred = self._preferred(table, run.distance, rows)
        position = np.empty(len(rows), np.int64)
        position[preferred] = rows
        far = self._far(run.distance)
        if self.rule == 'pairwise':
            cosine = np.where(np.isnan(run.redundancy), -np.inf, run.redundancy)
        else:
            stays = run.gone_in == _STAYS
            pairs = []
            for group in self.groups(run.cluster):
                group = preferred[np.isin(preferred, group)] if len(group) < len(rows) else preferred
                pairs.append((group[~stays[group] & ~far[group]], group[stays[group]]))
            with progress.stage('fill', sum(len(a) * len(b) for a, b in pairs), 'pairs') as tick:
                nearest = similarity.nearest(vectors, pairs, tick, self._tuning).cosine
            cosine = np.where(stays | np.isnan(nearest), -np.inf, nearest)
        return np.lexsort((position, cosine, -run.gone_in, far))

    @property
    def _tuning(self) -> similarity.Tuning:
        return replace(similarity.default_tuning(), **self._faster)

    def _distance(self, cosine: NDArray[np.float64]) -> NDArray[np.float32]:
        if self.distance == 'cosine':
            return (1 - cosine).astype(np.float32)
        return np.sqrt(np.maximum(2 - 2 * cosine, 0)).astype(np.float32)

    def _far(self, distance: NDArray[np.float32]) -> NDArray[np.bool_]:
        if self.epsilon is None:
            return np.zeros(len(distance), bool)
        return distance > np.float32(self.epsilon)

    def _preferred(self, table: pa.Table, distance: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """``rows`` in order of preference. Rows are numbered in key order, which breaks the last ties."""
        if self.keep == 'near':
            return rows[np.lexsort((rows, distance[rows]))]
        if self.keep == 'far':
            return rows[np.lexsort((rows, -distance[rows]))]
        return rows[np.lexsort((rows, distance[rows], -self._quality(table)[rows]))]

    def _quality(self, table: pa.Table) -> NDArray[np.float64]:
        columns = {'sharpest': ('sharpness',), 'largest': ('width', 'height'), 'labelled': ('label',)}[self.keep]
        missing = [
            name for name in columns if name not in table.column_names or table[name].null_count == len(table) > 0
        ]
        if missing:
            raise ConfigError(
                f"keep='{self.keep}' needs the column {missing[0]!r}, which these images do not have "
                "(vectors from --embeddings carry no pixels). Use keep='near' or keep='far'."
            )
        if self.keep == 'labelled':
            return table['label'].is_valid().to_numpy().astype(np.float64)
        values = [table[name].to_numpy().astype(np.float64) for name in columns]
        return np.nan_to_num(np.prod(values, axis=0), nan=-np.inf)


_STAYS = np.iinfo(np.int32).max


class _Run:
    """What one run at one eta found out, by row."""

    def __init__(self, size: int) -> None:
        self.cluster = np.full(size, -1, np.int32)
        self.distance = np.full(size, np.nan, np.float32)
        self.redundancy = np.full(size, np.nan, np.float32)
        self.removed_by = np.full(size, -1, np.int64)
        self.gone_in = np.full(size, _STAYS, np.int64)
        self.centroids: NDArray[np.float32] | None = None
        self.first: Clustering | None = None
        self.notes: list[str] = []


def _fitting(centroids: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    """Centroids of as many dimensions as the vectors, which have one more where centring left some without a direction."""
    if centroids.ndim == 2 and centroids.shape[1] == dim - 1:
        return np.ascontiguousarray(np.pad(centroids, ((0, 0), (0, 1))))
    if centroids.ndim != 2 or centroids.shape[1] != dim:
        raise SubsetError(
            f'The centroids are an array of shape {centroids.shape}, the vectors have {dim} dimensions: '
            'they belong to another subset.'
        )
    return centroids


def _by_cluster(order: NDArray[np.int64], cluster: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """Split rows by cluster; their order inside each is kept."""
    if not len(order):
        return []
    grouped = order[np.argsort(cluster[order], kind='stable')]
    return np.split(grouped, np.flatnonzero(np.diff(cluster[grouped])) + 1)
