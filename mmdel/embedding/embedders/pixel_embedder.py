"""Thumbnails as vectors: no weights, no download, thousands of images a second."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdel.embedding.embedders.base_embedder import BaseEmbedder, load_reduced
from mmdel.registry import EMBEDDERS


@EMBEDDERS.register_module()
class PixelEmbedder(BaseEmbedder):
    """Embeds by RGB thumbnails: of 16x16 pixels 768 values in [0, 1] and a constant 1, scaled to unit length.

    The constant gives a black image a direction. Near-identical frames are found, the same scene in another light or from another
    angle is not: an honest lower bound for any encoder.

    Args:
        batch_size (int): Images taken at once. Defaults to 256.
        shard_size (int, optional): Images written to the cache at once. Defaults to 2048.
        pipeline (Sequence[dict], optional): See :class:`BaseEmbedder`. Defaults to None: :func:`load_reduced`.
        size (int): The side of the thumbnail. Defaults to 16.
    """

    def __init__(
        self,
        batch_size: int = 256,
        shard_size: int = 2048,
        pipeline: Sequence[dict[str, Any]] | None = None,
        size: int = 16,
    ) -> None:
        super().__init__(
            input_size=size,
            mean=(0, 0, 0),
            std=(255, 255, 255),
            precision='float32',
            batch_size=batch_size,
            shard_size=shard_size,
            pipeline=load_reduced(size) if pipeline is None else pipeline,
        )

    def build_model(self) -> nn.Module:
        """A model without weights."""
        return _Thumbnail()


class _Thumbnail(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        """Float [B, 3, S, S] to unit vectors [B, 3 * S * S + 1]."""
        return functional.normalize(torch.cat([images.flatten(1), images.new_ones(len(images), 1)], dim=1))
