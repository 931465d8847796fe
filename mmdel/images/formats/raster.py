"""One picture: from the bytes of a file to pixels of 8 bits.

Pillow decodes, because it reports a truncated file where OpenCV returns grey rows and says nothing; OpenCV gives the values of
16-bit colour and of the kinds of TIFF that Pillow reduces to 8 bits or does not know.

Values of more than 8 bits are scaled, rounded, and never cut off or wrapped. By what, the file says: bits below 16 in a TIFF or
JPEG 2000, ``MaxSampleValue`` of the form 2^n - 1, ``SMinSampleValue`` and ``SMaxSampleValue``, a PNG's ``sBIT``, a PNM's maximum.
Floating-point values are 0 to 1 where it says nothing. Integers are then an *open* range: 0 to ``max_value``, which only the pool
that the file belongs to can tell.
"""

import functools
import io
import re
import struct
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mmdel.errors import UnreadableImage
from mmdel.images.formats import tiff_pages
from mmdel.images.formats.format import PictureFormat, check_size

# Pillow also registers formats that start programs (EPS) or have no signature (TGA); only these are opened
PILLOW_FORMATS = ('JPEG', 'PNG', 'BMP', 'DIB', 'TIFF', 'WEBP', 'GIF', 'PPM', 'JPEG2000', 'AVIF')
"""What is decoded, as Pillow calls it."""

FULL_RANGE = 65535
"""What an open range goes up to unless a smaller maximum is known."""

MANY = 'take them as frames with --videos all (in a config: videos="all" of mmdel.DataDEL)'
"""How the reason ends for which a file of several pictures is refused as one."""

_PNG = b'\x89PNG\r\n\x1a\n'
_PNM = re.compile(rb'P[2356](?:(?:\s+|#[^\n\r]*[\n\r])+(\d+)){3}\s')
_JP2 = (b'\xff\x4f\xff\x51', b'\x00\x00\x00\x0cjP  \r\n\x87\n')
_HEAD = 4096
_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)
_DEPTHS = {2**bits - 1: bits for bits in range(8, 16)}
_PACKED = (10, 12, 14)
_PILLOW_LIMIT = threading.RLock()


