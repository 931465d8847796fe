"""How a frame of a video, or a page of an image file, is named: here alone is decided what a `#` in a path means."""

import os

from mmdel.compute import storage
from mmdel.images.formats.pages import is_page_file
from mmdel.subset import VIDEO_FRAME

SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv')
"""Endings of video files; upper case counts, too."""


def is_video(name: str) -> bool:
    """Whether a file is a video by its ending."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def frame_path(video: str, number: int) -> str:
    """The path, or the key, of one frame."""
    return f'{video}#{number:06d}'


def split_frame(path: str) -> tuple[str, int] | None:
    """The video or image file and the number that the path, or key, of a frame or page names; None for every other path."""
    if '#' not in path:
        return None
    match = VIDEO_FRAME.fullmatch(path)
    if match is None or not (is_video(match['video']) or is_page_file(match['video'])):
        return None
    return match['video'], int(match['frame'])


def frame_at(path: str) -> tuple[str, int] | None:
    """As :func:`split_frame`, but None for a file that is called so itself."""
    frame = split_frame(path)
    return None if frame is None or storage.is_file(path) else frame
