"""k-center: repeatedly takes the image that is covered worst.

Each image chosen is the one least similar to all chosen before, which keeps the largest distance to a chosen image within twice
the smallest possible (Gonzalez, Clustering to minimize the maximum intercluster distance, 1985). As a way to choose training
images: Sener and Savarese, Active learning for convolutional neural networks: a core-set approach, ICLR 2018, algorithm 1.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel import similarity
from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import Vectors
from mmdel.errors import ConfigError
from mmdel.registry import SELECTORS
from mmdel.selection.selector import BaseSelector, Ranking, ranking_of

BLOCK = 16384
"""Vectors compared with a new centre at a time."""

COPY = np.float32(1 - 1e-4)
"""From this cosine on to a chosen image the others are copies, which come last in the order of their keys."""


@SELECTORS.register_module()
class KCenterGreedy(BaseSelector):
    """Farthest-first traversal by cosine, from the image most similar to the mean; ties to the smaller key.

    Every image chosen is compared with all others, N² products for a full ranking, one row at a time: minutes at 10,000
    images, hours at 100,000. ``depth`` ends the traversal early.

    Args:
        depth (float): The share of the images that is ranked this way; the rest follows, least similar to any of these first.
            Ask for ratios up to it. Defaults to 1.

    Raises:
        ConfigError: ``depth`` is outside (0, 1].
    """

    def __init__(self, depth: float = 1.0) -> None:
        if not 0 < depth <= 1:
            raise ConfigError(f'depth is a share of the images, above 0 and at most 1, got {depth}.')
        self.depth = depth

    def rank(self, vectors: Vectors, table: pa.Table, size: int | None = None, progress: Stages = SILENT) -> Ranking:
        limit = int(np.ceil(self.depth * len(vectors)))
        with progress.stage('choose', limit) as tick:
            chosen = [_most_central(vectors)]
            highest = np.full(len(vectors), -np.inf, np.float32)
            while True:
                tick(1)
                # float32 products propose the farthest image, the canonical number decides between near-equal ones
                centre = vectors.read(np.array(chosen[-1:]))[0]
                for start in range(0, len(vectors), BLOCK):
                    part = slice(start, min(start + BLOCK, len(vectors)))
                    highest[part] = np.maximum(highest[part], vectors.read(part) @ centre)
                highest[chosen[-1]] = np.inf
                if len(chosen) == limit:
                    break
                row, cosine = _farthest(vectors, highest, chosen)
                if cosine >= COPY:
                    break
                chosen.append(row)
        kept = np.array(chosen, np.int64)
        rest = np.setdiff1d(np.arange(len(vectors)), kept)
        with progress.stage('fill', len(rest) * len(kept), 'pairs') as tick:
            nearest = similarity.nearest(vectors, [(rest, kept)], tick).cosine[rest]
        # copies of chosen images differ by rounding, not by what they show
        rest = rest[np.lexsort((rest, np.minimum(nearest, COPY)))]
        return ranking_of(np.concatenate([kept, rest]))


def _farthest(vectors: Vectors, highest: NDArray[np.float32], chosen: list[int]) -> tuple[int, np.float32]:
    """The row least similar to any chosen one, and how similar it is."""
    margin = np.float32(2 * similarity.float32_error(vectors.dim))
    near = np.flatnonzero(highest <= highest.min() + 2 * margin)
    if len(near) == 1 and highest[near[0]] < COPY - margin:
        return int(near[0]), highest[near[0]]
    settled = similarity.nearest(vectors, [(near, np.array(chosen, np.int64))]).cosine[near]
    first = int(settled.argmin())
    return int(near[first]), settled[first]


def _most_central(vectors: Vectors) -> int:
    """The row most similar to the mean direction."""
    total = np.zeros(vectors.dim)
    for start in range(0, len(vectors), BLOCK):
        # row after row, so that the sum does not depend on the block
        block = vectors.read(slice(start, min(start + BLOCK, len(vectors)))).astype(np.float64)
        total = np.add.reduce(np.concatenate([total[None], block]), axis=0)
    length = np.sqrt((total * total).sum())
    mean = (total / length if length else total).astype(np.float32)
    cosine = [
        similarity.canonical_cosine(vectors.read(slice(start, min(start + BLOCK, len(vectors)))), mean)
        for start in range(0, len(vectors), BLOCK)
    ]
    return int(np.concatenate(cosine).argmax())
