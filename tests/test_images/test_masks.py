import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mmdel.datasets import LoadMask
from mmdel.errors import ConfigError, DatasetError
from mmdel.images.masks import read_mask
from mmdel.registry import TRANSFORMS

TRUTH = np.zeros((24, 32), np.uint8)
TRUTH[8:16, 8:24] = 1


def save(path, values, mode=None, **options):
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path, **options)
    return str(path)


def palette_image(values, colours):
    image = Image.fromarray(values)
    image = image.convert('L') if image.mode != 'L' else image
    paletted = Image.new('P', image.size)
    paletted.putdata(list(image.tobytes()))
    paletted.putpalette(colours)
    return paletted


def results_for(path, **more):
    return dict(seg_map_path=path, seg_fields=[], label_map=None, reduce_zero_label=False, **more)


WAYS = {
    '0 and 1': lambda path: save(f'{path}.png', TRUTH),
    '0 and 255': lambda path: save(f'{path}.png', TRUTH * 255),
    'jpeg': lambda path: save(f'{path}.jpg', TRUTH * 255, quality=60),
    'jpeg in colour': lambda path: save(f'{path}.JPG', TRUTH * 255, 'RGB', quality=60),
    'green': lambda path: save(f'{path}.png', np.stack([TRUTH * 0, TRUTH * 255, TRUTH * 0], 2)),
    'one bit': lambda path: save(f'{path}.png', TRUTH * 255, '1'),
    'sixteen bits': lambda path: save(f'{path}.png', TRUTH.astype(np.uint16) * 65535),
    'sixteen bits of eight': lambda path: save(f'{path}.png', TRUTH.astype(np.uint16) * 255),
    'grey and alpha': lambda path: save(f'{path}.png', TRUTH * 255, 'LA'),
    'colour and alpha': lambda path: save(f'{path}.png', TRUTH * 255, 'RGBA'),
    'bmp': lambda path: save(f'{path}.bmp', TRUTH * 255, 'RGB'),
    'tiff': lambda path: save(f'{path}.tif', TRUTH * 255, compression='tiff_lzw'),
    'float': lambda path: save(f'{path}.tiff', TRUTH.astype(np.float32)),
    'gif': lambda path: save(f'{path}.gif', TRUTH * 255),
}


@pytest.mark.parametrize('way', WAYS)
def test_binary__however_it_is_stored(way, tmp_path):
    mask = read_mask(WAYS[way](tmp_path / 'mask'), 'binary')
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, TRUTH)


def test_binary__a_palette_counts_by_index_not_by_colour(tmp_path):
    black_is_one = palette_image(TRUTH, [255, 255, 255, 0, 0, 0])
    black_is_one.save(tmp_path / 'mask.png')
    np.testing.assert_array_equal(read_mask(str(tmp_path / 'mask.png'), 'binary'), TRUTH)


@pytest.mark.parametrize(('value', 'expected'), [(0, 0), (1, 1), (255, 1), (128, 1)])
def test_binary__flat_masks(value, expected, tmp_path):
    assert (read_mask(save(tmp_path / 'mask.png', np.full((4, 5), value, np.uint8)), 'binary') == expected).all()


@given(seed=st.integers(0, 2**32 - 1), quality=st.integers(50, 95))
def test_binary__a_jpeg_is_the_stored_picture_cut_in_half(seed, quality, tmp_path_factory):
    path = tmp_path_factory.mktemp('jpeg') / 'mask.jpg'
    truth = np.kron(np.random.default_rng(seed).integers(0, 2, (3, 4)), np.ones((8, 8), int)).astype(np.uint8)
    save(path, truth * 255, quality=quality)
    np.testing.assert_array_equal(read_mask(str(path), 'binary'), truth)


@pytest.mark.real
def test_binary__real_jpeg_masks_are_soft_and_are_decided(real_data):
    paths = sorted((real_data / 'kvasir_seg' / 'train' / 'masks').iterdir())[:40]
    soft = 0
    for path in paths:
        stored = np.asarray(Image.open(path).convert('L'))
        soft += len(np.unique(stored)) > 2
        mask = read_mask(str(path), 'binary')
        assert set(np.unique(mask)) == {0, 1}
        np.testing.assert_array_equal(mask, stored >= 128)
    assert soft > 0  # else the test shows nothing


def test_index__values_are_classes(tmp_path):
    values = np.array([[0, 1, 2], [5, 255, 3]], np.uint8)
    for path in (
        save(tmp_path / 'grey.png', values),
        save(tmp_path / 'wide.png', values.astype(np.uint16)),
        save(tmp_path / 'colour.png', np.stack([values] * 3, 2)),
        save(tmp_path / 'mask.tif', values),
    ):
        np.testing.assert_array_equal(read_mask(path, 'index', labels=6), values)
    palette_image(values, list(range(256)) * 3).save(tmp_path / 'palette.png')
    np.testing.assert_array_equal(read_mask(str(tmp_path / 'palette.png'), 'index', labels=6), values)


