"""What a file is, by its ending; where it has none, by its first bytes.

ending_of('scan.NII.GZ')                  # '.nii.gz'
ending_of('1.2.840.10008')                # '': digits after a dot are part of a name
kind_by_first_bytes('pool/IM000001')      # 'DICOM'
"""

import functools
import os
import re

from PIL import Image

# Pillow also registers formats that start programs (EPS) or have no signature (TGA); only these are opened
FORMATS = ('JPEG', 'PNG', 'BMP', 'DIB', 'TIFF', 'WEBP', 'GIF', 'PPM', 'JPEG2000', 'AVIF')
"""What is decoded, as Pillow calls it."""

IMAGE = 'image'

FOREIGN = {
    '.dcm': 'DICOM',
    '.dicom': 'DICOM',
    '.nii': 'NIfTI',
    '.nii.gz': 'NIfTI',
    '.nrrd': 'NRRD',
    '.mha': 'MetaImage',
    '.mhd': 'MetaImage',
    '.svs': 'whole-slide image',
    '.ndpi': 'whole-slide image',
    '.mrxs': 'whole-slide image',
    '.scn': 'whole-slide image',
    '.czi': 'microscopy image',
    '.lif': 'microscopy image',
    '.nd2': 'microscopy image',
    '.heic': 'HEIC',
    '.heif': 'HEIC',
}
"""Images that are not read here, by their ending."""

_ENDING = re.compile(r'\.(?:[a-z][a-z0-9]{0,7}|7z|3gp)')
_PACKED = ('.gz', '.bz2', '.xz')
_HEAD = 132


@functools.cache
def image_endings() -> frozenset[str]:
    """Endings of the files that can be decoded, lower case, with their dot."""
    Image.init()
    # a JPEG by other names; Pillow knows them by their content only
    return frozenset({ending for ending, name in Image.EXTENSION.items() if name in FORMATS} | {'.jif', '.jfi', '.mpo'})


def ending_of(name: str) -> str:
    """The ending of a file name, lower case, with its dot; '' where what follows the last dot is part of the name."""
    stem, ending = os.path.splitext(name.lower())
    if not _ENDING.fullmatch(ending):
        return ''
    if ending in _PACKED and _ENDING.fullmatch(inner := os.path.splitext(stem)[1]):
        return inner + ending
    return ending


def kind_by_first_bytes(path: str | os.PathLike[str]) -> str:
    """:data:`IMAGE` for what can be decoded, 'DICOM', or '' for everything else.

    Raises:
        OSError: The file cannot be read.
    """
    with open(path, 'rb') as file:
        head = file.read(_HEAD)
    if head[128:] == b'DICM':
        return 'DICOM'
    return IMAGE if any(accept(head[:16]) for accept in _signatures()) else ''


@functools.cache
def _signatures() -> list:
    Image.init()
    # a DIB is a BMP without its signature
    return [Image.OPEN[name][1] for name in FORMATS if name in Image.OPEN and name != 'DIB']
