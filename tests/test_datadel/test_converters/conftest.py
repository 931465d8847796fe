"""The native forms of the fourteen datasets, small: three images each, and what the publishers put beside them."""

import functools
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

SIZE = (8, 6)
CUID = 'cj{:0>23}'


def picture(level: int = 80, size: tuple[int, int] = SIZE, kind: str = 'JPEG') -> bytes:
    stream = io.BytesIO()
    Image.new('RGB', size, (level, 10, 20)).save(stream, kind)
    return stream.getvalue()


@functools.cache
def film(kind: str) -> bytes:
    """A video of two frames."""
    stream = io.BytesIO()
    with av.open(stream, 'w', format=kind) as container:
        video = container.add_stream('mpeg4', rate=25)
        video.width, video.height, video.pix_fmt = 16, 16, 'yuv420p'
        for number in range(2):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 90 * number, np.uint8), 'bgr24')
            container.mux(video.encode(frame))
        container.mux(video.encode())
    return stream.getvalue()


def mask(top: int = 3, size: tuple[int, int] = SIZE, kind: str = 'PNG') -> bytes:
    """The upper rows are foreground."""
    values = np.zeros(size[::-1], np.uint8)
    values[:top] = 255
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, kind)
    return stream.getvalue()


def channels(*rows: tuple[int, int], size: tuple[int, int] = SIZE) -> bytes:
    """A TIFF of one page a class, foreground in the given rows."""
    pages = []
    for first, last in rows:
        values = np.zeros(size[::-1], np.uint8)
        values[first:last] = 255
        pages.append(Image.fromarray(values))
    stream = io.BytesIO()
    pages[0].save(stream, 'TIFF', save_all=True, append_images=pages[1:])
    return stream.getvalue()


