"""Features of any mmpretrain backbone, from your own checkpoint or a public one."""

import inspect
import warnings
from collections.abc import Sequence
from typing import Any

from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmdel.compute.weights import load_strictly, read_state_dict
from mmdel.embedding.embedders.base_embedder import IMAGENET_MEAN, IMAGENET_STD, BaseEmbedder
from mmdel.errors import ConfigError
from mmdel.registry import EMBEDDERS

FEATURES = ('cls_token', 'avg_patch')

_WAYS_OUT = (
    'Use a checkpoint that you have with --cfg-options embedder.checkpoint=FILE, thumbnails that need no weights with '
    '--encoder pixels, or vectors that you have with --embeddings FILE.npy.'
)


@EMBEDDERS.register_module()
class ViTEmbedder(BaseEmbedder):
    """Embeds with a registry-built backbone.

    Vision transformers give the class token of a layer or the mean of its patch tokens. Backbones with feature maps (ResNet,
    Swin) give the mean over the map of a stage, ``feature='avg_patch'``; they have no class token.

    Args:
        backbone (dict): Config of the backbone, for instance ``dict(type='mmpretrain.VisionTransformer', arch='b')``, without
            ``out_type``, ``out_indices`` and ``init_cfg``. ``img_size`` defaults to ``input_size``; position embeddings of
            a checkpoint of another size are resized.
        checkpoint (str, optional): A file or an http(s) URL. Defaults to None: random weights, the same in every run.
        prefix (str): Under which the checkpoint keeps its backbone. Defaults to 'backbone.'.
        feature (str): 'cls_token' or 'avg_patch'. Defaults to 'cls_token'.
        out_index (int): The layer or stage whose output is taken, counted from 0; the final norm is applied to the last one
            only. Defaults to -1, the last.
        input_size, mean, std, precision, batch_size, shard_size, pipeline: See :class:`BaseEmbedder`.

    Raises:
        ConfigError: The backbone does not exist, or has no such feature.
        WeightsError: The checkpoint cannot be read, is unsafe, or does not fit.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        checkpoint: str | None = None,
        prefix: str = 'backbone.',
        feature: str = 'cls_token',
        out_index: int = -1,
        input_size: int = 224,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        precision: str = 'auto',
        batch_size: int = 32,
        shard_size: int | None = None,
        pipeline: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(
            input_size=input_size,
            mean=mean,
            std=std,
            precision=precision,
            batch_size=batch_size,
            shard_size=shard_size,
            pipeline=pipeline,
        )
        if feature not in FEATURES:
            raise ConfigError(f'feature={feature!r} is not known; use {" or ".join(map(repr, FEATURES))}.')
        for name, instead in (('out_type', 'feature='), ('out_indices', 'out_index='), ('init_cfg', 'checkpoint=')):
            if backbone.get(name) is not None:
                raise ConfigError(f'{name} in the backbone: say it with {instead} of the embedder instead.')
        self.backbone = dict(backbone)
        self.feature = feature
        self.out_index = out_index
        self._checkpoint = checkpoint
        self._prefix = prefix

    def build_model(self) -> nn.Module:
        """Build the backbone and load its weights."""
        backbone = self._build_backbone()
        if self._checkpoint is None:
            MMLogger.get_current_instance().warning(
                'The encoder has no checkpoint: its weights are random, and such vectors say little about images.'
            )
        else:
            state = read_state_dict(self._checkpoint, self._prefix, _WAYS_OUT)
            load_strictly(backbone, state, self._checkpoint)
        _drop_unused_layers(backbone)
        return _Feature(backbone)

    def _build_backbone(self) -> Any:
        kind = _find(self.backbone)
        signature = inspect.signature(kind.__init__).parameters
        config = dict(self.backbone)
        if 'mask' in inspect.signature(kind.forward).parameters:
            raise ConfigError(
                f'{kind.__name__} masks its input at random, for pre-training. Use the plain backbone of the same arch: '
                "mmpretrain.VisionTransformer reads a checkpoint of MAE's as it is."
            )
        if 'img_size' in signature:
            config.setdefault('img_size', self.input_size)
        types = getattr(kind, 'OUT_TYPES', ())
        if self.feature in types:
            config['out_type'] = self.feature
        elif self.feature == 'cls_token':
            raise ConfigError(
                f"{kind.__name__} has no class token; set feature='avg_patch', the mean over its feature map."
            )
        elif 'featmap' in types:
            config['out_type'] = 'featmap'
        if self.out_index != -1 and 'out_indices' in signature:
            config['out_indices'] = [self.out_index]
        try:
            return MODELS.build(config)
        except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(f'{kind.__name__} cannot be built from {self.backbone}: {error}') from error


class _Feature(nn.Module):
    """A backbone whose last output, a feature map [B, D, H, W] or a token [B, D], becomes one vector."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """Float [B, 3, H, W] to float [B, D]."""
        output = self.backbone(images)
        if isinstance(output, (tuple, list)):
            output = output[-1]
        # in float32: a mean over hundreds of tokens would lose most of bfloat16's 8 bits
        return output.float().mean(dim=(2, 3)) if output.ndim == 4 else output


def _find(backbone: dict[str, Any]) -> Any:
    name = backbone.get('type')
    if not isinstance(name, str):
        if not callable(name):
            raise ConfigError("The embedder's backbone needs a type, for instance 'mmpretrain.VisionTransformer'.")
        return name
    with warnings.catch_warnings():
        # mmcv without compiled operators says so when it is imported; none of them is needed
        warnings.filterwarnings('ignore', message='Fail to import')
        kind = MODELS.get(name)
    if kind is None:
        raise ConfigError(
            f'There is no backbone {name!r}. mmpretrain and its backbones come with pip install "mmdel[onedl]".'
        )
    return kind


def _drop_unused_layers(backbone: Any) -> None:
    """Leave out the layers behind the one that is read; they would take their time for nothing."""
    if type(backbone).__name__ == 'VisionTransformer':
        for i in range(max(backbone.out_indices) + 1, len(backbone.layers)):
            backbone.layers[i] = nn.Identity()
