"""Which frames of a video are used."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdel.errors import ConfigError, UnreadableImage
from mmdel.images.videos.index import VideoIndex

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

    def choose(self, index: VideoIndex) -> NDArray[np.int64]:
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
