"""Pools for every selector: video-like vectors, a table that tells everything, and an obvious matrix of cosines."""

import numpy as np
import pyarrow as pa
import pytest

from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.selection import groups, pieces, projection, pruning, settled_maximum


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


@pytest.fixture(scope='session')
def prune_everything():
    """``prune_everything(patch)`` lets a monkeypatch prune groups of any size, in small tiles."""

    def prune(patch):
        for name in ('LEFT', 'LEFT_BESIDE_LOW'):
            patch.setattr(groups, name, np.inf)  # however little is ruled out
        for name in ('PRUNED_NUMBERS', 'PRUNED_DIMENSIONS', 'LOW_ROWS'):
            patch.setattr(groups, name, 1)
        for module, name, value in (
            (groups, 'BLOCK', 11), (projection, 'DIMENSIONS', 4), (projection, 'CELL', 6), (pruning, 'AT_ONCE', 5),
            (pruning, 'PANEL', 4), (pruning, 'WIDEST', 9), (settled_maximum, 'PRUNED_COLUMNS', 1),
            (settled_maximum, 'TILE_ROWS', 16), (settled_maximum, 'TILE_COLUMNS', 24),
            (pieces, 'LEAST_ROWS', 16), (pieces, 'MOST_ROWS', 32), (pieces, 'RUN_ROWS', 64),
        ):  # fmt: skip
            patch.setattr(module, name, value)

    return prune


@pytest.fixture(scope='session')
def unit_vectors():
    def make(size, dim, kind, rng):
        """Unit vectors, float32 [size, dim], of a kind that is hard on bounds."""
        raw = rng.standard_normal((size, dim))
        if kind == 'one direction':
            raw += 10 ** rng.uniform(-1, 3) * rng.standard_normal(dim)
        elif kind == 'few numbers':
            raw = rng.integers(-1, 2, (size, dim)) + 0.25
        elif kind == 'few dimensions':
            raw = rng.standard_normal((size, 3)) @ rng.standard_normal((3, dim))
        elif kind == 'tiny and large':
            raw *= 10 ** rng.uniform(-30, 0, (size, dim))
        elif kind == 'same':
            raw = np.tile(raw[:1], (size, 1)) * (1 + 1e-6 * raw)
        elif kind == 'opposite':
            raw = np.concatenate([raw, -raw])[::2][:size]
        elif kind == 'one-hot':
            raw = np.eye(dim)[rng.integers(0, dim, size)]
        return Vectors(ArraySource(raw.astype(np.float32)), [str(i) for i in range(size)]).read(slice(None))

    return make
