"""Estimates how long comparing will take, and logs it before it begins."""

import time

import numpy as np
from mmengine.logging import print_log

SAID_FROM = 60.0
"""Seconds; what is over sooner needs no word."""

OVERHEAD = 1.5
"""Time of a comparison over that of its bare float32 products; less where pruning helps."""

_ROWS = 1024


def announce(pairs: int, dim: int) -> None:
    """Say how long so many pairs of vectors of ``dim`` numbers will take this machine, if it is more than a minute."""
    if pairs * dim < SAID_FROM * 1e9:  # no machine needs a minute for that
        return
    seconds = OVERHEAD * 2 * pairs * dim / _rate(dim)
    if seconds >= SAID_FROM:
        print_log(
            f'{pairs:,} pairs are compared now, which takes this machine alone at most about {duration(seconds)}; '
            'where images repeat themselves, a fraction of it.',
            'current',
        )


def duration(seconds: float) -> str:
    """As people say it: '75 s', '12 min', '3 h 20 min', '5 days'."""
    if seconds < 100:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    if minutes < 100:
        return f'{minutes} min'
    hours, rest = divmod(minutes, 60)
    return f'{hours} h {rest} min' if hours < 48 else f'{hours / 24:.0f} days'


def _rate(dim: int) -> float:
    """Multiplications and additions a second of a float32 product, best of three."""
    # two arrays: of one with itself NumPy computes a triangle only
    left, right = np.random.default_rng(0).standard_normal((2, _ROWS, dim), np.float32)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        left @ right.T
        seconds.append(time.perf_counter() - start)
    return 2 * _ROWS * _ROWS * dim / min(seconds)
