"""An image file becomes pixels, or a reason in words why it cannot.

    frame = read_frame('data/pool/img/0001.jpg')
    frame.image          # uint8 [H, W, 3], BGR, upright
    frame.sharpness      # grey levels squared

A file is read once and decoded from memory. Pillow decodes, because it reports a truncated file where OpenCV returns
grey rows and says nothing. Whatever is wrong with a file is raised as :class:`~mmdel.errors.UnreadableImage`; only what is
not the file's fault (memory, an interrupt) passes through.
"""

import errno
import functools
import io
import logging
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin

from mmdel.errors import UnreadableImage
from mmdel.registry import TRANSFORMS

MAX_PIXELS = 100_000_000
"""Larger images are refused before they are decoded: 100 megapixels take 300 MB as RGB."""

SHARPNESS_SIDE = 512
"""Sharpness is measured at this long side at most, so that the resolution of a copy hardly counts."""

HALVED_SIDE = 256
"""Images are not halved below this side: for thumbnails, the exact average over each of their pixels costs little."""

# Pillow also registers formats that start programs (EPS) or have no signature (TGA); only these are opened
_FORMATS = ('JPEG', 'PNG', 'BMP', 'DIB', 'TIFF', 'WEBP', 'GIF', 'PPM', 'JPEG2000', 'AVIF')
_ORIENTATION = 0x0112
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_PILLOW_LIMIT = threading.RLock()


@dataclass(frozen=True)
class Frame:
    """One image, and what was noted while its file was read.

    Args:
        image (NDArray[np.uint8]): [H, W, 3], BGR, EXIF rotation applied.
        nbytes (int): Size of the file.
        sharpness (float): See :func:`sharpness`.
    """

    image: NDArray[np.uint8]
    nbytes: int
    sharpness: float


def read_frame(path: str, max_pixels: int = MAX_PIXELS) -> Frame:
    """Read and decode one image file; of an animation or a file of several pages, the first image.

    16-bit images are scaled to 8 bits, not cut off. Alpha is dropped without blending, as training loaders do.

    Args:
        path (str): The file.
        max_pixels (int): Width times height above which the file is refused from its header alone. Defaults to 100 million.

    Raises:
        UnreadableImage: The file cannot be used; ``reason`` says why and holds no path.
    """
    data = _read_bytes(path)
    try:
        image = _decode(data, max_pixels)
    except (UnreadableImage, MemoryError):
        raise
    except Exception as error:  # decoders raise nearly every type there is; each is this file's outcome
        raise UnreadableImage(f'damaged or truncated: {_plain(error)}') from error
    return Frame(image, len(data), sharpness(image))


