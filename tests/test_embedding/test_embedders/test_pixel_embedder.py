import cv2
import numpy as np
import pytest
import torch

from mmdel.embedding import PixelEmbedder
from mmdel.registry import EMBEDDERS


def embed(*images: np.ndarray) -> np.ndarray:
    thumbnails = [cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA) for image in images]
    return EMBEDDERS.build(dict(type='mmdel.PixelEmbedder')).embed(torch.from_numpy(np.stack(thumbnails)))


def test_vectors__thumbnail_and_constant_of_unit_length() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    (vector,) = embed(image)
    thumbnail = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA)[..., ::-1] / 255
    expected = np.append(thumbnail.transpose(2, 0, 1).ravel(), 1)
    assert vector.shape == (769,)
    assert np.allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)


def test_black_image__has_a_direction() -> None:
    black, white = embed(np.zeros((20, 20, 3), np.uint8), np.full((20, 20, 3), 255, np.uint8))
    assert black[-1] == 1 and not black[:-1].any()
    assert black @ white == pytest.approx(1 / np.sqrt(769))


def test_fingerprint__says_what_it_is() -> None:
    fingerprint = PixelEmbedder().fingerprint()
    assert fingerprint['type'] == 'PixelEmbedder' and fingerprint['input_size'] == 16
    assert fingerprint['precision'] == 'float32'
