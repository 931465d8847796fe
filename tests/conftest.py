"""What tests of several rooms share: synthetic demo data, and real frames and weights where they are there."""

import os
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import PIL
import pyarrow as pa
import pytest
from hypothesis import settings
from mmengine.dataset import BaseDataset, base_dataset
from packaging.version import Version

from mmdel.compute.files import FileState
from mmdel.images import frame_files
from mmdel.subset import Subset
from synthetic import render_pool, render_segmentation

SHARED = Path(__file__).resolve().parents[2] / 'shared'


def pytest_runtest_setup(item: pytest.Item) -> None:
    """``@pytest.mark.reads(pillow=...)``: for images that mmdel refuses with an older library, which cannot decode them."""
    for mark in item.iter_markers('reads'):
        for name, least in mark.kwargs.items():
            found = {'opencv': cv2.__version__, 'pillow': PIL.__version__}[name]
            if Version(found) < Version(least):
                pytest.skip(f'{name} {found} is older than {least}, with which this was seen to pass')


settings.register_profile('mmdel', deadline=None, derandomize='CI' in os.environ)
settings.load_profile('mmdel')


def _or_skip(variable: str, default: Path, what: str) -> Path:
    path = Path(os.environ.get(variable, default))
    if not path.exists():
        pytest.skip(f'{what} are not at {path}; {variable} names another place')
    return path


@pytest.fixture(scope='session')
def real_data() -> Path:
    """Folder with `wce` and `kvasir_seg`."""
    return _or_skip('MMDEL_REAL_DATA', SHARED / 'data', 'Real frames')


@pytest.fixture(scope='session')
def real_weights() -> Path:
    """A pretrained ViT-S/14 (384-d, `out_indices=[6]`)."""
    return _or_skip('MMDEL_REAL_WEIGHTS', SHARED / 'weights' / 'vit-small-p14_imgfocus.pth', 'Real weights')


@pytest.fixture(scope='session')
def demo_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small synthetic demo data: `pool` (4 clips, 40 frames, rubbish, `truth.csv`) and `segmentation/kvasir-seg` (8 pairs)."""
    out = tmp_path_factory.mktemp('demo')
    render_pool(out / 'pool', clips=4, frames=40)
    render_segmentation(out / 'segmentation' / 'kvasir-seg', pairs=8)
    return out


@pytest.fixture(scope='session', autouse=True)
def kept_between_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is known of videos is kept where the tests' own files are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_files, 'INDEX_DIR', str(tmp_path_factory.mktemp('videos')))
        yield


@pytest.fixture(scope='session', autouse=True)
def no_collection_for_each_dataset() -> Iterator[None]:
    """Each new dataset of mmengine collects garbage, which takes half a second in a process that has imported all libraries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base_dataset, 'gc', SimpleNamespace(collect=lambda: 0))
        yield


@pytest.fixture(scope='session', autouse=True)
def own_memo_for_each_copied_dataset() -> Iterator[None]:
    """In mmengine 0.10 all copies of datasets share a memo by address; among thousands of tests, addresses are met again."""
    copied = BaseDataset._copy_without_annotation
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseDataset, '_copy_without_annotation', lambda dataset: copied(dataset, {}))
        yield


@pytest.fixture(params=[0, 5], ids=['without inodes', 'with the times of FAT'])
def poor_file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of a file is its size and the time of modification, as on FAT, exFAT and over SFTP."""

    def poor(cls: type[FileState], status: os.stat_result) -> FileState:
        return cls(status.st_size, status.st_mtime_ns, status.st_mtime_ns, request.param)

    monkeypatch.setattr(FileState, 'of', classmethod(poor))


@pytest.fixture(scope='session')
def render_video() -> Callable[..., Path]:
    """``render_video(path, frames=30, codec='libx264', ...)`` writes a small video; a file of sound with ``frames=0``."""
    return _render_video


def _render_video(
    path: Path,
    frames: int = 30,
    codec: str = 'libx264',
    keys_every: int = 12,
    b_frames: int = 0,
    times: list[int] | None = None,
    size: tuple[int, int] = (48, 32),
    start: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """A square moves over a background that changes; frame ``i`` looks like frame ``start + i`` of an endless film.

    ``times`` are the moments of the frames in thousandths of a second; without them there are 25 a second.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), 'w') as container:
        if not frames:
            _add_sound(container)
            return path
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
        stream.gop_size, stream.codec_context.max_b_frames = keys_every, b_frames
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(_picture(start + i, size), 'bgr24')
            frame.pts, frame.time_base = (times[i], Fraction(1, 1000)) if times else (i, Fraction(1, 25))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _picture(number: int, size: tuple[int, int]) -> np.ndarray:
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, :, 0] = number * 3 % 256
    picture[:, :, 1] = np.linspace(0, 255, width)
    left, top = number * 2 % (width - 8), number % (height - 8)
    picture[top : top + 8, left : left + 8] = (30, 60, 230)
    return picture


def _add_sound(container: av.container.OutputContainer) -> None:
    stream = container.add_stream('aac', rate=8000)
    sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), 'fltp', 'mono')
    sound.sample_rate = 8000
    container.mux(stream.encode(sound))
    container.mux(stream.encode())


@pytest.fixture
def make_images() -> Callable[..., Path]:
    """``make_images(folder, names)`` writes a 4 x 4 image under each name; its grey level is its position in ``names``."""

    def make(folder: Path, names: Iterable[str]) -> Path:
        for level, name in enumerate(names):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            encoded = cv2.imencode(os.path.splitext(name)[1].lower() or '.png', np.full((4, 4, 3), level, np.uint8))[1]
            path.write_bytes(encoded.tobytes())
        return folder

    return make


@pytest.fixture
def write_subset(tmp_path: Path) -> Callable[..., str]:
    """``write_subset(kept, dropped)`` writes a subset file with these keys and gives its path."""

    def write(
        kept: Iterable[str], dropped: Iterable[str] = (), unreadable: Iterable[str] = (), name: str = 'subset.parquet'
    ) -> str:
        kept, dropped = list(kept), list(dropped)
        redundancy = [0.1] * len(kept) + [0.95] * len(dropped)
        columns = {
            'image': pa.array(kept + dropped, pa.string()),
            'rank': pa.array(range(len(kept) + len(dropped)), pa.int64()),
            'redundancy': pa.array(redundancy, pa.float32()),
        }
        whole = Subset.from_ranking(pa.table(columns), {}, tuple((key, 'empty') for key in unreadable))
        path = tmp_path / 'subsets' / name
        whole.at(eta=0.5).write(path)
        return str(path)

    return write
