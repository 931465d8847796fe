"""Where models run, and in which floating-point format."""

import torch

from mmdel.errors import ConfigError

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}


def find_device(name: str | torch.device | None = None) -> torch.device:
    """A device that torch can use here.

    Args:
        name (str | torch.device, optional): Such as 'cpu', 'cuda' or 'cuda:1'. Defaults to None: CUDA where there is one, else
            the CPU.

    Raises:
        ConfigError: Torch knows no such device, or does not see it.
    """
    try:
        device = torch.device(name or ('cuda' if torch.cuda.is_available() else 'cpu'))
        seen = device.type != 'meta' and torch.zeros(1, device=device) is not None
    except (RuntimeError, AssertionError):  # no such word; no driver; torch without CUDA; fewer devices
        seen = False
    if not seen:
        there = ['cpu', *(['cuda'] if torch.cuda.is_available() else [])]
        there += [f'cuda:{number}' for number in range(torch.cuda.device_count())]
        raise ConfigError(f'The device {str(name)!r} cannot be used: torch sees {", ".join(there)} here.')
    return device


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
