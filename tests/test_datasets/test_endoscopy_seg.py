import pickle
import shutil

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image

from mmdel.datasets import EDD2020Dataset, EndoscopySegDataset, KvasirSEGDataset
from mmdel.errors import ConfigError, DatasetError

NAMES = {
    'KvasirSEGDataset': 2,
    'KvasirSessileDataset': 2,
    'KvasirInstrumentDataset': 2,
    'CVCClinicDBDataset': 2,
    'CVC300Dataset': 2,
    'CVCColonDBDataset': 2,
    'ETISDataset': 2,
    'PolypGenDataset': 2,
    'ImageCLEFmedDataset': 2,
    'EDD2020Dataset': 6,
    'EAD2019Dataset': 6,
}
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='mmdel.LoadMask')]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


@pytest.fixture
def folder(tmp_path):
    """Four images of four kinds in the canonical layout; the mask of image ``i`` is ``i`` throughout."""
    root = tmp_path / 'set'
    for number, (image, mask) in enumerate(
        [('a.jpg', 'a.png'), ('b.PNG', 'b.TIF'), ('s/c.bmp', 's/c.png'), ('d.tif', 'd.bmp')]
    ):
        for kind, name in (('images', image), ('masks', mask)):
            (root / kind / name).parent.mkdir(parents=True, exist_ok=True)
            values = np.full((6, 8), number if kind == 'masks' else 50, np.uint8)
            picture = Image.fromarray(values)
            (picture.convert('RGB') if kind == 'images' else picture).save(root / kind / name)
    (root / 'train.txt').write_text('s/c\na\n')
    (root / 'val.txt').write_text('b.PNG\r\n\r\nd')
    return root


def stems(dataset):
    return [dataset.get_data_info(index)['img_path'].rpartition('images/')[2] for index in range(len(dataset))]


@pytest.mark.parametrize('name', NAMES)
def test_metainfo__classes_and_colours(name, folder):
    dataset = DATASETS.build(dict(type=f'mmdel.{name}', data_root=str(folder), ann_file='train.txt'))
    classes, palette = dataset.metainfo['classes'], dataset.metainfo['palette']
    assert len(classes) == len(palette) == NAMES[name]
    assert classes[0] == 'background'
    assert palette[0] == [0, 0, 0]
    assert len({tuple(colour) for colour in palette}) == len(palette)
    assert all(max(colour[1:]) == 255 for colour in palette[1:])  # red alone is the colour of mucosa
    assert dataset.metainfo['label_map'] is None
    assert dataset.get_data_info(0)['mask_kind'] == ('binary' if NAMES[name] == 2 else 'index')
    assert type(dataset).__doc__


def test_list__any_suffix_in_the_order_of_the_list(folder):
    assert stems(KvasirSEGDataset(str(folder), 'train.txt')) == ['s/c.bmp', 'a.jpg']
    assert stems(KvasirSEGDataset(str(folder), 'val.txt')) == ['b.PNG', 'd.tif']
    assert stems(KvasirSEGDataset(str(folder))) == ['a.jpg', 'b.PNG', 'd.tif', 's/c.bmp']


def test_items__load_their_own_mask(folder):
    dataset = EDD2020Dataset(str(folder), 'train.txt', pipeline=PIPELINE)
    assert [np.unique(item['gt_seg_map']).tolist() for item in dataset] == [[2], [0]]
    binary = KvasirSEGDataset(str(folder), pipeline=PIPELINE)
    assert [np.unique(binary[index]['gt_seg_map']).tolist() for index in range(2)] == [[0], [1]]
    with pytest.raises(DatasetError, match='d.bmp'):
        binary[2]


def test_classes__fewer_or_in_another_order(folder):
    classes = ['suspicious', 'background', 'BE']
    dataset = EDD2020Dataset(str(folder), metainfo=dict(classes=classes), pipeline=PIPELINE)
    assert dataset.metainfo['palette'] == [[255, 255, 0], [0, 0, 0], [0, 255, 255]]
    assert [int(dataset[index]['gt_seg_map'][0, 0]) for index in range(4)] == [1, 2, 255, 0]
    with pytest.raises(ConfigError, match='ulcer.*it has background'):
        EDD2020Dataset(str(folder), metainfo=dict(classes=['ulcer']))
    with pytest.raises(ConfigError, match='3 colours'):
        EDD2020Dataset(str(folder), metainfo=dict(palette=[[0, 0, 0]] * 3))


