"""The pages of a TIFF file, and each of them as a file of its own.

    pages = read_pages(file)             # in order, without thumbnails and masks
    pages[3].numbers(file, IMAGE_WIDTH)  # (512,)
    data = cut_out(file, pages[3])       # a TIFF file with this page alone, as bytes

A page that was cut out is decoded like a single image (pixels and colours: :mod:`mmdel.images.formats.raster`), costs no more
than its own bytes, and knows nothing of damage in other pages.
"""

import re
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO

from mmdel.errors import UnreadableImage

NEW_SUBFILE_TYPE, SUBFILE_TYPE = 254, 255
IMAGE_WIDTH, IMAGE_LENGTH, BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC, DESCRIPTION = 256, 257, 258, 259, 262, 270
STRIP_OFFSETS, ORIENTATION, SAMPLES_PER_PIXEL, STRIP_BYTE_COUNTS = 273, 274, 277, 279
MAX_SAMPLE_VALUE, PLANAR_CONFIGURATION, PREDICTOR = 281, 284, 317
TILE_WIDTH, TILE_OFFSETS, TILE_BYTE_COUNTS = 322, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT, S_MIN_SAMPLE_VALUE, S_MAX_SAMPLE_VALUE = 338, 339, 340, 341

_REDUCED_OR_MASK = 0b101
_SIGNATURES = {b'II*\0': ('<', False), b'MM\0*': ('>', False), b'II+\0': ('<', True), b'MM\0+': ('>', True)}
_TYPES = {1: 'B', 2: 'B', 3: 'H', 4: 'I', 5: 'II', 6: 'b', 7: 'B', 8: 'h', 9: 'i', 10: 'ii', 11: 'f', 12: 'd', 13: 'I',
          16: 'Q', 17: 'q', 18: 'Q'}  # fmt: skip
_LONG, _LONG8 = 4, 16
_POINTERS = (STRIP_OFFSETS, TILE_OFFSETS, 330, 34665, 34853, 40965)
"""Tags that hold places in the file: of pixels, and of further directories, none of which is needed to decode a page."""

_SMALL = 1 << 16

