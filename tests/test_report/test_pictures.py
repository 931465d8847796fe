"""Pictures of image files, and names that must not lead to a file."""

import base64
import os

import cv2
import numpy as np
import pytest

from mmdel.errors import UnreadableImage
from mmdel.report.pictures import PICTURE_BYTES, SIDE, draw, file_below, picture

NOISE = np.random.default_rng(0).integers(0, 256, (600, 900, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    'key',
    [
        '/etc/passwd', '../x.jpg', 'a/../../x.jpg', 'a/..', '..', 'C:\\x.jpg', 'C:x.jpg', '\\\\host\\x', '..\\x.jpg', '\\x.jpg',
        'a\nb.jpg', 'nul\x00.jpg', '\x7f', '\u2028', '\udc80', '', 'x' * 5000,
    ],
)  # fmt: skip
def test_file_below__refuses_what_leads_elsewhere_or_nowhere(key):
    with pytest.raises(UnreadableImage, match='leads out of the image folder|no file can have'):
        file_below('/data/pool', key)


@pytest.mark.parametrize(
    'key', ['a b/é.jpg', '<script>.jpg', '...jpg', 'a/..b/c..jpg', 'clip.avi#000123', "it's; rm -rf $HOME.png"]
)
def test_file_below__stays_below(key):
    path = file_below('/data/pool', key)
    assert path == f'/data/pool/{key}' and os.path.normpath(path).startswith('/data/pool/')


def test_picture__has_the_whole_image_in_its_proportions(tmp_path):
    cv2.imwrite(str(tmp_path / 'wide.png'), NOISE)
    assert picture(str(tmp_path / 'wide.png')).shape == (round(600 * SIDE / 900), SIDE, 3)
    cv2.imwrite(str(tmp_path / 'small.png'), NOISE[:20, :10])
    assert picture(str(tmp_path / 'small.png')).shape == (20, 10, 3)  # never blown up


def test_draw__gives_a_bounded_jpeg_or_a_reason(tmp_path):
    cv2.imwrite(str(tmp_path / 'noise.png'), NOISE)
    (tmp_path / 'empty.jpg').write_bytes(b'')
    paths = {name: str(tmp_path / name) for name in ('noise.png', 'empty.jpg', 'gone.jpg')}
    found = draw([*paths, 'unknown.jpg', 'noise.png'], paths)
    assert list(found) == [*paths, 'unknown.jpg']
    head, _, data = found['noise.png'].uri.partition(',')
    data = base64.b64decode(data)
    assert head == 'data:image/jpeg;base64' and len(data) <= PICTURE_BYTES
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[1] == SIDE
    assert [found[name].uri for name in ('empty.jpg', 'gone.jpg', 'unknown.jpg')] == [None] * 3
    assert 'empty' in found['empty.jpg'].problem and 'exist' in found['gone.jpg'].problem


def test_draw__refuses_a_pipe_and_a_device(tmp_path):
    os.mkfifo(tmp_path / 'pipe.jpg')
    assert 'not a regular file' in draw(['p'], {'p': str(tmp_path / 'pipe.jpg')})['p'].problem
