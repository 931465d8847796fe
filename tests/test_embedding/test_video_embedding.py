import numpy as np
import pyarrow as pa
import pytest
import torch

from mmdel.datasets import DataDEL
from mmdel.embedding import PixelEmbedder, embed_images
from mmdel.embedding import reader as reader_module
from mmdel.images import frame_files
from mmdel.images.frames import LoadFrame, read_frame, resize
from mmdel.images.image_table import image_table


@pytest.fixture
def pool(tmp_path, render_video, image_folder):
    """Stills and three videos, of which one has key frames wherever they fall and one has one only."""
    (tmp_path / 'pool').mkdir()
    image_folder.rename(tmp_path / 'pool' / 'stills')
    render_video(tmp_path / 'pool' / 'a.mp4', frames=60, keys_every=10, b_frames=2, start=3)
    render_video(tmp_path / 'pool' / 'b.avi', frames=40, codec='mpeg4', keys_every=1000, start=90)
    render_video(tmp_path / 'pool' / 'c.avi', frames=25, codec='mjpeg', start=170)
    return tmp_path / 'pool'


def embedded(pool, cache, num_workers, step=1, batch_size=8):
    table = image_table(DataDEL(str(pool), videos=step))
    found = embed_images(table, PixelEmbedder(batch_size, 2 * batch_size), str(cache), num_workers=num_workers)
    return found, found.source.read(slice(0, len(found.table)))


@pytest.mark.parametrize('step', ['all', 7, '2fps'])
def test_frames__have_the_vectors_of_their_pixels(pool, tmp_path, step):
    found, vectors = embedded(pool, tmp_path / 'cache', 0, step)
    embedder = PixelEmbedder()
    keys = found.table['image'].to_pylist()
    assert sum('#' in key for key in keys) == {'all': 125, 7: 9 + 6 + 4, '2fps': 5 + 4 + 2}[step]
    pixels = [resize(read_frame(str(pool / key)).image, 16, 16) for key in keys]
    expected = embedder.embed(torch.from_numpy(np.stack(pixels)))
    assert np.allclose(vectors, expected, atol=1e-6)
    row = keys.index('a.mp4#000007' if step == 7 else 'a.mp4#000000')
    told = {name: found.table[name][row].as_py() for name in ('width', 'height', 'bytes', 'video', 'frame')}
    index = frame_files.read_index(str(pool / 'a.mp4'))
    number = 7 if step == 7 else 0
    assert told == {'width': 48, 'height': 32, 'bytes': index.nbytes[number], 'video': 'a.mp4', 'frame': number}


@pytest.mark.parametrize('num_workers', [1, 2, 3])
def test_vectors__are_the_same_for_any_number_of_workers(pool, tmp_path, num_workers):
    read_frame(str(pool / 'a.mp4#000011'))  # the video is open here, and the workers share nothing with that
    one, vectors = embedded(pool, tmp_path / 'one', 0)
    other, found = embedded(pool, tmp_path / 'other', num_workers)
    assert one.table.equals(other.table)
    assert np.array_equal(vectors, found)


def test_order__parts_join_to_the_batches_that_were_asked_for(pool):
    paths = [str(pool / f'a.mp4#{number:06d}') for number in range(60)] + sorted(map(str, (pool / 'stills').iterdir()))
    batches = [pa.array(paths[start : start + 7]) for start in range(0, len(paths), 7)]
    read = list(reader_module.read_batches([batches], [LoadFrame()], 7, 16, 2))
    assert [len(batch.notes) for batch in read] == [len(batch) for batch in batches]
    for names, batch in zip(batches, read, strict=True):
        for name, image in zip(names.to_pylist(), batch.images.numpy(), strict=False):
            assert np.array_equal(image, resize(read_frame(name).image, 16, 16))


def test_a_changed_video__is_embedded_anew_and_the_others_are_not(pool, tmp_path, render_video, monkeypatch):
    embedded(pool, tmp_path / 'cache', 0)
    render_video(pool / 'c.avi', frames=26, codec='mjpeg', start=7)
    asked = []
    read = reader_module._read_into
    monkeypatch.setattr(
        reader_module, '_read_into', lambda slot, path, *rest: asked.append(path) or read(slot, path, *rest)
    )
    found, _ = embedded(pool, tmp_path / 'cache', 0)
    assert [path.rpartition('/')[2] for path in asked] == [f'c.avi#{number:06d}' for number in range(26)]
    assert sum('#' in key for key in found.table['image'].to_pylist()) == 60 + 40 + 26


def test_frames_that_cannot_be_decoded__are_rows_of_the_ledger(pool, tmp_path):
    path = pool / 'b.avi'
    data = path.read_bytes()
    place = data.rindex(b'00dc', 0, data.rindex(b'idx1'))  # the last frame
    path.write_bytes(data[: place + 8] + bytes(data.rindex(b'idx1') - place - 8) + data[data.rindex(b'idx1') :])
    found, _ = embedded(pool, tmp_path / 'cache', 2)
    lost = dict(found.unreadable)
    assert set(lost) == {'b.avi#000039'}
    assert 'frame' in lost['b.avi#000039']
    assert 'b.avi#000038' in found.table['image'].to_pylist()
