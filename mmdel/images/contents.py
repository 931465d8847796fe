"""What a file holds, as 16 bytes that tell it from every other."""

import functools
import hashlib

from mmdel.compute.files import FileState, file_digest, file_state
from mmdel.images.frames import file_of

CONTENT_BYTES = 16


def content_of(path: str) -> bytes | None:
    """16 bytes that tell the contents of an image file, or of a video and the number of the frame in it.

    All of the file is read, a video once for all of its frames.

    Args:
        path (str): The file or frame.

    Returns:
        bytes, optional: None where there is nothing to read. (A pipe is never opened.)
    """
    file = file_of(path)
    state = file_state(file)
    if state.size <= 0:
        return None
    if file == path:
        return digest_of(path)
    whole = _digest_of_video(file, state)
    return whole and hashlib.sha256(whole + path[len(file) :].encode()).digest()[:CONTENT_BYTES]


def digest_of(path: str) -> bytes | None:
    """The first 16 bytes of the sha256 of a file; None where it cannot be read."""
    try:
        return bytes.fromhex(file_digest(path))[:CONTENT_BYTES]
    except (OSError, ValueError):
        return None


@functools.lru_cache(maxsize=4096)
def _digest_of_video(path: str, state: FileState) -> bytes | None:
    """As :func:`digest_of`, once for as long as the state of the file stays."""
    return digest_of(path)