def sharpness(image: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of the grey image, at most 512 px long side, in grey levels squared.

    Args:
        image (NDArray[np.uint8]): [H, W, 3], BGR.
    """
    grey: NDArray[Any] = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    scale = SHARPNESS_SIDE / max(grey.shape)
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in grey.shape)
        # bilinear: the small error hardly counts in a measure, and INTER_AREA takes as long as decoding
        grey = cv2.resize(_halved(grey, width, height), (width, height), interpolation=cv2.INTER_LINEAR)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S, ksize=1))
    return float(deviation[0, 0]) ** 2


def resize(image: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Resize so that every pixel counts, as ``INTER_AREA`` does, in half of its time.

    ``INTER_AREA`` costs more than decoding where the ratio is no whole number; exact halving first is cheap. On 640 px frames to
    224 px the two differ by half a grey level on average.

    Args:
        image (NDArray[np.uint8]): [H, W] or [H, W, C].
        width (int): Of the result.
        height (int): Of the result.
    """
    return cv2.resize(_halved(image, width, height), (width, height), interpolation=cv2.INTER_AREA)


def reason_of(error: Exception, path: str) -> str:
    """Why any loader failed on a file: one line for people, without paths and object addresses."""
    if isinstance(error, UnreadableImage):
        return error.reason
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return _plain(error, path)


@TRANSFORMS.register_module()
class LoadFrame(BaseTransform):
    """Load an image file strictly: what cannot be decoded in full raises, and 16-bit images are scaled.

    Takes the place of ``LoadImageFromFile`` in mmpretrain's and mmseg's pipelines.

    Required Keys:

    - img_path

    Added Keys:

    - img (uint8 [H, W, 3], BGR)
    - img_shape, ori_shape
    - nbytes, sharpness

    Args:
        max_pixels (int): Width times height above which a file is refused. Defaults to 100 million.
        skip_unreadable (bool): Whether a training on files that nobody has checked goes on without those that cannot be
            used: the dataset then serves another image in their place, and each is named in the log. Defaults to False.
    """

    def __init__(self, max_pixels: int = MAX_PIXELS, skip_unreadable: bool = False) -> None:
        self.max_pixels = max_pixels
        self.skip_unreadable = skip_unreadable

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Load ``results['img_path']``.

        Raises:
            UnreadableImage: The file cannot be used, and ``skip_unreadable`` is not set.
        """
        try:
            frame = read_frame(results['img_path'], self.max_pixels)
        except UnreadableImage as error:
            if not self.skip_unreadable:
                raise
            print_log(f'{results["img_path"]} is left out: {error.reason}', logger='current', level=logging.WARNING)
            return None
        results['img'] = frame.image
        results['img_shape'] = results['ori_shape'] = frame.image.shape[:2]
        results['nbytes'] = frame.nbytes
        results['sharpness'] = frame.sharpness
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(max_pixels={self.max_pixels}, skip_unreadable={self.skip_unreadable})'


def _halved(image: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Halve as long as both sides are even and stay at or above the target."""
    rows, columns = image.shape[:2]
    least_rows, least_columns = max(height, HALVED_SIDE), max(width, HALVED_SIDE)
    while not (rows % 2 or columns % 2) and rows >= 2 * least_rows and columns >= 2 * least_columns:
        rows, columns = rows // 2, columns // 2
        image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    return image


def _read_bytes(path: str) -> bytes:
    try:
        # a named pipe would block the run for ever when it is opened
        if not stat.S_ISREG(mode := os.stat(path).st_mode):
            raise UnreadableImage('is a directory' if stat.S_ISDIR(mode) else 'is not a regular file')
        with open(path, 'rb') as file:
            data = file.read()
    except FileNotFoundError as error:
        if os.path.islink(path):
            raise UnreadableImage('is a link to a file that does not exist') from error
        raise UnreadableImage('does not exist (any more)') from error
    except PermissionError as error:
        raise UnreadableImage('permission denied') from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnreadableImage('is a link that leads back to itself') from error
        raise UnreadableImage(f'cannot be read: {(error.strerror or _plain(error)).lower()}') from error
    except ValueError as error:
        raise UnreadableImage('has a name that no file can have') from error
    if not data:
        raise UnreadableImage('is empty (0 bytes)')
    return data


def _decode(data: bytes, max_pixels: int) -> NDArray[Any]:
    try:
        image = _open(data)
    except (SyntaxError, TypeError, ValueError, KeyError):
        if not data.startswith((b'II', b'MM')):
            raise
        # TIFF comes in more kinds of pixels than Pillow knows, 16-bit colour among them
        return _decode_tiff(data, max_pixels)
    _check_size(*image.size, max_pixels)
    with image:
        if image.width * image.height > (Image.MAX_IMAGE_PIXELS or max_pixels):
            with _without_pillow_limit():
                image.load()
        else:
            image.load()
        return _to_bgr(_upright(image))


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


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise UnreadableImage(
            f'{width} x {height} pixels are {width * height / 1e6:,.1f} megapixels, above the limit of '
            f'{max_pixels / 1e6:,.1f}; raise it with --cfg-options embedder.pipeline.0.max_pixels={width * height}'
        )


def _upright(image: Image.Image) -> Image.Image:
    try:
        turned = image.getexif().get(_ORIENTATION, 1) != 1
    except Exception:  # broken EXIF says nothing about the pixels
        return image
    return ImageOps.exif_transpose(image) if turned else image


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
    _check_size(directory[_TIFF_WIDTH], directory[_TIFF_HEIGHT], max_pixels)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise UnreadableImage('is a TIFF file of a kind that cannot be decoded; convert it to 8 or 16 bits')
    return image if image.dtype == np.uint8 else _to_8_bits(image)


def _to_8_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale 0 to 65535 to 0 to 255, rounded."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _plain(error: BaseException, path: str = '') -> str:
    text = str(error).partition('\n')[0]
    for known in (path, repr(path)[1:-1]):
        text = text.replace(known, '') if known else text
    text = re.sub(r'<[^>]*>|\S*[/\\]\S*', '', text)
    return ' '.join(text.split()) or type(error).__name__
