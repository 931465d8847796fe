"""A format is one file: all that asks for formats knows one that is added to them."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from mmdel.compute import storage
from mmdel.datasets import DataDEL
from mmdel.errors import UnreadableImage
from mmdel.images import formats, frame_files
from mmdel.images.depth import find_max_value
from mmdel.images.formats.format import FrameFormat, FrameIndex, FrameReader, check_size
from mmdel.images.formats.raster import Deep
from mmdel.images.frames import LoadFrame, file_of
from mmdel.images.image_table import image_table
from mmdel.images.reasons import patient_file, reading

SHAPE = (8, 6)
SIZE = 2 * SHAPE[0] * SHAPE[1]


class SliceReader(FrameReader):
    def __init__(self, path: str) -> None:
        self.path, self.file = path, storage.PatientFile(path)

    def values(self, number: int, max_pixels: int) -> np.ndarray:
        check_size(*SHAPE, max_pixels)
        with reading(self.path):
            self.file.seek(8 + number * SIZE)
            return np.frombuffer(self.file.read(SIZE), np.uint16).reshape(SHAPE)

    def read(self, number: int, max_pixels: int, max_value: int | None) -> np.ndarray:
        return Deep(self.values(number, max_pixels)).to_8_bits(max_value)

    def open_maximum(self, number: int, max_pixels: int) -> int | None:
        return int(self.values(number, max_pixels).max())

    def check(self) -> None:
        self.file.check()


class Volumes(FrameFormat):
    """``patient`` in 8 bytes, and then slices of 16 bits."""

    endings = ('.vol', '.vol.gz')
    is_video = True

    def index(self, path: str) -> FrameIndex:
        with patient_file(path) as file:
            count, rest = divmod(file.seek(0, 2) - 8, SIZE)
        if rest:
            raise UnreadableImage('ends within a slice')
        return FrameIndex(np.empty(0, np.int64), np.full(count, SIZE), np.arange(count))

    def reader(self, path: str, index: FrameIndex) -> FrameReader:
        return SliceReader(path)

    def metadata(self, path: str) -> dict[str, str]:
        with patient_file(path) as file:
            return {'patient': file.read(8).decode().strip()}


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(formats, 'FORMATS', (Volumes(), *formats.FORMATS))
    pool = tmp_path / 'pool'
    pool.mkdir()
    for place, name in enumerate(('a.VOL', 'b.vol.gz')):
        values = np.random.default_rng(place).integers(0, 4000, (3, *SHAPE), np.uint16)
        values[1, 2, 3] = 4000
        (pool / name).write_bytes(f'P{place}'.ljust(8).encode() + values.tobytes())
    (pool / 'cut.vol').write_bytes(b'P9'.ljust(8) + bytes(SIZE + 1))
    return pool


def test_slices__are_images_with_what_their_file_tells(pool: Path) -> None:
    found = image_table(DataDEL(str(pool), videos='all'))
    keys = [f'{name}#{number:06d}' for name, number in itertools.product(('a.VOL', 'b.vol.gz'), range(3))]
    table = found.table
    assert table['image'].to_pylist() == keys
    assert table['video'].to_pylist() == [key[:-7] for key in keys]
    assert table['frame'].to_pylist() == [0, 1, 2] * 2
    assert table['patient'].to_pylist() == ['P0'] * 3 + ['P1'] * 3
    assert found.ledger == (('cut.vol', 'ends within a slice'),)


def test_slices__are_read_at_the_range_of_the_pool(pool: Path) -> None:
    paths = image_table(DataDEL(str(pool), videos='all')).table['path']
    assert find_max_value(paths, pool.parent / 'depth.parquet', 10**6) == 4095
    path = paths[1].as_py()
    values = np.frombuffer(Path(file_of(path)).read_bytes()[8 + SIZE : 8 + 2 * SIZE], np.uint16).reshape(SHAPE)
    loaded = LoadFrame(max_value=4095)({'img_path': path})
    assert np.array_equal(loaded['img'][..., 0], np.rint(values / 4095 * 255))
    assert loaded['nbytes'] == SIZE
    with pytest.raises(UnreadableImage, match='it has 3, counted from 0'):
        LoadFrame()({'img_path': f'{file_of(path)}#000003'})
    assert frame_files.cuts(paths.to_pylist(), 2) == [0, 2, 3, 5, 6]
