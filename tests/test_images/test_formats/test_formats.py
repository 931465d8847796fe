import io

import numpy as np
import pytest
from PIL import Image

from mmdel.images.formats import IMAGE, ending_of, endings, kind_by_first_bytes
from mmdel.images.frames import read_frame


@pytest.mark.parametrize(
    ('name', 'ending'),
    [
        ('a.JPG', '.jpg'),
        ('a.nii.gz', '.nii.gz'),
        ('a.TAR.GZ', '.tar.gz'),
        ('v1.2.gz', '.gz'),
        ('README', ''),
        ('1.2.840.10008', ''),
        ('a.jpg_large', ''),
        ('a.', ''),
        ('.hidden', ''),
    ],
)
def test_ending__is_what_people_take_for_one(name, ending):
    assert ending_of(name) == ending


def encoded(kind):
    file = io.BytesIO()
    Image.fromarray(np.arange(768, dtype=np.uint8).reshape(16, 16, 3)).save(file, kind)
    return file.getvalue()


KINDS = [
    'JPEG',
    'PNG',
    'BMP',
    'TIFF',
    'WEBP',
    'GIF',
    'PPM',
    'JPEG2000',
    pytest.param('AVIF', marks=pytest.mark.reads(pillow='12.3')),
]


@pytest.mark.parametrize('kind', KINDS)
def test_first_bytes__of_every_format_that_is_decoded(kind, tmp_path):
    (tmp_path / 'x').write_bytes(encoded(kind))
    assert kind_by_first_bytes(tmp_path / 'x') == IMAGE
    read_frame(str(tmp_path / 'x'), 10**6)


@pytest.mark.parametrize(
    ('data', 'kind'),
    [(b'', ''), (b'some words', ''), (bytes(128) + b'DICM', 'DICOM'), (bytes(200), ''), (b'%PDF-1.4', '')],
)
def test_first_bytes__of_others(data, kind, tmp_path):
    (tmp_path / 'x').write_bytes(data)
    assert kind_by_first_bytes(tmp_path / 'x') == kind


def test_endings__are_those_that_pillow_decodes_by():
    assert {
        '.jpg',
        '.jpeg',
        '.jpe',
        '.jfif',
        '.png',
        '.apng',
        '.gif',
        '.jp2',
        '.avif',
        '.ppm',
        '.pgm',
        '.tif',
        '.webp',
    } <= endings(videos=False)
    assert endings(videos=False).isdisjoint({'.eps', '.tga', '.pdf', '.dcm', '.mp4', ''})