def test_own_classes__a_folder_of_your_own(folder):
    dataset = EndoscopySegDataset(str(folder), metainfo=dict(classes=('background', 'ulcer')))
    assert dataset.metainfo['palette'] == [[0, 0, 0], [0, 255, 0]]
    assert dataset.get_data_info(0)['mask_kind'] == 'binary'
    with pytest.raises(ConfigError, match='classes'):
        EndoscopySegDataset(str(folder))


def test_lazy_indices_and_pickling__as_in_mmengine(folder):
    dataset = KvasirSEGDataset(str(folder), lazy_init=True)
    assert not dataset._fully_initialized
    assert dataset.metainfo['classes'] == ('background', 'polyp')
    dataset.full_init()
    assert len(dataset) == 4
    assert stems(KvasirSEGDataset(str(folder), indices=[3, 0])) == ['s/c.bmp', 'a.jpg']
    assert stems(pickle.loads(pickle.dumps(dataset))) == stems(dataset)


@pytest.mark.parametrize('wrapped', [False, True])
def test_subset__leaves_only_its_images(wrapped, folder, write_subset):
    inner = dict(type='mmdel.KvasirSEGDataset', data_root=str(folder), pipeline=PIPELINE)
    if wrapped:
        inner = dict(type='RepeatDataset', times=2, dataset=inner)
    subset = write_subset(['a.jpg', 's/c.bmp'], ['b.PNG', 'd.tif'])
    dataset = DATASETS.build(dict(type='mmdel.MedDELDataset', subset=subset, dataset=inner))
    assert stems(dataset) == ['a.jpg', 's/c.bmp'] * (1 + wrapped)
    assert dataset.metainfo['classes'] == ('background', 'polyp')


def test_test_mode__does_without_masks_if_there_are_none(folder):
    shutil.rmtree(folder / 'masks')
    dataset = KvasirSEGDataset(str(folder), 'val.txt', test_mode=True, pipeline=PIPELINE)
    assert 'gt_seg_map' not in dataset[0]
    assert dataset[0]['img'].shape == (6, 8, 3)
    with pytest.raises(DatasetError, match='masks is not there'):
        KvasirSEGDataset(str(folder), 'val.txt')


def test_error__names_what_is_missing(folder):
    with pytest.raises(DatasetError, match='test.txt is not there.*mmdel splits .*set'):
        KvasirSEGDataset(str(folder), 'test.txt')
    (folder / 'train.txt').write_text('a\n' + ''.join(f'no{number}\n' for number in range(5)))
    with pytest.raises(DatasetError, match=r'5 images of the 6 .*train.txt.*no0, no1, no2, \.\.\.'):
        KvasirSEGDataset(str(folder), 'train.txt')
    (folder / 'masks' / 'a.png').unlink()
    (folder / 'masks' / 'd.bmp').unlink()
    with pytest.raises(DatasetError, match='2 images of 4 have no mask.*a, d'):
        KvasirSEGDataset(str(folder))
    with pytest.raises(DatasetError, match='2 images of 4 have no mask'):
        KvasirSEGDataset(str(folder), test_mode=True)
    for content, words in (('', 'empty'), ('b\nb\n', 'twice, in the lines 1 and 2'), ('\xff', 'not below|are not')):
        (folder / 'train.txt').write_text(content)
        with pytest.raises(DatasetError, match=words):
            KvasirSEGDataset(str(folder), 'train.txt')


def test_error__two_images_of_one_stem(folder):
    shutil.copy(folder / 'images' / 'a.jpg', folder / 'images' / 'a.JPEG')
    with pytest.raises(DatasetError, match=r'a\.JPEG and a\.jpg'):
        KvasirSEGDataset(str(folder), 'val.txt')
