"""Checks that there is enough disk space before anything is written."""

import os
import shutil

from mmengine.logging import print_log

from mmdel.errors import StoreError

SAID_FROM = 100_000_000
"""Bytes; less needs no word."""


def require(folder: str | os.PathLike[str], nbytes: int, what: str) -> None:
    """Say how much will be written into a folder, and refuse to begin where there is no room.

    Args:
        folder (str): Where it goes; need not be there yet.
        nbytes (int): How much, about.
        what (str): What it is: 'results'.

    Raises:
        StoreError: Less than that is free.
    """
    free = shutil.disk_usage(_existing(folder)).free
    need = f'{what}: up to {size(nbytes)} will be written into {os.fspath(folder)}'
    if nbytes > free:
        raise StoreError(
            f'{need}, where {size(free)} are free. Make room there, or name another place: --work-dir DIR, '
            '--cfg-options cache_dir=DIR.'
        )
    if nbytes >= SAID_FROM:
        print_log(f'{need} ({size(free)} are free).', 'current')


def size(nbytes: float) -> str:
    """As people read it, in powers of ten as disks are sold: '12.3 GB'."""
    for unit in ('B', 'kB', 'MB', 'GB', 'TB'):
        if nbytes < 1000 or unit == 'TB':
            break
        nbytes /= 1000
    return f'{nbytes:.0f} B' if unit == 'B' else f'{nbytes:.1f} {unit}'


def _existing(folder: str | os.PathLike[str]) -> str:
    path = os.path.abspath(folder)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path
