"""Models of timm, with their own preprocessing."""

import sys
from collections.abc import Sequence
from typing import Any

from mmengine.logging import MMLogger
from torch import Tensor, nn

from mmdel.compute.weights import hub_file, load_strictly, read_weights
from mmdel.config.config_check import nearest
from mmdel.embedding.embedders.pretrained_embedder import GREY, Preprocessing, PretrainedEmbedder, library, take
from mmdel.errors import ConfigError, WeightsError, three
from mmdel.registry import EMBEDDERS


@EMBEDDERS.register_module()
class TimmEmbedder(PretrainedEmbedder):
    """Embeds with a model of timm: ``--encoder timm:vit_base_patch14_dinov2.lvd142m``.

    Needs ``pip install 'mmdel[timm]'``. Size, mean, std, interpolation and crop are those of timm's data config for the model.
    Images are resized as a whole unless ``crop`` is set, see :class:`PretrainedEmbedder`.

    Args:
        model (str): Name of the model, and of its weights behind a dot.
        checkpoint (str, optional): A .safetensors or a torch checkpoint of this model, file or http(s) URL, or 'random'.
            Defaults to None: the weights that timm names, from the cache of the Hugging Face hub, else downloaded into it.
        feature (str): 'pooled', what timm itself gives to the classifier; 'cls_token'; or 'avg_patch', the mean of patch tokens
            or over the feature map. Defaults to 'pooled'.
        out_index (int): The block or stage whose output is taken, counted from 0; the final norm is applied at -1 only. Defaults
            to -1, the last.
        crop (bool): Whether to resize and crop as timm does for an evaluation, which loses the border. Defaults to False.
        input_size (int, optional): Side of the model's input; position embeddings are resized where it is not the model's own.
            Defaults to None: the model's own, such as 518 of DINOv2.
        mean, std (Sequence[float], optional): RGB, grey levels. Defaults to None: the model's own.
        precision, batch_size, shard_size, pipeline: See :class:`BaseEmbedder`.

    Raises:
        ConfigError: timm is not installed, or does not know the model.
        WeightsError: The weights are not here and cannot be downloaded, are unsafe, or do not fit.
    """

    def __init__(
        self,
        model: str,
        checkpoint: str | None = None,
        feature: str = 'pooled',
        out_index: int = -1,
        crop: bool = False,
        input_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        precision: str = 'auto',
        batch_size: int = 32,
        shard_size: int | None = None,
        pipeline: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        about = _description(model)
        super().__init__(
            _preprocessing(model, about),
            feature,
            out_index,
            crop,
            input_size=input_size,
            mean=mean,
            std=std,
            precision=precision,
            batch_size=batch_size,
            shard_size=shard_size,
            pipeline=pipeline,
        )
        self.model = model
        self._checkpoint = checkpoint
        self._hub_id = about.get('hf_hub_id')
        self._url = about.get('url')

    def build_encoder(self) -> nn.Module:
        """Build the model without its classifier, and load its weights."""
        # timm is never given a file: its loader unpickles some of them
        resized = {} if self.input_size == self._native_size else {'img_size': self.input_size}
        model = _create(self.model, resized)
        if self._checkpoint == 'random':
            MMLogger.get_current_instance().warning(
                f'The weights of {self.model} are random, and such vectors say little about images.'
            )
        else:
            self._load(model)
        return _Feature(model, self.feature, self.out_index)

    def _load(self, model: nn.Module) -> None:
        ways_out = (
            f'Fetch the weights of timm model {self.model} elsewhere and name the file: '
            '--cfg-options embedder.checkpoint=FILE.safetensors'
        )
        checkpoint = self._checkpoint
        if checkpoint is None:
            if not (self._hub_id or self._url):
                raise WeightsError(
                    f'timm names no weights for {self.model}. Take a name that timm.list_pretrained() lists, or your own '
                    'file: --cfg-options embedder.checkpoint=FILE'
                )
            checkpoint = hub_file(self._hub_id, 'model.safetensors', ways_out) if self._hub_id else str(self._url)
        state = read_weights(checkpoint, ways_out)
        own = getattr(sys.modules[type(model).__module__], 'checkpoint_filter_fn', None)
        if own is not None:  # renames, and resizes position embeddings
            state = own(state, model)
        names = model.state_dict().keys()
        left = [name for name in state if name not in names and not name.startswith(_classifiers(model))]
        if left:
            MMLogger.get_current_instance().warning(
                f'{checkpoint} holds {len(left)} weights that {self.model} does not use ({three(left)}).'
            )
        load_strictly(model, {name: value for name, value in state.items() if name in names}, checkpoint)


class _Feature(nn.Module):
    """A timm model that gives one vector for each image."""

    def __init__(self, model: Any, feature: str, out_index: int) -> None:
        super().__init__()
        self.model = model
        self._feature = feature
        self._out_index = out_index
        self._prefix = int(getattr(model, 'num_prefix_tokens', 0) or 0)
        self._has_class_token = getattr(model, 'cls_token', None) is not None

    def forward(self, images: Tensor) -> Tensor:
        """Float [B, 3, H, W] to float [B, D]."""
        if self._feature == 'pooled':
            return self.model(images)
        if self._out_index == -1:
            output = self.model.forward_features(images)
            if output.ndim == 4 and getattr(self.model, 'output_fmt', 'NCHW') == 'NHWC':
                output = output.permute(0, 3, 1, 2)
            return take(output, self._feature, self._prefix, self._has_class_token)
        with_prefix = {'return_prefix_tokens': True} if self._prefix else {}
        try:
            (layer,) = self.model.forward_intermediates(
                images, indices=[self._out_index], stop_early=True, intermediates_only=True, **with_prefix
            )
        except (AttributeError, AssertionError, IndexError) as error:
            raise ConfigError(f'timm gives no layer out_index={self._out_index} of this model ({error}).') from error
        patches, prefix = layer if self._prefix else (layer, None)
        if self._feature == 'cls_token' and prefix is not None:
            return take(prefix, 'cls_token', self._prefix, self._has_class_token)
        return take(patches, self._feature, 0, False)


def _description(name: str) -> dict[str, Any]:
    timm = library('timm', 'timm')
    if not timm.is_model(name):
        near = nearest(name.partition('.')[0], timm.list_models())
        hint = f' Did you mean {near!r}?' if near else ''
        raise ConfigError(f'timm {timm.__version__} has no model {name!r}.{hint} timm.list_pretrained() lists them.')
    architecture, _, tag = name.partition('.')
    try:
        found = timm.get_pretrained_cfg(name)
    except RuntimeError:  # others return None
        found = None
    if found is None:
        raise ConfigError(
            f'timm {timm.__version__} describes no weights {tag!r} of {architecture!r}. '
            f"timm.list_pretrained('{architecture}*') lists them."
        )
    return dict(found.to_dict())


def _preprocessing(name: str, about: dict[str, Any]) -> Preprocessing:
    data = library('timm.data', 'timm').resolve_data_config(pretrained_cfg=about)
    channels, height, width = data['input_size']
    if channels != 3 or height != width:
        raise ConfigError(
            f'{name} takes images of {height} x {width} and {channels} channels; mmdel gives square ones of 3.'
        )
    # 'random' is timm's word for an augmentation; the border mode pads, which nothing here does
    interpolation = data['interpolation'] if data['interpolation'] in ('bilinear', 'bicubic', 'nearest') else 'bicubic'
    return Preprocessing(
        size=height,
        mean=[GREY * value for value in data['mean']],
        std=[GREY * value for value in data['std']],
        interpolation=interpolation,
        share=data['crop_pct'],
        square=data.get('crop_mode') == 'squash',
    )


def _create(name: str, options: dict[str, Any]) -> nn.Module:
    timm = library('timm', 'timm')
    kind = timm.model_entrypoint(name.partition('.')[0])
    try:
        return timm.create_model(name, num_classes=0, **options)
    except TypeError:
        if not options:
            raise
        return timm.create_model(name, num_classes=0)  # a convolutional network takes every size, and no img_size
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(f'timm cannot build {kind.__name__} with {options}: {error}') from error


def _classifiers(model: nn.Module) -> tuple[str, ...]:
    names = (getattr(model, 'pretrained_cfg', None) or {}).get('classifier') or 'head'
    return tuple(f'{name}.' for name in ([names] if isinstance(names, str) else names))
