"""What all embedders share: settings, pipeline, precision, fingerprint.

A model of one's own is a subclass with one method:

    @EMBEDDERS.register_module()
    class MyEmbedder(BaseEmbedder):
        def build_model(self):
            return my_model          # float [B, 3, H, W] -> [B, D]

See docs/custom_embedder.md for complete examples.
"""

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from mmengine.logging import MMLogger
from numpy.typing import NDArray
from torch import Tensor, nn

import mmdel.images.frames  # noqa: F401  registers LoadFrame
from mmdel.compute.devices import DTYPES, find_device, resolve_precision
from mmdel.compute.weights import weight_digest
from mmdel.config.config_check import arguments
from mmdel.errors import ConfigError
from mmdel.registry import TRANSFORMS

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""RGB, in grey levels of 0 to 255."""

SHARD_IMAGES = 256
"""Listed images of a shard, about a minute of ViT-B on two cores: that much is lost at most when a run is killed."""

SEED = 0
"""Of weights that no checkpoint gives."""

MIRROR = dict(type='mmcv.RandomFlip', prob=1.0, direction='horizontal')
"""With this probability nothing is left to chance."""

_HOW_ONLY = ('batch_size', 'shard_size')


def load_reduced(input_size: int) -> list[dict[str, Any]]:
    """The pipeline of an embedder whose input is small: JPEGs are decoded at no more than the size that it needs.

    Twice the input, so that every value of it is still an average of four pixels or more; and 64 at least, because sharpness is
    measured on what was decoded.
    """
    return [dict(type='mmdel.LoadFrame', reduce_to=max(64, 2 * input_size))]


Embedder = TypeVar('Embedder', bound='BaseEmbedder')


class BaseEmbedder(ABC):
    """Turns images into vectors with a model.

    A subclass implements :meth:`build_model`. Its public attributes (JSON-able ones: numbers, strings, lists, dicts) count as
    settings that vectors depend on; another value gives another cache. What vectors do not depend on, and anything that is
    not JSON-able, is kept under a name with a leading underscore.

    Args:
        input_size (int): Images are resized to a square of this side, as a whole and without keeping the aspect ratio:
            in an endoscopic frame nothing at the border may be lost, and padding would look like a feature. Defaults to 224.
        mean (Sequence[float]): Subtracted from each channel, grey levels. Defaults to ImageNet's.
        std (Sequence[float]): Then divided by. Defaults to ImageNet's.
        to_rgb (bool): The model expects RGB; images are loaded as BGR. Defaults to True.
        precision (str): 'float32', 'bfloat16', 'float16', or 'auto': bfloat16 on a CPU or GPU that multiplies it natively, else
            float16 on CUDA and float32 elsewhere. Defaults to 'auto'.
        batch_size (int): Images given to the model at once. Defaults to 32.
        shard_size (int, optional): Images written to the cache at once. Defaults to None, about 256.
        pipeline (Sequence[dict], optional): Any registered loading transform and further ones, which leave ``img`` as uint8
            [H, W, 3], BGR. Defaults to None: ``[dict(type='mmdel.LoadFrame')]``.

    Attributes:
        version (int): Of the code: raised when the same settings and weights give other vectors; kept ones are then made again.
    """

    version: int = 1

    def __init__(
        self,
        input_size: int = 224,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        to_rgb: bool = True,
        precision: str = 'auto',
        batch_size: int = 32,
        shard_size: int | None = None,
        pipeline: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        for name, value in (('input_size', input_size), ('batch_size', batch_size), ('shard_size', shard_size)):
            if value is not None and not (isinstance(value, int) and value > 0):
                raise ConfigError(f'{name}={value!r} of the embedder is not a positive whole number.')
        self.input_size = input_size
        self.mean = [float(value) for value in mean]
        self.std = [float(value) for value in std]
        if len(self.mean) != 3 or len(self.std) != 3 or not all(self.std):
            raise ConfigError(f'The embedder needs 3 values of mean and 3 of std other than 0, got {mean} and {std}.')
        self.to_rgb = to_rgb
        self.batch_size = batch_size
        self.shard_size = shard_size or max(1, SHARD_IMAGES // batch_size) * batch_size
        self.pipeline = list(pipeline) if pipeline is not None else [dict(type='mmdel.LoadFrame')]
        if not self.pipeline:
            raise ConfigError("The embedder's pipeline is empty; its first transform loads the image.")
        self._asked_precision = precision
        self._device = torch.device('cpu')
        self._precision = resolve_precision(precision, self._device)
        self._model: nn.Module | None = None
        self._weights = ''
        self._on_device: Tensor | None = None
        self._at_once: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        # another process makes the model itself, from the same weights
        return {**vars(self), '_model': None, '_weights': '', '_on_device': None}

    @abstractmethod
    def build_model(self) -> nn.Module:
        """Make the model, with its weights: float [B, 3, input_size, input_size] to [B, D].

        Random numbers are seeded while it runs.
        """

    def build_pipeline(self) -> list[Any]:
        """The transforms of ``pipeline``; the first one loads.

        Raises:
            ConfigError: There is no such transform, or it refuses its arguments.
        """
        try:
            return [TRANSFORMS.build(transform) for transform in self.pipeline]
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"The embedder's pipeline cannot be built: {error}") from error

    def mirrored(self: Embedder) -> Embedder:
        """The same model over mirror images; its vectors lie in a cache of their own.

        Images are mirrored as soon as they are loaded: later transforms may leave them in another form.
        """
        return self.with_pipeline([self.pipeline[0], MIRROR, *self.pipeline[1:]])

    def with_pipeline(self: Embedder, pipeline: Sequence[dict[str, Any]]) -> Embedder:
        """The same model over images that are loaded in another way."""
        return self._but(pipeline=[*pipeline])

    def replicas(self: Embedder, count: int) -> list[Embedder]:
        """Replicas of the model for other threads, which share its weights; what one notes while it runs is its own.

        Args:
            count (int): How many are wanted.

        Returns:
            list: So many embedders. None on a GPU, which has no use for them, and none where the model cannot be copied or
                has hooks, which may note something elsewhere.
        """
        model = self.ready_model()
        hooked = any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
        if hooked or self._device.type != 'cpu':
            return []
        shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        try:
            return [self._but(_model=copy.deepcopy(model, dict(shared))) for _ in range(count)]
        except Exception:  # a model may hold what cannot be copied: a lock, a file
            return []

    def _but(self: Embedder, **changed: Any) -> Embedder:
        """This embedder with other values of some attributes."""
        # copy.copy goes by __getstate__ and would leave the model behind
        other = object.__new__(type(self))
        vars(other).update({**vars(self), **changed})
        return other

    def ready_model(self) -> nn.Module:
        """The model in eval mode on the embedder's device, made when it is first needed."""
        if self._model is None:
            # weights that are random are the same in every run, and the caller's random numbers stay as they are
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(SEED)
                model = self.build_model()
            model.eval()  # not chained: mmpretrain's backbones return None
            model.requires_grad_(False)
            model.to(self._device)
            self._model = model
        return self._model

    def to(self: Embedder, device: str | torch.device | None) -> Embedder:
        """Choose where the model runs, and so its precision.

        Args:
            device (str | torch.device, optional): None is CUDA where there is one, else the CPU.

        Raises:
            ConfigError: There is no such device here.
        """
        chosen = find_device(device)
        if chosen != self._device:
            self._device = chosen
            self._precision = resolve_precision(self._asked_precision, chosen)
            self._model = None
            self._on_device = None
        return self

    def config(self) -> dict[str, Any]:
        """Type and arguments, JSON-able, as far as attributes tell them.

        Raises:
            ConfigError: A public attribute is not JSON-able.
        """
        kind = type(self)
        known = arguments(kind).kinds
        about = {
            name: _plain_data(value, f'{kind.__name__}.{name}') for name, value in vars(self).items() if name in known
        }
        return {'type': f'{kind.__module__.partition(".")[0]}.{kind.__name__}', **about}

    def fingerprint(self) -> dict[str, Any]:
        """What the vectors depend on, JSON-able: type, settings, ``weights`` (sha256 of the state dict) and ``precision``.

        Raises:
            ConfigError: A public attribute is not JSON-able.
        """
        self._weights = self._weights or weight_digest(self.ready_model())
        about: dict[str, Any] = {
            'type': type(self).__name__,
            'weights': self._weights,
            'precision': self._precision,
        }
        if self.version != 1:
            about['version'] = self.version
        for name, value in vars(self).items():
            if not name.startswith('_') and name not in _HOW_ONLY:
                about[name] = _plain_data(value, f'{type(self).__name__}.{name}')
        return about

    def embed(self, images: Tensor) -> NDArray[np.float32]:
        """Vectors of a batch. Where a GPU's memory does not suffice, this batch and later ones go through the model in parts.

        Args:
            images (Tensor): uint8 [B, S, S, 3], BGR.

        Returns:
            NDArray[np.float32]: [B, D].

        Raises:
            ConfigError: The model does not return [B, D].
            torch.cuda.OutOfMemoryError: The memory does not suffice for one image.
        """
        size = first = max(1, min(self._at_once or len(images), len(images)))
        while True:
            try:
                vectors = np.concatenate([self._embed(part) for part in images.split(size)])
                break
            except torch.cuda.OutOfMemoryError:
                if size == 1:
                    raise
            # not above, where the exception still holds what the model had allocated
            torch.cuda.empty_cache()
            size //= 2
        if size < first:
            self._at_once = size
            MMLogger.get_current_instance().warning(
                f'The memory of {self._device} does not suffice for {first} images at once: batches go through the model in '
                f'parts of {size}, which may change the last bits of vectors. --cfg-options embedder.batch_size={size} does '
                'so from the start.'
            )
        return vectors

    @torch.inference_mode()
    def _embed(self, images: Tensor) -> NDArray[np.float32]:
        if self._device.type == 'cuda':
            # all of a batch is queued on the device; the copy of the vectors at the end is where the CPU waits for it
            images = images.pin_memory()
        images = images.to(self._device, non_blocking=True)
        if self.to_rgb:
            images = images.flip(-1)
        mean, std = self._scale()
        vectors = self.forward(images.permute(0, 3, 1, 2).float().sub_(mean).div_(std))
        if not isinstance(vectors, Tensor) or vectors.ndim != 2 or len(vectors) != len(images):
            shape = tuple(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
            raise ConfigError(
                f'The model of {type(self).__name__} returns {shape} for {len(images)} images; return one tensor [B, D].'
            )
        return vectors.float().cpu().numpy()

    @torch.inference_mode()
    def forward(self, pixels: Tensor) -> Any:
        """The model alone, at the embedder's precision.

        Args:
            pixels (Tensor): float32 [B, 3, S, S], scaled by mean and std, on the embedder's device.

        Raises:
            ConfigError: This torch does not have the precision on this device.
        """
        dtype = DTYPES[self._precision]
        # torch before 2.2.2 refuses autocast for float32 even where it is disabled
        mixed = nullcontext() if dtype == torch.float32 else torch.autocast(self._device.type, dtype)
        with ExitStack() as stack:
            try:
                stack.enter_context(mixed)
            except RuntimeError as error:  # such as float16 on the CPU with torch 2.1
                raise ConfigError(
                    f'precision={self._precision!r} does not run on {self._device} with torch {torch.__version__}. '
                    "Take precision='auto'."
                ) from error
            return self.ready_model()(pixels)

    def _scale(self) -> Tensor:
        """Mean and std on the device, [2, 3, 1, 1], copied there once."""
        if self._on_device is None:
            self._on_device = torch.tensor([self.mean, self.std], device=self._device)[:, :, None, None]
        return self._on_device


def _plain_data(value: Any, name: str) -> Any:
    """The value as JSON gives it back: plain lists and dicts, classes by name."""
    try:
        return json.loads(json.dumps(value, default=lambda other: other.__name__))
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f'{name} is {type(value).__name__}, which cannot be part of a fingerprint. Keep it under a name with a leading '
            'underscore, and what vectors depend on in plain numbers, strings, lists or dicts.'
        ) from error
