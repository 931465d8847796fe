"""Frames of videos and pages of image files, whatever their format, as images that nobody has extracted.

    index = read_index('data/pool/clip.avi')              # how many frames there are, and when; nothing is decoded
    image, nbytes = read('data/pool/clip.avi', 123, max_pixels=100_000_000)

Indices are kept below :data:`INDEX_DIR`, one small file for each video, and made again when the state of the video changes. A
thread keeps open what it read last. The pixels of a frame are the same however it was reached, and a frame that rests on damaged
data is none.
"""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdel.compute.files import FileState, atomic, file_state
from mmdel.errors import StorageError, UnreadableImage
from mmdel.images import formats
from mmdel.images.formats.format import FrameFormat, FrameIndex, FrameReader
from mmdel.images.reasons import check_file

INDEX_DIR = 'work_dirs/.videos'
"""Where indices are kept between runs; where it cannot be written they are made anew."""

FORMAT = 2
"""Version of the files."""

OPEN_FILES = 4
"""Files that a thread keeps open."""

LONGEST_RUN = 256
"""Frames that are read at once at most, where no key frame comes."""


@contextmanager
def indices_in(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keep indices in another folder meanwhile. It holds for the whole process, so one caller at a time may be inside."""
    global INDEX_DIR
    before, INDEX_DIR = INDEX_DIR, os.fspath(folder)
    try:
        yield
    finally:
        INDEX_DIR = before


def read_index(path: str) -> FrameIndex:
    """The index of a video or image file, from :data:`INDEX_DIR` where it is known.

    Raises:
        UnreadableImage: The file cannot be used; ``reason`` says why and holds no path.
        StorageError: The storage failed.
    """
    check_file(path)
    return _read_index(os.path.abspath(path), file_state(path))


def read(path: str, number: int, max_pixels: int, max_value: int | None = None) -> tuple[NDArray[np.uint8], int]:
    """One frame of a video, or page of an image file.

    Args:
        path (str): The video or image file.
        number (int): Of the frame, from 0.
        max_pixels (int): Width times height above which it is refused.
        max_value (int, optional): White in 16-bit pages that do not say it themselves. Defaults to None: 65,535.

    Returns:
        tuple: The frame, uint8 [H, W, 3], BGR, upright; and the bytes that it takes in the video.

    Raises:
        UnreadableImage: There is no such frame, or it cannot be decoded in full; ``reason`` holds no path.
        StorageError: The storage failed.
    """
    with _using(path, number) as (reader, index):
        return reader.read(number, max_pixels, max_value), int(index.nbytes[number])


def open_maximum(path: str, number: int, max_pixels: int) -> int | None:
    """The largest value of a page that does not say what white is, None for every other one; raises as :func:`read` does."""
    with _using(path, number) as (reader, _):
        return reader.open_maximum(number, max_pixels)


def cuts(paths: Sequence[str], step: int) -> list[int]:
    """Where a list of images and frames may be cut, so that several processes can read the parts and none decodes twice.

    Args:
        paths (Sequence[str]): Paths of images and of frames.
        step (int): How long a part should be.

    Returns:
        list[int]: Ascending places from 0 to ``len(paths)``. Images are cut after each ``step``; frames of one video at the next
        place where decoding can begin.
    """
    places = [0]
    video, index, key = '', None, -1
    for place, path in enumerate(paths):
        length = place - places[-1]
        frame = formats.split_frame(path)
        if frame is None or frame[0] != video:
            before = video
            video = '' if frame is None else frame[0]
            index = _index_of(video) if video else None
            begins = bool(video or before) or length >= step
        else:
            begins = length >= LONGEST_RUN
        if frame is not None and index is not None:
            last, key = key, index.key_before(frame[1])
            begins |= key != last and length >= step
        if begins and length:
            places.append(place)
    return [*places, len(paths)] if len(paths) else places


# --- private


@contextmanager
def _using(path: str, number: int) -> Iterator[tuple[FrameReader, FrameIndex]]:
    """The reader of a file that has such a frame; this thread keeps it open, unless the storage fails."""
    check_file(path)
    state = file_state(path)
    opened: OrderedDict[str, tuple[FileState, FrameReader, FrameIndex]] = _open.__dict__.setdefault(
        'files', OrderedDict()
    )
    known = opened.pop(path, None)
    if known is None or known[0] != state:
        index = read_index(path)
        known = (state, _format(path).reader(path, index), index)
    opened[path] = known
    while len(opened) > OPEN_FILES:
        opened.popitem(last=False)
    _, reader, index = known
    if not 0 <= number < index.count:
        raise UnreadableImage(f'has no frame {number}: it has {index.count:,}, counted from 0')
    try:
        yield reader, index
    finally:
        try:
            reader.check()
        except StorageError:
            del opened[path]
            raise


def _format(path: str) -> FrameFormat:
    """What reads a file frame by frame; a name that does not tell is taken for that of a video."""
    found = formats.of(path)
    return found if isinstance(found, FrameFormat) else formats.VIDEO


@lru_cache(maxsize=64)
def _read_index(path: str, known_by: FileState) -> FrameIndex:
    state = np.array([FORMAT, *known_by])
    kept = Path(INDEX_DIR) / f'{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.npz'
    index = _load(kept, state) if known_by.tells else None
    if index is None:
        index = _format(path).index(path)
        if known_by.tells:
            _save(kept, state, index)
    return index


def _index_of(file: str) -> FrameIndex | None:
    try:
        return read_index(file)
    except UnreadableImage:
        return None


def _load(kept: Path, state: NDArray[np.int64]) -> FrameIndex | None:
    try:
        with np.load(kept, allow_pickle=False) as file:
            if not np.array_equal(file['state'], state):
                return None
            numerator, denominator = file['seconds_per_unit'].tolist()
            arrays = (file['timestamps'], file['nbytes'], file['keys'])
            return FrameIndex(*arrays, (int(numerator), int(denominator)), float(file['rate']))
    except Exception:  # absent, or damaged in whatever way: it is made again
        return None


def _save(kept: Path, state: NDArray[np.int64], index: FrameIndex) -> None:
    try:
        with atomic(kept) as temporary, open(temporary, 'wb') as file:
            np.savez_compressed(file, state=state, **vars(index))
    except OSError:  # a folder that is not ours
        return


_open = threading.local()
_inherited: list[Any] = []


def _forget() -> None:
    """A child process shares the place in every open file with its parent, so it opens them anew."""
    global _open
    # kept, not closed: some decoders would wait for threads of their own, which only the parent has
    _inherited.append(_open)
    _open = threading.local()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget)
