"""Hash bits as vectors: the cosine is the Hamming distance of the library's own hashes."""

import cv2
import imagehash
import numpy as np
import pytest
import torch
from PIL import Image

from mmdel.embedding.embedders.hash_embedder import HASHES, HashEmbedder
from mmdel.errors import ConfigError


@pytest.mark.parametrize('method', HASHES)
def test_cosine__is_one_minus_hamming_over_32(method):
    rng = np.random.default_rng(0)
    images = [cv2.resize(rng.integers(0, 256, (5, 5, 3), np.uint8), (128, 128)) for _ in range(6)]
    vectors = HashEmbedder(method).embed(torch.from_numpy(np.stack(images)))
    hashes = [getattr(imagehash, HASHES[method])(Image.fromarray(image[..., ::-1])) for image in images]
    hamming = np.array([[one - other for other in hashes] for one in hashes])
    assert vectors.shape == (6, 64) and set(np.unique(vectors)) == {-1, 1}
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(unit @ unit.T, 1 - hamming / 32, atol=1e-6)


def test_black_image__has_a_direction():
    assert np.linalg.norm(HashEmbedder().embed(torch.zeros(1, 128, 128, 3, dtype=torch.uint8))) == 8


def test_fingerprint__differs_between_methods_and_sizes():
    prints = [
        HashEmbedder().fingerprint(),
        HashEmbedder('dhash').fingerprint(),
        HashEmbedder(input_size=64).fingerprint(),
    ]
    assert prints[0] != prints[1] and prints[0] != prints[2]


def test_method__unknown():
    with pytest.raises(ConfigError, match='phash'):
        HashEmbedder('md5')
