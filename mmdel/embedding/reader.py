"""Files become batches of equal images, in worker processes, while the model is busy with the batch before.

Frames of videos are files here like any other: their state is the video's, and a worker gets a run of them that it decodes once.

The first transform of a pipeline is the loader: what it raises, or ``None`` that it returns, is the *file's* outcome and becomes
a reason. What a later transform raises is a bug or a wrong config and ends the run.
"""

import ctypes
import gc
import itertools
import logging
import math
import multiprocessing
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch
from mmengine.logging import print_log
from numpy.typing import NDArray
from torch import Tensor

from mmdel.compute import files, storage
from mmdel.compute.cores import usable_cores
from mmdel.compute.files import NO_FILE, FileState
from mmdel.embedding import reading_processes
from mmdel.errors import ConfigError, MmdelError, StorageError
from mmdel.images import frame_files, frames, reasons
from mmdel.images.frames import content_of

MAX_WORKERS = 4
"""Workers unless a number is given: four decode faster than all but large GPUs embed."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class FileNote:
    """What is known of one file after it was read.

    Args:
        state (FileState): Of the file just before reading, :data:`~mmdel.compute.files.NO_FILE` where the outcome should
            not be remembered.
        content (bytes, optional): What it held, see :func:`~mmdel.images.frames.content_of`; None where it may have
            changed while it was read.
        reason (str, optional): Why it cannot be used; None if it can.
        width, height, bytes: Of the image in the file, upright; None if it cannot be used.
        sharpness: Of the image as loaded, which a loader may have reduced; likewise.
    """

    state: FileState
    content: bytes | None = None
    reason: str | None = None
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    sharpness: float | None = None


@dataclass(frozen=True)
class Batch:
    """Files as the model gets them.

    Args:
        images (Tensor): uint8 [B, S, S, 3], BGR; zeros where a file cannot be used and after the last file.
        notes (list[FileNote]): One for each file.
    """

    images: Tensor
    notes: list[FileNote]


def read_batches(
    groups: Iterable[Sequence[pa.Array]],
    transforms: Sequence[Any],
    batch_size: int,
    size: int,
    num_workers: int | None,
) -> Generator[Batch, None, None]:
    """Read batches of files in order.

    Args:
        groups (Iterable[Sequence[pa.Array]]): Batches of paths, at most ``batch_size`` in each, in groups that are asked for
            when they are next. A run of frames of one video that are in one group is decoded once.
        transforms (Sequence): Built transforms, the loader first.
        batch_size (int): Every batch is filled up to this, so that the model always sees the same shape.
        size (int): Side of the images.
        num_workers (int, optional): Processes that read; 0 reads in this one. Defaults to None: as many as cores, at
            most 4.

    Raises:
        MmdelError: A transform gives something that is no image; the storage fails for many files; or a worker has died.
    """
    if num_workers is None:
        num_workers = min(MAX_WORKERS, usable_cores())
    # every worker reads a part of each batch: one that read all of it would slow down one of the model's threads, and so
    # all of them, for longer
    step = math.ceil(batch_size / max(1, num_workers))
    for_workers, for_batches = itertools.tee(groups)
    parts = (part for group in for_workers for run, is_video in _runs(group) for part in _cut(run, step, is_video))
    stream = _ahead(_Parts(transforms, size), parts, num_workers)
    failed: list[str] = []
    try:
        part, used = Part(np.empty((0, size, size, 3), np.uint8), []), 0
        for batch in itertools.chain.from_iterable(for_batches):
            images = torch.zeros((batch_size, size, size, 3), dtype=torch.uint8)
            notes: list[FileNote] = []
            while len(notes) < len(batch):
                if used == len(part.notes):
                    part, used = next(stream), 0
                    failed += part.failed
                taken = slice(used, used + min(len(batch) - len(notes), len(part.notes) - used))
                images[len(notes) : len(notes) + taken.stop - taken.start] = torch.from_numpy(part.images[taken])
                notes += part.notes[taken]
                used = taken.stop
            yield Batch(images, notes)
    finally:
        # a traceback may keep the stream alive; its workers end now all the same, and are not left to a later fork
        stream.close()
        if failed:
            print_log(
                f'{len(failed):,} files could not be read because the storage failed, first {failed[0]}. This is not remembered: '
                'the same command tries them again.',
                logger='current',
                level=logging.WARNING,
            )


def _ahead(read: '_Parts', parts: Iterator[list[str]], num_workers: int) -> Generator['Part', None, None]:
    """The parts in order, read by other processes where there are to be some and the machine gives them."""
    # a daemonic process, such as a worker of a pool or of a DataLoader, may have no children
    if num_workers and not multiprocessing.current_process().daemon:
        kept, parts = itertools.tee(parts)
        # a worker must not clear away what it inherits: a frame of a video, for one, waits there for threads that it lacks
        gc.freeze()
        try:
            return reading_processes.in_order(
                read, kept, num_workers, _prepare_worker, lambda part, place: part[min(place, len(part) - 1)]
            )
        except OSError as error:
            print_log(
                f'The system gives no processes for reading ({error.strerror}); images are read in this one, which takes longer.',
                logger='current',
                level=logging.WARNING,
            )
        finally:
            gc.unfreeze()
    return (read(part, lambda place: None) for part in parts)


def _runs(batches: Sequence[pa.Array]) -> Iterator[tuple[pa.Array, bool]]:
    """Batches of image files one by one; those with video frames joined, since a run of frames does not end with a batch."""
    for is_video, group in itertools.groupby(batches, lambda batch: any('#' in path for path in batch.to_pylist())):
        if is_video:
            yield pa.concat_arrays(list(group)), True
        else:
            yield from ((batch, False) for batch in group)


def _cut(paths: pa.Array, step: int, is_video: bool) -> Iterator[list[str]]:
    places = frame_files.cuts(paths.to_pylist(), step) if is_video else [*range(0, len(paths), step), len(paths)]
    for start, stop in itertools.pairwise(places):
        yield paths[start:stop].to_pylist()


@dataclass(frozen=True)
class Part:
    """What a worker gives back.

    Args:
        images (NDArray[np.uint8]): [n, S, S, 3], BGR; zeros where a file cannot be used.
        notes (list[FileNote]): One for each file.
        failed (list[str]): Files that the storage did not give. Defaults to [].
    """

    images: NDArray[np.uint8]
    notes: list[FileNote]
    failed: list[str] = field(default_factory=list)


class _Parts:
    """Reads lists of paths."""

    def __init__(self, transforms: Sequence[Any], size: int) -> None:
        self._transforms = transforms
        self._size = size
        self._losses = storage.Losses()

    def __call__(self, paths: list[str], note: Callable[[int], None]) -> Part:
        part = Part(np.zeros((len(paths), self._size, self._size, 3), np.uint8), [])
        for place, (slot, path) in enumerate(zip(part.images, paths, strict=True)):
            note(place)
            try:
                part.notes.append(_read_into(slot, path, self._transforms))
                self._losses.good()
            except StorageError as error:
                self._losses.add(error)
                part.notes.append(FileNote(NO_FILE, reason=error.reason))
                part.failed.append(path)
        return part


def _read_into(slot: NDArray[np.uint8], path: str, transforms: Sequence[Any]) -> FileNote:
    # the state before reading: a file that changes meanwhile is found changed the next time
    state = file_state(path)
    content = content_of(path)
    loader, *others = transforms
    try:
        results = storage.patiently(path, lambda: loader({'img_path': path}))
        reason = None if results is not None else f'{type(loader).__name__} gives no image'
    except (MmdelError, MemoryError):
        raise
    except Exception as error:  # whatever the loader raises is this file's outcome
        results, reason = None, reasons.reason_of(error, path)
    if results is None:
        # what is wrong with the contents stays wrong until they change; a lacking permission does not
        return (
            FileNote(state, _if_certain(content, path, state), reason)
            if _opens(path)
            else FileNote(NO_FILE, reason=reason)
        )
    image = _image(results, loader, path)
    height, width = results.get('ori_shape', image.shape)[:2]
    nbytes = results.get('nbytes', state.size)
    sharpness = frames.sharpness(image, getattr(loader, 'reduce_to', None))
    for transform in others:
        results = transform(results)
        if results is None:
            raise ConfigError(
                f'{type(transform).__name__} in the embedder pipeline gives nothing for {path}; leave it out.'
            )
    image = _image(results, transforms[-1], path)
    if image.shape != slot.shape:
        image = frames.resize(image, slot.shape[1], slot.shape[0])
    slot[:] = image
    return FileNote(state, _if_certain(content, path, state), None, width, height, nbytes, sharpness)


def file_state(path: str, losses: storage.Losses | None = None) -> FileState:
    """As :func:`mmdel.compute.files.file_state`, of the file that holds an image or frame.

    Args:
        path (str): Of an image.
        losses (Losses, optional): Counts where the storage does not tell, which is no file, too. Defaults to None: it raises.

    Raises:
        StorageError: The storage failed; with ``losses``, for many files.
    """
    try:
        state = files.file_state(frames.file_of(path))
    except StorageError as error:
        if losses is None:
            raise
        losses.add(error)
        return NO_FILE
    if losses is not None:
        losses.good()
    return state


def _if_certain(content: bytes | None, path: str, state: FileState) -> bytes | None:
    """The content, if the file is still what it was before: else something other may have been loaded."""
    return content if file_state(path) == state else None


def _opens(path: str) -> bool:
    def begin() -> bool:
        with open(frames.file_of(path), 'rb') as file:
            file.read(1)
        return True

    try:
        return storage.patiently(path, begin)
    except (OSError, ValueError):
        return False


def _image(results: dict[str, Any], transform: Any, path: str) -> NDArray[Any]:
    """The image that a transform left, uint8 [H, W, 3], BGR; packing transforms leave it as ``inputs`` [3, H, W]."""
    image = results.get('img')
    if image is None and isinstance(inputs := results.get('inputs'), Tensor) and inputs.ndim == 3:
        image = np.ascontiguousarray(inputs.permute(1, 2, 0).numpy())
    if isinstance(image, np.ndarray) and image.dtype == np.uint8:
        if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        if image.ndim == 3 and image.shape[2] == 3 and image.size:
            return image
    found = f'{image.dtype} {image.shape}' if isinstance(image, np.ndarray) else type(image).__name__
    raise ConfigError(
        f'{type(transform).__name__} in the embedder pipeline gives {found} for {path}, not uint8 [H, W, 3]. Scaling by mean '
        'and std is done by the embedder; mmdel.LoadFrame loads every kind of image as uint8.'
    )


def _prepare_worker() -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # what Pillow thinks of odd metadata is printed once for each worker, into the progress bar
    warnings.filterwarnings('ignore', module='PIL')
    if not sys.platform.startswith('linux'):
        return
    libc = ctypes.CDLL(None)
    # glibc maps and unmaps every large buffer; the page faults cost more than decoding
    if hasattr(libc, 'mallopt'):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 1 << 30)
    # an orphan would hold the lock of the store, which it inherits, until it notices that its parent was killed
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
