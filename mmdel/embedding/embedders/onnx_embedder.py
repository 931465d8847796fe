"""Models in ONNX files."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn

from mmdel.embedding.embedders.base_embedder import IMAGENET_MEAN, IMAGENET_STD
from mmdel.embedding.embedders.pretrained_embedder import Preprocessing, PretrainedEmbedder, library, take
from mmdel.errors import ConfigError, WeightsError
from mmdel.registry import EMBEDDERS

DEFAULT_SIZE = 224
"""Of a model that takes every size."""

_READ_AT_ONCE = 1 << 24


@EMBEDDERS.register_module()
class OnnxEmbedder(PretrainedEmbedder):
    """Embeds with an ONNX file: ``--encoder onnx:FILE.onnx``. Needs ``pip install 'mmdel[onnx]'``.

    The file states its input size. It does not state mean, std and interpolation: these are ImageNet's and bilinear unless they
    are given. Images are resized as a whole. The model computes at the precision that the file states.

    Args:
        model (str): The file; float [B, 3, S, S], RGB, to [B, D], tokens [B, N, D] or a feature map [B, D, H, W]. Weights outside
            of it count for the fingerprint where the names of their files begin with its name, such as FILE.onnx.data.
        feature (str): 'pooled', the output as it is; 'cls_token', the first token; 'avg_patch', the mean of the others, or over
            the map. Defaults to 'pooled'.
        output (str, optional): Name of the output. Defaults to None, the first.
        prefix_tokens (int): Tokens before those of patches, for 'avg_patch'. Defaults to 1, the class token.
        input_size (int, optional): Side of the model's input. Defaults to None: the file's, or 224 where it takes every size.
        mean, std (Sequence[float], optional): RGB, grey levels. Defaults to None, ImageNet's.
        batch_size, shard_size, pipeline: See :class:`BaseEmbedder`.

    Raises:
        ConfigError: onnxruntime is not installed, or the model is not one of this kind.
        WeightsError: There is no such file, or it is damaged.
    """

    def __init__(
        self,
        model: str,
        feature: str = 'pooled',
        output: str | None = None,
        prefix_tokens: int = 1,
        input_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        batch_size: int = 32,
        shard_size: int | None = None,
        pipeline: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        self._file = Path(model).expanduser()
        session = _session(self._file, 'cpu')
        size = _input_size(model, session)
        if input_size is not None and size not in (None, input_size):
            raise ConfigError(f'{model} takes images of {size} px, not input_size={input_size}.')
        outputs = [each.name for each in session.get_outputs()]
        if output is not None and output not in outputs:
            raise ConfigError(f'{model} has no output {output!r}. There are: {", ".join(outputs)}.')
        super().__init__(
            Preprocessing(size or DEFAULT_SIZE, IMAGENET_MEAN, IMAGENET_STD, 'bilinear'),
            feature,
            -1,
            input_size=input_size,
            mean=mean,
            std=std,
            precision='float32',
            batch_size=batch_size,
            shard_size=shard_size,
            pipeline=pipeline,
        )
        self.output = output or outputs[0]
        self.prefix_tokens = prefix_tokens
        self._guessed = mean is None or std is None

    def config(self) -> dict[str, Any]:
        """As :meth:`BaseEmbedder.config`; a fingerprint tells the model by its bytes, not by its place."""
        return {**super().config(), 'model': str(self._file)}

    def fingerprint(self) -> dict[str, Any]:
        """As :meth:`BaseEmbedder.fingerprint`, with a digest of the file in place of weights."""
        self.ready_model()
        self._weights = self._weights or _digest(self._file)
        return super().fingerprint()

    def build_encoder(self) -> nn.Module:
        """A session on the embedder's device."""
        if self._guessed:
            MMLogger.get_current_instance().warning(
                f"{self._file} does not state mean and std: ImageNet's are taken. Others: --cfg-options "
                'embedder.mean=[R,G,B] embedder.std=[R,G,B], grey levels.'
            )
        session = _session(self._file, self._device.type)
        return _Feature(session, self.output, self.feature, self.prefix_tokens)


class _Feature(nn.Module):
    """An ONNX session that gives one vector for each image."""

    def __init__(self, session: Any, output: str, feature: str, prefix: int) -> None:
        super().__init__()
        self._session = session
        self._output = output
        self._feature = feature
        self._prefix = prefix
        (self._input,) = session.get_inputs()
        fixed = self._input.shape[0]
        self._at_once = fixed if isinstance(fixed, int) else 0

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Module:
        raise TypeError('a session is used by one thread, and uses all cores')

    def forward(self, images: Tensor) -> Tensor:
        """Float [B, 3, H, W] to float [B, D]."""
        dtype = torch.float16 if self._input.type == 'tensor(float16)' else torch.float32
        found = [self._run(part.to('cpu', dtype)) for part in images.split(self._at_once or len(images))]
        output = torch.cat(found).to(images.device)
        if self._feature == 'pooled':  # some networks leave a map of one place
            return output.flatten(1) if output.ndim > 2 and output.shape[2:].numel() == 1 else output
        return take(output, self._feature, self._prefix, self._prefix > 0)

    def _run(self, images: Tensor) -> Tensor:
        count = len(images)
        if count < self._at_once:  # the file states how many it takes
            images = torch.cat([images, images.new_zeros(self._at_once - count, *images.shape[1:])])
        (output,) = self._session.run([self._output], {self._input.name: images.contiguous().numpy()})
        return torch.from_numpy(output)[:count]


def _session(file: Path, device: str) -> Any:
    onnxruntime = library('onnxruntime', 'onnx')
    if not file.is_file():
        raise WeightsError(f'There is no ONNX file {file}.')
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    wanted = ['CUDAExecutionProvider'] if device == 'cuda' else []
    providers = [each for each in (*wanted, 'CPUExecutionProvider') if each in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=providers)
    except Exception as error:  # its classes differ from version to version
        raise WeightsError(f'{file} is damaged, or no ONNX file that onnxruntime reads ({error}).') from error


def _input_size(name: str, session: Any) -> int | None:
    """The side that the model takes, None where it takes every one."""
    inputs = session.get_inputs()
    shape = inputs[0].shape
    if len(inputs) != 1 or len(shape) != 4 or inputs[0].type not in ('tensor(float)', 'tensor(float16)'):
        found = ', '.join(f'{each.name} {each.type} {each.shape}' for each in inputs)
        raise ConfigError(f'{name} takes {found}; an encoder takes one float [B, 3, S, S].')
    _, channels, height, width = shape
    if channels not in (3, None) and not isinstance(channels, str):
        raise ConfigError(f'{name} takes {shape}; an encoder takes [B, 3, S, S].')
    sides = {side for side in (height, width) if isinstance(side, int)}
    if len(sides) > 1:
        raise ConfigError(f'{name} takes images of {height} x {width}; mmdel gives square ones.')
    return sides.pop() if sides else None


def _digest(file: Path) -> str:
    """sha256 of the file and of those beside it that hold its weights."""
    digest = hashlib.sha256()
    for part in sorted(each for each in file.parent.iterdir() if each.name.startswith(file.name)):
        with open(part, 'rb') as opened:
            digest.update(f'{part.name.removeprefix(file.name)} {part.stat().st_size} '.encode())
            while block := opened.read(_READ_AT_ONCE):
                digest.update(block)
    return digest.hexdigest()
