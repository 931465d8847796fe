"""MLPHead: a multi-layer perceptron on every token of a vision transformer, the decode head of the benchmark."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from mmdel.errors import ConfigError
from mmdel.registry import MODELS

try:
    from mmcv.cnn import ConvModule
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead
except Exception as error:  # a foreign mmcv ends mmseg's import with an AssertionError
    _reason = f'{type(error).__name__}: {error}'

    class BaseDecodeHead(nn.Module):  # type: ignore[no-redef]
        """Stands in for mmseg's, so that what else mmdel has is there without mmseg."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise ImportError(
                f'mmdel.MLPHead needs mmseg, which cannot be imported here ({_reason}). The stack that works '
                "without compiled operators is pip install 'mmdel[onedl]'; upstream mmsegmentation needs the full mmcv."
            )


@MODELS.register_module()
class MLPHead(BaseDecodeHead):
    """Classifies each token by itself: hidden layers with an activation, then the classifier; logits are resized bilinearly.

    No neighbours are mixed, so what the head can segment is what the encoder has put into its tokens.

    Args:
        in_channels (int or Sequence[int]): Width of the feature map, or of each one with ``input_transform='resize_concat'``.
        channels (int): Width of the hidden layers. Defaults to 256.
        depth (int): How many hidden layers; 0 is a linear probe, and ``channels`` has no meaning. Defaults to 1.
        num_classes (int): Number of classes, background included. Defaults to 2.
        input_transform (str, optional): 'resize_concat' where ``in_index`` names several feature maps. Defaults to None.
        out_channels (int, optional): Number of logits. Defaults to None (one for each class; two classes have two).
        act_cfg (dict, optional): Activation of the hidden layers. Defaults to None (GELU).
        **kwargs: As in mmseg's ``BaseDecodeHead``: ``in_index``, ``norm_cfg``, ``dropout_ratio``, ``loss_decode`` and more.

    Raises:
        ConfigError: ``depth`` is negative, or the feature maps are to be taken apart.
        ImportError: mmseg cannot be imported.

    Example:
        >>> decode_head = dict(type='mmdel.MLPHead', in_channels=768, channels=256, depth=1, num_classes=2)
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int = 256,
        depth: int = 1,
        *,
        num_classes: int = 2,
        input_transform: str | None = None,
        out_channels: int | None = None,
        act_cfg: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if depth < 0:
            raise ConfigError(f'depth of MLPHead is a number of hidden layers, 0 or more, got {depth}.')
        if input_transform not in (None, 'resize_concat'):
            raise ConfigError(f"input_transform of MLPHead is None or 'resize_concat', got {input_transform!r}.")
        features = in_channels if isinstance(in_channels, int) else sum(in_channels)
        super().__init__(
            in_channels,
            channels if depth else features,
            num_classes=num_classes,
            input_transform=input_transform,
            # said, because mmseg warns where two classes are left to it
            out_channels=num_classes if out_channels is None else out_channels,
            act_cfg=dict(act_cfg or dict(type='GELU')),
            **kwargs,
        )
        widths = [features] + [channels] * depth
        self.hidden = nn.Sequential(
            *(
                ConvModule(before, after, 1, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
                for before, after in pairwise(widths)
            )
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits of each token.

        Args:
            inputs (Sequence[Tensor]): Feature maps [B, C, H, W].

        Returns:
            Tensor: [B, classes, H, W].
        """
        return self.cls_seg(self.hidden(self._transform_inputs(inputs)))
