"""What encoders of other libraries share: preprocessing from the model's own description, and the choice of a feature."""

import importlib
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.logging import MMLogger
from torch import Tensor, nn

from mmdel.embedding.embedders.base_embedder import BaseEmbedder
from mmdel.errors import ConfigError

FEATURES = ('pooled', 'cls_token', 'avg_patch')

GREY = 255
"""Libraries state mean and std as fractions of it."""


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its images, as it describes itself.

    Args:
        size (int): Side of its input.
        mean (Sequence[float]): RGB, grey levels.
        std (Sequence[float]): Likewise.
        interpolation (str): One of Pillow's, such as 'bicubic'.
        share (float): The part of the resized image that is left when its border has been cropped. Defaults to 1.
        square (bool): Images are resized without keeping their aspect ratio, before the crop too. Defaults to False.
    """

    size: int
    mean: Sequence[float]
    std: Sequence[float]
    interpolation: str
    share: float = 1.0
    square: bool = False

    def pipeline(self, size: int, crop: bool) -> list[dict[str, Any]]:
        """Transforms that load an image and bring it to ``size``: as a whole, or as the library does.

        Pillow resizes, as in the libraries: OpenCV's filters do not widen where an image becomes smaller.
        """
        how = dict(backend='pillow', interpolation=self.interpolation)
        load = dict(type='mmdel.LoadFrame')
        if not crop:
            return [load, dict(type='mmcv.Resize', scale=size, **how)]
        edge = math.floor(size / self.share + 1e-6)
        resize = dict(type='mmcv.Resize', scale=edge) if self.square else dict(type='mmpretrain.ResizeEdge', scale=edge)
        return [load, {**resize, **how}, dict(type='mmpretrain.CenterCrop', crop_size=size)]


class PretrainedEmbedder(BaseEmbedder):
    """An encoder of another library, which describes its own preprocessing.

    Two things differ from that library unless ``crop`` is set. Images are resized as a whole, without keeping their aspect ratio
    and without cropping: in an endoscopic frame nothing at the border may be lost. And pixels are rounded to whole grey levels
    between resizing and scaling, as in every library that resizes with Pillow.

    Args:
        described (Preprocessing): What the model says.
        feature (str): 'pooled', 'cls_token' or 'avg_patch'.
        out_index (int): See the subclass.
        crop (bool): Whether to resize and crop as the library does.
        input_size, mean, std (optional): Where they are None, what the model says.
        precision, batch_size, shard_size, pipeline: See :class:`BaseEmbedder`. A pipeline of one's own takes the place of
            resizing and cropping.
    """

    def __init__(
        self,
        described: Preprocessing,
        feature: str,
        out_index: int,
        crop: bool = False,
        input_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        precision: str = 'auto',
        batch_size: int = 32,
        shard_size: int | None = None,
        pipeline: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        size = described.size if input_size is None else input_size
        super().__init__(
            input_size=size,
            mean=described.mean if mean is None else mean,
            std=described.std if std is None else std,
            precision=precision,
            batch_size=batch_size,
            shard_size=shard_size,
            pipeline=described.pipeline(size, crop) if pipeline is None else pipeline,
        )
        if feature not in FEATURES:
            raise ConfigError(f'feature={feature!r} is not known; use {", ".join(map(repr, FEATURES))}.')
        if feature == 'pooled' and out_index != -1:
            raise ConfigError(f"out_index={out_index} needs feature='cls_token' or 'avg_patch'.")
        self.feature = feature
        self.out_index = out_index
        self._native_size = described.size
        self._shown = (
            f'{size} px, {"as given" if pipeline is not None else described.interpolation}'
            f'{", cropped as its library does" if crop and pipeline is None else ""}, '
            f'mean {_short(self.mean)}, std {_short(self.std)}'
        )

    def build_model(self) -> nn.Module:
        """Make the model with its weights, and say how it gets its images."""
        model = self.build_encoder()
        MMLogger.get_current_instance().info(f'The encoder gets images of {self._shown}.')
        return model

    @abstractmethod
    def build_encoder(self) -> nn.Module:
        """As :meth:`BaseEmbedder.build_model`."""


def library(name: str, extra: str) -> Any:
    """A module that only some encoders need.

    Raises:
        ConfigError: It is not installed, or does not run here.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"This encoder needs {name} ({error}). Install it: pip install 'mmdel[{extra}]'.") from error


def take(output: Tensor, feature: str, prefix: int, has_class_token: bool) -> Tensor:
    """One vector of each image.

    Args:
        output (Tensor): Tokens [B, N, D], or a feature map [B, D, H, W].
        feature (str): 'cls_token' or 'avg_patch'.
        prefix (int): Tokens that stand before those of patches.
        has_class_token (bool): Whether the first of these is a class token.

    Returns:
        Tensor: [B, D]; a mean is float32, since over hundreds of tokens it would lose most of bfloat16's 8 bits.

    Raises:
        ConfigError: There is no class token.
    """
    if feature == 'cls_token':
        if output.ndim != 3 or not has_class_token:
            raise ConfigError(
                "The encoder has no class token. Take the mean instead, feature='avg_patch': "
                '--cfg-options embedder.feature=avg_patch'
            )
        return output[:, 0]
    return output.float().mean(dim=(2, 3)) if output.ndim == 4 else output[:, prefix:].float().mean(dim=1)


def _short(values: Sequence[float]) -> str:
    return '[' + ', '.join(f'{value:.1f}' for value in values) + ']'
