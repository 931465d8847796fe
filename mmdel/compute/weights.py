"""Loads encoder weights from a file or a URL into a backbone: safely, strictly, and never silently random.

    state = read_state_dict('vit.pth', prefix='backbone.')
    load_strictly(backbone, state, 'vit.pth')

A checkpoint is opened by :func:`~mmdel.compute.checkpoint_file.read_checkpoint` before any library sees it: mmengine's own loader
unpickles it in full, and that runs whatever code the file names.
"""

import hashlib
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from mmdel.compute import storage
from mmdel.compute.checkpoint_file import read_checkpoint
from mmdel.errors import StorageError, WeightsError, three

_HEADS = ('head.', 'neck.')
"""Parts of a whole model that an encoder does not have; ignored where the checkpoint does not mark its backbone."""


def check_checkpoint(checkpoint: str) -> None:
    """Make sure that a file holds nothing whose loading would run code.

    Args:
        checkpoint (str): A file as mmengine's runner writes it: weights, optimizer and log.

    Raises:
        WeightsError: There is no such file, or it is damaged or unsafe.
    """
    _open(checkpoint, '')


def read_weights(checkpoint: str, ways_out: str = '') -> dict[str, Tensor]:
    """Read all weights of a checkpoint by name, float32.

    Args:
        checkpoint (str): A file, or an http(s) URL, which is downloaded once into torch's hub folder. Holds a state dict,
            alone or under 'state_dict' or 'model'. One that ends in .safetensors needs that library.
        ways_out (str): What to do where there is no such file; ends that message. Defaults to ''.

    Raises:
        WeightsError: There is no such file, or it is damaged, holds more than weights, or holds none.
    """
    content = _open(checkpoint, ways_out)
    for name in ('state_dict', 'model'):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(
            f"{checkpoint} holds no state dict: neither tensors by name, nor those under 'state_dict' or 'model'."
        )
    # float16 files are common; the model is float32 until the precision is chosen
    return {
        str(name): value.float() if value.is_floating_point() else value
        for name, value in content.items()
        if isinstance(value, Tensor)
    }


def hub_file(repository: str, name: str, ways_out: str = '') -> str:
    """A file of the Hugging Face hub: from its cache on this machine, else downloaded into it.

    Args:
        repository (str): Such as 'facebook/dinov2-base'.
        name (str): Such as 'model.safetensors'.
        ways_out (str): What to do where it cannot be had; ends that message. Defaults to ''.

    Returns:
        str: Its path.

    Raises:
        WeightsError: It is not in the cache and cannot be downloaded.
    """
    from huggingface_hub import hf_hub_download

    try:
        try:
            return str(hf_hub_download(repository, name, local_files_only=True))
        except FileNotFoundError:
            return str(hf_hub_download(repository, name))
    except Exception as error:  # of the network, of the hub, or of a disk
        raise WeightsError(
            f'Cannot get {name} of https://huggingface.co/{repository} ({_first_line(error)}). {ways_out}'.rstrip()
        ) from error


def read_state_dict(checkpoint: str, prefix: str = 'backbone.', ways_out: str = '') -> dict[str, Tensor]:
    """Read a backbone's weights, float32.

    Args:
        checkpoint (str): As in :func:`read_weights`.
        prefix (str): Where names begin with it, only those are taken, without it. Elsewhere all names are taken but those
            of a classifier's neck and head. Defaults to 'backbone.'.
        ways_out (str): What to do where there is no such file; ends that message. Defaults to ''.

    Raises:
        WeightsError: As in :func:`read_weights`.
    """
    state = read_weights(checkpoint, ways_out)
    if prefix and any(name.startswith(prefix) for name in state):
        return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
    return {name: value for name, value in state.items() if not name.startswith(_HEADS)}


def load_strictly(backbone: nn.Module, state: dict[str, Tensor], checkpoint: str) -> None:
    """Load every weight, or raise.

    Args:
        backbone (nn.Module): Takes the weights.
        state (dict[str, Tensor]): From :func:`read_state_dict`.
        checkpoint (str): Its name, for messages.

    Raises:
        WeightsError: Names are missing or left over, or shapes differ; three of them are listed.
    """
    try:
        missing, unexpected = backbone.load_state_dict(state, strict=False)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:4]]
        raise WeightsError(f'{checkpoint} does not fit the backbone: {" ".join(lines) or error}') from error
    if missing or unexpected:
        found = [f'{len(names)} {what} ({three(names)})' for what, names in _named(missing, unexpected) if names]
        raise WeightsError(
            f'{checkpoint} does not fit the backbone: weights {" and ".join(found)}. Give the backbone the arch of the '
            'checkpoint, or name the prefix under which the checkpoint keeps its backbone.'
        )


def weight_digest(model: nn.Module) -> str:
    """:func:`state_digest` of a model's weights."""
    return state_digest(model.state_dict())


def state_digest(state: Mapping[str, Any]) -> str:
    """sha256 over names, shapes, kinds and values of a state dict, hexadecimal; the same on every device."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        value = value.detach().cpu().contiguous()
        digest.update(f'{name} {value.dtype} {tuple(value.shape)} '.encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _open(checkpoint: str, ways_out: str) -> Any:
    remote = checkpoint.startswith(('http://', 'https://'))
    path = _download(checkpoint, ways_out) if remote else Path(checkpoint).expanduser()
    if not storage.is_file(path):
        raise WeightsError(f'There is no checkpoint {checkpoint}. {ways_out}'.rstrip())
    try:
        return storage.patiently(path, lambda: _content(path))
    except StorageError:
        raise
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f'{checkpoint} is no plain checkpoint: it is damaged, or holds objects whose loading would run code, and was not '
            f'loaded ({_first_line(error)}). Where you trust it, save its state dict alone: '
            "torch.save({'state_dict': model.state_dict()}, FILE)."
        ) from error
    except Exception as error:
        raise WeightsError(f'{checkpoint} is damaged or no torch checkpoint ({_first_line(error)}).') from error


def _content(path: Path) -> Any:
    if path.suffix == '.safetensors':
        from safetensors.torch import load_file

        return load_file(path)
    return read_checkpoint(path)


def _download(url: str, ways_out: str) -> Path:
    # the folder and name that mmengine and torch.hub use, so that a file they fetched is not fetched again
    path = Path(torch.hub.get_dir()) / 'checkpoints' / os.path.basename(urlparse(url).path)
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path))
        except Exception as error:
            raise WeightsError(
                f'Cannot download the encoder weights {url} ({_first_line(error)}). {ways_out}'.rstrip()
            ) from error
    return path


def _named(missing: list[str], unexpected: list[str]) -> tuple[tuple[str, list[str]], ...]:
    return ('missing in the file', missing), ('unknown to the backbone', unexpected)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition('\n')[0] or type(error).__name__
