"""Vision models of transformers, with their own image processor."""

import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmdel.embedding.embedders.pretrained_embedder import GREY, Preprocessing, PretrainedEmbedder, library, take
from mmdel.errors import ConfigError, WeightsError, three
from mmdel.registry import EMBEDDERS

_NOT_OF_THE_MODEL = ('transformers_version', 'architectures', 'dtype', 'torch_dtype', 'id2label', 'label2id')
"""Of its config; neither is what begins with an underscore, such as the place of the files."""

_INTERPOLATIONS = {0: 'nearest', 1: 'lanczos', 2: 'bilinear', 3: 'bicubic', 4: 'box', 5: 'hamming'}
"""Pillow's numbers, as image processors state them."""


@EMBEDDERS.register_module()
class HFEmbedder(PretrainedEmbedder):
    """Embeds with a vision model of transformers: ``--encoder hf:facebook/dinov2-base``, or ``hf:FOLDER``.

    Needs ``pip install 'mmdel[hf]'``. Size, mean, std, interpolation and crop are those of the model's image processor. Images
    are resized as a whole unless ``crop`` is set, see :class:`PretrainedEmbedder`. Of a model of images and texts, such as
    CLIP, the part for images is taken. Weights are read from safetensors only, and no code of a repository is run.

    Args:
        model (str): A folder with config.json, preprocessor_config.json and model.safetensors, or a repository of the Hugging
            Face hub: from its cache, else downloaded into it.
        feature (str): 'cls_token'; 'avg_patch', the mean of patch tokens or over the feature map; or 'pooled', the model's
            ``pooler_output``. Defaults to 'cls_token'.
        out_index (int): The layer whose output is taken, counted from 0; the final norm is applied at -1 only. Defaults to -1.
        crop (bool): Whether to resize and crop as the image processor does, which loses the border. Defaults to False.
        input_size (int, optional): Side of the model's input. Defaults to None: the processor's own.
        mean, std (Sequence[float], optional): RGB, grey levels. Defaults to None: the processor's own.
        precision, batch_size, shard_size, pipeline: See :class:`BaseEmbedder`.

    Raises:
        ConfigError: transformers is not installed, or the model is none for images.
        WeightsError: A file is not here and cannot be downloaded, or lacks weights.
    """

    def __init__(
        self,
        model: str,
        feature: str = 'cls_token',
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
        self._name = model
        super().__init__(
            _preprocessing(model, _from_pretrained('AutoImageProcessor', model)),
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
        config = _from_pretrained('AutoConfig', model)
        self.architecture = {
            name: value
            for name, value in config.to_diff_dict().items()
            if name not in _NOT_OF_THE_MODEL and not name.startswith('_')
        }

    def config(self) -> dict[str, Any]:
        """As :meth:`BaseEmbedder.config`; a fingerprint tells the model by its weights and architecture, not by its place."""
        return {**super().config(), 'model': self._name}

    def build_encoder(self) -> nn.Module:
        """The part of the model that reads images, with its weights."""
        model, about = _from_pretrained('AutoModel', self._name, use_safetensors=True, output_loading_info=True)
        part = next((name for name in ('vision_model', 'vision_tower') if hasattr(model, name)), '')
        # the pooler of some models was never saved
        lacking = [
            name
            for name in about['missing_keys']
            if name.startswith(part) and (self.feature == 'pooled' or 'pooler' not in name)
        ]
        if lacking:
            raise WeightsError(
                f'{self._name} lacks {len(lacking)} weights of the model ({three(sorted(lacking))}), which would be random.'
                + (" Take feature='cls_token' or 'avg_patch'." if 'pooler' in ''.join(lacking) else '')
            )
        model = getattr(model, part) if part else model
        if 'pixel_values' not in inspect.signature(model.forward).parameters:
            raise ConfigError(f'{self._name} is a {type(model).__name__}, which takes no images.')
        # float16 files are common; the model is float32 until the precision is chosen
        return _Feature(model.float(), self.feature, self.out_index, self.input_size)


class _Feature(nn.Module):
    """A model of transformers that gives one vector for each image."""

    def __init__(self, model: Any, feature: str, out_index: int, size: int) -> None:
        super().__init__()
        self.model = model
        self._feature = feature
        self._out_index = out_index
        names = [name for name, _ in model.named_parameters()]
        self._has_class_token = any(name.endswith(('cls_token', 'class_embedding')) for name in names)
        self._patch = getattr(model.config, 'patch_size', None)
        self._options: dict[str, Any] = {'return_dict': True}
        if out_index != -1:
            self._options['output_hidden_states'] = True
        resizes = 'interpolate_pos_encoding' in inspect.signature(model.forward).parameters
        if resizes and getattr(model.config, 'image_size', size) != size:
            self._options['interpolate_pos_encoding'] = True

    def forward(self, images: Tensor) -> Tensor:
        """Float [B, 3, H, W] to float [B, D]."""
        output = self.model(pixel_values=images, **self._options)
        if self._feature == 'pooled':
            pooled = getattr(output, 'pooler_output', None)
            if pooled is None:
                raise ConfigError("The model has no pooled output. Take feature='cls_token' or 'avg_patch'.")
            return pooled.flatten(1)
        layer = output.last_hidden_state
        if self._out_index != -1:
            # the first one is what goes into the layers
            layers = output.hidden_states[1:]
            if not -len(layers) <= self._out_index < len(layers):
                raise ConfigError(f'out_index={self._out_index}: the model has layers 0 to {len(layers) - 1}.')
            last = self._out_index in (len(layers) - 1, -1)
            layer = layer if last else layers[self._out_index]
        prefix = 0
        if isinstance(self._patch, int) and layer.ndim == 3:  # class, distillation and register tokens
            prefix = max(0, layer.shape[1] - math.prod(side // self._patch for side in images.shape[2:]))
        return take(layer, self._feature, prefix, self._has_class_token and prefix > 0)


def _from_pretrained(kind: str, name: str, **options: Any) -> Any:
    """The model, or what describes it: from a folder or the cache of the hub, else by download."""
    transformers = library('transformers', 'hf')
    make = getattr(transformers, kind).from_pretrained
    options['trust_remote_code'] = False
    try:
        if Path(name).is_dir():
            return make(str(Path(name)), local_files_only=True, **options)
        try:
            return make(name, local_files_only=True, **options)
        except OSError:
            return make(name, **options)
    except Exception as error:  # of the network, of the hub, of a file, or of a model that transformers does not know
        where = f'The folder {name}' if Path(name).is_dir() else f'https://huggingface.co/{name}'
        raise WeightsError(
            f'{where} gives no {kind.removeprefix("Auto")} ({_first_line(error)}). Fetch config.json, '
            'preprocessor_config.json and model.safetensors of the model into one folder: --encoder hf:FOLDER'
        ) from error


def _preprocessing(name: str, processor: Any) -> Preprocessing:
    size, crop = (_sides(getattr(processor, each, None)) for each in ('size', 'crop_size'))
    crops = bool(getattr(processor, 'do_center_crop', False)) and crop is not None
    edges = crop if crops and crop is not None else size
    mean, std = getattr(processor, 'image_mean', None), getattr(processor, 'image_std', None)
    if edges is None or size is None or mean is None or std is None or len(set(edges)) != 1:
        raise ConfigError(f'The image processor of {name} states no square size, mean and std; mmdel needs them.')
    # scaled to [0, 1] and then by mean and std, unless it says otherwise
    unit = 1 / getattr(processor, 'rescale_factor', 1 / GREY) if getattr(processor, 'do_rescale', True) else 1
    normalises = getattr(processor, 'do_normalize', True)
    return Preprocessing(
        size=edges[0],
        mean=[unit * value for value in mean] if normalises else [0, 0, 0],
        std=[unit * value for value in std] if normalises else [unit] * 3,
        interpolation=_interpolation(getattr(processor, 'resample', None)),
        share=min(1.0, edges[0] / min(size)),
        square=len(size) == 2,
    )


def _interpolation(resample: Any) -> str:
    """Of Pillow's number, or of torchvision's mode, in words."""
    value = getattr(resample, 'value', resample)
    return value if isinstance(value, str) else _INTERPOLATIONS.get(value, 'bilinear')


def _sides(size: Any) -> tuple[int, ...] | None:
    """Of a processor's size, which has height and width, or the shortest edge: as many numbers."""
    if size is None or isinstance(size, int):
        return size if size is None else (size,)
    found = {
        name: value
        for name in ('height', 'width', 'shortest_edge')
        if (value := size.get(name) if isinstance(size, dict) else getattr(size, name, None)) is not None
    }
    return tuple(int(value) for value in found.values()) or None


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition('\n')[0] or type(error).__name__