# of one directory for a stack above 4 GB: the other images follow the first one without directories
_IMAGEJ = re.compile(rb'ImageJ=.*?^images=(\d+)', re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """One directory of a TIFF file.

    Args:
        order (str): Of bytes, '<' or '>'.
        big (bool): Whether the file is a BigTIFF.
        fields (Mapping): Tag to type, count, and the bytes of the value or of the place where it is.
        shift (int): Bytes from where the directory says that the pixels are to where they are. Defaults to 0.
        is_first (bool): Whether decoders that know of one image only find this one. Defaults to False.
    """

    order: str
    big: bool
    fields: Mapping[int, tuple[int, int, bytes]]
    shift: int = 0
    is_first: bool = False

    def raw(self, file: BinaryIO, tag: int) -> bytes:
        """The value of a field as it lies in the file."""
        kind, count, value = self.fields[tag]
        length = struct.calcsize(self.order + _TYPES[kind]) * count
        if length <= len(value):
            return value[:length]
        file.seek(*struct.unpack(self.order + ('Q' if self.big else 'I'), value))
        return _exactly(file, length)

    def numbers(self, file: BinaryIO, tag: int) -> tuple[float, ...]:
        """The value of a field, () where there is none."""
        if tag not in self.fields:
            return ()
        data = self.raw(file, tag)  # before anything is made of a count that may be damaged
        kind, count, _ = self.fields[tag]
        return struct.unpack(self.order + _TYPES[kind] * count, data)

    def number(self, file: BinaryIO, tag: int, default: int) -> int:
        """The first, or only, number of a field."""
        found = self.numbers(file, tag)
        return int(found[0]) if found else default

    def size(self, file: BinaryIO) -> tuple[int, int]:
        """Width and height as they lie in the file."""
        return self.number(file, IMAGE_WIDTH, 0), self.number(file, IMAGE_LENGTH, 0)

    def nbytes(self, file: BinaryIO) -> int:
        """What its pixels take in the file."""
        return int(sum(self.numbers(file, TILE_BYTE_COUNTS if TILE_OFFSETS in self.fields else STRIP_BYTE_COUNTS)))


def is_tiff(head: bytes) -> bool:
    """Whether a file is a TIFF file by its first four bytes."""
    return head[:4] in _SIGNATURES


def read_pages(file: BinaryIO) -> list[Page]:
    """The pages of a file, in the order of their directories.

    Reduced copies and masks, which their directories mark, are no pages, unless there is nothing else. Directories after a
    damaged one cannot be found.

    Args:
        file (BinaryIO): The file, whose signature :func:`is_tiff`.

    Raises:
        UnreadableImage: Not even the first directory can be read.
    """
    file.seek(0)
    order, big = _SIGNATURES[file.read(4)]
    place, what = (8, 'Q') if big else (4, 'I')
    file.seek(place)
    found: list[Page] = []
    seen = {0}
    offset = _next(file, order, what)
    while offset not in seen:
        seen.add(offset)
        try:
            file.seek(offset)
            page = _read_page(file, order, big)
            offset = _next(file, order, what)
        except (EOFError, struct.error, KeyError):
            break
        found.append(replace(page, is_first=not found))
    if not found:
        raise UnreadableImage('damaged or truncated: it holds no page')
    pages = [page for page in found if not _is_secondary(file, page)] or found[:1]
    return _stack(file, pages[0]) if len(found) == 1 else pages


def cut_out(
    file: BinaryIO,
    page: Page,
    without: Collection[int] = (),
    changed: Mapping[int, tuple[int, tuple[int, ...]]] | None = None,
) -> bytes:
    """One page as a TIFF file.

    Args:
        file (BinaryIO): The file.
        page (Page): One of its pages.
        without (Collection[int]): Tags to leave out. Defaults to ().
        changed (Mapping, optional): Tag to type and numbers of fields that are to be others. Defaults to None.

    Raises:
        UnreadableImage: The file ends before the page does.
    """
    tag = TILE_OFFSETS if TILE_OFFSETS in page.fields else STRIP_OFFSETS
    counts = page.numbers(file, TILE_BYTE_COUNTS if tag == TILE_OFFSETS else STRIP_BYTE_COUNTS)
    offsets = page.numbers(file, tag)
    if not offsets or len(offsets) != len(counts):
        raise UnreadableImage('is a TIFF page that does not say where its pixels are')
    out = bytearray(b'II' if page.order == '<' else b'MM')
    out += struct.pack(page.order + 'HHHQ', 43, 8, 0, 0) if page.big else struct.pack(page.order + 'HI', 42, 0)
    places = []
    for offset, count in zip(offsets, counts, strict=True):
        places.append(len(out) if count else 0)
        if count:
            file.seek(int(offset) + page.shift)
            try:
                out += _exactly(file, int(count))
            except EOFError as error:
                raise UnreadableImage('damaged or truncated: the file ends before the page does') from error
    fields = {
        each: (*page.fields[each][:2], page.raw(file, each))
        for each in page.fields
        if each not in (*_POINTERS, DESCRIPTION, *without)
    }
    for each, (kind, numbers) in {**(changed or {}), tag: (_LONG8 if page.big else _LONG, tuple(places))}.items():
        fields[each] = (kind, len(numbers), struct.pack(page.order + _TYPES[kind] * len(numbers), *numbers))
    return bytes(_with_directory(out, page, fields))


# --- private


def _exactly(file: BinaryIO, length: int) -> bytes:
    here = file.tell()
    # a damaged length would ask for more memory than there is
    if length > _SMALL and here + length > file.seek(0, 2):
        raise EOFError('the file ends too early')
    file.seek(here)
    data = file.read(length)
    if len(data) < length:
        raise EOFError('the file ends too early')
    return data


def _next(file: BinaryIO, order: str, what: str) -> int:
    data = file.read(struct.calcsize(order + what))
    # a last directory may end with the file
    return int(struct.unpack(order + what, data)[0]) if len(data) == struct.calcsize(order + what) else 0


def _read_page(file: BinaryIO, order: str, big: bool) -> Page:
    head, entry, width = ('Q', 'HHQ', 8) if big else ('H', 'HHI', 4)
    [count] = struct.unpack(order + head, _exactly(file, struct.calcsize(order + head)))
    size = struct.calcsize(order + entry) + width
    data = _exactly(file, count * size) if count < 65536 else b''
    fields = {}
    for start in range(0, len(data), size):
        tag, kind, number = struct.unpack_from(order + entry, data, start)
        if kind in _TYPES and number:
            fields[tag] = (kind, number, data[start + size - width : start + size])
    if IMAGE_WIDTH not in fields:
        raise KeyError(IMAGE_WIDTH)
    return Page(order, big, fields)


def _is_secondary(file: BinaryIO, page: Page) -> bool:
    return bool(page.number(file, NEW_SUBFILE_TYPE, 0) & _REDUCED_OR_MASK) or page.number(file, SUBFILE_TYPE, 1) == 2


def _stack(file: BinaryIO, page: Page) -> list[Page]:
    """The only page of a file, or the images of ImageJ that follow it."""
    found = _IMAGEJ.match(page.raw(file, DESCRIPTION)) if DESCRIPTION in page.fields else None
    if not found or page.number(file, COMPRESSION, 1) != 1:
        return [page]
    nbytes = page.nbytes(file)
    length = file.seek(0, 2)
    fits = max(1, (length - page.number(file, STRIP_OFFSETS, 0)) // max(1, nbytes))
    return [replace(page, shift=number * nbytes, is_first=not number) for number in range(min(int(found[1]), fits))]


def _with_directory(out: bytearray, page: Page, fields: Mapping[int, tuple[int, int, bytes]]) -> bytearray:
    head, entry, width, pointer = ('Q', 'HHQ', 8, 'Q') if page.big else ('H', 'HHI', 4, 'I')
    entries = b''
    for tag in sorted(fields):
        kind, count, value = fields[tag]
        if len(value) > width:
            out += bytes(len(out) % 2)
            place = struct.pack(page.order + pointer, len(out))
            out += value
            value = place
        entries += struct.pack(page.order + entry, tag, kind, count) + value.ljust(width, b'\0')
    out += bytes(len(out) % 2)
    struct.pack_into(page.order + pointer, out, 8 if page.big else 4, len(out))
    out += struct.pack(page.order + head, len(fields)) + entries + bytes(width)
    return out
