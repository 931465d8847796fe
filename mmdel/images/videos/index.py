"""What is in a video file, without decoding it: how many frames, when each is shown, where decoding can begin.

The index comes from the packets of the file, all of which are read once, at the speed of the disk. It is kept below
:data:`INDEX_DIR`, one small file for each video, and made again when the state of the video changes.
"""

import hashlib
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from mmdel.compute import storage
from mmdel.compute.file_state import FileState, file_state
from mmdel.compute.files import atomic
from mmdel.errors import UnreadableImage
from mmdel.images.formats import pages
from mmdel.images.image_file import check_file, plain_words, reading

INDEX_DIR = 'work_dirs/.videos'
"""Where indices are kept between runs; where it cannot be written they are made anew."""

FORMAT = 2
"""Version of the files."""

BUFFER = 1 << 17
"""Bytes that are read at a time."""

PROBED = 32
"""So many frames are decoded to see whether the times in the file are those of the frames."""

CHECKS = 'crccheck+bitstream+buffer'
"""What decoders check. Most of them go on after an error with a picture made up unless they are told to give up, too."""

_REPORTING = ('h264', 'hevc')
"""Decoders that report errors anyway, and would also give up where decoding begins at a key frame inside an open group: the
frame after it names references that are not there and that it does not use."""

# FFmpeg writes what it thinks of a file to the terminal; what matters arrives as exceptions
av.logging.set_level(av.logging.PANIC)


@dataclass(frozen=True)
class VideoIndex:
    """The frames of one video.

    Args:
        timestamps (NDArray[np.int64]): [n], when each frame is shown, ascending, in units of ``time_base``; of length 0 where the
            file does not tell reliably, and frames can only be counted from the start.
        nbytes (NDArray[np.int64]): [n], size of each coded frame.
        keys (NDArray[np.int64]): [k], numbers of the frames at which decoding can begin, ascending; of length 0 without times.
        seconds_per_unit (tuple[int, int]): Numerator and denominator of ``time_base`` in seconds.
        rate (float): Frames a second that the file names, 0 where it does not.
    """

    timestamps: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    keys: NDArray[np.int64]
    seconds_per_unit: tuple[int, int]
    rate: float

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


def read_index(path: str) -> VideoIndex:
    """The index of a video, from :data:`INDEX_DIR` where it is known.

    Args:
        path (str): The video.

    Raises:
        UnreadableImage: The file cannot be used; ``reason`` says why and holds no path.
    """
    check_file(path)
    return _read_index(os.path.abspath(path), file_state(path))


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
        raise UnreadableImage(f'cannot be opened: {_words(error)}') from error


def open_container(file: storage.PatientFile) -> Any:
    """Open a file as a video; what is wrong with it is an UnreadableImage."""
    try:
        return av.open(file, metadata_errors='replace', buffer_size=BUFFER)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UnreadableImage(f'is not a video, or is damaged: {_words(error)}') from error


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


def first_frame(path: str) -> None:
    """Look whether a video can be opened and something of it decoded.

    Raises:
        UnreadableImage: It cannot; ``reason`` says why and holds no path.
    """
    with opened(path) as (container, stream):
        if next(_decoded(container, stream, tolerant=True), None) is None:
            raise UnreadableImage('holds no frame that can be decoded')


# --- private


@lru_cache(maxsize=64)
def _read_index(path: str, known_by: FileState) -> VideoIndex:
    state = np.array([FORMAT, *known_by])
    kept = Path(INDEX_DIR) / f'{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.npz'
    index = _load(kept, state) if known_by.tells else None
    if index is None:
        index = _make(path)
        if known_by.tells:
            _save(kept, state, index)
    return index


def _make(path: str) -> VideoIndex:
    if pages.is_page_file(path):
        return _make_of_pages(path)
    with opened(path) as (container, stream):
        packets = list(_packets(container, stream))
        base = stream.time_base or Fraction(0)
        rate = float(stream.average_rate or stream.guessed_rate or 0)
    if not packets:
        raise UnreadableImage('holds no frame')
    times = [time for time, _, _ in packets]
    timed = bool(base) and None not in times and len(set(times)) == len(times) and _times_are_right(path, set(times))
    order = np.argsort(np.array(times, np.int64)) if timed else np.arange(len(packets))
    nbytes = np.array([size for _, size, _ in packets], np.int64)[order]
    is_key = np.array([key for _, _, key in packets], bool)[order]
    return VideoIndex(
        timestamps=np.array(times, np.int64)[order] if timed else np.empty(0, np.int64),
        nbytes=nbytes,
        keys=np.flatnonzero(is_key) if timed else np.empty(0, np.int64),
        seconds_per_unit=(base.numerator, base.denominator or 1),
        rate=rate,
    )


def _make_of_pages(path: str) -> VideoIndex:
    """Of an image file with several pictures, as if it were a video."""
    with reading(path), open(path, 'rb') as file:
        found = pages.describe(file)
    return VideoIndex(
        timestamps=np.array(found.milliseconds or (), np.int64),
        nbytes=np.array(found.nbytes, np.int64),
        keys=np.arange(len(found.nbytes) if found.apart else 1),
        seconds_per_unit=(1, 1000),
        rate=0,
    )


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


def _load(kept: Path, state: NDArray[np.int64]) -> VideoIndex | None:
    try:
        with np.load(kept, allow_pickle=False) as file:
            if not np.array_equal(file['state'], state):
                return None
            numerator, denominator = file['seconds_per_unit'].tolist()
            arrays = (file['timestamps'], file['nbytes'], file['keys'])
            return VideoIndex(*arrays, (int(numerator), int(denominator)), float(file['rate']))
    except Exception:  # absent, or damaged in whatever way: it is made again
        return None


def _save(kept: Path, state: NDArray[np.int64], index: VideoIndex) -> None:
    try:
        with atomic(kept) as temporary, open(temporary, 'wb') as file:
            np.savez_compressed(file, state=state, **vars(index))
    except OSError:  # a folder that is not ours
        return


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return plain_words(error)
