"""Which frames the videos of a folder have, and which pages its image files, as items of a dataset."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from mmdel.compute.cores import usable_cores
from mmdel.errors import UnreadableImage
from mmdel.images.videos import FrameStep, count_pages, is_video, read_index
from mmdel.images.videos.index import INDEX_DIR


@dataclass(frozen=True)
class ListedVideo:
    """A video and its frames.

    Args:
        key (str): Of the video.
        path (str): It can be opened.
        frames (NDArray[np.int64]): Numbers of the chosen frames, ascending.
    """

    key: str
    path: str
    frames: NDArray[np.int64]


def list_frames(videos: Sequence[tuple[str, str]], step: FrameStep) -> tuple[list[ListedVideo], list[tuple[str, str]]]:
    """Choose frames of videos.

    Args:
        videos (Sequence[tuple[str, str]]): ``(key, path)`` of each.
        step (FrameStep): Which frames.

    Returns:
        tuple: The videos in the same order; and ``(key, reason)`` of those that cannot be used.
    """
    films = sum(is_video(path) for _, path in videos)
    if films:
        print_log(f'{films:,} videos: their packets are read to count the frames, and kept in {INDEX_DIR}', 'current')
    listed, ledger = [], []
    with ThreadPoolExecutor(usable_cores()) as pool:
        found = pool.map(lambda path: _choose(path, step), [path for _, path in videos])
        for (key, path), frames in zip(videos, found, strict=True):
            if isinstance(frames, str):
                ledger.append((key, frames))
            else:
                listed.append(ListedVideo(key, path, frames))
    return listed, ledger


def with_pages(images: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The image files that hold several pictures, in the same order.

    Args:
        images (Sequence[tuple[str, str]]): ``(key, path)`` of each; only those are opened whose ending allows for it.
    """
    with ThreadPoolExecutor(usable_cores()) as pool:
        counts = pool.map(count_pages, [path for _, path in images])
        return [image for image, count in zip(images, counts, strict=True) if count > 1]


def _choose(path: str, step: FrameStep) -> NDArray[np.int64] | str:
    try:
        return step.choose(read_index(path))
    except UnreadableImage as error:
        return error.reason
