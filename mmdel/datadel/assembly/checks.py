"""Whether a downloaded file is whole, at the price of its first and last bytes; in doubt it is decoded."""

import os
import warnings
from pathlib import Path

from PIL import Image

from mmdel.errors import DatasetError, UnreadableImage
from mmdel.images import frame_files, frames, masks
from mmdel.images.formats import video

_TAIL = 1 << 12
_ENDS = {'JPEG': b'\xff\xd9', 'PNG': b'IEND\xaeB`\x82'}
_ORIENTATION = 0x0112


def check(path: Path, kind: str, labels: int | None = None) -> tuple[int, int] | None:
    """Look at one file.

    Args:
        path (Path): The file.
        kind (str): 'image', 'video', 'binary' or 'index'.
        labels (int, optional): Classes of an index mask. Defaults to None.

    Returns:
        tuple[int, int] | None: Width and height as a viewer shows them; None of a video.

    Raises:
        UnreadableImage: It cannot be used; ``reason`` says why.
    """
    if os.path.getsize(path) == 0:
        raise UnreadableImage('is empty (0 bytes)')
    if kind == 'video':
        video.first_frame(str(path))
        return None
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # what Pillow warns of is found below, and belongs in the ledger
        return _image(path) if kind == 'image' else _mask(path, kind, labels)


def decode(path: Path, kind: str, labels: int | None = None) -> tuple[int, int] | None:
    """As :func:`check`, and every pixel of an image is decoded, and every packet of a video read."""
    if kind == 'video':
        frame_files.read_index(str(path))
    if kind != 'image':
        return check(path, kind, labels)
    height, width = frames.read_frame(str(path)).image.shape[:2]
    return width, height


def _mask(path: Path, kind: str, labels: int | None) -> tuple[int, int]:
    try:
        mask = masks.read_mask(str(path), kind, labels)
    except DatasetError as error:
        raise UnreadableImage(_without(str(error), path)) from error
    return mask.shape[1], mask.shape[0]


def _image(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            width, height = image.size
            end = _ENDS.get(image.format or '')
            turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    except Exception:  # Pillow's errors are of many types, and it knows fewer kinds of pixels than the reader
        return decode(path, 'image') or (0, 0)
    if end is None or end not in _tail(path):
        frames.read_frame(str(path))
    return (height, width) if turned else (width, height)


def _tail(path: Path) -> bytes:
    with open(path, 'rb') as file:
        file.seek(max(0, os.path.getsize(path) - _TAIL))
        return file.read()


def _without(message: str, path: Path) -> str:
    """A sentence of the reader without the path that the ledger gives already."""
    text = message.replace(f'The mask {path} ', '').replace(str(path), '')
    return ' '.join(text.split())
