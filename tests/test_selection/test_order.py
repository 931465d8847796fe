"""``mmdel.selection.rank``: a method on an array gives the order in which a run of it would keep the rows."""

import numpy as np
import pytest
import torch

import mmdel
from mmdel.errors import ConfigError, VectorError
from mmdel.selection import BaseSelector, Coverage, rank

VECTORS = np.random.default_rng(0).standard_normal((60, 8))


@pytest.mark.parametrize('method', ['coverage', 'random', 'meddel-global', 'k-center-greedy'])
def test_order__is_that_of_a_run_at_every_ratio(method):
    order, gains = mmdel.selection.rank(VECTORS, method)
    assert order.dtype == np.int64 and sorted(order.tolist()) == list(range(60))
    assert gains is None or (gains.shape == (60,) and gains.dtype == np.float64)
    kept = mmdel.select(vectors=VECTORS, ratio=0.25, selector=method, center=False).indices
    assert sorted(order[:15].tolist()) == kept.tolist()


def test_gains__belong_to_the_order_and_add_up_to_the_objective():
    order, gains = rank(VECTORS, 'coverage', neighbours=60)
    unit = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    cosine = np.maximum(unit @ unit.T, 0)
    reached = [cosine[order[: size + 1]].max(axis=0).sum() for size in range(60)]
    assert np.allclose(np.cumsum(gains), reached, atol=1e-5)
    assert (np.diff(gains) <= 1e-9).all()


def test_method__is_a_name_a_config_or_an_object_with_the_same_arguments():
    expected = rank(VECTORS, 'coverage', neighbours=5).order.tolist()
    assert expected != rank(VECTORS).order.tolist()
    for method in (Coverage(neighbours=5), dict(type='mmdel.Coverage', neighbours=5)):
        assert rank(VECTORS, method).order.tolist() == expected
    assert rank(torch.tensor(VECTORS), 'coverage', neighbours=5).order.tolist() == expected
    whole = np.rint(10 * VECTORS)
    assert rank(whole.astype(int).tolist()).order.tolist() == rank(whole).order.tolist()


def test_size_and_columns__are_for_the_methods_that_ask():
    videos = ['a', 'b'] * 30
    order = rank(VECTORS, 'every-nth', size=10, columns={'video': videos, 'frame': range(60)}).order
    assert sorted(np.array(videos)[order[:10]]) == ['a'] * 5 + ['b'] * 5
    assert rank(VECTORS, 'coverage', center=True).order.tolist() == rank(VECTORS - VECTORS.mean(0)).order.tolist()


@pytest.mark.parametrize(
    ('arguments', 'error', 'words'),
    [
        (dict(vectors=VECTORS, method='coverige'), ConfigError, 'coverage'),
        (dict(vectors=VECTORS, method=None), ConfigError, 'A method is a name'),
        (dict(vectors=VECTORS, method=Coverage(), neighbours=3), ConfigError, 'is an object'),
        (dict(vectors=VECTORS, neighbors=3), ConfigError, 'neighbours'),
        (dict(vectors=VECTORS, neighbours='many'), ConfigError, 'neighbours is a whole number'),
        (dict(vectors=VECTORS, neighbours=0), ConfigError, 'at least 1'),
        (dict(vectors=VECTORS, method='every-nth'), ConfigError, 'chooses for one size'),
        (dict(vectors=VECTORS, columns={'video': ['a']}), ConfigError, '60 images'),
        (dict(vectors=VECTORS[0]), VectorError, r'float64 \[8\]'),
        (dict(vectors=[[1.0], [1.0, 2.0]]), VectorError, 'no array'),
        (dict(vectors=np.array([['a']])), VectorError, 'expected floats'),
        (dict(vectors=np.zeros((2, 2))), VectorError, 'zero'),
    ],
)
def test_mistake__is_an_error_that_says_what(arguments, error, words):
    with pytest.raises(error, match=words):
        rank(**arguments)


def test_own_method__needs_no_registry():
    class Backwards(BaseSelector):
        def rank(self, vectors, table, size=None, progress=None):
            return mmdel.selection.Ranking(rank=np.arange(len(vectors))[::-1])

    assert rank(VECTORS, Backwards()).order.tolist() == list(range(60))[::-1]
    assert mmdel.select(vectors=VECTORS, ratio=0.05, selector=Backwards()).indices.tolist() == [57, 58, 59]