def test_error__what_cannot_be_a_mask_of_this_kind(tmp_path):
    values = np.array([[0, 6], [7, 255]], np.uint8)
    path = save(tmp_path / 'values.png', values)
    with pytest.raises(DatasetError, match='values 6, 7,.* 0 to 5') as error:
        read_mask(path, 'index', labels=6)
    assert path in str(error.value)
    np.testing.assert_array_equal(read_mask(path, 'index'), values)
    with pytest.raises(DatasetError, match='300'):
        read_mask(save(tmp_path / 'high.png', np.full((2, 2), 300, np.uint16)), 'index')
    with pytest.raises(DatasetError, match='PNG'):
        read_mask(save(tmp_path / 'lossy.jpg', values), 'index', labels=8)
    with pytest.raises(DatasetError, match='colours'):
        read_mask(save(tmp_path / 'colours.png', np.eye(3, dtype=np.uint8)[None]), 'index', labels=8)
    with pytest.raises(DatasetError, match='0, 100: neither'):
        read_mask(save(tmp_path / 'faint.png', TRUTH * 100), 'binary')
    pages = [Image.fromarray(TRUTH * 255)] * 5
    pages[0].save(tmp_path / 'pages.tif', save_all=True, append_images=pages[1:])
    with pytest.raises(DatasetError, match='5 pages'):
        read_mask(str(tmp_path / 'pages.tif'), 'index', labels=6)


def test_error__broken_or_missing_files(tmp_path):
    (tmp_path / 'broken.png').write_bytes(b'no picture')
    whole = save(tmp_path / 'whole.png', np.random.default_rng(0).integers(0, 2, (64, 64), dtype=np.uint8) * 255)
    (tmp_path / 'half.png').write_bytes((tmp_path / 'whole.png').read_bytes()[:-200])
    for name, words in (('broken.png', 'cannot be read'), ('half.png', 'cannot be read'), ('none.png', 'not there')):
        with pytest.raises(DatasetError, match=words) as error:
            read_mask(str(tmp_path / name), 'binary')
        assert name in str(error.value)
        assert ' at 0x' not in str(error.value)  # it would make a ledger differ from run to run
    with pytest.raises(ConfigError, match='colour'):
        read_mask(whole, 'colour')


@pytest.mark.parametrize(
    'more',
    [
        dict(),
        dict(label_map={0: 0, 1: 255, 2: 1, 3: 2}),
        dict(label_map={0: 2, 1: 1, 2: 0, 3: 255}),
        dict(reduce_zero_label=True),
        dict(reduce_zero_label=True, label_map={0: 1, 1: 0, 2: 255}),
    ],
)
def test_transform__index_masks_as_mmseg_reads_them(more, tmp_path):
    path = save(tmp_path / 'mask.png', np.array([[0, 1, 2], [3, 255, 0]], np.uint8))
    ours = LoadMask('index')(results_for(path) | more)
    theirs = LoadAnnotations()(results_for(path) | more)
    np.testing.assert_array_equal(ours['gt_seg_map'], theirs['gt_seg_map'])
    assert ours['gt_seg_map'].dtype == theirs['gt_seg_map'].dtype == np.uint8
    assert ours['seg_fields'] == theirs['seg_fields'] == ['gt_seg_map']


def test_transform__auto_asks_the_dataset(tmp_path):
    path = save(tmp_path / 'mask.png', TRUTH * 255)
    load = TRANSFORMS.build(dict(type='mmdel.LoadMask'))
    np.testing.assert_array_equal(load(results_for(path, mask_kind='binary'))['gt_seg_map'], TRUTH)
    with pytest.raises(ConfigError, match="kind='binary'"):
        load(results_for(path))
    assert 'gt_seg_map' not in load(results_for(None, mask_kind='binary'))
    with pytest.raises(ConfigError, match='auto'):
        LoadMask('colour')


def test_transform__another_size_than_the_image_is_an_error(tmp_path):
    photo = Image.new('RGB', (32, 24))
    exif = photo.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    photo.save(tmp_path / 'image.jpg', exif=exif)
    path = save(tmp_path / 'mask.png', TRUTH)
    results = LoadImageFromFile()(results_for(path, img_path=str(tmp_path / 'image.jpg')))
    with pytest.raises(DatasetError, match='32 x 24 px.*24 x 32.*EXIF') as error:
        LoadMask('binary')(results)
    assert path in str(error.value)
    assert 'image.jpg' in str(error.value)
    upright = LoadImageFromFile()(results_for(path, img_path=save(tmp_path / 'upright.jpg', TRUTH, 'RGB')))
    assert LoadMask('binary')(upright)['gt_seg_map'].shape == (24, 32)
    turned = Image.fromarray(TRUTH * 255)
    turned.save(tmp_path / 'turned.jpg', exif=exif)  # a mask with the photo's tag turns with it
    assert LoadMask('binary')(results | dict(seg_map_path=str(tmp_path / 'turned.jpg')))['gt_seg_map'].shape == (32, 24)
