"""Vectors are read the same way whatever the block size, and those that cannot be compared are named."""

import pickle

import numpy as np
import pytest

from mmdel.embedding import vectors as module
from mmdel.embedding.given_vectors import ArrayFile
from mmdel.embedding.vectors import ArraySource, ChosenRows, Vectors
from mmdel.errors import VectorError
from mmdel.similarity import canonical_cosine


def keys(size):
    return [f'{i:04d}.jpg' for i in range(size)]


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
@pytest.mark.parametrize('center', [False, True])
def test_read__is_the_unit_vector_of_the_centred_row(dtype, center):
    raw = np.random.default_rng(0).standard_normal((50, 12)).astype(dtype)
    vectors = Vectors(ArraySource(raw), keys(50), center)
    wide = raw.astype(np.float64)
    if center:
        wide = wide - wide.sum(axis=0) / 50
    expected = wide / np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(vectors.read(slice(None)), expected, atol=1e-7)
    np.testing.assert_array_equal(vectors.read(np.array([7, 3, 7])), vectors.read(slice(None))[[7, 3, 7]])


@pytest.mark.parametrize('center', [False, True])
def test_read__same_bytes_for_any_block_and_for_resident_or_streamed(center, monkeypatch):
    raw = np.random.default_rng(1).standard_normal((300, 40)).astype(np.float32) + 3
    one = Vectors(ArraySource(raw), keys(300), center)
    monkeypatch.setattr(module, 'BLOCK_BYTES', 40 * 4 * 7)
    monkeypatch.setattr(module, 'RESIDENT_BYTES', 0)
    other = Vectors(ArraySource(raw), keys(300), center)
    assert one.read(slice(None)).tobytes() == other.read(slice(None)).tobytes()
    assert one.digest == other.digest
    if center:
        assert one.mean.tobytes() == other.mean.tobytes()


@pytest.mark.parametrize('center', [False, True])
@pytest.mark.parametrize('resident', [0, 1 << 20])
def test_sent_to_another_process__reads_the_same_bytes(center, resident, monkeypatch, tmp_path):
    monkeypatch.setattr(module, 'RESIDENT_BYTES', resident)
    raw = np.random.default_rng(4).standard_normal((50, 6)).astype(np.float32) + 2
    raw[7] = raw.mean(axis=0, dtype=np.float64)
    np.save(tmp_path / 'raw.npy', raw)
    rows = np.random.default_rng(5).permutation(50)[3:40]
    for source in (ArraySource(raw), ArrayFile(tmp_path / 'raw.npy')):
        one = Vectors(ChosenRows(source, rows), keys(37), center)
        message = pickle.dumps(one)
        other = pickle.loads(message)
        assert one.read(slice(None)).tobytes() == other.read(slice(None)).tobytes()
        assert (one.digest, one.dim, one.center) == (other.digest, other.dim, other.center)


def test_center__vectors_left_without_a_direction_agree_with_each_other_and_with_nobody_else():
    rng = np.random.default_rng(2)
    odd = rng.standard_normal((20, 8))
    raw = np.concatenate([odd, -odd, np.zeros((3, 8))]).astype(np.float32) + 5
    vectors = Vectors(ArraySource(raw), keys(43), center=True)
    unit = vectors.read(slice(None))
    assert vectors.dim == 9
    lost = unit[40:]
    np.testing.assert_array_equal(canonical_cosine(lost, lost[::-1]), 1)
    np.testing.assert_array_equal(canonical_cosine(np.repeat(lost[:1], 40, axis=0), unit[:40]), 0)


def test_center__all_identical_images_are_copies_of_each_other():
    raw = np.tile(np.random.default_rng(3).standard_normal(16), (1000, 1)).astype(np.float32)
    unit = Vectors(ArraySource(raw), keys(1000), center=True).read(slice(None))
    np.testing.assert_array_equal(canonical_cosine(unit[:1], unit[999:]), 1)


@pytest.mark.parametrize(('value', 'words'), [(0, 'zero'), (np.nan, 'NaN'), (np.inf, 'NaN or infinity')])
def test_unusable__is_an_error_that_names_the_keys(value, words):
    raw = np.ones((9, 4), np.float32)
    raw[[2, 5]] = value
    with pytest.raises(VectorError, match=words) as caught:
        Vectors(ArraySource(raw), keys(9))
    assert '0002.jpg' in str(caught.value) and '0005.jpg' in str(caught.value) and '2 of 9' in str(caught.value)


def test_shape__one_vector_for_each_key():
    with pytest.raises(VectorError, match='5 images'):
        Vectors(ArraySource(np.ones((4, 2), np.float32)), keys(5))
