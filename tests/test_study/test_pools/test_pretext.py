"""Pre-training on a subset, judged by a masked autoencoder of a few thousand weights."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from mmdel.embedding import PixelEmbedder
from mmdel.errors import ConfigError, DatasetError
from mmdel.study.pools.drawing import Pool
from mmdel.study.pools.evaluations import Archive, Resample
from mmdel.study.pools.pretext import PretextLoss, _built, reconstruction_errors, small_mae, thumbnails

TINY = small_mae(side=16, patch=4, width=32, depth=1)


@pytest.fixture(scope='module')
def archive():
    """48 recordings of 4 frames: brighter below in the first half of them, above in the second; crops and mirrors are, too."""
    random = np.random.default_rng(0)
    rows, pictures = [], []
    slope = np.linspace(20, 235, 16)
    for video in range(48):
        for frame in range(4):
            picture = np.broadcast_to((slope if video < 24 else slope[::-1])[:, None, None], (16, 16, 3))
            pictures.append(np.clip(picture + 3 * random.standard_normal((16, 16, 3)), 0, 255).astype(np.uint8))
            rows.append(dict(image=f'{video:02d}.mp4#{frame:06d}', video=f'{video:02d}.mp4', frame=frame, label='a'))
    raw = PixelEmbedder(size=16).embed(torch.from_numpy(np.stack(pictures)))
    return Archive(pa.Table.from_pylist(rows), raw, raw)


@pytest.fixture(scope='module')
def pool():
    """Every other recording judges."""
    rows = np.arange(192)
    judge = rows // 4 % 2 == 1
    return Pool(rows[~judge], np.zeros(96, np.int64), rows[judge])


def test_errors__are_the_loss_of_mmpretrain(archive):
    from mmpretrain.structures import DataSample

    model, images = _built(TINY), thumbnails(archive, np.arange(9))
    torch.manual_seed(3)
    theirs = model.loss(images, [DataSample() for _ in range(9)])['loss']
    torch.manual_seed(3)
    assert reconstruction_errors(model, images).mean() == pytest.approx(float(theirs.detach()), rel=1e-5)


def test_thumbnails__are_the_images(archive):
    pixels = thumbnails(archive, np.arange(192))
    assert float(pixels.mean()) == pytest.approx(0, abs=1e-4) and float(pixels.std()) == pytest.approx(1, abs=1e-4)
    assert float(pixels[0].std(dim=2).mean()) < 0.3 < float(pixels[0].std(dim=1).mean()), (
        'rows are even, columns are not'
    )
    with pytest.raises(DatasetError, match='PixelEmbedder'):
        thumbnails(Archive(archive.table, archive.raw[:, 1:], archive.raw[:, 1:]), np.arange(3))


def test_half_of_the_kinds__reconstructs_worse_than_as_many_images_of_both(archive, pool):
    evaluation = PretextLoss(TINY, iterations=40, batch_size=16, learning_rate=3e-3)
    below, both = np.arange(48), np.arange(0, 96, 2)
    resample = Resample((0,), 20)
    half, mixed = (evaluation.judge(archive, pool, kept, resample) for kept in (below, both))
    for name in ('error against all images', 'group error against all images'):
        assert half[name].shape == (21,) and half[name][0] > 0.3 > abs(mixed[name][0])
        np.testing.assert_array_equal(half[name], evaluation.judge(archive, pool, below, resample)[name])
    # groups of equal size count the same either way
    np.testing.assert_allclose(*half.values(), rtol=1e-9)


def test_whole_pool__loses_nothing(archive, pool):
    figures = PretextLoss(TINY, iterations=3).judge(archive, pool, np.arange(96), Resample((1,), 4))
    assert all((each == 0).all() for each in figures.values())


def test_what_cannot_be_judged__is_said(archive, pool):
    with pytest.raises(DatasetError, match='test share'):
        PretextLoss(TINY).judge(
            archive, Pool(pool.rows, pool.repeat, np.empty(0, int)), np.arange(3), Resample((0,), 1)
        )
    with pytest.raises(ConfigError, match='at least 1'):
        PretextLoss(iterations=0)
