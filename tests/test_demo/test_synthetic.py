"""The synthetic demo data is what its truth table says, and the same every time."""

import csv
import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmdel.compute.progress import Stages
from mmdel.errors import DatasetError
from synthetic import demo_data
from synthetic.demo_data import CLIPS, SIZE, Truth, render_pool, render_segmentation

IMAGES = {'.jpg', '.png'}
EMPTY = hashlib.sha256(b'').hexdigest()


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob('*') if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def truth(pool: Path) -> list[Truth]:
    with open(pool / 'truth.csv', newline='', encoding='utf-8') as file:
        return [Truth(**row) for row in csv.DictReader(file)]


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image


def test_pool__same_seed_same_bytes_other_seed_other_bytes(tmp_path):
    first, again, other = (
        digests(render_pool(tmp_path / name, seed=seed, clips=2, frames=6))
        for name, seed in (('a', 0), ('b', 0), ('c', 1))
    )
    assert first == again
    assert not set(first.values()) & {value for key, value in other.items() if key.endswith('.jpg')} - {EMPTY}


def test_pool__truth_lists_every_image_once_and_in_order(demo_data):
    keys = [row.image for row in truth(demo_data / 'pool')]
    on_disk = {key for key in digests(demo_data / 'pool') if Path(key).suffix in IMAGES}
    assert keys == sorted(set(keys))
    assert set(keys) == on_disk


def test_pool__good_frames_are_as_many_as_asked_and_numbered_within_clips(demo_data):
    rows = truth(demo_data / 'pool')
    assert sum(row.kind == 'frame' for row in rows) == 40
    for clip in {row.clip for row in rows if row.clip}:
        frames = sorted(int(row.frame) for row in rows if row.clip == clip and row.kind != 'copy')
        assert frames == list(range(len(frames)))
    assert {row.clip for row in rows} == {'', 'clip00', 'clip01', 'clip02', 'clip03'}


def test_pool__only_copies_share_their_bytes(demo_data):
    pool = demo_data / 'pool'
    rows, found = truth(pool), digests(pool)
    copies = [row for row in rows if row.kind == 'copy']
    assert copies
    assert all(found[row.image] == found[row.copy_of] for row in copies)
    others = [found[row.image] for row in rows if row.kind != 'copy']
    assert len(set(others)) == len(others)


def test_pool__unreadable_files_are_unreadable_and_no_others(demo_data):
    pool = demo_data / 'pool'
    unreadable = [row.image for row in truth(pool) if row.kind == 'unreadable']
    assert len(unreadable) == 2
    for row in truth(pool):
        if row.kind == 'unreadable':
            with pytest.raises(OSError, match=r'truncated|cannot identify'):
                Image.open(pool / row.image).load()
        else:
            assert read(pool / row.image).shape == (SIZE, SIZE, 3)


def test_pool__rubbish_looks_like_its_kind(demo_data):
    pool = demo_data / 'pool'
    middle = slice(96, 160)
    grey = {row: cv2.cvtColor(read(pool / row.image), cv2.COLOR_BGR2GRAY) for row in truth(pool) if row.clip}
    sharpness = {row: cv2.Laplacian(image[middle, middle], cv2.CV_64F).var() for row, image in grey.items()}
    typical = np.median([value for row, value in sharpness.items() if row.kind == 'frame'])
    for row, image in grey.items():
        if row.kind == 'black':
            assert image.mean() < 12
        elif row.kind == 'washed_out':
            assert image[middle, middle].mean() > 180
        elif row.kind == 'blurred':
            assert sharpness[row] < typical


def test_pool__folders_are_those_of_the_pre_training_sets():
    sources = {clip.folder.split('/')[0] for clip in CLIPS}
    assert sources == {'gastrovision', 'hyper-kvasir', 'kvasir-capsule'}
    for clip in CLIPS:
        assert clip.style.capsule == clip.folder.startswith('kvasir-capsule/labelled_images/')
    assert len(CLIPS) == 20


