"""Frames of videos, and pages of image files, as images that nobody has extracted.

The path of a frame is the path of its video, ``#``, and its number of at least six digits: ``clip.avi#000123``. Frames
are counted from 0 in the order in which a decoder hands them out that starts at the beginning. So are the pages of a TIFF file
and the frames of an animated GIF, WebP, PNG or AVIF, ``stack.tif#000003``; such a file with a single one is an image.

    index = read_index('data/pool/clip.avi')              # how many frames there are, and when; nothing is decoded
    numbers = FrameStep('2fps').choose(index)             # which of them to use
    image, nbytes = read('data/pool/clip.avi', 123, max_pixels=100_000_000)

The pixels of a frame are the same however it was reached, and a frame that rests on damaged data is none: see
:mod:`mmdel.images.videos.reader`.
"""

from mmdel.images.videos.index import VideoIndex, first_frame, read_index
from mmdel.images.videos.names import SUFFIXES, frame_at, frame_path, is_video, split_frame
from mmdel.images.videos.page_files import count_pages
from mmdel.images.videos.reader import cuts, open_maximum, read
from mmdel.images.videos.sampling import FrameStep

__all__ = [
    'SUFFIXES',
    'FrameStep',
    'VideoIndex',
    'count_pages',
    'cuts',
    'first_frame',
    'frame_at',
    'frame_path',
    'is_video',
    'open_maximum',
    'read',
    'read_index',
    'split_frame',
]
