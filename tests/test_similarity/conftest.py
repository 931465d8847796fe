"""Vectors that are easy, adversarial and degenerate; an obvious matrix of cosines; and how a search may be tuned."""

import functools

import numpy as np
import pytest

from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.similarity import Tuning, tuned

PRUNED = dict(
    tile_rows=16, tile_columns=9, diagonal_columns=4, whole_rows=0, least_rows=16, most_rows=32, prune_numbers=1,
    prune_dimensions=1, prune_left=np.inf, dimensions=4, cell=6, call=20,
)  # fmt: skip
TUNINGS = {
    'plain': Tuning(),
    'many tiles': Tuning(tile_rows=7, tile_columns=5, diagonal_columns=2, whole_rows=0, least_rows=7, most_rows=28),
    'device': Tuning(device='cpu:0', tile_rows=7, tile_columns=5, diagonal_columns=2, whole_rows=0, least_rows=7),
    'all dense': Tuning(tile_rows=7, tile_columns=5, diagonal_columns=2, whole_rows=0, least_rows=7, candidates=0),
    'small groups, dense': Tuning(tile_rows=70, candidates=1),
    'pruned': Tuning(**PRUNED),
    'pruned, dense': Tuning(**PRUNED | {'candidates': 0}),
    'given up': Tuning(**PRUNED | {'prune_left': -1}),
}
"""Whatever a search is tuned to, it must find the same; some of these try paths that the defaults take with many images only."""


@pytest.fixture(params=list(TUNINGS))
def tuning(request):
    """Every test with it runs with each of these tunings."""
    with tuned(TUNINGS[request.param]):
        yield TUNINGS[request.param]


@pytest.fixture(scope='session')
def vectors_of():
    """``vectors_of(raw, center)``: vectors over an array, [N, D]."""
    return lambda raw, center=False: Vectors(ArraySource(raw), [f'{i:06d}' for i in range(len(raw))], center=center)


@pytest.fixture(scope='session')
def cosines():
    """The canonical number of every pair, one pair at a time: float64 products, summed, at most 1, rounded to float32."""

    @functools.cache
    def matrix(unit, dim):
        unit = np.frombuffer(unit, np.float32).reshape(-1, dim).astype(np.float64)
        found = np.empty((len(unit), len(unit)), np.float32)
        for i in range(len(unit)):
            for j in range(len(unit)):
                found[i, j] = min((unit[i] * unit[j]).sum(), 1.0)
        return found

    return lambda vectors: matrix(vectors.read(slice(None)).tobytes(), vectors.dim)


@pytest.fixture(scope='session')
def near_threshold():
    """``near_threshold(eta, pairs, dim, rng)``: pairs of unit vectors whose cosine lies within 1e-6 of eta."""

    def make(eta, pairs, dim, rng):
        raw = np.empty((2 * pairs, dim))
        for i in range(pairs):
            a = rng.standard_normal(dim)
            a /= np.linalg.norm(a)
            b = rng.standard_normal(dim)
            b -= (a @ b) * a
            b /= np.linalg.norm(b)
            cosine = eta + rng.uniform(-1e-6, 1e-6)
            raw[2 * i], raw[2 * i + 1] = a, cosine * a + np.sqrt(1 - cosine**2) * b
        return raw.astype(np.float32)

    return make


@pytest.fixture(scope='session')
def unit_vectors():
    """``unit_vectors(size, dim, kind, rng)``: of a kind that is hard on bounds, float32 [size, dim]."""

    def make(size, dim, kind, rng):
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
