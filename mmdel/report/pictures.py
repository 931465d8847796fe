"""Thumbnails of image files. Every picture that mmdel shows is made here; ``gallery.py`` says which ones.

    pictures = draw(['img/1.jpg'], {'img/1.jpg': '/data/pool/img/1.jpg'})
    pictures['img/1.jpg'].uri         # 'data:image/jpeg;base64,...', None where it cannot be drawn
    pictures['img/1.jpg'].problem     # why

A subset file may come from a stranger: :func:`file_below` says which of its names may be opened at all.
"""

import base64
import os
import posixpath
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

import cv2
import numpy as np
from numpy.typing import NDArray

from mmdel.compute.cores import usable_cores
from mmdel.errors import UnreadableImage
from mmdel.images.frames import read_frame, resize
from mmdel.images.keys import name_problem

SIDE = 224
"""Long side of a picture in pixels."""

QUALITIES = (82, 65, 45, 25)
"""JPEG qualities, tried in turn until a picture fits into PICTURE_BYTES."""

PICTURE_BYTES = 12_000
"""What a picture may take, so that the number of pictures bounds the size of a page."""


@dataclass(frozen=True)
class Picture:
    """A picture inside a page, or why there is none.

    Args:
        uri (str, optional): A data URI.
        problem (str): Why there is none, for people; '' where there is one.
    """

    uri: str | None
    problem: str = ''


def file_below(root: str, key: str) -> str:
    """The file of a key that nobody vouches for.

    Raises:
        UnreadableImage: The key leads out of ``root``, or is no name that a file can have.
    """
    if name_problem(key) or not key or len(key) > 4096:
        raise UnreadableImage('has a name that no file can have')
    windows = PureWindowsPath(key)
    if posixpath.isabs(key) or windows.drive or windows.root or '..' in (*PurePosixPath(key).parts, *windows.parts):
        raise UnreadableImage('has a name that leads out of the image folder')
    return os.path.join(root, key)


def picture(path: str, side: int = SIDE, max_value: int | None = None) -> NDArray[np.uint8]:
    """The whole image, its long side scaled down to ``side``, uint8 [H, W, 3], BGR; ``max_value`` as of :func:`draw`.

    Raises:
        UnreadableImage: The file cannot be used (any more).
    """
    image = read_frame(path, max_value=max_value).image
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    return resize(image, max(1, round(width * scale)), max(1, round(height * scale)))


def draw(
    keys: Sequence[str], paths: Mapping[str, str], side: int = SIDE, max_value: int | None = None
) -> dict[str, Picture]:
    """Draw many pictures, on all cores.

    Args:
        keys (Sequence[str]): Whose pictures are wanted; repeated ones are drawn once.
        paths (Mapping[str, str]): Key to file; keys that it lacks have no picture.
        side (int): Long side in pixels. Defaults to 224.
        max_value (int, optional): White in 16-bit images, see :class:`~mmdel.images.frames.LoadFrame`. Defaults to None.
    """
    wanted = list(dict.fromkeys(keys))
    with ThreadPoolExecutor(usable_cores()) as pool:
        return dict(zip(wanted, pool.map(lambda key: _draw(paths.get(key), side, max_value), wanted), strict=True))


def _draw(path: str | None, side: int, max_value: int | None) -> Picture:
    if path is None:
        return Picture(None, 'no file is known')
    try:
        image = picture(path, side, max_value)
    except UnreadableImage as error:
        return Picture(None, error.reason)
    data = b''
    for quality in QUALITIES:
        data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) <= PICTURE_BYTES:
            break
    return Picture('data:image/jpeg;base64,' + base64.b64encode(data).decode())
