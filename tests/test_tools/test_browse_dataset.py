"""What the pictures of browse_dataset.py show, pixel by pixel."""

import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from mmdel.subset import Subset
from mmdel.training import served_images

NAMES = ('a/3', 'a/frame 2', 'a/Ünï 1', 'b/3', 'b/4', 'b/5')
MASK = (slice(10, 30), slice(12, 40))
GREEN = (0, 255, 0)

# serialising collects garbage, which takes a third of a second with torch in memory
PLAIN = "dict(type='mmdel.DataDEL', data_root='data', serialize_data=False, pipeline=[dict(type='mmdel.LoadFrame'), {steps}])"
SEGMENTATION = """dict(
    type='BaseSegDataset', data_root='seg', serialize_data=False, img_suffix='.png',
    data_prefix=dict(img_path='images', seg_map_path='masks'),
    metainfo=dict(classes=('background', 'polyp'), palette=[[0, 0, 0], [0, 255, 0]]),
    pipeline=[dict(type='LoadImageFromFile'), {steps}, dict(type='PackSegInputs')])"""
PACK = "dict(type='PackInputs')"
LOAD_MASK = "dict(type='LoadAnnotations')"


@pytest.fixture(scope='module')
def browse_module(load_tool):
    return load_tool('analysis_tools/browse_dataset')


@pytest.fixture
def browse(browse_module, tmp_path, monkeypatch, capsys):
    """Browse a config in a folder with 6 images below `data`, and pairs of them below `seg`; (status, what it printed)."""
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 48), np.uint8)
    mask[MASK] = 1
    for name in NAMES:
        image = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        for path, picture in ((f'data/{name}', image), (f'seg/images/{name}', image), (f'seg/masks/{name}', mask)):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / f'{path}.png').write_bytes(cv2.imencode('.png', picture)[1].tobytes())
    monkeypatch.chdir(tmp_path)

    def run(dataset, *arguments, scope='mmpretrain', phase='train'):
        config = f'{phase}_dataloader = dict(dataset={dataset})\n'
        Path('config.py').write_text(config + (f'default_scope = {scope!r}\n' if scope else ''), encoding='utf-8')
        monkeypatch.setattr(sys, 'argv', ['browse_dataset.py', 'config.py', *map(str, arguments)])
        status = 0
        try:
            browse_module.main()
        except SystemExit as end:
            status = end.code
        out = capsys.readouterr()
        return status, out.out + out.err

    return run


def plain(*steps):
    return PLAIN.format(steps=', '.join((*steps, PACK)))


def segmentation(*steps):
    return SEGMENTATION.format(steps=', '.join(steps))


