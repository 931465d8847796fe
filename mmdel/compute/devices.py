"""Where models run."""

import torch

from mmdel.errors import ConfigError


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
