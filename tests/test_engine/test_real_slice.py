"""200 real capsule-endoscopy frames through the real encoder: what goes must look like what stays."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmdel.engine import DedupRunner
from mmdel.subset import Subset

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def run(tmp_path_factory, real_data, real_weights):
    """Every frame 1 to 200 of the bleeding class (consecutive in the video, with gaps), plus one exact copy of the first."""
    base = tmp_path_factory.mktemp('real')
    (base / 'pool').mkdir()
    frames = sorted((real_data / 'wce' / 'bleeding').glob('*.jpg'))[:200]
    for frame in frames:
        (base / 'pool' / frame.name).symlink_to(frame)
    (base / 'pool' / 'copy.jpg').write_bytes(frames[0].read_bytes())
    cfg = Config.fromfile(ROOT / 'configs' / 'meddel_eta09.py')
    cfg.embedder = Config.fromfile(ROOT / 'configs' / '_base_' / 'embedders' / 'dinov2-small.py').embedder
    cfg.embedder.update(checkpoint=str(real_weights), feature='avg_patch', out_index=6)
    cfg.dataset = dict(type='mmdel.DataDEL', data_root=str(base / 'pool'))
    cfg.selector.update(scope='global', epsilon=None)
    cfg.center = True
    cfg.work_dir, cfg.cache_dir = str(base / 'out'), str(base / 'cache')
    subset = DedupRunner.from_cfg(cfg).run()
    return base, subset, frames[0].name


@pytest.mark.slow
@pytest.mark.real
def test_real_frames__a_plausible_share_goes_and_cuts_nest(run):
    _, subset, _ = run
    shares = subset.retention(np.array([0.5, 0.7, 0.8, 0.9, 0.99]))
    assert (np.diff(shares) >= 0).all()
    assert shares[0] < 0.3 < shares[3] < 0.95 < shares[4] < 1
    assert subset.metadata['embedder']['weights'] and subset.metadata['center'] is True


@pytest.mark.slow
@pytest.mark.real
def test_real_frames__true_copies_never_both_survive(run):
    _, subset, first = run
    cut = subset.at(eta=0.99)
    assert ('copy.jpg' in cut.kept) + (first in cut.kept) <= 1
    rows = {row['image']: row for row in subset.table.to_pylist()}
    assert max(rows['copy.jpg']['redundancy'] or 0, rows[first]['redundancy'] or 0) > 0.999


@pytest.mark.slow
@pytest.mark.real
def test_real_frames__a_frame_is_removed_by_one_that_looks_like_it(run):
    """Judged by pixels, which did not choose: removed frames are closer to their remover than to a frame at random."""
    import cv2

    base, subset, _ = run

    def thumbnail(key):
        small = cv2.resize(cv2.imread(str(base / 'pool' / key)), (16, 16), interpolation=cv2.INTER_AREA)
        return small.astype(float).ravel()

    pixels = {key: thumbnail(key) for key in subset.images}
    mean = np.mean(list(pixels.values()), axis=0)
    gone = [row for row in subset.table.to_pylist() if row['reason'] == 'duplicate']
    assert len(gone) > 10
    others = np.random.default_rng(0).choice(subset.images, len(gone))

    def cosine(one, other):
        a, b = pixels[one] - mean, pixels[other] - mean
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    with_remover = np.mean([cosine(row['image'], row['removed_by']) for row in gone])
    at_random = np.mean([cosine(row['image'], other) for row, other in zip(gone, others, strict=True)])
    assert with_remover > 0.8 > 0.4 > at_random


@pytest.mark.slow
@pytest.mark.real
def test_real_frames__the_file_says_the_same(run):
    base, subset, _ = run
    again = Subset.read(base / 'out' / 'subset.parquet')
    assert again.kept == subset.kept and again.metadata == subset.metadata
