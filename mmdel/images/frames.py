"""The path of an image, of a video frame or of a page becomes pixels, or a reason in words why it cannot.

    frame = read_frame('data/pool/img/0001.jpg')
    frame.image          # uint8 [H, W, 3], BGR, upright
    frame.sharpness      # grey levels squared
    read_frame('data/pool/clip.avi#000123')      # the frame 123 of a video, counted from 0
    read_frame('data/pool/stack.tif#000003')     # a page of a file that has several
    content_of('data/pool/img/0001.jpg')         # 16 bytes that tell what it holds from everything else

Whatever is wrong with a file is raised as :class:`~mmdel.errors.UnreadableImage`; only what is not the file's fault
(memory, the storage, an interrupt) passes through.
"""

import functools
import hashlib
import logging
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log
from numpy.typing import NDArray

from mmdel.compute.files import FileState, file_digest, file_state
from mmdel.errors import ConfigError, UnreadableImage
from mmdel.images import formats, frame_files
from mmdel.images.formats.format import PictureFormat
from mmdel.images.formats.raster import MANY
from mmdel.images.reasons import decoding, patient_file, read_bytes
from mmdel.registry import TRANSFORMS

MAX_PIXELS = 100_000_000
"""Larger images are refused before they are decoded: 100 megapixels take 300 MB as RGB."""

SHARPNESS_SIDE = 512
"""Sharpness is measured at this long side at most, so that the resolution of a copy hardly counts."""

HALVED_SIDE = 256
"""Images are not halved below this side: for thumbnails, the exact average over each of their pixels costs little."""

CONTENT_BYTES = 16


@dataclass(frozen=True)
class Frame:
    """One image, and the bytes it came from.

    Args:
        image (NDArray[np.uint8]): [H, W, 3], BGR, upright.
        nbytes (int): Size of the file, or of the frame in its video.
        full_shape (tuple[int, int]): Height and width of the upright original; ``image`` may be a reduced one.
    """

    image: NDArray[np.uint8]
    nbytes: int
    full_shape: tuple[int, int]

    @property
    def sharpness(self) -> float:
        """See :func:`sharpness`; measured when asked, because a training never asks."""
        return sharpness(self.image)


def read_frame(
    path: str, max_pixels: int = MAX_PIXELS, reduce_to: int | None = None, max_value: int | None = None
) -> Frame:
    """Read one image file, or one frame of a video or page of a file, whose path is the file's with ``#`` and its number.

    Args:
        path (str): The file or frame.
        max_pixels (int): Width times height above which it is refused before it is decoded. Defaults to 100 million.
        reduce_to (int, optional): See :class:`LoadFrame`. Defaults to None.
        max_value (int, optional): See :class:`LoadFrame`. Defaults to None.

    Raises:
        UnreadableImage: It cannot be used; ``reason`` says why and holds no path.
        StorageError: The storage failed.
    """
    if frame := formats.frame_at(path):
        image, nbytes = frame_files.read(*frame, max_pixels, max_value)
        return Frame(image, nbytes, image.shape[:2])
    data = read_bytes(path)
    try:
        with decoding():
            image, full_shape = _format_of(data).decode(data, max_pixels, reduce_to, max_value)
    except UnreadableImage as error:
        if error.reason.endswith(MANY) and not formats.may_have_pages(path):
            ending = 'give its name the ending of its kind (.tif, .gif, .webp, .png or .avif) and '
            raise UnreadableImage(error.reason.replace(MANY, ending + MANY)) from None
        raise
    return Frame(image, len(data), full_shape)


def open_maximum(path: str, max_pixels: int) -> int | None:
    """The largest value of a file or frame that does not say what white is, None for every other one.

    Raises as :func:`read_frame` does.
    """
    if frame := formats.frame_at(path):
        return frame_files.open_maximum(*frame, max_pixels)
    with patient_file(path) as file:
        found = _format_of(file.read(formats.HEAD))
        file.seek(0)
        return found.open_maximum(file, max_pixels)


def file_of(path: str) -> str:
    """The file that holds an image: the path itself, or the video of a frame."""
    frame = formats.frame_at(path)
    return frame[0] if frame else path


def sharpness(image: NDArray[np.uint8], reduced_to: int | None = None) -> float:
    """Variance of the Laplacian of the grey image, at most 512 px long side, in grey levels squared.

    Args:
        image (NDArray[np.uint8]): [H, W, 3], BGR.
        reduced_to (int, optional): The ``reduce_to`` of the loader. Where it is below 512 it is the long side, and all images are
            halved first as a JPEG is while it is decoded: so a file measures the same whether its format can be reduced or not,
            to about 1 %. Defaults to None.
    """
    grey: NDArray[Any] = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if reduced_to is not None and reduced_to < SHARPNESS_SIDE:
        grey = _reduced(grey, reduced_to)
    elif (scale := SHARPNESS_SIDE / max(grey.shape)) < 1:
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


