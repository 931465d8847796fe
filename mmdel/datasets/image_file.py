"""An image file becomes pixels, or a reason in words why it cannot.

    image, nbytes, _ = read_image_file('data/pool/img/0001.jpg', max_pixels=10**8)     # uint8 [H, W, 3], BGR, upright

A file is read once and decoded from memory. Pillow decodes, because it reports a truncated file where OpenCV returns
grey rows and says nothing. Whatever is wrong with a file is raised as :class:`~mmdel.errors.UnreadableImage`; only what is
not the file's fault (memory, the storage, an interrupt) passes through.
"""

import errno
import functools
import io
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin

from mmdel import storage
from mmdel.errors import UnreadableImage

# Pillow also registers formats that start programs (EPS) or have no signature (TGA); only these are opened
_FORMATS = ('JPEG', 'PNG', 'BMP', 'DIB', 'TIFF', 'WEBP', 'GIF', 'PPM', 'JPEG2000', 'AVIF')
_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_PILLOW_LIMIT = threading.RLock()


def read_image_file(
    path: str, max_pixels: int, reduce_to: int | None = None
) -> tuple[NDArray[np.uint8], int, tuple[int, int]]:
    """Read and decode one image file; of an animation or a file of several pages, the first image.

    16-bit images are scaled to 8 bits, not cut off. Alpha is dropped without blending, as training loaders do.

    Args:
        path (str): The file.
        max_pixels (int): Width times height above which the file is refused from its header alone.
        reduce_to (int, optional): A JPEG may be decoded at a half, a quarter or an eighth of its size, in a fraction of the
            time, as long as both sides stay at or above this. Defaults to None (never).

    Returns:
        tuple: The image, uint8 [H, W, 3], BGR, EXIF rotation applied; the size of the file in bytes; and height and width of the
            upright image in the file, which are the image's own unless it was reduced.

    Raises:
        UnreadableImage: The file cannot be used; ``reason`` says why and holds no path.
        StorageError: The storage failed.
    """
    check_file(path)
    data = _read_bytes(path)
    try:
        image, full_shape = _decode(data, max_pixels, reduce_to)
    except (UnreadableImage, MemoryError):
        raise
    except Exception as error:  # decoders raise nearly every type there is; each is this file's outcome
        raise UnreadableImage(f'damaged or truncated: {plain_words(error)}') from error
    return image, len(data), full_shape