def read(path):
    return cv2.imdecode(np.frombuffer(Path(path).read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)


def drawn(folder='work_dirs/browse/config'):
    """The pictures, in the order of their names."""
    return {path.name: read(path) for path in sorted(Path(folder).glob('*.png'))}


def files(kind='data'):
    return [read(f'{kind}/{name}.png') for name in NAMES]


def same(pictures, expected):
    assert len(pictures) == len(expected)
    for picture, other in zip(pictures, expected, strict=True):
        np.testing.assert_array_equal(picture, other)


# --- colours and pixels


@pytest.mark.parametrize('mode', ['original', 'transformed'])
def test_picture__of_an_unchanged_image_is_the_file(browse, mode):
    status, out = browse(plain(), '--mode', mode)
    assert status == 0, out
    same(drawn().values(), files())
    assert list(drawn()) == [f'{index:06d}_{Path(name).name}.png' for index, name in enumerate(NAMES)]


def test_picture__original_is_the_file_whatever_the_pipeline_does(browse):
    browse(plain("dict(type='RandomResizedCrop', scale=16)", "dict(type='ColorJitter', hue=0.5)"), '--mode', 'original')
    same(drawn().values(), files())


@pytest.mark.parametrize(
    'steps',
    [
        ["dict(type='Normalize', mean=[0, 0, 0], std=[1, 1, 1], to_rgb=True)"],
        ["dict(type='Normalize', mean=[0, 0, 0], std=[255, 255, 255], to_rgb=True)"],
        ["dict(type='Normalize', mean=[0, 0, 0], std=[255, 255, 255], to_rgb=False)"],
        ["dict(type='NumpyToPIL', to_rgb=True)", "dict(type='PILToNumpy', to_bgr=True)"],
        ["dict(type='NumpyToPIL', to_rgb=True)", "dict(type='PILToNumpy', to_bgr=False)"],
    ],
)
def test_picture__colours_survive_rgb_and_floats(browse, steps):
    status, out = browse(plain(*steps))
    assert status == 0, out
    same(drawn().values(), files())


def test_picture__normalised_inputs_span_all_grey_levels(browse):
    browse(plain("dict(type='Normalize', mean=[120, 120, 120], std=[60, 60, 60], to_rgb=True)"))
    for picture, file in zip(drawn().values(), files(), strict=True):
        assert (picture.min(), picture.max()) == (0, 255)
        assert np.corrcoef(picture.ravel(), file.ravel())[0, 1] > 0.999


def test_picture__concat_is_original_and_transformed(browse):
    status, out = browse(plain("dict(type='Resize', scale=(24, 20))"), '--mode', 'concat')
    assert status == 0 and 'uint8 [3, 20, 24]' in out
    for picture, file in zip(drawn().values(), files(), strict=True):
        assert picture.shape == (40, 48 + 4 + 24, 3)
        np.testing.assert_array_equal(picture[:, :48], file)
        np.testing.assert_array_equal(picture[:20, 52:], cv2.resize(file, (24, 20)))
        assert (picture[20:, 52:] == 255).all()


def test_picture__several_views_stand_in_a_row(browse):
    views = "dict(type='MultiView', num_views=[2, 1], transforms=[[], [dict(type='RandomFlip', prob=1.0)]])"
    status, out = browse(plain(views))
    assert status == 0, out
    for picture, file in zip(drawn().values(), files(), strict=True):
        same([picture[:, left : left + 48] for left in (0, 52, 104)], [file, file, file[:, ::-1]])


# --- masks


@pytest.mark.parametrize('mode', ['original', 'transformed'])
def test_mask__changes_pixels_inside_the_mask_only(browse, mode):
    status, out = browse(segmentation(LOAD_MASK), '--mode', mode, scope='mmseg')
    assert status == 0, out
    assert 'classes: background, polyp' in out
    for picture, file in zip(drawn().values(), files(), strict=True):
        inside = np.zeros(file.shape[:2], bool)
        inside[MASK] = True
        np.testing.assert_array_equal(picture[~inside], file[~inside])
        rim = inside.copy()
        rim[11:29, 13:39] = False
        assert (picture[rim] == GREEN).all()
        core = inside & ~rim
        np.testing.assert_array_equal(picture[core], np.rint(0.6 * file[core] + 0.4 * np.array(GREEN)).astype(np.uint8))


def test_mask__moves_with_its_image(browse):
    browse(segmentation(LOAD_MASK), '--mode', 'original', '-o', 'straight', scope='mmseg')
    browse(segmentation(LOAD_MASK, "dict(type='RandomFlip', prob=1.0)"), '-o', 'flipped', scope='mmseg')
    same(drawn('flipped').values(), [picture[:, ::-1] for picture in drawn('straight').values()])


def test_mask__loaded_after_the_resizing_as_in_test_pipelines(browse):
    steps = ("dict(type='Resize', scale=(96, 80))", LOAD_MASK)
    status, out = browse(segmentation(*steps), '--phase', 'val', '--mode', 'concat', scope='mmseg', phase='val')
    assert status == 0, out
    browse(segmentation(LOAD_MASK), '--mode', 'original', '-o', 'straight', scope='mmseg')
    inside = np.zeros((80, 96), bool)
    inside[20:60, 24:80] = True
    for picture, straight, file in zip(drawn().values(), drawn('straight').values(), files(), strict=True):
        np.testing.assert_array_equal(picture[:40, :48], straight)
        changed = (picture[:, 52:] != cv2.resize(file, (96, 80))).any(axis=2)
        assert not changed[~inside].any() and changed[inside].mean() > 0.99


def test_mask__ignored_pixels_are_white_and_said(browse):
    image, mask = np.full((20, 20, 3), 100, np.uint8), np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 255
    picture = served_images.draw_mask(image, mask, dict(classes=('background', 'polyp'), palette=[[0, 0, 0], GREEN]))
    assert (picture[5, 5:15] == 255).all() and (picture[6, 6] == 162).all() and (picture[4] == 100).all()


@pytest.mark.parametrize(
    ('meta', 'shown'),
    [
        (dict(classes=('background', 'polyp', 'tool')), [1, 2, 7]),
        (dict(classes=('polyp', 'tool', 'bubble')), [0, 1, 2, 7]),
        (dict(classes=('polyp', '_background_')), [0, 2, 7]),
        (dict(), [1, 2, 7]),
    ],
)
def test_mask__every_class_but_the_background_is_drawn_in_a_colour_of_its_own(meta, shown):
    assert served_images.shown_values(np.array([[0, 1], [2, 7]], np.uint8), meta) == shown
    assert len({served_images.colour_of(value, meta) for value in shown}) == len(shown)


# --- which images


def write_subset(path, kept, dropped):
    columns = {
        'image': pa.array([*kept, *dropped], pa.string()),
        'rank': pa.array(range(len(kept) + len(dropped)), pa.int64()),
        'redundancy': pa.array([0.1] * len(kept) + [0.95] * len(dropped), pa.float32()),
    }
    Subset.from_ranking(pa.table(columns), {}, ()).at(eta=0.5).write(path)


def test_images__only_those_of_the_subset_and_the_subset_is_named(browse):
    keys = [f'{name}.png' for name in NAMES]
    write_subset(Path('subset.parquet'), keys[1:4], [keys[0], *keys[4:]])
    dataset = f"dict(type='mmdel.MedDELDataset', subset='subset.parquet', dataset={plain()})"
    status, out = browse(f"dict(type='RepeatDataset', times=2, dataset={dataset})")
    assert status == 0, out
    same(drawn().values(), files()[1:4] * 2)
    assert (
        'RepeatDataset (6) > MedDELDataset(DataDEL, 3 of 6 images kept (subset.parquet, eta 0.5)) > DataDEL (3)' in out
    )
    assert 'serves:  6 images, 6 of them drawn' in out


def test_images__fewer_than_there_are_come_from_the_whole_range(browse):
    browse(plain(), '--show-number', 3)
    assert [int(name[:6]) for name in drawn()] == [0, 2, 5]
    assert re.search(r'6 images, 3 of them', browse(plain(), '--show-number', 3)[1])


def test_images__of_each_dataset_in_a_nest_by_its_own_pipeline(browse):
    rgb = "dict(type='Normalize', mean=[0, 0, 0], std=[1, 1, 1], to_rgb=True)"
    status, out = browse(f"dict(type='ConcatDataset', datasets=[{plain()}, {plain(rgb)}])", '--mode', 'concat')
    assert status == 0, out
    same([picture[:, 52:] for picture in drawn().values()], files() * 2)
    assert 'float32 [3, 40, 48]' in out and 'uint8 [3, 40, 48]' in out


def test_images__of_a_plain_config_without_scope_or_packing(browse):
    status, out = browse(PLAIN.format(steps=''), scope=None)
    assert status == 0, out
    same(drawn().values(), files())
    assert 'inputs:  uint8 [40, 48, 3]' in out


def test_seed__decides_and_not_the_company(browse):
    crop = "dict(type='RandomResizedCrop', scale=16)"
    for folder, arguments in (('all', []), ('some', ['-n', '3']), ('other', ['--seed', '1000'])):
        browse(plain(crop), '-o', folder, *arguments)
    everything, some, other = drawn('all'), drawn('some'), drawn('other')
    assert len(some) == 3
    same(some.values(), [everything[name] for name in some])
    assert all((everything[name] != other[name]).any() for name in everything)


def test_real_pipeline__on_synthetic_data(browse, demo_data):
    crop = "dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.2, 1.0)), dict(type='PackInputs')"
    sources = "sources=('gastrovision', 'hyper-kvasir', 'kvasir-capsule')"
    load = "dict(type='mmdel.LoadFrame', skip_unreadable=True)"
    dataset = f"dict(type='mmdel.DataDEL', data_root={str(demo_data / 'pool')!r}, {sources}, pipeline=[{load}, {crop}])"
    status, out = browse(dataset, '--mode', 'concat')
    assert status == 0, out
    assert 'polyps' in out and len(drawn()) == 20
    for picture in drawn().values():
        assert picture.shape == (256, 256 + 4 + 64, 3)


# --- files and mistakes


def test_sheet__holds_every_picture(browse):
    browse(plain(), '--mode', 'original')
    sheet = read('work_dirs/browse/config/sheet.jpg')
    assert sheet.shape[0] > 240 and sheet.shape[1] > 3 * 240
    noisy = cv2.blur(cv2.absdiff(sheet, cv2.blur(sheet, (5, 5))).max(axis=2), (25, 25)) > 8
    assert noisy.mean() > 0.6  # the images are noise, the page is white


def test_folders__images_are_left_alone_and_pictures_kept_apart(browse):
    before = {path: path.stat().st_mtime_ns for path in Path('data').rglob('*')}
    assert browse(plain())[0] == 0
    for place in ('data', 'data/browse', 'data/a'):
        status, out = browse(plain(), '-o', place)
        assert status == 2 and 'lies inside the image folder' in out and '--output-dir' in out
    for place in ('seg/images/x', 'seg/x'):
        assert browse(segmentation(LOAD_MASK), '-o', place, scope='mmseg')[0] == 2
    assert {path: path.stat().st_mtime_ns for path in Path('data').rglob('*')} == before
    assert not list(Path('seg').rglob('sheet.jpg'))


@pytest.mark.parametrize(
    ('dataset', 'arguments', 'words'),
    [
        (plain(), ['--phase', 'val'], ['val_dataloader', '--phase train']),
        (plain(), ['--show-number', '0'], ['--show-number']),
        (plain(), ['--cfg-options', 'train_dataloader.dataset.data_root=nowhere'], ['nowhere']),
        (
            PLAIN.format(steps=''),
            ['--cfg-options', 'train_dataloader.dataset.pipeline=[]'],
            ['PackInputs', '--mode original'],
        ),
    ],
)
def test_mistakes__are_named_without_a_traceback(browse, dataset, arguments, words):
    status, out = browse(dataset, *arguments)
    assert status == 2, out
    assert all(word in out for word in words) and 'Traceback' not in out


def test_mistakes__an_item_that_cannot_be_read_is_named(browse):
    Path('data/b/3.png').write_bytes(b'')
    status, out = browse(plain())
    assert status == 2 and 'data/b/3.png' in out and 'is empty' in out


def test_mistakes__a_config_that_is_not_there(browse, browse_module, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['browse_dataset.py', 'nowhere.py'])
    with pytest.raises(SystemExit, match='2'):
        browse_module.main()
    assert 'nowhere.py' in capsys.readouterr().err
