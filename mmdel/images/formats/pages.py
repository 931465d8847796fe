"""Files of several pictures that are no videos: TIFF with pages, and animated GIF, WebP, PNG and AVIF.

A TIFF page is decoded by itself. The pictures of an animation rest on those before: they are composited in order, and behind one
that is damaged there is none. A file with a single picture is an image.
"""

import os
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmdel.compute import storage
from mmdel.errors import UnreadableImage
from mmdel.images.formats import raster, tiff_pages
from mmdel.images.formats.format import FrameFormat, FrameIndex, FrameReader, check_size
from mmdel.images.reasons import patient_file, reading

_ANIMATED_WEBP = 0x02
_HEAD = 64
_RASTER = raster.Raster()


class Pages(raster.Raster, FrameFormat):
    """Files that may hold several pictures; one of them alone is decoded as any other picture."""

    endings = ('.apng', '.avif', '.avifs', '.gif', '.png', '.tif', '.tiff', '.webp')
    eight_bits = ('.avif', '.avifs', '.gif', '.webp')

    def count(self, path: str) -> int:
        """How many pictures a file holds; of most files with one, only the header is read."""
        with patient_file(path) as file:
            return _count(file)

    def index(self, path: str) -> FrameIndex:
        """What a file holds; animations are decoded once, since only their decoders know the times."""
        with patient_file(path) as file:
            pictures = _Pictures(file)
            count, pages = pictures.count, pictures.pages
            if pages is not None:
                times, nbytes, keys = [], [page.nbytes(file) for page in pages], np.arange(count)
            else:
                times, nbytes, keys = (
                    pictures.milliseconds(),
                    [file.seek(0, os.SEEK_END) // count] * count,
                    np.arange(1),
                )
            return FrameIndex(np.array(times, np.int64), np.array(nbytes, np.int64), keys)

    def reader(self, path: str, index: FrameIndex) -> FrameReader:
        return _PageReader(path)


class _PageReader(FrameReader):
    """Keeps a file open, which is closed with the last reference to it."""

    def __init__(self, path: str) -> None:
        self._path = path
        with reading(path):
            self._file = storage.PatientFile(path)
            self._pictures = _Pictures(self._file)

    def read(self, number: int, max_pixels: int, max_value: int | None) -> NDArray[np.uint8]:
        with reading(self._path):
            return self._pictures.decode(number, max_pixels, max_value)

    def open_maximum(self, number: int, max_pixels: int) -> int | None:
        with reading(self._path):
            return self._pictures.open_maximum(number, max_pixels)

    def check(self) -> None:
        self._file.check()


class _Pictures:
    """The pictures of one open file, which are decoded fastest in ascending order."""

    def __init__(self, file: Any) -> None:
        self._file = file
        file.seek(0)
        self.pages = tiff_pages.read_pages(file) if tiff_pages.is_tiff(file.read(4)) else None
        self._image: Image.Image | None = None
        self._at = -1
        self._damaged: tuple[int, Exception] | None = None
        self.count = len(self.pages) if self.pages is not None else raster.count_frames(self._open())

    def decode(self, number: int, max_pixels: int, max_value: int | None) -> NDArray[np.uint8]:
        """See :meth:`FrameReader.read`; raises whatever decoders raise."""
        if self.pages is not None:
            return _RASTER.decode(self._page(self.pages[number], max_pixels), max_pixels, None, max_value)[0]
        pixels = raster.pixels_of(self.image(number, max_pixels))
        return pixels.to_8_bits(max_value) if isinstance(pixels, raster.Deep) else pixels

    def open_maximum(self, number: int, max_pixels: int) -> int | None:
        """See :meth:`FrameReader.open_maximum`."""
        if self.pages is not None:
            return raster.open_maximum(self._page(self.pages[number], max_pixels), max_pixels)
        pixels = raster.pixels_of(self.image(number, max_pixels))
        return int(pixels.values.max()) if isinstance(pixels, raster.Deep) else None

    def milliseconds(self) -> list[int]:
        """When each picture of an animation is shown, ascending; empty where no time passes."""
        durations: list[float] = []
        for number in range(self.count):
            try:
                durations.append(float(self.image(number).info.get('duration') or 0))
            except Exception:  # its outcome when it is read; what follows has no times of its own
                durations += [durations[-1] if durations else 0] * (self.count - number)
                break
        starts: list[int] = np.rint(np.cumsum([0, *durations[:-1]])).astype(int).tolist()
        return starts if all(durations[:-1]) and len(set(starts)) == len(starts) else []

    def image(self, number: int, max_pixels: int | None = None) -> Image.Image:
        """One picture of an animation, composited, valid until the next one is asked for."""
        if self._damaged and self._damaged[0] <= number:
            self._refuse(number)
        if self._image is None or number < self._at:
            self._open()
        image: Any = self._image
        if max_pixels is not None:
            check_size(image.width, image.height, max_pixels)
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

    def _page(self, page: tiff_pages.Page, max_pixels: int) -> bytes:
        width, height = page.size(self._file)
        check_size(width, height, max_pixels)
        return tiff_pages.cut_out(self._file, page)


def _count(file: BinaryIO) -> int:
    head = file.read(_HEAD)
    if tiff_pages.is_tiff(head):
        return len(tiff_pages.read_pages(file))
    may_move = (
        head.startswith(b'GIF8')
        or (head.startswith(b'RIFF') and head[12:16] == b'VP8X' and head[20] & _ANIMATED_WEBP)
        or (head[4:8] == b'ftyp' and b'avis' in head)
        or (head.startswith(b'\x89PNG') and _announces_animation(file))
    )
    return raster.count_frames(raster.open_image(file)) if may_move else 1


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
