"""Videos, without decoding them: how many frames there are, when each is shown, where decoding can begin.

That comes from the packets of a file, all of which are read once, at the speed of the disk. Pixels:
:mod:`mmdel.images.formats.video_reader`.
"""

import itertools
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from mmdel.errors import UnreadableImage
from mmdel.images.formats.format import FrameFormat, FrameIndex, FrameReader
from mmdel.images.formats.video_reader import VideoReader, opened

PROBED = 32
"""So many frames are decoded to see whether the times in the file are those of the frames."""


class Video(FrameFormat):
    """Moving pictures, of 8 bits."""

    endings = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv')
    eight_bits = endings
    is_video = True

    def index(self, path: str) -> FrameIndex:
        with opened(path) as (container, stream):
            packets = list(_packets(container, stream))
            base = stream.time_base or Fraction(0)
            rate = float(stream.average_rate or stream.guessed_rate or 0)
        if not packets:
            raise UnreadableImage('holds no frame')
        times = [time for time, _, _ in packets]
        timed = (
            bool(base) and None not in times and len(set(times)) == len(times) and _times_are_right(path, set(times))
        )
        order = np.argsort(np.array(times, np.int64)) if timed else np.arange(len(packets))
        nbytes = np.array([size for _, size, _ in packets], np.int64)[order]
        is_key = np.array([key for _, _, key in packets], bool)[order]
        return FrameIndex(
            timestamps=np.array(times, np.int64)[order] if timed else np.empty(0, np.int64),
            nbytes=nbytes,
            keys=np.flatnonzero(is_key) if timed else np.empty(0, np.int64),
            seconds_per_unit=(base.numerator, base.denominator or 1),
            rate=rate,
        )

    def reader(self, path: str, index: FrameIndex) -> FrameReader:
        return VideoReader(path, index)


def first_frame(path: str) -> None:
    """Look whether a video can be opened and something of it decoded.

    Raises:
        UnreadableImage: It cannot; ``reason`` says why and holds no path.
    """
    with opened(path) as (container, stream):
        if next(_decoded(container, stream, tolerant=True), None) is None:
            raise UnreadableImage('holds no frame that can be decoded')


def _packets(container: Any, stream: Any) -> Iterator[tuple[int | None, int, bool]]:
    """Time, size and whether it is a key frame, for each coded frame; up to where the file is cut off."""
    try:
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard:
                yield packet.pts, packet.size, packet.is_keyframe
    except (av.error.FFmpegError, OSError):
        return


def _times_are_right(path: str, times: set[Any]) -> bool:
    """Whether the first frames come out with the times of the packets, in order; those of H.264 in AVI are wrong."""
    with opened(path) as (container, stream):
        seen = [frame.pts for frame in itertools.islice(_decoded(container, stream, tolerant=False), PROBED)]
    return all(time in times for time in seen) and all(a < b for a, b in itertools.pairwise(seen))


def _decoded(container: Any, stream: Any, tolerant: bool) -> Iterator[Any]:
    """The frames of a video; after damage, which also disturbs their order, only for who is tolerant."""
    try:
        for packet in container.demux(stream):
            try:
                yield from stream.codec_context.decode(packet)
            except av.error.FFmpegError:
                if not tolerant:
                    return
    except (av.error.FFmpegError, OSError):
        return
