"""The canonical cosine is the obvious sum, however the vectors are given."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmdel.similarity import canonical_cosine, exact_cosine, pair_cosines


def test_canonical_cosine__one_vector_or_many_at_a_time():
    rng = np.random.default_rng(7)
    left, right = rng.standard_normal((2, 200, 300)).astype(np.float32) / 30
    expected = [min((x.astype(np.float64) * y.astype(np.float64)).sum(), 1.0) for x, y in zip(left, right, strict=True)]
    np.testing.assert_array_equal(canonical_cosine(left, right), np.float32(expected))
    np.testing.assert_array_equal(
        canonical_cosine(left, right[0]), canonical_cosine(left, np.tile(right[0], (len(left), 1)))
    )


@given(st.integers(0, 200), st.sampled_from([1, 7, 129]), st.integers(0, 999))
def test_exact_cosine__is_the_obvious_sum(size, dim, seed):
    left, right = np.random.default_rng(seed).standard_normal((2, size, dim)).astype(np.float32)
    obvious = [min((one.astype(np.float64) * other).sum(), 1.0) for one, other in zip(left, right, strict=True)]
    np.testing.assert_array_equal(exact_cosine(left, right), obvious)


@given(st.integers(0, 300), st.integers(0, 999))
def test_pair_cosines__are_those_of_the_pairs(pairs, seed):
    rng = np.random.default_rng(seed)
    left, right = rng.standard_normal((2, 9, 5)).astype(np.float32) / 3
    row, slot = rng.integers(0, 9, (2, pairs))
    np.testing.assert_array_equal(
        pair_cosines(left.__getitem__, row, right.__getitem__, slot), exact_cosine(left[row], right[slot])
    )