@dataclass(frozen=True)
class Deep:
    """An image of more than 8 bits, upright.

    Args:
        values (NDArray): [H, W], or [H, W, 3] in BGR, integers or floats.
        low (float): What is black. Defaults to 0.
        high (float, optional): What is white; None is an open range. Defaults to None.
        inverted (bool): Whether it is the other way round. Defaults to False.
    """

    values: NDArray[Any]
    low: float = 0
    high: float | None = None
    inverted: bool = False

    def to_8_bits(self, max_value: int | None) -> NDArray[np.uint8]:
        """Scaled, uint8 [H, W, 3], BGR.

        Args:
            max_value (int, optional): What an open range goes up to. None is 65,535.

        Raises:
            UnreadableImage: Values lie outside.
        """
        high = self.high if self.high is not None else max_value or FULL_RANGE
        values, low = self.values, self.low
        least, most = values.min(), values.max()
        if not (least >= low and most <= high):  # NaN fails both comparisons
            raise UnreadableImage(self._outside(least, most, high, max_value))
        if values.dtype.kind == 'f' or low or high > FULL_RANGE:
            levels = np.rint((values.astype(np.float64) - low) * (255 / (high - low))).astype(np.uint8)
        else:
            # (2 v 255 + high) // (2 high) rounds exactly, half up
            levels = np.arange(int(most) + 1, dtype=np.uint64)
            levels = ((levels * 510 + int(high)) // (2 * int(high))).astype(np.uint8)[values]
        if self.inverted:
            levels = 255 - levels
        return _grey_as_bgr(levels) if levels.ndim == 2 else np.ascontiguousarray(levels)

    def _outside(self, least: Any, most: Any, high: float, max_value: int | None) -> str:
        if self.values.dtype.kind == 'f':
            return f'has floating-point values from {least:g} to {most:g}, outside {self.low:g} to {high:g}; convert it to 8 bits'
        text = f'has grey values from {least} to {most}, outside {self.low:g} to {high:g}'
        if self.high is not None or least < self.low:
            return f'{text}; convert it to 8 or 16 bits'
        if max_value is None:
            return f'{text}; convert it to 8 or 16 bits, or give the maximum: max_value of mmdel.LoadFrame'
        return f'{text}, max_value of mmdel.LoadFrame; give a larger one'


class Raster(PictureFormat):
    """Files that hold one picture; alpha is dropped without blending, as training loaders do."""

    eight_bits: Collection[str] = ('.jpg', '.jpeg', '.jpe', '.jfif', '.jif', '.jfi', '.mpo', '.bmp', '.dib')

    @property
    def endings(self) -> Collection[str]:
        Image.init()
        # a JPEG by other names; Pillow knows them by their content only
        return frozenset(
            {ending for ending, name in Image.EXTENSION.items() if name in PILLOW_FORMATS} | {'.jif', '.jfi', '.mpo'}
        )

    def accepts(self, head: bytes) -> bool:
        # a DIB is a BMP without its signature
        return any(accept(head[:16]) for name, (_, accept) in _openers().items() if name != 'DIB')

    def decode(
        self, data: bytes, max_pixels: int, reduce_to: int | None, max_value: int | None
    ) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        found = _load(data, max_pixels, reduce_to)
        if isinstance(found, Deep):
            image = found.to_8_bits(max_value)
            return image, image.shape[:2]
        return found

    def open_maximum(self, file: Any, max_pixels: int) -> int | None:
        if not _may_be_open(file):
            return None
        file.seek(0)
        return open_maximum(file.read(), max_pixels)


def open_maximum(data: bytes, max_pixels: int) -> int | None:
    """As :meth:`Raster.open_maximum`, of the bytes of a file."""
    found = _load(data, max_pixels, None)
    return int(found.values.max()) if isinstance(found, Deep) and found.high is None else None


def open_image(file: Any) -> Image.Image:
    """Read the header. Like ``Image.open``, which would warn of or refuse large images before their size is known.

    Args:
        file: A binary file, or the bytes of one.
    """
    if isinstance(file, bytes):
        file = io.BytesIO(file)
    file.seek(0)
    head = file.read(16)
    for factory, accept in _openers().values():
        if accept is None or not accept(head):
            continue
        file.seek(0)
        try:
            return factory(file, '')
        except Image.DecompressionBombError:
            with _without_pillow_limit():
                file.seek(0)
                return factory(file, '')
    raise UnreadableImage(f'is not an image ({", ".join(PILLOW_FORMATS)} were tried)')


def count_frames(image: Image.Image) -> int:
    """How many pictures an opened image shows; what accompanies a JPEG (a preview, a depth map) is none."""
    return 1 if image.format in ('JPEG', 'MPO') else getattr(image, 'n_frames', 1)


def load(image: Image.Image, max_pixels: int) -> None:
    """Decode an opened image, in full or not at all."""
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or max_pixels):
        with _without_pillow_limit():
            image.load()
    else:
        image.load()


def pixels_of(image: Image.Image) -> NDArray[np.uint8] | Deep:
    """The pixels of a loaded image as they lie in it: uint8 [H, W, 3], BGR, or deep ones."""
    if image.mode.startswith('I'):
        return Deep(np.asarray(image))
    if image.mode == 'F':
        return Deep(np.asarray(image), 0, 1)
    if image.mode == 'La':
        image = image.convert('LA')
    if image.mode != 'RGB':
        image = image.convert('RGB')
    return _rgb_as_bgr(image)


# --- private


