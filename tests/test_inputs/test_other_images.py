"""The answer to another question never stands in for this one: not a vector, not a ranking, not a result, not a subset."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from torch import Tensor

from mmdel.datasets import DataDEL
from mmdel.datasets.image_table import image_table
from mmdel.embedding import PixelEmbedder, embed_images
from mmdel.file_state import FileState

THEN = 1_700_000_000_000_000_000
"""The same time of modification for all files, nanoseconds."""


def draw(number: int, side: int = 40) -> np.ndarray:
    """A picture that looks like no other, uint8 [side, side, 3]."""
    small = np.random.default_rng(number).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)


def at_one_time(folder: Path) -> None:
    for path in folder.rglob('*'):
        os.utime(path, ns=(THEN, THEN))


# --- vectors


class Counting(PixelEmbedder):
    """Counts the images that its model sees."""

    def __init__(self) -> None:
        super().__init__(batch_size=4, shard_size=4)
        self._seen: list[int] = []  # shared with its twins

    def embed(self, images: Tensor) -> np.ndarray:
        self._seen.append(int((images.flatten(1).max(dim=1).values > 0).sum()))
        return super().embed(images)


Vectors = dict[str, bytes]


@pytest.fixture
def embedded(tmp_path: Path) -> Callable[..., tuple[Vectors, int]]:
    """``embedded(folder)``: the vector of each image by its key, with one cache for all calls, and how many were made."""

    def run(folder: Path, cache: str = 'cache', **options: Any) -> tuple[Vectors, int]:
        embedder = Counting()
        found = embed_images(
            image_table(DataDEL(str(folder), **options)), embedder, str(tmp_path / cache), num_workers=0
        )
        vectors = found.source.read(slice(None))
        return dict(zip(found.table['image'].to_pylist(), map(np.ndarray.tobytes, vectors), strict=True)), sum(
            embedder._seen
        )

    return run


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    """Twelve bitmaps of one size and one time."""
    folder = tmp_path / 'sequence'
    folder.mkdir()
    for number in range(12):
        cv2.imwrite(str(folder / f'{number:02}.bmp'), draw(number))
    at_one_time(folder)
    assert len({path.stat().st_size for path in folder.iterdir()}) == 1
    return folder


def rotate(folder: Path, put: Callable[[str, str], object]) -> None:
    """Every file gets the contents of the one before it, and all of them have the same size and time as ever."""
    aside = folder.parent / 'aside'
    shutil.copytree(folder, aside)
    names = sorted(path.name for path in aside.iterdir())
    for name, before in zip(names, [names[-1], *names], strict=False):
        put(str(aside / before), str(folder / name))
    shutil.rmtree(aside)
    assert {path.stat().st_mtime_ns for path in folder.iterdir()} == {THEN}


@pytest.mark.parametrize('put', [shutil.move, shutil.copy2, os.replace], ids=['mv', 'cp -p', 'rsync -t'])
def test_renumbered_files__each_has_the_vector_of_what_it_holds(
    sequence: Path, embedded: Callable[..., tuple[Vectors, int]], put: Callable[[str, str], object]
) -> None:
    before, _ = embedded(sequence)
    rotate(sequence, put)
    after, made = embedded(sequence)
    keys = sorted(before)
    assert [after[key] for key in keys] == [before[key] for key in [keys[-1], *keys[:-1]]]
    assert made == 0
    assert embedded(sequence) == (after, 0) and embedded(sequence, 'another cache')[0] == after


@pytest.mark.parametrize('inode', [0, 5], ids=['without a number', 'with the times of FAT'])
def test_renumbered_files__where_the_file_system_tells_nothing(
    sequence: Path, embedded: Callable[..., tuple[Vectors, int]], monkeypatch: pytest.MonkeyPatch, inode: int
) -> None:
    def poor(cls: type[FileState], status: os.stat_result) -> FileState:
        return cls(status.st_size, status.st_mtime_ns, status.st_mtime_ns, inode)

    monkeypatch.setattr(FileState, 'of', classmethod(poor))
    before, _ = embedded(sequence)
    assert embedded(sequence) == (before, 0)
    rotate(sequence, shutil.copy2)
    after, made = embedded(sequence)
    keys = sorted(before)
    assert [after[key] for key in keys] == [before[key] for key in [keys[-1], *keys[:-1]]] and made == 0


def test_renumbered_files__videos_too(
    tmp_path: Path, embedded: Callable[..., tuple[Vectors, int]], render_video: Callable[..., Path]
) -> None:
    folder = tmp_path / 'videos'
    videos = [
        render_video(folder / f'{name}.avi', frames=3, codec='mjpeg', start=10 * n) for n, name in enumerate('ab')
    ]
    size = max(video.stat().st_size for video in videos)
    for video in videos:
        os.truncate(video, size)
    at_one_time(folder)
    before, made = embedded(folder, videos='all')
    assert made == 6
    rotate(folder, os.replace)
    after, made = embedded(folder, videos='all')
    assert made == 0
    for one, other in ('ab', 'ba'):
        assert [after[f'{one}.avi#{n:06}'] for n in range(3)] == [before[f'{other}.avi#{n:06}'] for n in range(3)]


def test_file_overwritten_with_its_old_size_and_time(
    sequence: Path, embedded: Callable[..., tuple[Vectors, int]]
) -> None:
    before, _ = embedded(sequence)
    cv2.imwrite(str(sequence / '05.bmp'), draw(99))
    at_one_time(sequence)
    after, made = embedded(sequence)
    assert made == 1 and {key for key in before if before[key] != after[key]} == {'05.bmp'}


@pytest.mark.parametrize('change', ['touched', 'moved', 'copied', 'permissions'])
def test_pool_that_was_touched_or_moved(
    sequence: Path, embedded: Callable[..., tuple[Vectors, int]], change: str, tmp_path: Path
) -> None:
    before, _ = embedded(sequence)
    folder = tmp_path / 'elsewhere'
    if change == 'touched':
        folder = sequence
        for path in folder.iterdir():
            path.touch()
    elif change == 'moved':
        sequence.rename(folder)
    elif change == 'copied':
        shutil.copytree(sequence, folder, copy_function=shutil.copyfile)
    else:
        folder = sequence
        for path in folder.iterdir():
            path.chmod(0o600)
    rows = {path: path.stat().st_size for path in (tmp_path / 'cache').rglob('*.npy')}
    assert embedded(folder) == (before, 0)
    more = {path: path.stat().st_size for path in (tmp_path / 'cache').rglob('*.npy') if path not in rows}
    assert more and max(more.values()) < 200, 'no vector is kept twice'
    assert embedded(folder) == (before, 0)
