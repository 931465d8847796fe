"""The floating-point format that a model runs in."""

import torch

from mmdel.errors import ConfigError

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}


def resolve_precision(precision: str, device: torch.device) -> str:
    """The format that ``precision`` means on a device.

    Args:
        precision (str): A key of ``DTYPES``, or 'auto': bfloat16 where the device multiplies it natively, else float16 on
            CUDA and float32 elsewhere.
        device (torch.device): Where the model runs.

    Raises:
        ConfigError: There is no such precision.
    """
    if precision in DTYPES:
        return precision
    if precision != 'auto':
        raise ConfigError(f"precision={precision!r} is not known; use 'auto', {', '.join(map(repr, DTYPES))}.")
    if device.type == 'cuda':
        return 'bfloat16' if torch.cuda.get_device_capability(device) >= (8, 0) else 'float16'
    if device.type == 'cpu' and _cpu_multiplies_bfloat16():
        return 'bfloat16'
    return 'float32'


def _cpu_multiplies_bfloat16() -> bool:
    if hasattr(torch.cpu, 'get_capabilities'):
        found = torch.cpu.get_capabilities()
        return any(found.get(name, False) for name in ('avx512_bf16', 'amx_bf16', 'sve_bf16'))
    return any(getattr(torch.cpu, name, bool)() for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'))