def check_file(path: str) -> None:
    """Look whether there is a file with something in it that may be read, without reading it.

    Raises:
        UnreadableImage: It is missing, empty, no regular file, or closed to us.
        StorageError: The storage failed.
    """
    with _reasons(path):
        # a named pipe would block the run for ever when it is opened
        if not stat.S_ISREG((state := storage.stat(path)).st_mode):
            raise UnreadableImage('is a directory' if stat.S_ISDIR(state.st_mode) else 'is not a regular file')
    if not state.st_size:
        raise UnreadableImage('is empty (0 bytes)')


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise UnreadableImage where width times height are above ``max_pixels``."""
    if width * height > max_pixels:
        raise UnreadableImage(
            f'{width} x {height} pixels are {width * height / 1e6:,.1f} megapixels, above the limit of '
            f'{max_pixels / 1e6:,.1f}; raise it with --cfg-options embedder.pipeline.0.max_pixels={width * height}'
        )


def plain_words(error: BaseException, path: str = '') -> str:
    """An error as one line for people, without paths and object addresses."""
    text = str(error).partition('\n')[0]
    for known in (path, repr(path)[1:-1]):
        text = text.replace(known, '') if known else text
    text = re.sub(r'<[^>]*>|\S*[/\\]\S*', '', text)
    return ' '.join(text.split()) or type(error).__name__


# --- private


def _read_bytes(path: str) -> bytes:
    with _reasons(path):
        return storage.read(path)


@contextmanager
def _reasons(path: str) -> Iterator[None]:
    """What the system says of a file, as reasons for people."""
    try:
        yield
    except FileNotFoundError as error:
        if os.path.islink(path):
            raise UnreadableImage('is a link to a file that does not exist') from error
        raise UnreadableImage('does not exist (any more)') from error
    except PermissionError as error:
        raise UnreadableImage('permission denied') from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnreadableImage('is a link that leads back to itself') from error
        raise UnreadableImage(f'cannot be read: {(error.strerror or plain_words(error)).lower()}') from error
    except ValueError as error:
        raise UnreadableImage('has a name that no file can have') from error


def _decode(data: bytes, max_pixels: int, reduce_to: int | None) -> tuple[NDArray[Any], tuple[int, int]]:
    try:
        image = _open(data)
    except (SyntaxError, TypeError, ValueError, KeyError):
        if not data.startswith((b'II', b'MM')):
            raise
        # TIFF comes in more kinds of pixels than Pillow knows, 16-bit colour among them
        values = _decode_tiff(data, max_pixels)
        return values, values.shape[:2]
    full = image.size
    check_size(*full, max_pixels)
    if reduce_to:
        # scales the blocks of a JPEG while they are decoded, and is as strict as without; other formats stay as they are
        image.draft(None, (reduce_to, reduce_to))
    reduced = image.size != full
    with image:
        if image.width * image.height > (Image.MAX_IMAGE_PIXELS or max_pixels):
            with _without_pillow_limit():
                image.load()
        else:
            image.load()
        orientation = _orientation(image)
        values = _to_bgr(image if orientation == 1 else ImageOps.exif_transpose(image))
    if not reduced:
        return values, values.shape[:2]
    return values, full if orientation in _ON_ITS_SIDE else full[::-1]


def _open(data: bytes) -> Image.Image:
    """Read the header. Like ``Image.open``, which would warn of or refuse large images before we see their size."""
    for factory, accept in _openers():
        if accept is None or not accept(data[:16]):
            continue
        try:
            return factory(io.BytesIO(data), '')
        except Image.DecompressionBombError:
            with _without_pillow_limit():
                return factory(io.BytesIO(data), '')
    raise UnreadableImage(f'is not an image ({", ".join(_FORMATS)} were tried)')


@functools.cache
def _openers() -> list[tuple[Any, Any]]:
    Image.init()
    return [Image.OPEN[name] for name in _FORMATS if name in Image.OPEN]


@contextmanager
def _without_pillow_limit() -> Iterator[None]:
    """Lift Pillow's own size limit, which is process-wide, for one image between its limit and ours."""
    with _PILLOW_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken EXIF says nothing about the pixels
        return 1


def _to_bgr(image: Image.Image) -> NDArray[Any]:
    if image.mode.startswith('I'):
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise UnreadableImage(
                f'has grey values from {grey.min()} to {grey.max()}, outside 0 to 65535; convert it to 8 or 16 bits'
            )
        return cv2.cvtColor(_to_8_bits(grey), cv2.COLOR_GRAY2BGR)
    if image.mode == 'F':
        level = np.asarray(image)
        if not (level.min() >= 0 and level.max() <= 1):  # NaN fails both comparisons
            raise UnreadableImage(
                f'has floating-point values from {level.min():g} to {level.max():g}, outside 0 to 1; convert it to 8 bits'
            )
        return cv2.cvtColor(np.rint(level * 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    if image.mode != 'RGB':
        image = image.convert('RGB')
    return cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR)


def _decode_tiff(data: bytes, max_pixels: int) -> NDArray[Any]:
    header = 16 if data[2:4] in (b'+\0', b'\0+') else 8
    directory = TiffImagePlugin.ImageFileDirectory_v2(data[:header])
    file = io.BytesIO(data)
    file.seek(directory.next)
    directory.load(file)
    check_size(directory[_TIFF_WIDTH], directory[_TIFF_HEIGHT], max_pixels)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise UnreadableImage('is a TIFF file of a kind that cannot be decoded; convert it to 8 or 16 bits')
    return image if image.dtype == np.uint8 else _to_8_bits(image)


def _to_8_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale 0 to 65535 to 0 to 255, rounded."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
