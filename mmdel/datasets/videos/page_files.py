"""Pages and frames of image files, as if the files were videos."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdel.datasets.image_file import check_file, reading
from mmdel.datasets.videos.index import VideoIndex
from mmdel.errors import UnreadableImage
from mmdel.images.formats import pages


def count_pages(path: str) -> int:
    """How many pictures an image file holds: 1 for a file that is damaged, since reading it says in what way.

    Args:
        path (str): The file; one whose ending is none of those with several pictures is not opened.
    """
    if not pages.is_page_file(path):
        return 1
    try:
        check_file(path)
        with reading(path), open(path, 'rb') as file:
            return pages.count(file)
    except UnreadableImage:
        return 1


class PageReader:
    """One open file.

    Args:
        path (str): The file.
        state: By which it is known to be as it was.
        index (VideoIndex): Of the file.
    """

    def __init__(self, path: str, state: Any, index: VideoIndex) -> None:
        self.state = state
        self._path = path
        self._index = index
        with reading(path):
            self._pages = pages.Reader(open(path, 'rb'))  # noqa: SIM115  it stays open as long as the reader does

    def read(self, number: int, max_pixels: int, max_value: int | None = None) -> tuple[NDArray[np.uint8], int]:
        """See :func:`mmdel.datasets.videos.read`."""
        with reading(self._path):
            return self._pages.decode(number, max_pixels, max_value), int(self._index.nbytes[number])

    def open_maximum(self, number: int, max_pixels: int) -> int | None:
        """See :func:`mmdel.images.formats.raster.open_maximum`."""
        with reading(self._path):
            return self._pages.open_maximum(number, max_pixels)