def native() -> dict[str, dict[str, bytes]]:
    """For each dataset the files of a download, with the outer folder it is published with."""
    three = range(1, 4)
    jpg = {number: picture(number * 20) for number in three}
    tif = {number: picture(number * 20, kind='TIFF') for number in three}
    trees: dict[str, dict[str, bytes]] = {
        'gastrovision': {
            'Gastrovision/Pylorus/a.jpg': jpg[1],
            'Gastrovision/Ulcer/a.jpg': jpg[2],
            'Gastrovision/Cecum/b.jpg': jpg[3],
        },
        'hyper-kvasir': {
            'labeled-images/lower-gi-tract/anatomical-landmarks/cecum/a.jpg': jpg[1],
            'labeled-images/image-labels.csv': b'x',
            'unlabeled-images/images/b.jpg': jpg[2],
            'labeled-videos/upper-gi-tract/x/c.avi': film('avi'),
            'segmented-images/images/' + CUID.format(1) + '.jpg': jpg[1],
            'segmented-images/masks/' + CUID.format(1) + '.jpg': mask(kind='JPEG'),
        },
        'kvasir-capsule': {
            'labelled_images/Pylorus/0123456789abcdef_7.jpg': jpg[1],
            'labelled_images/Ulcer/0123456789abcdef_8.jpg': jpg[2],
            'labelled_videos/0123456789abcdef.mp4': film('mp4'),
            'unlabelled_videos/fedcba9876543210.mp4': film('mp4'),
        },
        'edd2020': {'EndoCV2020-data/class_list.txt': b'BE\n', 'EndoCV2020-data/bbox/EDD2020_1.txt': b''},
        'ead2019': {'EAD2019/frames/only_detection.jpg': jpg[1], 'EAD2019/frames/only_detection.txt': b'0 0 0 1 1'},
        'polypgen': {'PolypGen2021_MultiCenterData_v3/sequenceData/negativeOnly/seq1_neg/n.jpg': jpg[1]},
        'cvc-clinicdb': {},
        'cvc-300': {},
        'cvc-colondb': {},
        'etis': {},
        'imageclefmed': {'ImageCLEFmed-2023/gt.json': b'{}'},
        'kvasir-instrument': {
            'kvasir-instrument/train.txt': b'\n'.join(b'ck%023d' % number for number in (1, 2)),
            'kvasir-instrument/test.txt': b'ck%023d' % 3,
            'kvasir-instrument/bboxes.json': b'{}',
        },
        'kvasir-seg': {'Kvasir-SEG/kavsir_bboxes.json': b'{}'},
        'kvasir-sessile': {},
    }
    for number in three:
        name, instrument = CUID.format(number), f'ck{number:0>23}'
        half = mask(number)
        clinic = f'CVC-ClinicDB/{{}}/{number * 50}.tif'  # in three sequences
        trees['cvc-clinicdb'] |= {
            clinic.format('Original'): tif[number],
            clinic.format('Ground Truth'): mask(kind='TIFF'),
        }
        for dataset, folder in (('cvc-300', 'CVC-300'), ('cvc-colondb', 'CVC-ColonDB')):
            root = f'TestDataset/{folder}'
            trees[dataset] |= {
                f'{root}/images/{number}.png': picture(number, kind='PNG'),
                f'{root}/masks/{number}.png': half,
            }
        etis = 'ETIS-LaribPolypDB'
        trees['etis'] |= {
            f'{etis}/{etis}/{number}.tif': tif[number],
            f'{etis}/Ground Truth/p{number}.tif': mask(kind='TIFF'),
        }
        trees['imageclefmed'] |= {
            f'ImageCLEFmed-2023/images/{number}.jpg': jpg[number],
            f'ImageCLEFmed-2023/masks/{number}_mask.png': half,
        }
        for dataset, root in (('kvasir-seg', 'Kvasir-SEG'), ('kvasir-sessile', 'sessile-main-Kvasir-SEG')):
            trees[dataset] |= {f'{root}/images/{name}.jpg': jpg[number], f'{root}/masks/{name}.jpg': mask(kind='JPEG')}
        trees['kvasir-instrument'] |= {
            f'kvasir-instrument/images/{instrument}.jpg': jpg[number],
            f'kvasir-instrument/masks/{instrument}.png': half,
        }
        edd = 'EndoCV2020-data'
        trees['edd2020'] |= {
            f'{edd}/originalImages/EDD2020_{number}.jpg': jpg[number],
            f'{edd}/masks/EDD2020_{number}_BE.tif': mask(4, kind='TIFF'),
            f'{edd}/masks/EDD2020_{number}_HGD.tif': mask(2, kind='TIFF'),
        }
        trees['ead2019'] |= {
            f'EAD2019/frames/{number}.jpg': jpg[number],
            f'EAD2019/masks/{number}_mask.tif': channels((0, 1), (1, 3), (0, 6), (4, 5), (3, 6)),
        }
        polyps = 'PolypGen2021_MultiCenterData_v3'
        places = (('data_C1', 'C1'), ('data_C2', 'C2'), ('sequenceData/positive/seq1_C3', 'seq1_C3'))
        for shade, (where, part) in enumerate(places):  # equal files would be one group
            trees['polypgen'] |= {
                f'{polyps}/{where}/images_{part}/{number}.jpg': picture(number * 60 + shade * 20),
                f'{polyps}/{where}/masks_{part}/{number}_mask.jpg': mask(kind='JPEG'),
                f'{polyps}/{where}/bbox_{part}/{number}.txt': b'',
                f'{polyps}/imagesAll_positive/{part}_{number}.jpg': jpg[number],
            }
    return trees


@pytest.fixture(scope='session')
def trees() -> dict[str, dict[str, bytes]]:
    return native()


def lay_out(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, bytes], mode: str = 'w:gz') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1_600_000_000
            archive.addfile(info, io.BytesIO(data))
    return path


def snapshot(folder: Path) -> dict[str, tuple]:
    """All that a run could change below a folder: names, kinds, sizes, times, inodes, links and bytes."""
    found = {}
    for path in sorted(folder.rglob('*')):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b''
        # some versions of filelock touch a lock whenever they take it
        times = (status.st_mtime_ns, status.st_ctime_ns) if path.name != 'lock' else ()
        kept = (status.st_mode, status.st_ino, status.st_nlink, *times, content)
        found[path.relative_to(folder).as_posix()] = kept
    return found


@pytest.fixture
def tools() -> Callable:
    """The functions of this file by name, since test folders are no packages."""
    return globals().__getitem__
