"""What every format answers: which files are its own, and how their pictures become pixels.

A new format is a subclass of :class:`PictureFormat`, of :class:`FrameFormat`, or of both, in a file beside this one, and its
place in :data:`mmdel.images.formats.FORMATS` (what was foreign leaves ``_FOREIGN`` there):

    class Slides(FrameFormat):
        endings = ('.sld',)

        def count(self, path): ...                  # from the header
        def index(self, path): ...                  # FrameIndex: bytes of each picture, times, where decoding can begin
        def reader(self, path, index): ...          # FrameReader: keeps the file open

With that ``stack.sld#000123`` is an image of a dataset: listed with ``--videos``, read by ``mmdel.LoadFrame``, embedded by
processes that are handed runs of pictures, exported, and known by the state of its file. A format whose files can be one picture
each is a :class:`PictureFormat`, too.

What is wrong with a file is an :class:`~mmdel.errors.UnreadableImage`; :func:`mmdel.images.reasons.patient_file` opens a file so
that this holds for what libraries raise, and so that storage that stumbles is waited for.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdel.errors import UnreadableImage


@dataclass(frozen=True)
class FrameIndex:
    """The frames of one video, or the pages of one file.

    Args:
        timestamps (NDArray[np.int64]): [n], when each frame is shown, ascending, in units of ``time_base``; of length 0 where the
            file does not tell reliably, and frames can only be counted from the start.
        nbytes (NDArray[np.int64]): [n], size of each coded frame.
        keys (NDArray[np.int64]): [k], numbers of the frames at which decoding can begin, ascending; of length 0 without times.
        seconds_per_unit (tuple[int, int]): Numerator and denominator of ``time_base`` in seconds. Defaults to milliseconds.
        rate (float): Frames a second that the file names, 0 where it does not. Defaults to 0.
    """

    timestamps: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    keys: NDArray[np.int64]
    seconds_per_unit: tuple[int, int] = (1, 1000)
    rate: float = 0.0

    @property
    def count(self) -> int:
        """How many frames there are."""
        return len(self.nbytes)

    @property
    def timed(self) -> bool:
        """Whether a frame is known by its time, so that decoding can begin at any key frame."""
        return len(self.timestamps) > 0

    def seconds(self) -> NDArray[np.float64] | None:
        """When each frame is shown, [n]; None where nothing is known."""
        if self.timed:
            return np.asarray(self.timestamps * float(Fraction(*self.seconds_per_unit)), np.float64)
        return np.arange(self.count) / self.rate if self.rate else None

    def key_before(self, number: int) -> int:
        """The last frame up to ``number`` at which decoding can begin, -1 for the start of the file."""
        place = int(np.searchsorted(self.keys, number, side='right')) - 1
        return int(self.keys[place]) if place >= 0 else -1


class FrameReader(ABC):
    """One open file with several pictures, read fastest in ascending order; how a picture was reached does not change it."""

    @abstractmethod
    def read(self, number: int, max_pixels: int, max_value: int | None) -> NDArray[np.uint8]:
        """One picture, as of :meth:`PictureFormat.decode`: uint8 [H, W, 3]; the number is below the count of the index."""

    def open_maximum(self, number: int, max_pixels: int) -> int | None:
        """As :meth:`PictureFormat.open_maximum`, of one picture."""
        return None

    @abstractmethod
    def check(self) -> None:
        """Raise the StorageError that there was, which libraries take for the end of a file."""


class Format(ABC):
    """One kind of files; several threads may ask it. What is said of names holds in any case."""

    eight_bits: Collection[str] = ()
    """Endings of files whose values never take more than 8 bits: these are not looked into for the range of their values."""

    is_video: bool = False
    """Whether its files are never an image by themselves but always frames, as of videos and volumes."""

    @property
    @abstractmethod
    def endings(self) -> Collection[str]:
        """How names end, lower case, with the dot; an attribute will do."""

    def metadata(self, path: str) -> Mapping[str, Any]:
        """What a file tells of its pictures, such as ``patient``; names, folders and tables count before it."""
        return {}


class PictureFormat(Format):
    """Files that are one picture, told by their first bytes, whatever their names are."""

    @abstractmethod
    def accepts(self, head: bytes) -> bool:
        """Whether a file is of this format by its first :data:`~mmdel.images.formats.HEAD` bytes."""

    @abstractmethod
    def decode(
        self, data: bytes, max_pixels: int, reduce_to: int | None, max_value: int | None
    ) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        """The picture that a file is.

        Args:
            data (bytes): The file.
            max_pixels (int): Width times height above which it is refused from its header alone.
            reduce_to (int, optional): It may be decoded at a fraction of its size down to this side.
            max_value (int, optional): White in deep pictures that do not say it themselves. None is 65,535.

        Returns:
            tuple: uint8 [H, W, 3], BGR, upright; and height and width of the upright original.

        Raises:
            Exception: UnreadableImage, or whatever decoders raise for a damaged file.
        """

    def open_maximum(self, file: Any, max_pixels: int) -> int | None:
        """The largest value of an open file that does not say what white is; None for every other file."""
        return None


class FrameFormat(Format):
    """Files that may hold several pictures; what is wrong with one is an UnreadableImage, and a StorageError passes through."""

    @abstractmethod
    def index(self, path: str) -> FrameIndex:
        """The pictures of a file, found without decoding them where that is possible."""

    def count(self, path: str) -> int:
        """How many there are, where the header of a file tells it sooner."""
        return self.index(path).count

    @abstractmethod
    def reader(self, path: str, index: FrameIndex) -> FrameReader:
        """Open a file to read its pictures."""


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise UnreadableImage where width times height are above ``max_pixels``."""
    if width * height > max_pixels:
        raise UnreadableImage(
            f'{width} x {height} pixels are {width * height / 1e6:,.1f} megapixels, above the limit of '
            f'{max_pixels / 1e6:,.1f}; raise it with --cfg-options embedder.pipeline.0.max_pixels={width * height}'
        )
