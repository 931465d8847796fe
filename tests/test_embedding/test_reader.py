import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, features

from mmdel.embedding.reader import read_batches
from mmdel.embedding.store import EmbeddingStore
from mmdel.images import frames
from mmdel.images.frames import LoadFrame


def batches(folder: Path, *names: list[str]) -> list[pa.Array]:
    return [pa.array([str(folder / name) for name in batch]) for batch in names]


@pytest.mark.parametrize('workers', [0, 2])
def test_batches__in_order_and_of_one_shape(image_folder: Path, workers: int) -> None:
    (image_folder / '001.png').write_bytes(b'')
    names = [['003.png', '001.png', '000.png'], ['002.png']]
    read = list(read_batches([batches(image_folder, *names)], [LoadFrame()], 3, 8, workers))
    assert [batch.images.shape for batch in read] == [(3, 8, 8, 3)] * 2
    filled = [[bool(image.any()) for image in batch.images] for batch in read]
    assert filled == [[True, False, True], [True, False, False]]
    assert [[note.reason for note in batch.notes] for batch in read] == [[None, 'is empty (0 bytes)', None], [None]]
    assert [note.width for note in read[0].notes] == [27, None, 30]


def test_place_in_a_batch__does_not_change_an_image(image_folder: Path) -> None:
    one, other = (
        next(iter(read_batches([batches(image_folder, names)], [LoadFrame()], 4, 8, 0)))
        for names in (['005.png', '006.png'], ['006.png'])
    )
    assert np.array_equal(one.images[1], other.images[0])


def test_workers_that_end__leave_the_lock_with_their_parent(image_folder: Path, tmp_path: Path) -> None:
    store = EmbeddingStore(str(tmp_path / 'cache'), 'Tiny', {})
    code = 'import sys; from filelock import FileLock; FileLock(sys.argv[1]).acquire(timeout=0)'
    with store.locked():
        list(read_batches([batches(image_folder, ['000.png'], ['001.png'])], [LoadFrame()], 1, 8, 2))
        tried = subprocess.run([sys.executable, '-c', code, str(store.folder / 'lock')], capture_output=True, text=True)
    assert 'Timeout' in tried.stderr
    assert subprocess.run([sys.executable, '-c', code, str(store.folder / 'lock')], check=False).returncode == 0


def test_workers__do_not_clear_away_what_they_inherit(image_folder: Path, tmp_path: Path) -> None:
    parent, cleared = os.getpid(), tmp_path / 'cleared'

    class Inherited:
        def __init__(self) -> None:
            self.itself = self  # a cycle, which is garbage as soon as nobody else knows it

        def __del__(self) -> None:
            if os.getpid() != parent:
                cleared.write_text('what only the parent can take down')

    def collect(results: dict[str, Any]) -> dict[str, Any]:
        gc.collect()
        return results

    gc.collect()
    gc.disable()
    try:
        Inherited()
        paths = pa.array(sorted(map(str, image_folder.iterdir()))[:4])
        (batch,) = read_batches([[paths]], [LoadFrame(), collect], 4, 16, 1)
    finally:
        gc.enable()
    assert [note.reason for note in batch.notes] == [None] * 4
    assert not cleared.exists()
    assert gc.get_freeze_count() == 0


@pytest.mark.timeout(120)
def test_workers__do_not_close_what_their_parent_reads(image_folder: Path, tmp_path: Path) -> None:
    """A decoder that is closed waits for threads of its own, which a forked worker does not have."""
    if not features.check('avif'):
        pytest.skip('Pillow is built without AVIF')
    pages = [
        Image.fromarray(np.random.default_rng(page).integers(0, 256, (256, 256, 3), np.uint8)) for page in range(4)
    ]
    pages[0].save(tmp_path / 'a.avif', save_all=True, append_images=pages[1:], duration=100)
    frames.read_frame(str(tmp_path / 'a.avif#000001'))
    paths = pa.array([str(path) for path in sorted(image_folder.iterdir())])
    (batch,) = read_batches([[paths]], [LoadFrame()], len(paths), 8, 2)
    assert [note.reason for note in batch.notes] == [None] * len(paths)