def _load(data: bytes, max_pixels: int, reduce_to: int | None) -> tuple[NDArray[np.uint8], tuple[int, int]] | Deep:
    if tiff_pages.is_tiff(data):
        file = io.BytesIO(data)
        pages = tiff_pages.read_pages(file)
        _refuse_many(len(pages), 'pages')
        check_size(*pages[0].size(file), max_pixels)
        if pages[0].number(file, tiff_pages.BITS_PER_SAMPLE, 1) > 8 or pages[0].number(
            file, tiff_pages.SAMPLE_FORMAT, 1
        ) in (2, 3):
            return _load_deep_tiff(file, pages[0])
        image = None
        raw_ycbcr = (
            pages[0].number(file, tiff_pages.PHOTOMETRIC, 1),
            pages[0].number(file, tiff_pages.COMPRESSION, 1),
        ) == (6, 1)
        if not raw_ycbcr:  # which Pillow 12 misreads
            with suppress(SyntaxError, TypeError, ValueError, KeyError):
                # Pillow opens the first directory, which may be that of a thumbnail
                image = open_image(data if pages[0].is_first else tiff_pages.cut_out(file, pages[0]))
        if image is None:
            # TIFF comes in more kinds of pixels than Pillow knows
            found = _by_opencv(tiff_pages.cut_out(file, pages[0], [tiff_pages.ORIENTATION]))
            if found is None or found.dtype != np.uint8:
                raise _unknown_tiff()
            found = _upright(_bgr(found), pages[0].number(file, tiff_pages.ORIENTATION, 1))
            return np.ascontiguousarray(found), found.shape[:2]
    else:
        image = open_image(data)
        _refuse_many(count_frames(image), 'frames')
    full = image.size
    check_size(*full, max_pixels)
    if reduce_to:
        # scales the blocks of a JPEG while they are decoded, and is as strict as without; other formats stay as they are
        image.draft(None, (reduce_to, reduce_to))
    reduced = image.size != full
    with image:
        load(image, max_pixels)
        orientation = _orientation(image)
        deep = _deep(image, data)
        if deep is not None:
            return Deep(_upright(deep.values, orientation), deep.low, deep.high)
        values = pixels_of(image if orientation == 1 else ImageOps.exif_transpose(image))
    if isinstance(values, Deep):
        return values
    if not reduced:
        return values, values.shape[:2]
    return values, full if orientation in _ON_ITS_SIDE else full[::-1]


def _may_be_open(file: Any) -> bool:
    """Whether the header of an open file leaves possible that its range is open: 16 bits or more."""
    head = file.read(32)
    if head.startswith(_PNG):
        return head[24] == 16
    if tiff_pages.is_tiff(head):
        return any(page.number(file, tiff_pages.BITS_PER_SAMPLE, 1) >= 16 for page in tiff_pages.read_pages(file))
    if head[:1] == b'P' or head.startswith(_JP2):
        head += file.read(_HEAD)
        return _pnm_maximum(head) == FULL_RANGE or _jp2_bits(head) == 16
    return False


def _refuse_many(count: int, what: str) -> None:
    if count > 1:
        raise UnreadableImage(f'has {count:,} {what}; {MANY}')


def _deep(image: Image.Image, data: bytes) -> Deep | None:
    """The values of a 16-bit PNG, PNM or JPEG 2000, as they lie in it."""
    grey = image.mode.startswith('I')
    if image.format == 'PNG' and data[24] == 16:
        values = np.asarray(image) if grey else _sixteen_bits(data)
        return Deep(values, 0, _png_maximum(data, values))
    if image.format == 'PPM' and (maximum := _pnm_maximum(data[:_HEAD])) > 255:
        # Pillow has scaled grey values to 16 bits, and colours to 8
        if grey:
            return Deep(np.asarray(image), 0, None if maximum == FULL_RANGE else FULL_RANGE)
        return Deep(_sixteen_bits(data), 0, None if maximum == FULL_RANGE else maximum)
    if image.format == 'JPEG2000':
        bits = _jp2_bits(data[:_HEAD])
        if grey:
            return Deep(np.asarray(image), 0, FULL_RANGE if bits < 16 else None)
        return Deep(_sixteen_bits(data)) if bits == 16 else None
    return None


def _sixteen_bits(data: bytes) -> NDArray[np.uint16]:
    values = _by_opencv(data)
    if values is None or values.dtype != np.uint16:
        raise UnreadableImage('has 16-bit colours of a kind that cannot be decoded; convert it to 8 bits')
    return _bgr(values)


