"""From the number of a frame to its pixels.

Reading goes forward as long as it can: a run of frames is decoded once. Elsewhere it begins at the last key frame before the
one wanted; what lies between is decoded and thrown away, and what lies before is not decoded at all. Three things make
the pixels, and the frames that count as damaged, the same either way:

- a frame is known by its time, which every packet carries, and not by counting what came out;
- after an error no frame is believed up to the next key frame: all of them rest on the damaged one;
- one thread decodes, and the decoder waits for all frames that may still come earlier (``strict``).

Videos without reliable times are decoded from their start, always, and their frames are counted.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from mmdel.compute import storage
from mmdel.errors import UnreadableImage
from mmdel.images.formats.format import FrameIndex, FrameReader, check_size
from mmdel.images.reasons import reason_of

BUFFER = 1 << 17
"""Bytes that are read at a time."""

CHECKS = 'crccheck+bitstream+buffer'
"""What decoders check. Most of them go on after an error with a picture made up unless they are told to give up, too."""

_REPORTING = ('h264', 'hevc')
"""Decoders that report errors anyway, and would also give up where decoding begins at a key frame inside an open group: the
frame after it names references that are not there and that it does not use."""

# FFmpeg writes what it thinks of a file to the terminal; what matters arrives as exceptions
av.logging.set_level(av.logging.PANIC)

SKIPPED_FRAMES = 1_000
"""Up to so many frames packets are passed over; a longer way is sought through the index of the file."""

LONGEST_DELAY = 16
"""Frames that a decoder holds back at most until they can be put into order (H.264's limit)."""


class VideoReader(FrameReader):
    """One open video; it is opened when the first frame is read."""

    def __init__(self, path: str, index: FrameIndex) -> None:
        self._path = path
        self._index = index
        self._file: storage.PatientFile | None = None
        self._container: Any = None
        self._stream: Any = None
        self._frames: Iterator[tuple[int, Any, bool]] = iter(())
        self._waiting: tuple[int, Any, bool] | None = None
        self._next = 0
        self._fed = -1

    def read(self, number: int, max_pixels: int, max_value: int | None) -> NDArray[np.uint8]:
        frame, damaged = self._find(number)
        if damaged:
            raise UnreadableImage('the frame is damaged, or rests on a damaged one before it')
        check_size(frame.width, frame.height, max_pixels)
        try:
            image = frame.to_ndarray(format='bgr24')
        except (av.error.FFmpegError, ValueError) as error:
            raise UnreadableImage('the frame has pixels of a kind that cannot be converted') from error
        return _upright(image, frame)

    def check(self) -> None:
        if self._file is not None:
            self._file.check()

    def _find(self, number: int) -> tuple[Any, bool]:
        key = self._index.key_before(number)
        if self._container is None or number < self._next or key > max(self._fed, self._next):
            self._begin(key)
        while True:
            self._waiting = self._waiting or next(self._frames, None)
            if self._waiting is None or self._waiting[0] > number:
                self._next = number + 1
                raise UnreadableImage('the frame cannot be decoded')
            found, frame, damaged = self._waiting
            self._waiting = None
            self._next = found + 1
            if found == number:
                return frame, damaged

    def _begin(self, key: int) -> None:
        """Make the frame ``key`` the next one to be decoded; -1 is the start of the file."""
        self._waiting = None
        packets = self._go(key) if key >= 0 else self._open()
        self._stream.codec_context.flush_buffers()
        self._next, self._fed = max(key, 0), key - 1
        self._frames = self._decode(packets)

    def _open(self) -> Iterator[Any]:
        if self._container is not None:
            self._container.close()
        if self._file is not None:
            self._file.close()
        self._file = open_file(self._path)
        self._container = open_container(self._file)
        self._stream = video_stream(self._container)
        self._packets: Iterator[Any] = self._demux()
        return self._packets

    def _go(self, key: int) -> Iterator[Any]:
        """Packets from the one of a key frame on."""
        ahead = key - max(self._fed, self._next)
        if self._container is None:
            self._open()
            ahead = key
        if not 0 < ahead <= SKIPPED_FRAMES and not self._seek(key):
            self._open()
        wanted = int(self._index.timestamps[key])
        for packet in self._packets:
            if packet.pts == wanted:
                return itertools.chain([packet], self._packets)
        raise UnreadableImage('the frame cannot be found (any more)')

    def _seek(self, key: int) -> bool:
        """Whether the container could be set to a place up to a key frame. Some formats find a later one."""
        keys = self._index.keys
        place = int(np.searchsorted(keys, key))
        for earlier in (0, 1, 4):
            if place < earlier:
                return False
            time = int(self._index.timestamps[keys[place - earlier]])
            try:
                self._container.seek(time, stream=self._stream, backward=True)
            except (av.error.FFmpegError, OSError):
                return False
            packets = self._demux()
            first = next(packets, None)
            if first is not None and first.pts is not None and first.is_keyframe and first.pts <= time:
                self._packets = itertools.chain([first], packets)
                return True
        return False

    def _demux(self) -> Iterator[Any]:
        try:
            yield from (packet for packet in self._container.demux(self._stream) if packet.size)
        except (av.error.FFmpegError, OSError):
            return  # cut off here; what has been read can still be decoded

    def _decode(self, packets: Iterator[Any]) -> Iterator[tuple[int, Any, bool]]:
        """Number, frame, and whether it is damaged or rests on damage.

        Frames come out in the order in which they are shown, and later than they went in. Where frames have no times, the places
        at which they went in are not known, and the widest range counts.
        """
        decoder = self._stream.codec_context
        timed = self._index.timed
        errors: list[_Error] = []
        places: dict[int, int] = {}
        shown_key, fed, counted, newest_key, number = 0, -1, -1, -1, -1
        for packet in itertools.chain(packets, [None]):
            if packet is not None:
                fed += 1
                number = self._number(packet.pts) if timed else -1
                places[number] = fed
                if packet.is_keyframe and timed:
                    newest_key = number
                    self._fed = max(self._fed, number)
                if packet.is_corrupt:
                    errors.append(_Error(fed, number, newest_key))
            try:
                frames = decoder.decode(packet)
            except (av.error.FFmpegError, OSError):
                errors.append(_Error(fed, number, newest_key))
                continue
            for frame in frames:
                counted += 1
                shown = self._number(frame.pts) if timed else counted
                place = places.pop(shown, fed)
                if frame.key_frame:
                    shown_key = place if timed else counted + len(errors) - LONGEST_DELAY
                if frame.is_corrupt:
                    errors.append(_Error(place, shown if timed else -1, newest_key))
                if shown >= 0:
                    yield shown, frame, any(error.reaches(shown, place, shown_key) for error in errors)

    def _number(self, time: int | None) -> int:
        """The frame of a time, -1 where there is none."""
        if time is None:
            return -1
        place = int(np.searchsorted(self._index.timestamps, time))
        return place if place < self._index.count and self._index.timestamps[place] == time else -1


@contextmanager
def opened(path: str) -> Iterator[tuple[Any, Any]]:
    """The container and the video stream of a file, see :func:`video_stream`.

    Raises:
        UnreadableImage: It is no video, or cannot be decoded.
        StorageError: The storage failed, which the library takes for the end of the file.
    """
    file = open_file(path)
    try:
        with open_container(file) as container:
            yield container, video_stream(container)
    finally:
        file.close()
        file.check()


def open_file(path: str) -> storage.PatientFile:
    """Open a file for :func:`open_container`; what is wrong with it is an UnreadableImage."""
    try:
        return storage.PatientFile(path)
    except OSError as error:
        raise UnreadableImage(f'cannot be opened: {reason_of(error, path)}') from error


def open_container(file: storage.PatientFile) -> Any:
    """Open a file as a video; what is wrong with it is an UnreadableImage."""
    try:
        return av.open(file, metadata_errors='replace', buffer_size=BUFFER)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UnreadableImage(f'is not a video, or is damaged: {reason_of(error, "")}') from error


def video_stream(container: Any) -> Any:
    """The first stream with moving pictures (a cover picture of a sound file is none), its decoder made strict."""
    streams = [
        stream for stream in container.streams.video if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    if not streams:
        raise UnreadableImage('holds sound, but no pictures' if container.streams.audio else 'holds no pictures')
    stream = streams[0]
    if stream.codec_context is None:
        raise UnreadableImage('is coded in a way that cannot be decoded here')
    decoder = stream.codec_context
    # threads hand out errors at varying moments, and there is a process for each core already
    decoder.thread_type = 'NONE'
    decoder.thread_count = 1
    checks = CHECKS if decoder.codec.name in _REPORTING else f'{CHECKS}+explode'
    # strict: H.264 waits for all frames that may still come earlier, and not for as many as it has seen so far
    decoder.options = {'err_detect': checks, 'strict': '1'}
    return stream


# --- private


@dataclass(frozen=True)
class _Error:
    """A packet that could not be decoded.

    Args:
        place (int): At which it went in.
        number (int): Its frame, -1 where that is not known.
        key (int): The frame of the last key frame that had gone in, -1 likewise.
    """

    place: int
    number: int
    key: int

    def reaches(self, number: int, place: int, shown_key: int) -> bool:
        """Whether a frame may rest on the damage; ``shown_key`` is the place of the last key frame that has come out.

        What went in after a key frame and is shown before it ends with it: no frame behind the key frame rests on that. (Where
        decoding begins at such a key frame, these lack what they rest on.)
        """
        return shown_key <= self.place <= place and not self.number < self.key <= number


def _upright(image: NDArray[np.uint8], frame: Any) -> NDArray[np.uint8]:
    """Turned as the video says; other angles than quarters are left."""
    quarters, rest = divmod(round(frame.rotation), 90)
    return np.ascontiguousarray(np.rot90(image, quarters % 4)) if not rest and quarters % 4 else image
