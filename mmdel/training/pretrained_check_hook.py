"""Ensures that a training starts from the encoder that it names."""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, find_latest_checkpoint
from torch import Tensor, nn

from mmdel.compute.weights import check_checkpoint, read_weights
from mmdel.errors import WeightsError
from mmdel.registry import HOOKS

_RESIZED = ('pos_embed', 'relative_position_bias_table')
"""Weights that vision transformers resize to the image while they load."""

_WAYS_OUT = (
    'Name the checkpoint of your pre-training: --cfg-options model.backbone.init_cfg.checkpoint=FILE. A random encoder on '
    'purpose is model.backbone.init_cfg=None.'
)


@HOOKS.register_module()
class PretrainedCheckHook(Hook):
    """Checks every checkpoint before mmengine opens it, and that pre-trained weights arrive in full.

    mmengine loads ``init_cfg=dict(type='Pretrained', ...)`` without insisting: what the file lacks stays random, and a line
    in the log says so. And where a file holds more than weights, it falls back to full unpickling, which runs whatever code
    the file names. With this hook in ``custom_hooks`` both end the run before they happen, in any OpenMMLab project.

    Raises:
        WeightsError: A checkpoint is missing or unsafe, lacks weights of its module, or has some of another shape.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._expected: list[tuple[nn.Module, str, dict[str, Tensor]]] = []

    def before_run(self, runner: Any) -> None:
        """Check the files, before any of them is loaded."""
        resumed = runner._load_from
        if resumed is None and runner._resume:
            resumed = find_latest_checkpoint(runner.work_dir)
        if resumed is not None:
            check_checkpoint(resumed)
        self._expected = []
        if isinstance(runner._train_loop, BaseLoop):  # testing takes all weights from its checkpoint
            model = runner.model.module if is_model_wrapper(runner.model) else runner.model
            for name, module, init_cfg in _pretrained(model):
                checkpoint, prefix = init_cfg['checkpoint'], init_cfg.get('prefix') or ''
                state = _read(checkpoint, prefix and prefix.rstrip('.') + '.')
                _compare(name, module.state_dict(), state, checkpoint)
                if resumed is None:
                    self._expected.append((module, checkpoint, state))

    def before_train(self, runner: Any) -> None:
        """Check that the values have arrived."""
        for module, checkpoint, state in self._expected:
            loaded = module.state_dict()
            different = [
                name
                for name, value in state.items()
                if loaded[name].shape == value.shape and not torch.equal(loaded[name].cpu().float(), value.float())
            ]
            if different:
                raise WeightsError(
                    f'{checkpoint} was read, but {len(different)} of {len(state)} weights are others ({different[0]}, ...). '
                    "Something initialised them after init_cfg=dict(type='Pretrained'): an init_cfg of a part of the model?"
                )
        self._expected = []


def _pretrained(model: nn.Module) -> Iterator[tuple[str, nn.Module, dict]]:
    for name, module in model.named_modules():
        found = getattr(module, 'init_cfg', None) or []
        for init_cfg in found if isinstance(found, list | tuple) else [found]:
            if init_cfg.get('type') == 'Pretrained':
                yield name or 'the model', module, init_cfg


def _read(checkpoint: str, prefix: str) -> dict[str, Tensor]:
    state = read_weights(checkpoint, _WAYS_OUT)
    found = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    if not found:
        raise WeightsError(
            f'{checkpoint} holds no weight whose name begins with {prefix!r}, but {next(iter(state))!r}, ...'
        )
    return found


def _compare(name: str, wanted: dict[str, Tensor], state: dict[str, Tensor], checkpoint: str) -> None:
    missing = [key for key in wanted if key not in state]
    surplus = [key for key in state if key not in wanted]
    differing = [
        f'{key} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}'
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape and not key.endswith(_RESIZED)
    ]
    named = (('missing in the file', missing), ('unknown to the model', surplus), ('of another shape', differing))
    problems = [
        f'{len(keys)} {what} ({", ".join(keys[:3])}{", ..." if len(keys) > 3 else ""})' for what, keys in named if keys
    ]
    if problems:
        raise WeightsError(
            f'{checkpoint} does not fit {name}: weights {" and ".join(problems)}. '
            'Use the checkpoint of this architecture, or give the model the arch of the checkpoint.'
        )
