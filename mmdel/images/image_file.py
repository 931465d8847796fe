"""An image file becomes pixels, or a reason in words why it cannot.

    image, nbytes, _ = read_image_file('data/pool/img/0001.jpg', max_pixels=10**8)     # uint8 [H, W, 3], BGR, upright

A file is read once and decoded from memory, see :mod:`mmdel.images.formats.raster`. Whatever is wrong with a file is raised as
:class:`~mmdel.errors.UnreadableImage`; only what is not the file's fault (memory, the storage, an interrupt) passes through.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from mmdel.compute import storage
from mmdel.errors import MmdelError, UnreadableImage
from mmdel.images.formats import raster
from mmdel.images.formats.pages import is_page_file
from mmdel.images.formats.raster import check_size

__all__ = ['check_file', 'check_size', 'decoding', 'plain_words', 'read_image_file', 'reading']


def read_image_file(
    path: str, max_pixels: int, reduce_to: int | None = None, max_value: int | None = None
) -> tuple[NDArray[np.uint8], int, tuple[int, int]]:
    """Read and decode one image file, which must hold a single picture.

    Images of more than 8 bits are scaled, not cut off. Alpha is dropped without blending, as training loaders do.

    Args:
        path (str): The file.
        max_pixels (int): Width times height above which the file is refused from its header alone.
        reduce_to (int, optional): A JPEG may be decoded at a half, a quarter or an eighth of its size, in a fraction of the
            time, as long as both sides stay at or above this. Defaults to None (never).
        max_value (int, optional): White in 16-bit images that do not say it themselves. Defaults to None: 65,535.

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
        with decoding():
            image, full_shape = raster.decode(data, max_pixels, reduce_to, max_value)
    except UnreadableImage as error:
        if error.reason.endswith(raster.MANY) and not is_page_file(path):
            ending = 'give its name the ending of its kind (.tif, .gif, .webp, .png or .avif) and '
            raise UnreadableImage(error.reason.replace(raster.MANY, ending + raster.MANY)) from None
        raise
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


@contextmanager
def decoding() -> Iterator[None]:
    """Make whatever a decoder raises its file's outcome."""
    try:
        yield
    except (UnreadableImage, MmdelError, MemoryError):
        raise
    except Exception as error:  # decoders raise nearly every type there is
        raise UnreadableImage(f'damaged or truncated: {plain_words(error)}') from error


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Make what goes wrong while a file is read and decoded piece by piece its outcome."""
    with _reasons(path):
        try:
            with decoding():
                yield
        except UnreadableImage as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno is not None:  # the system speaks, not the decoder
                raise cause from None
            raise


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
