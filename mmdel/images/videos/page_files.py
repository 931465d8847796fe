"""Pages and frames of image files, as if the files were videos."""

from contextlib import closing
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from mmdel.compute import storage
from mmdel.errors import UnreadableImage
from mmdel.images.formats import pages
from mmdel.images.image_file import check_file, reading
from mmdel.images.videos.index import VideoIndex


def count_pages(path: str) -> int:
    """How many pictures an image file holds: 1 for a file that is damaged, since reading it says in what way.

    Args:
        path (str): The file; one whose ending is none of those with several pictures is not opened.

    Raises:
        StorageError: The storage failed.
    """
    if not pages.is_page_file(path):
        return 1
    try:
        check_file(path)
        with reading(path), closing(storage.PatientFile(path)) as file:
            try:
                return pages.count(cast(BinaryIO, file))
            finally:
                file.check()
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
            self._file = storage.PatientFile(path)
            self._pages = pages.Reader(cast(BinaryIO, self._file))

    def check(self) -> None:
        """Raise the StorageError that there was."""
        self._file.check()

    def read(self, number: int, max_pixels: int, max_value: int | None = None) -> tuple[NDArray[np.uint8], int]:
        """See :func:`mmdel.images.videos.read`."""
        with reading(self._path):
            return self._pages.decode(number, max_pixels, max_value), int(self._index.nbytes[number])

    def open_maximum(self, number: int, max_pixels: int) -> int | None:
        """See :func:`mmdel.images.formats.raster.open_maximum`."""
        with reading(self._path):
            return self._pages.open_maximum(number, max_pixels)
