import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from mmengine.logging import MMLogger
from torch import Tensor, nn

from mmdel.embedding import BaseEmbedder
from mmdel.images.image_table import SCHEMA, ImageTable

TableOf = Callable[..., ImageTable]


class MeanColours(nn.Module):
    """A model with weights that takes no time: [B, 3, 8, 8] to [B, 5]."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 64, 5)
        nn.init.constant_(self.linear.bias, 1.0)
        with np.errstate(all='ignore'):
            self.linear.weight.data[:] = factor * (self.linear.weight.data * 0 + 0.01)
            self.linear.weight.data[:, ::7] *= 3

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))


class TinyEmbedder(BaseEmbedder):
    """Counts what it embeds."""

    def __init__(self, factor: float = 1.0, **options: object) -> None:
        options = dict(input_size=8, precision='float32', batch_size=3, shard_size=6) | options
        super().__init__(**options)
        self._factor = factor
        self._seen: list[int] = []

    def build_model(self) -> nn.Module:
        return MeanColours(self._factor)

    def embed(self, images: Tensor) -> np.ndarray:
        self._seen.append(int((images.flatten(1).max(dim=1).values > 0).sum()))
        return super().embed(images)

    @property
    def seen(self) -> int:
        return sum(self._seen)


@pytest.fixture
def tiny() -> type[TinyEmbedder]:
    return TinyEmbedder


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Twenty different images, 000.png to 019.png, of several sizes."""
    folder = tmp_path / 'images'
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(20):
        image = generator.integers(1, 256, (10 + i, 30 - i, 3), np.uint8)
        cv2.imwrite(str(folder / f'{i:03}.png'), image)
    return folder


@pytest.fixture
def table_of() -> TableOf:
    """The images of a folder as mmdel.datasets lists them; `ledger` and further names can be given."""

    def make(folder: Path, more: tuple[str, ...] = (), ledger: tuple[tuple[str, str], ...] = ()) -> ImageTable:
        names = sorted({*(name for name in os.listdir(folder)), *more})
        columns = {
            'image': names,
            'path': [str(folder / name) for name in names],
            'label': [name[0] for name in names],
        }
        arrays = [
            pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(len(names), field.type)
            for field in SCHEMA
        ]
        return ImageTable(str(folder), pa.table(arrays, SCHEMA), ledger, (), ())

    return make


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged."""
    found: list[str] = []
    logger = MMLogger.get_current_instance()
    for level in ('info', 'warning'):
        monkeypatch.setattr(logger, level, found.append)
    return found
