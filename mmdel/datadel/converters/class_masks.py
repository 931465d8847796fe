"""Several mask files or channels become one PNG of class numbers.

FileLayers('BE', 'cancer')    # a file for each class of an image; where they overlap, cancer counts
"""

import io
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence, TiffImagePlugin

from mmdel.datadel.converters.converter import Make
from mmdel.errors import UnreadableImage
from mmdel.images.reasons import plain_words

_FORMATS = ('TIFF', 'PNG', 'JPEG', 'BMP')
_WIDTH, _HEIGHT, _STRIPS, _SAMPLES, _COUNTS, _COMPRESSION, _PLANAR, _BITS = 256, 257, 273, 277, 279, 259, 284, 258


class Layers(ABC):
    """One mask is drawn of a layer for each class.

    Args:
        *drawn (str): The classes in the order of drawing: the last counts.
    """

    def __init__(self, *drawn: str) -> None:
        self.drawn = drawn

    @abstractmethod
    def maker(self, classes: Sequence[str], labels: Sequence[str]) -> Make:
        """What draws the mask.

        Args:
            classes (Sequence[str]): By their numbers in the result.
            labels (Sequence[str]): The class of each mask file, in any case.
        """


class FileLayers(Layers):
    """A mask file for each class, or several."""

    def maker(self, classes: Sequence[str], labels: Sequence[str]) -> Make:
        """Of all files of an image."""
        spelling = {name.casefold(): name for name in classes}
        names = [spelling[label.casefold()] for label in labels]

        def make(paths: Sequence[Path]) -> bytes:
            order = sorted(zip(names, paths, strict=True), key=lambda item: (self.drawn.index(item[0]), item[1]))
            return layered((classes.index(name), foreground(path)) for name, path in order)

        return make


class ChannelLayers(Layers):
    """One mask file with a channel for each class but the background."""

    def maker(self, classes: Sequence[str], labels: Sequence[str]) -> Make:
        """Of the channels of one file."""

        def make(paths: Sequence[Path]) -> bytes:
            channels = read_pages(paths[0])
            if len(channels) != len(classes) - 1:
                raise UnreadableImage(
                    f'has {len(channels)} channels instead of {len(classes) - 1}, one for each artefact'
                )
            named = dict(zip(classes[1:], channels, strict=True))
            return layered((classes.index(name), named[name] > 0) for name in self.drawn)

        return make


def layered(layers: Iterable[tuple[int, NDArray[np.bool_]]]) -> bytes:
    """One PNG of class numbers; where layers overlap, the later one counts.

    Args:
        layers (Iterable[tuple[int, NDArray]]): Class number and bool [H, W], the least important first.

    Raises:
        UnreadableImage: They have different sizes.
    """
    result: NDArray[np.uint8] | None = None
    for number, layer in layers:
        if result is None:
            result = np.zeros(layer.shape, np.uint8)
        if layer.shape != result.shape:
            raise UnreadableImage(f'its masks have different sizes: {_size(result)} and {_size(layer)}')
        result[layer] = number
    stream = io.BytesIO()
    Image.fromarray(np.zeros((1, 1), np.uint8) if result is None else result).save(stream, 'PNG')
    return stream.getvalue()


def foreground(path: Path) -> NDArray[np.bool_]:
    """One mask file of one class: bool [H, W], true where it is above half of its range, as the release stores 0 and 255.

    Raises:
        UnreadableImage: It cannot be read, or has several pages.
    """
    pages = read_pages(path)
    if len(pages) != 1:
        raise UnreadableImage(f'has {len(pages)} channels or pages, and should be the mask of one class')
    page = pages[0]
    highest = page.max()
    if 1 < highest < 128 or highest > 255:
        raise UnreadableImage(f'its values reach {highest}, and should be 0 and 255')
    return page > (0 if highest <= 1 else 127)


def read_pages(path: Path) -> Sequence[NDArray[np.uint8]]:
    """The channels of a mask file, uint8 [H, W] each: pages of a TIFF, or the samples of a single page.

    Raises:
        UnreadableImage: It cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # what Pillow warns of is an error of the file below
            return _pages(path)
    except (SyntaxError, KeyError, ValueError, TypeError, OSError, EOFError) as error:
        samples = _samples(path)
        if samples is None:
            reason = (
                'is empty (0 bytes)'
                if path.stat().st_size == 0
                else f'damaged or truncated: {plain_words(error, str(path))}'
            )
            raise UnreadableImage(reason) from error
        return samples


def _pages(path: Path) -> Sequence[NDArray[np.uint8]]:
    with Image.open(path, formats=_FORMATS) as image:
        pages = []
        for frame in ImageSequence.Iterator(image):
            values = np.asarray(frame)
            if values.ndim == 3 and (values == values[..., :1]).all():
                values = values[..., 0]  # a grey picture stored in colour
            pages += [values] if values.ndim == 2 else list(np.moveaxis(values, 2, 0))
        return [(page > 0).astype(np.uint8) * 255 if page.dtype == bool else page for page in pages]


def _samples(path: Path) -> Sequence[NDArray[np.uint8]] | None:
    """The samples of an uncompressed TIFF with more of them than Pillow knows a mode for; None where it is none."""
    try:
        data = path.read_bytes()
        directory = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        stream = io.BytesIO(data)
        stream.seek(directory.next)
        directory.load(stream)
        height, width, count = directory[_HEIGHT], directory[_WIDTH], directory[_SAMPLES]
        if directory.get(_COMPRESSION, 1) != 1 or set(directory.get(_BITS, (1,))) != {8}:
            return None
        strips = zip(directory[_STRIPS], directory[_COUNTS], strict=True)
        flat = np.frombuffer(b''.join(data[start : start + size] for start, size in strips), np.uint8)
        if directory.get(_PLANAR, 1) == 2:
            return list(flat.reshape(count, height, width))
        return list(np.moveaxis(flat.reshape(height, width, count), 2, 0))
    except (SyntaxError, KeyError, ValueError, TypeError, OSError, EOFError):
        return None


def _size(values: NDArray) -> str:
    return f'{values.shape[1]} x {values.shape[0]}'