def _by_opencv(data: bytes) -> NDArray[Any] | None:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def _grey_as_bgr(levels: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(levels, cv2.COLOR_GRAY2BGR), np.uint8)


def _rgb_as_bgr(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR), np.uint8)


def _bgr(values: NDArray[Any]) -> NDArray[Any]:
    """What OpenCV gives, without alpha."""
    if values.ndim == 3 and values.shape[2] == 4:
        return values[..., :3]
    if values.ndim == 2 and values.dtype == np.uint8:
        return _grey_as_bgr(values)
    return values


def _png_maximum(data: bytes, values: NDArray[Any]) -> int | None:
    """What the values of a 16-bit PNG go up to by its sBIT chunk, which names the bits that count.

    A PNG should hold them scaled to all 16 bits; many programs leave them as they were. Scaled ones are multiples of
    2^(16 - bits), or one above where they were not scaled by shifting.
    """
    place = len(_PNG)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from('>I4s', data, place)
        if kind == b'IDAT':
            break
        if kind == b'sBIT' and 1 <= length <= 4:
            bits = max(data[place + 8 : place + 8 + min(length, 3)]) if length > 2 else data[place + 8]
            if not 8 <= bits < 16:
                return None
            scaled = values.max() >= 2**bits or not (values % 2 ** (16 - bits) > 1).any()
            return FULL_RANGE if scaled else 2**bits - 1
        place += length + 12
    return None


def _pnm_maximum(head: bytes) -> int:
    found = _PNM.match(head)
    return int(found[1]) if found else 0


def _jp2_bits(head: bytes) -> int:
    """Bits of the first component of a JPEG 2000, 0 where it is none or signed."""
    place = head.find(_JP2[0]) if head.startswith(_JP2) else -1
    return head[place + 42] + 1 if 0 <= place < len(head) - 42 else 0


