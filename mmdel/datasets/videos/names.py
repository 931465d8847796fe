"""How a frame of a video is named."""

import os

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
    """The video and the number that the path of a frame names; None for every other path."""
    if '#' not in path:
        return None
    match = VIDEO_FRAME.fullmatch(path)
    return (match['video'], int(match['frame'])) if match and is_video(match['video']) else None
