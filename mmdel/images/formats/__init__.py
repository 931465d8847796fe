"""The formats of image files: which one a file has, by its ending or its first bytes, and what a `#` in a path means.

    of('clips/a.avi')                         # Video()
    ending_of('scan.NII.GZ')                  # '.nii.gz'
    ending_of('1.2.840.10008')                # '': digits after a dot are part of a name
    kind_by_first_bytes('pool/IM000001')      # 'DICOM'
    split_frame('clip.avi#000123')            # ('clip.avi', 123)

Each format is one file here, see :class:`~mmdel.images.formats.format.Format`, and everyone else asks :data:`FORMATS`.

The path of a frame of a video, or of a page of an image file, is the path of the file, ``#``, and its number of at least six
digits. Frames are counted from 0 in the order in which a decoder hands them out that starts at the beginning.
"""

import functools
import os
import re
from collections.abc import Mapping
from typing import Any

from mmdel.compute import storage
from mmdel.errors import UnreadableImage
from mmdel.images.formats.format import Format, FrameFormat, PictureFormat
from mmdel.images.formats.pages import Pages
from mmdel.images.formats.raster import Raster
from mmdel.images.formats.video import Video
from mmdel.subset import VIDEO_FRAME

VIDEO, RASTER = Video(), Raster()

FORMATS: tuple[Format, ...] = (VIDEO, Pages(), RASTER)
"""An ending belongs to the first that has it."""

IMAGE = 'image'

_FOREIGN = {
    'DICOM': '.dcm .dicom',
    'NIfTI': '.nii .nii.gz',
    'NRRD': '.nrrd',
    'MetaImage': '.mha .mhd',
    'whole-slide image': '.svs .ndpi .mrxs .scn',
    'microscopy image': '.czi .lif .nd2',
    'HEIC': '.heic .heif',
}
FOREIGN = {ending: kind for kind, endings in _FOREIGN.items() for ending in endings.split()}
"""Images that are not read here, by their ending."""

HEAD = 132
"""Bytes that tell a format."""

_ENDING = re.compile(r'\.(?:[a-z][a-z0-9]{0,7}|7z|3gp)')
PACKED = ('.gz', '.bz2', '.xz')
"""Endings behind which another one tells what a file is."""


def endings(videos: bool) -> frozenset[str]:
    """Endings of the files that can be decoded, of videos or of images, lower case, with their dot."""
    return frozenset(ending for ending, each in _by_ending(FORMATS).items() if each.is_video == videos)


def of(name: str) -> Format | None:
    """The format of a file by its ending."""
    known = _by_ending(FORMATS)
    dot = name.rfind('.')
    # of millions of names nearly all end plainly
    plain = known.get(name[dot:].lower()) if name[dot - 1 : dot] not in ('', '.', '/', os.sep) else None
    return plain or known.get(ending_of(name))


def accepting(head: bytes) -> PictureFormat | None:
    """The format of a file that is one picture, by its first bytes."""
    return next((each for each in FORMATS if isinstance(each, PictureFormat) and each.accepts(head)), None)


def is_video(name: str) -> bool:
    """Whether a file is a video by its ending, so that only its frames are images."""
    found = of(name)
    return found is not None and found.is_video


def may_have_pages(name: str) -> bool:
    """Whether a file is by its ending an image, or several."""
    found = of(name)
    return isinstance(found, FrameFormat) and not found.is_video


def ending_of(name: str) -> str:
    """The ending of a file name, lower case, with its dot; '' where what follows the last dot is part of the name."""
    stem, ending = os.path.splitext(name.lower())
    if not _ENDING.fullmatch(ending):
        return ''
    if ending in PACKED and _ENDING.fullmatch(inner := os.path.splitext(stem)[1]):
        return inner + ending
    return ending


def kind_by_first_bytes(path: str | os.PathLike[str]) -> str:
    """:data:`IMAGE` for what can be decoded, 'DICOM', or '' for everything else.

    Raises:
        OSError: The file cannot be read.
    """
    with open(path, 'rb') as file:
        head = file.read(HEAD)
    if accepting(head):
        return IMAGE
    return 'DICOM' if head[128:] == b'DICM' else ''


def metadata(path: str) -> Mapping[str, Any]:
    """What the file of an image or frame tells of it, see :meth:`Format.metadata`; of a damaged one reading says in what way."""
    frame = split_frame(path)
    file = frame[0] if frame else path
    found = of(file)
    try:
        return found.metadata(file) if found else {}
    except UnreadableImage:
        return {}


def frame_path(file: str, number: int) -> str:
    """The path, or the key, of one frame."""
    return f'{file}#{number:06d}'


def split_frame(path: str) -> tuple[str, int] | None:
    """The video or image file and the number that the path, or key, of a frame or page names; None for every other path."""
    if '#' not in path:
        return None
    match = VIDEO_FRAME.fullmatch(path)
    if match is None or not isinstance(of(match['video']), FrameFormat):
        return None
    return match['video'], int(match['frame'])


def frame_at(path: str) -> tuple[str, int] | None:
    """As :func:`split_frame`, but None for a file that is called so itself."""
    frame = split_frame(path)
    return None if frame is None or storage.is_file(path) else frame


@functools.cache
def _by_ending(formats: tuple[Format, ...]) -> dict[str, Format]:
    return {ending: each for each in reversed(formats) for ending in each.endings}
