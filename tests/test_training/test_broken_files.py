import cv2
import numpy as np
import pytest

from mmdel.datasets import DataDEL
from mmdel.errors import UnreadableImage


@pytest.fixture
def pool(tmp_path):
    for level in range(3):
        cv2.imwrite(str(tmp_path / f'{level}.jpg'), np.full((32, 32, 3), 80 * level, np.uint8))
    whole = (tmp_path / '1.jpg').read_bytes()
    (tmp_path / '1.jpg').write_bytes(whole[: len(whole) // 2])
    return tmp_path


def test_training__serves_another_image_in_place_of_a_broken_one(pool):
    dataset = DataDEL(data_root=str(pool), pipeline=[dict(type='mmdel.LoadFrame', skip_unreadable=True)])
    assert len(dataset) == 3
    for _ in range(10):
        assert dataset[1]['img'].mean() in (0, 160)
    assert dataset.prepare_data(1) is None


def test_selection__is_told_of_every_broken_file(pool):
    dataset = DataDEL(data_root=str(pool), pipeline=[dict(type='mmdel.LoadFrame')])
    with pytest.raises(UnreadableImage, match='damaged or truncated'):
        dataset[1]
