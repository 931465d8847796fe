"""Which frames of videos, and pages of image files, are items of a dataset: ``--videos 2fps``, every 10th, or all."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from mmdel.compute.cores import usable_cores
from mmdel.errors import ConfigError, UnreadableImage
from mmdel.images import formats
from mmdel.images.formats.format import FrameFormat, FrameIndex
from mmdel.images.frame_files import INDEX_DIR, read_index

_RATE = re.compile(r'(\d+(?:\.\d*)?|\.\d+)\s*fps')


class FrameStep:
    """Every frame, every n-th, or so many a second.

    Args:
        step (int | str): n for every n-th frame from the first one on, 'all', or a rate such as '2fps' or '0.5fps': the first
            frame of each interval of that length, by the times that the video gives, so that a variable frame rate counts.

    Raises:
        ConfigError: It is none of these.

    Examples:
        >>> FrameStep('1fps').choose(read_index('clip.avi'))
        array([  0,  25,  50,  75, 100])
    """

    def __init__(self, step: int | str) -> None:
        self.every: int | None = None
        self.rate: float | None = None
        text = str(step).strip().lower()
        if text == 'all':
            self.every = 1
        elif not isinstance(step, bool) and text.isdecimal() and int(text) > 0:
            self.every = int(text)
        elif (match := _RATE.fullmatch(text)) and float(match[1]) > 0:
            self.rate = float(match[1])
        else:
            raise ConfigError(
                f"videos={step!r} is not known. Use 'all' frames, a number n for every n-th, or a rate such as '2fps'."
            )

    def choose(self, index: FrameIndex) -> NDArray[np.int64]:
        """The numbers of the frames, ascending.

        Raises:
            UnreadableImage: A rate is asked for, and the video has no times.
        """
        if self.rate is None:
            return np.arange(0, index.count, self.every)
        seconds = index.seconds()
        if seconds is None:
            raise UnreadableImage('has no frame rate and no times; choose every n-th frame instead of so many a second')
        # a hair's breadth: 25 frames of 1/25 s are one second
        interval = np.floor((seconds - seconds[0]) * self.rate + 1e-6)
        return np.unique(interval, return_index=True)[1].astype(np.int64)

    def __repr__(self) -> str:
        said: Any = f'{self.rate:g}fps' if self.rate else self.every
        return f'{type(self).__name__}({said!r})'


def list_frames(
    files: Sequence[tuple[str, str]], step: FrameStep
) -> tuple[dict[str, NDArray[np.int64]], list[tuple[str, str]]]:
    """Choose frames of videos and pages of image files.

    Args:
        files (Sequence[tuple[str, str]]): ``(key, path)`` of each.
        step (FrameStep): Which frames.

    Returns:
        tuple: The chosen numbers of each file but those that hold a single picture, and so are images; and ``(key, reason)`` of
        those that cannot be used.
    """
    videos = sum(formats.is_video(path) for _, path in files)
    if videos:
        print_log(f'{videos:,} videos: their packets are read to count the frames, and kept in {INDEX_DIR}', 'current')
    with ThreadPoolExecutor(usable_cores()) as pool:
        found = list(pool.map(lambda file: (file[0], _choose(file[1], step)), files))
    return (
        {key: numbers for key, numbers in found if isinstance(numbers, np.ndarray)},
        [(key, reason) for key, reason in found if isinstance(reason, str)],
    )


def _choose(path: str, step: FrameStep) -> NDArray[np.int64] | str | None:
    if not formats.is_video(path) and _count(path) == 1:
        return None
    try:
        return step.choose(read_index(path))
    except UnreadableImage as error:
        return error.reason


def _count(path: str) -> int:
    """How many pictures an image file holds: 1 for a file that is damaged, since reading it says in what way."""
    found = formats.of(path)
    try:
        return found.count(path) if isinstance(found, FrameFormat) else 1
    except UnreadableImage:
        return 1