def test_pool__whole_pool_has_copies_across_classes_and_sources(tmp_path, monkeypatch):
    flat = np.zeros((SIZE, SIZE, 3), np.float32)
    monkeypatch.setattr(demo_data.Tube, 'build', lambda *args: None)
    monkeypatch.setattr(demo_data, 'look', lambda *args: (flat, None))
    rows = truth(render_pool(tmp_path / 'pool'))
    assert sum(row.kind == 'frame' for row in rows) == 600
    lengths = [
        sum(row.clip == clip and row.kind == 'frame' for row in rows) for clip in {row.clip for row in rows} - {''}
    ]
    assert len(lengths) == 20
    assert min(lengths) * 2 < max(lengths)
    homes = {(Path(row.image).parent, Path(row.copy_of).parent) for row in rows if row.kind == 'copy'}
    assert any(new == old for new, old in homes)
    assert any(new != old and new.parts[0] == old.parts[0] for new, old in homes)
    assert any(new.parts[0] != old.parts[0] for new, old in homes)


def test_segmentation__masks_match_images_and_lists_split_whole_clips(demo_data):
    folder = demo_data / 'segmentation' / 'kvasir-seg'
    images = {path.stem: path for path in (folder / 'images').iterdir()}
    masks = {path.stem: path for path in (folder / 'masks').iterdir()}
    assert images.keys() == masks.keys()
    assert len(images) == 8
    for stem, path in masks.items():
        mask, image = read(path), read(images[stem])
        assert mask.shape == image.shape[:2]
        assert set(np.unique(mask)) <= {0, 255}
        assert not mask[:8, :8].any()
    train, val = ((folder / f'{name}.txt').read_text().split() for name in ('train', 'val'))
    assert sorted(train + val) == sorted(images)
    assert not {stem.split('_')[0] for stem in train} & {stem.split('_')[0] for stem in val}


def test_segmentation__most_masks_show_a_polyp(demo_data):
    masks = [read(path) for path in (demo_data / 'segmentation' / 'kvasir-seg' / 'masks').iterdir()]
    assert np.mean([mask.any() for mask in masks]) > 0.5


def test_segmentation__same_seed_same_bytes(tmp_path):
    first, again = (digests(render_segmentation(tmp_path / name, pairs=3)) for name in 'ab')
    assert first == again


def test_render__finished_folder_is_left_alone(tmp_path, monkeypatch):
    folder = render_segmentation(tmp_path / 'seg', pairs=2)
    monkeypatch.setattr(demo_data, 'look', lambda *args: pytest.fail('drawn again'))
    assert render_segmentation(folder, pairs=2) == folder


def test_render__interrupted_run_leaves_nothing_and_the_next_one_is_whole(tmp_path, monkeypatch):
    whole = digests(render_segmentation(tmp_path / 'undisturbed', pairs=3))
    drawn = []

    def write(path, picture):
        drawn.append(path)
        if len(drawn) == 4:
            raise KeyboardInterrupt
        original(path, picture)

    original = demo_data._write
    monkeypatch.setattr(demo_data, '_write', write)
    with pytest.raises(KeyboardInterrupt):
        render_segmentation(tmp_path / 'seg', pairs=3, progress=Stages())
    assert [path.name for path in tmp_path.iterdir()] == ['undisturbed']
    assert digests(render_segmentation(tmp_path / 'seg', pairs=3)) == whole


def test_render__other_content_is_not_overwritten(tmp_path):
    mine = tmp_path / 'mine'
    mine.mkdir()
    (mine / 'photo.jpg').write_bytes(b'mine')
    with pytest.raises(DatasetError, match='nothing is overwritten'):
        render_pool(mine, clips=1, frames=1)
    other = render_segmentation(tmp_path / 'seg', pairs=2)
    with pytest.raises(DatasetError, match='"seed": 0'):
        render_segmentation(other, seed=1, pairs=2)
    assert [path.name for path in mine.iterdir()] == ['photo.jpg']


@pytest.mark.parametrize(('clips', 'frames'), [(0, 5), (3, 2)])
def test_pool__impossible_sizes_are_refused(tmp_path, clips, frames):
    with pytest.raises(DatasetError, match='at least one'):
        render_pool(tmp_path / 'pool', clips=clips, frames=frames)
