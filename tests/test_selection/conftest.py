"""Pools for every selector: video-like vectors, a table that tells everything, and an obvious matrix of cosines."""

import numpy as np
import pyarrow as pa
import pytest

from mmdel.embedding.vectors import ArraySource, Vectors


@pytest.fixture
def make_pool():
    """``make_pool(size, seed, copies)`` gives vectors and their table: scenes, small changes, some exact copies."""

    def make(size, seed=0, copies=True, dim=16):
        rng = np.random.default_rng(seed)
        scenes = rng.standard_normal((max(1, size // 12), dim))
        raw = (scenes[rng.integers(0, len(scenes), size)] + 0.35 * rng.standard_normal((size, dim))).astype(np.float32)
        if copies and size > 4:
            raw[rng.integers(0, size, size // 8)] = raw[rng.integers(0, size, size // 8)]
        images = sorted(f'{"ab"[i % 2]}/{i:05d}.jpg' for i in range(size))
        table = pa.table(
            {
                'image': images,
                'source': pa.array([image[0] for image in images], pa.string()),
                'label': pa.array([None if i % 3 == 2 else f'class {i % 3}' for i in range(size)], pa.string()),
                'video': pa.array([None if i % 5 == 4 else f'video {i % 4}' for i in range(size)], pa.string()),
                'frame': pa.array(
                    [None if i % 5 == 4 else int(rng.integers(0, 9999)) for i in range(size)], pa.int64()
                ),
                'centre': pa.nulls(size, pa.string()),
            }
        )
        return Vectors(ArraySource(raw), images), table

    return make


@pytest.fixture
def cosines():
    """All canonical cosines, float32 [N, N], pair by pair."""

    def matrix(vectors):
        unit = vectors.read(slice(None)).astype(np.float64)
        return np.array([np.minimum((unit * row).sum(axis=1), 1) for row in unit], np.float32)

    return matrix


@pytest.fixture
def order_of():
    """Rows from kept first to kept last."""
    return lambda ranking: np.argsort(ranking.rank)
