"""k-means on faiss: the clusters of eq. 2 of the paper (§3.2), and how long comparing inside them will take."""

import os
import sys
import time
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from mmdel.compute.progress import SILENT, Stages, Tick
from mmdel.embedding.vectors import Vectors
from mmdel.errors import ConfigError
from mmdel.registry import CLUSTERERS
from mmdel.similarity import nearest_centroid

POINTS_PER_CENTROID = 256
"""k-means is trained on at most this many images per centroid (faiss's own default); the rest are only assigned."""

NEWEST_FIRST = ('SkylakeX', 'Haswell')
"""Matrix kernels that faiss may be asked for."""

WATCHED_CLUSTERS = 300
"""Above it training lasts longer than a few seconds and is shown iteration by iteration."""


SAID_FROM = 60.0
"""Seconds; what is over sooner needs no word."""

OVERHEAD = 1.5
"""Time of a comparison over that of its bare float32 products; less where pruning helps."""

_ROWS = 1024


@dataclass(frozen=True)
class Clustering:
    """A partition of n images.

    Args:
        label (NDArray[np.int32]): [n], the cluster of each image: the centroid of highest canonical cosine, the first of equals.
        cosine (NDArray[np.float64]): [n], float64 cosine to that centroid.
        centroids (NDArray[np.float32]): [k, D], unit length.
        note (str): How k was chosen.
    """

    label: NDArray[np.int32]
    cosine: NDArray[np.float64]
    centroids: NDArray[np.float32]
    note: str


@CLUSTERERS.register_module()
class FaissKMeans:
    """k-means with faiss.

    Args:
        num_clusters (int | str): k, or 'auto': the k that minimises the number of multiplications, see :func:`auto_num_clusters`.
            Never more than the number of images. Defaults to 'auto'.
        num_iters (int): Lloyd iterations. Defaults to 20.
        seed (int): Of the training sample and the first centroids. Defaults to 0.
        spherical (bool): Scale centroids to unit length in every iteration, so that clusters follow the cosine. Defaults to True.
        device (str): 'cpu', or 'cuda' to train on the GPUs that faiss sees (``mmdel[gpu]``). Its sums are in another order,
            so the clusters may differ from those of the CPU: it is recorded. Defaults to 'cpu'.

    Raises:
        ConfigError: ``num_clusters`` is neither 'auto' nor a positive int, or there is no such device.
    """

    version: int = 1  # raised when the same arguments give other clusters

    def __init__(
        self,
        num_clusters: int | str = 'auto',
        num_iters: int = 20,
        seed: int = 0,
        spherical: bool = True,
        device: str = 'cpu',
    ) -> None:
        if num_clusters != 'auto' and not (isinstance(num_clusters, int) and num_clusters > 0):
            raise ConfigError(f"num_clusters must be 'auto' or a positive number, got {num_clusters!r}.")
        if num_iters < 1:
            raise ConfigError(f'num_iters must be at least 1, got {num_iters}.')
        if device not in ('cpu', 'cuda'):
            raise ConfigError(f"device of k-means must be 'cpu' or 'cuda', got {device!r}.")
        self.device = device
        self.num_clusters = num_clusters
        self.num_iters = num_iters
        self.seed = seed
        self.spherical = spherical

    def config(self) -> dict[str, Any]:
        """The arguments, JSON-able."""
        found = {'type': 'mmdel.FaissKMeans', 'num_clusters': self.num_clusters, 'num_iters': self.num_iters,
                 'seed': self.seed, 'spherical': self.spherical}  # fmt: skip
        return found if self.device == 'cpu' else {**found, 'device': self.device}

    def fit(self, vectors: Vectors, rows: NDArray[np.int64], progress: Stages = SILENT) -> Clustering:
        """Cluster some rows.

        Args:
            vectors (Vectors): All vectors.
            rows (NDArray[np.int64]): [n], ascending.
            progress (Stages): Shows the two stages. Defaults to ``SILENT``.
        """
        k, note = self._num_clusters(len(rows))
        with progress.stage('k-means', self.num_iters, 'iterations') as tick:
            centroids = self._train(vectors, rows, k, tick)
        with progress.stage('assign', len(rows)) as tick:
            label, cosine = nearest_centroid(vectors, rows, centroids, tick)
        return Clustering(label, cosine, centroids, note)

    def _num_clusters(self, images: int) -> tuple[int, str]:
        if self.num_clusters == 'auto':
            k = auto_num_clusters(images, self.num_iters)
            return k, f'{k} clusters: the number that costs the fewest multiplications for {images:,} images'
        k = min(int(self.num_clusters), images)
        return k, f'{k} clusters, as configured' + (
            f' (one per image: {self.num_clusters} asked for)' if k == images else ''
        )

    def _train(self, vectors: Vectors, rows: NDArray[np.int64], k: int, tick: Tick) -> NDArray[np.float32]:
        faiss = import_faiss()
        if self.device == 'cuda' and not faiss.get_num_gpus():
            raise ConfigError("faiss sees no GPU. Use device='cpu', or install mmdel[gpu] on a machine that has one.")
        limit = POINTS_PER_CENTROID * k
        if len(rows) > limit:
            sample = np.random.default_rng(self.seed).choice(len(rows), limit, replace=False, shuffle=False)
            rows = rows[np.sort(sample)]
        points = vectors.read(rows)
        # a person wants to see a long training move; a short one would only wait for the calls
        step = 1 if k > WATCHED_CLUSTERS else self.num_iters
        kmeans = faiss.Kmeans(
            vectors.dim,
            k,
            niter=step,
            seed=self.seed,
            spherical=self.spherical,
            min_points_per_centroid=1,
            max_points_per_centroid=POINTS_PER_CENTROID,
            gpu=self.device == 'cuda',
        )
        for _ in range(0, self.num_iters, step):
            kmeans.train(points, init_centroids=kmeans.centroids)
            tick(step)
        centroids = kmeans.centroids.astype(np.float64)
        norm = np.sqrt((centroids * centroids).sum(axis=1, keepdims=True))
        return (centroids / np.where(norm == 0, 1.0, norm)).astype(np.float32)


