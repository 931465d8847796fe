"""Predictions whose IoU is known, and subset files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from mmdel.subset import Subset


@pytest.fixture
def make_sample() -> Callable[..., dict[str, Any]]:
    """``make_sample(predicted, labels)`` is what a segmentor hands to its metrics, for one image of two such rows."""

    def make(predicted: list[int], labels: list[int], name: str = 'image.jpg') -> dict[str, Any]:
        return {
            'pred_sem_seg': {'data': torch.tensor([[predicted, predicted]])},
            'gt_sem_seg': {'data': torch.tensor([[labels, labels]])},
            'img_path': name,
        }

    return make


@pytest.fixture
def make_subset(tmp_path: Path) -> Callable[..., str]:
    """``make_subset(kept, images)`` writes a subset that keeps the first ``kept`` of so many images; gives its path."""

    def make(kept: int, images: int) -> str:
        columns = {
            'image': pa.array([f'{number:03d}.jpg' for number in range(images)]),
            'rank': pa.array(range(images), pa.int64()),
            'redundancy': pa.array([number / images for number in range(images)], pa.float32()),
        }
        path = tmp_path / f'{kept}of{images}.parquet'
        Subset.from_ranking(pa.table(columns), {}, kept=kept).write(path)
        return str(path)

    return make
