"""Files of several pictures that are no videos: TIFF with pages, and animated GIF, WebP, PNG and AVIF.

    if is_page_file('stack.tif') and count(file) > 1:
        about = describe(file)              # how many there are, when each is shown
        reader = Reader(file)               # keeps the file open
        data = reader.decode(3, max_pixels)

A TIFF page is decoded by itself. The pictures of an animation rest on those before: they are composited in order, and behind one
that is damaged there is none.
"""

import os
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmdel.errors import UnreadableImage
from mmdel.images.formats import raster, tiff

SUFFIXES = ('.apng', '.avif', '.avifs', '.gif', '.png', '.tif', '.tiff', '.webp')
"""Endings of files that may hold several pictures; upper case counts, too."""

_ANIMATED_WEBP = 0x02
_HEAD = 64


@dataclass(frozen=True)
class Pages:
    """The pictures of a file.

    Args:
        nbytes (tuple[int, ...]): What each takes in the file; an equal share where they rest on each other.
        milliseconds (tuple[int, ...], optional): When each is shown, ascending; None for pages, and where no time passes.
        apart (bool): Whether each can be decoded by itself.
    """

    nbytes: tuple[int, ...]
    milliseconds: tuple[int, ...] | None
    apart: bool


def is_page_file(name: str) -> bool:
    """Whether a file may hold several pictures by its ending."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def count(file: BinaryIO) -> int:
    """How many pictures an open file holds; of most files with one, only the header is read.

    Raises:
        Exception: Whatever decoders raise for a damaged file.
    """
    file.seek(0)
    head = file.read(_HEAD)
    if tiff.is_tiff(head):
        return len(tiff.read_pages(file))
    may_move = (
        head.startswith(b'GIF8')
        or (head.startswith(b'RIFF') and head[12:16] == b'VP8X' and head[20] & _ANIMATED_WEBP)
        or (head[4:8] == b'ftyp' and b'avis' in head)
        or (head.startswith(b'\x89PNG') and _announces_animation(file))
    )
    return raster.count_frames(raster.open_image(file)) if may_move else 1


def describe(file: BinaryIO) -> Pages:
    """What an open file holds; animations are decoded once, since only their decoders know the times."""
    file.seek(0)
    if tiff.is_tiff(file.read(4)):
        pages = tiff.read_pages(file)
        return Pages(tuple(page.nbytes(file) for page in pages), None, apart=True)
    reader = Reader(file)
    durations: list[float] = []
    for number in range(reader.count):
        try:
            durations.append(float(reader.image(number).info.get('duration') or 0))
        except Exception:  # its outcome when it is read; what follows has no times of its own
            durations += [durations[-1] if durations else 0] * (reader.count - number)
            break
    starts = np.rint(np.cumsum([0, *durations[:-1]])).astype(int).tolist()
    timed = all(durations[:-1]) and len(set(starts)) == len(starts)
    size = file.seek(0, os.SEEK_END)
    return Pages((size // reader.count,) * reader.count, tuple(starts) if timed else None, apart=False)


class Reader:
    """Decodes the pictures of one open file, fastest in ascending order.

    Args:
        file (BinaryIO): The file, which stays open.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.seek(0)
        self._pages = tiff.read_pages(file) if tiff.is_tiff(file.read(4)) else None
        self._image: Image.Image | None = None
        self._at = -1
        self._damaged: tuple[int, Exception] | None = None
        self.count = len(self._pages) if self._pages is not None else raster.count_frames(self._open())

    def decode(self, number: int, max_pixels: int, max_value: int | None = None) -> NDArray[np.uint8]:
        """One picture, uint8 [H, W, 3], BGR, upright.

        Args:
            number (int): From 0.
            max_pixels (int): Width times height above which it is refused.
            max_value (int, optional): See :func:`mmdel.images.formats.raster.decode`. Defaults to None.

        Raises:
            UnreadableImage: There is no such picture, or it is refused.
            Exception: Whatever decoders raise for a damaged one.
        """
        if not 0 <= number < self.count:
            raise UnreadableImage(f'has no frame {number}: it has {self.count:,}, counted from 0')
        if self._pages is not None:
            return raster.decode(self._page(number, max_pixels), max_pixels, None, max_value)[0]
        image = self.image(number, max_pixels)
        pixels = raster.pixels_of(image)
        if not isinstance(pixels, raster.Deep):
            return pixels
        return pixels.to_8_bits(max_value)

    def open_maximum(self, number: int, max_pixels: int) -> int | None:
        """See :func:`mmdel.images.formats.raster.open_maximum`."""
        if self._pages is not None:
            return raster.open_maximum(self._page(number, max_pixels), max_pixels)
        pixels = raster.pixels_of(self.image(number, max_pixels))
        return int(pixels.values.max()) if isinstance(pixels, raster.Deep) else None

    def image(self, number: int, max_pixels: int | None = None) -> Image.Image:
        """One picture of an animation, composited, valid until the next one is asked for."""
        if self._damaged and self._damaged[0] <= number:
            self._refuse(number)
        if self._image is None or number < self._at:
            self._open()
        image: Any = self._image
        if max_pixels is not None:
            raster.check_size(image.width, image.height, max_pixels)
        while self._at < number:
            try:
                image.seek(self._at + 1)
                raster.load(image, image.width * image.height)
            except Exception as error:
                self._damaged = (self._at + 1, error)
                self._image = None
                self._refuse(number)
            self._at += 1
        return image

    def _open(self) -> Image.Image:
        self._image, self._at = raster.open_image(self._file), -1
        return self._image

    def _refuse(self, number: int) -> None:
        at, error = self._damaged  # type: ignore[misc]
        if at < number:
            raise UnreadableImage('the frame rests on a damaged one before it') from None
        raise error

    def _page(self, number: int, max_pixels: int) -> bytes:
        page: tiff.Page = self._pages[number]  # type: ignore[index]
        width, height = page.size(self._file)
        raster.check_size(width, height, max_pixels)
        return tiff.cut_out(self._file, page)


def _announces_animation(file: BinaryIO) -> bool:
    """Whether a PNG has an acTL chunk, which must stand before the first pixels."""
    place = 8
    while True:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8 or head[4:] in (b'IDAT', b'IEND'):
            return False
        if head[4:] == b'acTL':
            return True
        place += 12 + int.from_bytes(head[:4], 'big')