def auto_num_clusters(images: int, num_iters: int = 20) -> int:
    """The k that minimises 2 * iters * min(N, 256 k) * k + 2 N k + N² / k, a function of the number of images alone.

    The three terms are the products of training, of assignment and of comparing inside clusters; 70 at the paper's 88,282
    images with 20 iterations.
    """
    if images < 2:
        return max(images, 1)
    k = np.arange(1, min(images, 100_000) + 1, dtype=np.float64)
    cost = 2 * num_iters * np.minimum(images, POINTS_PER_CENTROID * k) * k + 2 * images * k + images * (images / k)
    return int(cost.argmin()) + 1


def import_faiss() -> ModuleType:
    """faiss, with matrix kernels that fit the processor.

    The OpenBLAS inside faiss's wheels is older than many processors and falls back to SSE on those, four times slower. NumPy's
    own is newer: the newest kernels that a library chose are asked for, unless the user has asked for others. Sums come out a
    little different with each, so the choice must be the same in every run on a machine.
    """
    name = 'OPENBLAS_CORETYPE'
    chosen = _newest_kernels() if 'faiss' not in sys.modules and name not in os.environ else None
    if chosen:
        os.environ[name] = chosen
    try:
        import faiss
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == 'faiss':
            raise ImportError('k-means needs faiss. Install it: pip install faiss-cpu (or faiss-gpu).') from error
        raise ImportError(
            f'k-means needs faiss, and the one that is installed cannot be imported: {error}. It is built for other versions '
            'than those here, often of NumPy; python -m mmdel doctor says what to install.'
        ) from error
    finally:
        if chosen:
            del os.environ[name]
    return faiss


def announce(pairs: int, dim: int) -> None:
    """Say how long so many pairs of vectors of ``dim`` numbers will take this machine, if it is more than a minute."""
    if pairs * dim < SAID_FROM * 1e9:  # no machine needs a minute for that
        return
    seconds = OVERHEAD * 2 * pairs * dim / _rate(dim)
    if seconds >= SAID_FROM:
        print_log(
            f'{pairs:,} pairs are compared now, which takes this machine alone at most about {duration(seconds)}; '
            'where images repeat themselves, a fraction of it.',
            'current',
        )


def duration(seconds: float) -> str:
    """As people say it: '75 s', '12 min', '3 h 20 min', '5 days'."""
    if seconds < 100:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    if minutes < 100:
        return f'{minutes} min'
    hours, rest = divmod(minutes, 60)
    return f'{hours} h {rest} min' if hours < 48 else f'{hours / 24:.0f} days'


def _newest_kernels() -> str | None:
    """The newest of the matrix kernels that libraries have chosen for this processor, as an older OpenBLAS calls them."""
    known = {
        'SkylakeX': 'SkylakeX',
        'Cooperlake': 'SkylakeX',
        'SapphireRapids': 'SkylakeX',
        'Haswell': 'Haswell',
        'Zen': 'Haswell',
    }
    # in no fixed order: OpenCV brings an older one, which may know less of the processor
    found = {known.get(library.get('architecture')) for library in threadpool_info()}
    return next((kernels for kernels in NEWEST_FIRST if kernels in found), None)


def _rate(dim: int) -> float:
    """Multiplications and additions a second of a float32 product, best of three."""
    # two arrays: of one with itself NumPy computes a triangle only
    left, right = np.random.default_rng(0).standard_normal((2, _ROWS, dim), np.float32)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        left @ right.T
        seconds.append(time.perf_counter() - start)
    return 2 * _ROWS * _ROWS * dim / min(seconds)
