"""Mixed precision where the hardware supports it: one config for GPU and CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

from mmdel.compute.devices import resolve_precision
from mmdel.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AutoAmpOptimWrapper(AmpOptimWrapper):
    """mmengine's ``AmpOptimWrapper`` that also runs where there is no GPU.

    The number format is chosen when training starts, so that a config that was resolved on one machine runs on another. A
    checkpoint may be resumed under another precision.

    Args:
        precision (str): 'float32', 'bfloat16', 'float16' (GPU only), or 'auto': bfloat16 where the device multiplies it
            natively, else float16 on CUDA and float32 on a CPU. Defaults to 'auto'.
        loss_scale (str | float | dict): As in ``AmpOptimWrapper``; only float16 is scaled. Defaults to 'dynamic'.
        **kwargs: As in ``OptimWrapper``.

    Raises:
        ConfigError: There is no such precision.
    """

    def __init__(self, precision: str = 'auto', loss_scale: Any = 'dynamic', **kwargs: Any) -> None:
        device = torch.device(get_device())
        self.precision = resolve_precision(precision, device)
        unscaled = {'enabled': False}
        if device.type == 'cpu':
            # AmpOptimWrapper's own constructor does nothing more, but refuses a CPU
            OptimWrapper.__init__(self, **kwargs)
            self._scale_update_param = None
            self.loss_scaler = _no_scaler()
            self.cast_dtype = getattr(torch, self.precision)
        else:
            scale = loss_scale if self.precision == 'float16' else unscaled
            super().__init__(loss_scale=scale, dtype=self.precision, **kwargs)

    def load_state_dict(self, state_dict: dict) -> None:
        """Load the optimizer's state; the loss scale only where both runs scale their loss."""
        if not (state_dict.get('loss_scaler') and self.loss_scaler.is_enabled()):
            state_dict.pop('loss_scaler', None)
        super().load_state_dict(state_dict)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Cast operations while the model runs, except in float32."""
        parent = OptimWrapper if self.precision == 'float32' else AmpOptimWrapper
        with parent.optim_context(self, model):
            yield


def _no_scaler() -> Any:
    """A scaler that does nothing. ``torch.amp`` has it from 2.3 on, and then warns of the other name."""
    if hasattr(torch.amp, 'GradScaler'):
        return torch.amp.GradScaler('cpu', enabled=False)
    return torch.cuda.amp.GradScaler(enabled=False)