@TRANSFORMS.register_module()
class LoadFrame(BaseTransform):
    """Load an image file or a video frame strictly: what cannot be decoded in full raises, and deep images are scaled.

    Takes the place of ``LoadImageFromFile`` in mmpretrain's and mmseg's pipelines.

    Required Keys:

    - img_path

    Added Keys:

    - img (uint8 [H, W, 3], BGR)
    - img_shape, ori_shape
    - nbytes

    Args:
        max_pixels (int): Width times height above which a file is refused. Defaults to 100 million.
        skip_unreadable (bool): Whether a training on files that nobody has checked goes on without those that cannot be
            used: the dataset then serves another image in their place, and each is named in the log. Defaults to False.
        reduce_to (int, optional): For embedding large JPEGs fast: the least side that is needed, the encoder's ``input_size``
            or more. A JPEG is then decoded at a half, a quarter or an eighth of its size while both sides stay at or above
            this; ``ori_shape`` remains that of the file. Other formats and video frames are decoded in full. Defaults to None.
        max_value (int, optional): For data of 10 or 12 bits in 16-bit files: the value that is white in files that do not say it
            themselves, 4095 for instance; a file with larger ones is refused. Defaults to None: 65,535.

    Raises:
        ConfigError: ``reduce_to`` or ``max_value`` is not a positive whole number.
    """

    def __init__(
        self,
        max_pixels: int = MAX_PIXELS,
        skip_unreadable: bool = False,
        reduce_to: int | None = None,
        max_value: int | None = None,
    ) -> None:
        for name, value, example in (('reduce_to', reduce_to, 224), ('max_value', max_value, 4095)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(
                    f'{name}={value!r} of mmdel.LoadFrame is not a positive whole number; {example} for instance.'
                )
        self.max_value = max_value
        self.max_pixels = max_pixels
        self.reduce_to = reduce_to
        self.skip_unreadable = skip_unreadable

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Load ``results['img_path']``.

        Raises:
            UnreadableImage: The file cannot be used, and ``skip_unreadable`` is not set.
        """
        try:
            frame = read_frame(results['img_path'], self.max_pixels, self.reduce_to, self.max_value)
        except UnreadableImage as error:
            if not self.skip_unreadable:
                raise UnreadableImage(error.reason, results['img_path']) from error
            print_log(f'{results["img_path"]} is left out: {error.reason}', logger='current', level=logging.WARNING)
            return None
        results['img'] = frame.image
        results['img_shape'] = frame.image.shape[:2]
        results['ori_shape'] = frame.full_shape
        results['nbytes'] = frame.nbytes
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(max_pixels={self.max_pixels}, skip_unreadable={self.skip_unreadable}, '
            f'reduce_to={self.reduce_to}, max_value={self.max_value})'
        )


def content_of(path: str) -> bytes | None:
    """16 bytes that tell the contents of an image file, or of a video and the number of the frame in it.

    All of the file is read, a video once for all of its frames.

    Args:
        path (str): The file or frame.

    Returns:
        bytes, optional: None where there is nothing to read. (A pipe is never opened.)
    """
    file = file_of(path)
    state = file_state(file)
    if state.size <= 0:
        return None
    if file == path:
        return digest_of(path)
    whole = _digest_of_video(file, state)
    return whole and hashlib.sha256(whole + path[len(file) :].encode()).digest()[:CONTENT_BYTES]


def digest_of(path: str) -> bytes | None:
    """The first 16 bytes of the sha256 of a file; None where it cannot be read."""
    try:
        return bytes.fromhex(file_digest(path))[:CONTENT_BYTES]
    except (OSError, ValueError):
        return None


def _format_of(data: bytes) -> PictureFormat:
    """Of a file that is one picture; what no format accepts is refused by the one of most of them."""
    return formats.accepting(data[: formats.HEAD]) or formats.RASTER


def _reduced(grey: NDArray[Any], side: int) -> NDArray[Any]:
    """Long side ``side``, by way of the size that a JPEG would be decoded at."""
    rows, columns = grey.shape
    parts = 1
    while min(math.ceil(rows / (2 * parts)), math.ceil(columns / (2 * parts))) >= side:
        parts *= 2
    scale = side / max(rows, columns)
    for factor in (1 / parts, min(1.0, scale)):
        size = (max(1, math.ceil(columns * factor)), max(1, math.ceil(rows * factor)))
        if size != grey.shape[::-1]:
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return grey


def _halved(image: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Halve as long as both sides are even and stay at or above the target."""
    rows, columns = image.shape[:2]
    least_rows, least_columns = max(height, HALVED_SIDE), max(width, HALVED_SIDE)
    while not (rows % 2 or columns % 2) and rows >= 2 * least_rows and columns >= 2 * least_columns:
        rows, columns = rows // 2, columns // 2
        image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    return image


@functools.lru_cache(maxsize=4096)
def _digest_of_video(path: str, state: FileState) -> bytes | None:
    """As :func:`digest_of`, once for as long as the state of the file stays."""
    return digest_of(path)