def _load_deep_tiff(file: io.BytesIO, page: tiff_pages.Page) -> Deep:
    """Values of more than 8 bits, signed ones or floats."""
    bits = page.number(file, tiff_pages.BITS_PER_SAMPLE, 1)
    kind = page.number(file, tiff_pages.SAMPLE_FORMAT, 1)
    samples = page.number(file, tiff_pages.SAMPLES_PER_PIXEL, 1)
    photometric = page.number(file, tiff_pages.PHOTOMETRIC, 1)
    low, high = _tiff_range(file, page, bits, kind)
    values: NDArray[Any] | None
    if kind == 3 and bits == 16:
        values = None  # neither library knows half floats
    elif samples == 1 and photometric in (0, 1):
        values = _grey_tiff(file, page, bits, kind)
    elif samples in (3, 4) and photometric == 2:
        values = _opencv_tiff(file, page, bits)
    else:
        values = None
    size = page.size(file)[::-1]
    if values is None or values.shape[:2] != size or values.dtype.itemsize * 8 < bits:
        values = _as_wide_grey(file, page, bits, kind, samples, size)
        if photometric == 5:
            if low or high not in (None, FULL_RANGE) or kind != 1:
                raise _unknown_tiff()
            # of inks nobody uses fewer bits
            inks = Image.fromarray(((values[..., :4].astype(np.uint32) + 128) // 257).astype(np.uint8), 'CMYK')
            values, high = _rgb_as_bgr(inks.convert('RGB')), 255
        elif photometric == 2 and samples >= 3:
            values = values[..., 2::-1]
        elif photometric in (0, 1):
            values = values[..., 0]
        else:
            raise _unknown_tiff()
    return Deep(_upright(values, page.number(file, tiff_pages.ORIENTATION, 1)), low, high, inverted=photometric == 0)


def _tiff_range(file: io.BytesIO, page: tiff_pages.Page, bits: int, kind: int) -> tuple[float, float | None]:
    """What black and white are, as far as a file says it."""
    smallest, largest = (
        page.numbers(file, tag) for tag in (tiff_pages.S_MIN_SAMPLE_VALUE, tiff_pages.S_MAX_SAMPLE_VALUE)
    )
    if kind in (2, 3) and smallest and largest and min(smallest) < max(largest):
        return min(smallest), max(largest)
    if kind == 3:
        return 0, 1
    if bits < 16:
        return 0, 255 if bits == 8 else 2**bits - 1
    # other maxima are often statistics: the largest value that this image happens to have
    said = max(page.numbers(file, tiff_pages.MAX_SAMPLE_VALUE) or largest or (0,))
    return 0, said if said in _DEPTHS else None


def _grey_tiff(file: io.BytesIO, page: tiff_pages.Page, bits: int, kind: int) -> NDArray[Any] | None:
    # Pillow and OpenCV each lack some of the unsigned kinds; the bits are the same
    as_signed = {tiff_pages.SAMPLE_FORMAT: (3, (2,))} if kind == 1 and bits == 32 else None
    try:
        image = open_image(tiff_pages.cut_out(file, page, [tiff_pages.ORIENTATION], as_signed))
    except (SyntaxError, TypeError, ValueError, KeyError):
        return _opencv_tiff(file, page, bits)
    with image:
        load(image, image.width * image.height)
        values = np.asarray(image)
    # Pillow has no type for these, and would let them wrap
    if kind == 1 and bits == 32:
        return values.view(np.uint32)
    if kind == 2 and bits == 8:
        return values.view(np.int8)
    return values


def _opencv_tiff(file: io.BytesIO, page: tiff_pages.Page, bits: int) -> NDArray[Any] | None:
    values = _by_opencv(tiff_pages.cut_out(file, page, [tiff_pages.ORIENTATION]))
    if values is None or (bits > 8 and values.dtype == np.uint8):
        return None
    # some versions give the right bits under the wrong type
    kind = page.number(file, tiff_pages.SAMPLE_FORMAT, 1)
    if kind == 1 and values.dtype == np.int32:
        values = values.view(np.uint32)
    if kind == 2 and values.dtype == np.uint8:
        values = values.view(np.int8)
    # OpenCV shifts packed values to the left
    return _bgr(values >> (16 - bits) if bits in _PACKED else values)


def _as_wide_grey(
    file: io.BytesIO, page: tiff_pages.Page, bits: int, kind: int, samples: int, size: tuple[int, int]
) -> NDArray[Any]:
    """Values of 16 bits in any number of channels, [H, W, channels], read as a grey image that is so many times as wide."""
    plain = page.number(file, tiff_pages.PREDICTOR, 1) == 1
    if bits != 16 or not plain or (samples > 1 and page.number(file, tiff_pages.PLANAR_CONFIGURATION, 1) != 1):
        raise _unknown_tiff()
    changed = {
        tiff_pages.IMAGE_WIDTH: (4, (size[1] * samples,)),
        tiff_pages.BITS_PER_SAMPLE: (3, (16,)),
        tiff_pages.SAMPLES_PER_PIXEL: (3, (1,)),
        tiff_pages.PHOTOMETRIC: (3, (1,)),
        tiff_pages.SAMPLE_FORMAT: (3, (1,)),
    }
    if tiff_pages.TILE_WIDTH in page.fields:
        changed[tiff_pages.TILE_WIDTH] = (4, (page.number(file, tiff_pages.TILE_WIDTH, 0) * samples,))
    with open_image(
        tiff_pages.cut_out(file, page, [tiff_pages.ORIENTATION, tiff_pages.EXTRA_SAMPLES], changed)
    ) as image:
        load(image, image.width * image.height)
        values = np.asarray(image).astype(np.uint16).reshape(*size, samples)
    return values.view({1: np.uint16, 2: np.int16, 3: np.float16}.get(kind, np.uint16))


def _unknown_tiff() -> UnreadableImage:
    return UnreadableImage('is a TIFF file of a kind that cannot be decoded; convert it to 8 or 16 bits')


def _upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turned as the orientation tag of EXIF and TIFF says."""
    if orientation in _ON_ITS_SIDE:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


@functools.cache
def _openers() -> dict[str, tuple[Any, Any]]:
    Image.init()
    return {name: Image.OPEN[name] for name in PILLOW_FORMATS if name in Image.OPEN}


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
