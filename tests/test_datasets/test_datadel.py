import os
import shutil

import pytest
from mmengine.dataset import ClassBalancedDataset

import mmdel.datasets
from mmdel.datasets import DataDEL
from mmdel.errors import DatasetError
from mmdel.registry import DATASETS

FRAMES = [
    'gastrovision/Cecum/0a.jpg',
    'gastrovision/Small bowel_terminal ileum/0b.jpg',
    'hyper-kvasir/labeled-images/lower-gi-tract/anatomical-landmarks/cecum/1a.jpg',
    'hyper-kvasir/unlabeled-images/images/1b.jpg',
    'kvasir-capsule/labelled_images/Pylorus/fe5d372e43f94f68_988.jpg',
    'kvasir-capsule/labelled_images/Pylorus/still.jpg',
    'own/cecum/2.jpg',
    'top.jpg',
]


@pytest.fixture
def pool(tmp_path, make_images):
    return make_images(tmp_path / 'pool', FRAMES)


def items(dataset):
    return {
        os.path.relpath(info.pop('img_path'), dataset.data_root): info
        for info in (dataset.get_data_info(index) for index in range(len(dataset)))
    }


def test_items__carry_what_names_and_folders_tell(pool):
    dataset = DataDEL(str(pool))
    classes = dataset.metainfo['classes']
    assert classes == ('Cecum', 'Pylorus', 'Small bowel_terminal ileum', 'cecum')
    assert items(dataset) == {
        FRAMES[0]: {'source': 'gastrovision', 'gt_label': 0, 'sample_idx': 0},
        FRAMES[1]: {'source': 'gastrovision', 'gt_label': 2, 'sample_idx': 1},
        FRAMES[2]: {'source': 'hyper-kvasir', 'gt_label': 3, 'sample_idx': 2},
        FRAMES[3]: {'source': 'hyper-kvasir', 'sample_idx': 3},
        FRAMES[4]: {
            'source': 'kvasir-capsule',
            'gt_label': 1,
            'video': 'fe5d372e43f94f68',
            'frame': 988,
            'sample_idx': 4,
        },
        FRAMES[5]: {'source': 'kvasir-capsule', 'gt_label': 1, 'sample_idx': 5},
        FRAMES[6]: {'source': 'own', 'sample_idx': 6},
        FRAMES[7]: {'source': '', 'sample_idx': 7},
    }


def test_sources__only_these_folders_are_listed(pool):
    dataset = DataDEL(str(pool), sources=('own', 'gastrovision/'))
    assert list(items(dataset)) == [*FRAMES[:2], FRAMES[6]]
    assert [info['source'] for info in items(dataset).values()] == ['gastrovision', 'gastrovision', 'own']


def test_classes__given_ones_fix_the_numbers(pool):
    dataset = DataDEL(str(pool), ['kvasir-capsule'], metainfo={'classes': ['Ulcer', 'Pylorus']})
    assert dataset.get_cat_ids(0) == [1]
    with pytest.raises(DatasetError, match='Cecum'):
        DataDEL(str(pool), ['gastrovision'], metainfo={'classes': ['Ulcer']})


def test_base_dataset__options_keep_working(pool):
    lazy = DataDEL(str(pool), lazy_init=True)
    assert not lazy._fully_initialized
    assert len(lazy) == len(FRAMES)
    assert len(DataDEL(str(pool), indices=3)) == 3
    plain = DataDEL(str(pool), serialize_data=False)
    assert items(plain) == items(lazy)
    assert items(plain.get_subset([6, 0])).keys() == {FRAMES[6], FRAMES[0]}
    plain.get_subset_([1])
    assert list(items(plain)) == [FRAMES[1]]
    assert len(ClassBalancedDataset(lazy, 0.5)) >= len(FRAMES)


def test_pipeline__gets_the_items(pool):
    dataset = DATASETS.build(
        {'type': 'mmdel.DataDEL', 'data_root': str(pool), 'pipeline': [lambda info: info['source']]}
    )
    assert dataset[0] == 'gastrovision'
    assert isinstance(dataset, mmdel.datasets.DataDEL)


def test_list__replaces_the_scan(pool):
    lines = [
        '\ufeffown/cecum/2.jpg',
        '',
        '  ',
        './gastrovision//Small bowel_terminal ileum/0b.jpg',
        'own\\cecum\\2.jpg\r',
    ]
    lines.append(str(pool.absolute() / 'top.jpg'))
    (pool / 'list.txt').write_text('\n'.join(lines), encoding='utf-8')
    dataset = DataDEL(str(pool), ann_file='list.txt')
    assert list(items(dataset)) == [FRAMES[1], FRAMES[6], FRAMES[7]]
    assert items(dataset)[FRAMES[1]] == {'source': 'gastrovision', 'gt_label': 0, 'sample_idx': 0}
    assert dataset.ledger == ()


def test_list__what_cannot_be_used_is_in_the_ledger(pool):
    (pool / 'link.jpg').symlink_to('nowhere.jpg')
    lines = [b'top.jpg', b'gone.jpg', b'../outside.jpg', b'link.jpg', b'latin\xe9.jpg', b'own/cecum']
    (pool / 'list.txt').write_bytes(b'\n'.join(lines))
    dataset = DataDEL(str(pool), ann_file='list.txt')
    assert list(items(dataset)) == ['top.jpg']
    reasons = dict(dataset.ledger)
    assert sorted(reasons) == ['../outside.jpg', 'gone.jpg', 'latin\\xe9.jpg', 'link.jpg', 'own/cecum']
    assert reasons['gone.jpg'] == f'listed in {pool}/list.txt but not there'
    assert 'dangling' in reasons['link.jpg']
    assert 'not below' in reasons['../outside.jpg']


def test_scan__ledger_and_notes_are_remembered(pool):
    (pool / 'own' / 'lost.jpg').symlink_to('nowhere.jpg')
    (pool / 'own' / 'readme.txt').write_text('')
    dataset = DataDEL(str(pool), ['own'])
    assert dataset.ledger == (('own/lost.jpg', 'dangling link to nowhere.jpg'),)
    assert dataset.notes == ('1 file with other endings ignored (1 .txt)',)


def test_images__are_not_opened(pool):
    for path in pool.rglob('*.jpg'):
        path.write_bytes(b'')
    assert len(DataDEL(str(pool))) == len(FRAMES)


def test_error__missing_root_names_what_to_do(tmp_path):
    with pytest.raises(DatasetError, match='--images DIR') as error:
        DataDEL('data/nothing here')
    assert 'make demo' in str(error.value)
    assert 'data/nothing here' in str(error.value)


def test_error__missing_or_empty_source_is_named(pool):
    shutil.rmtree(pool / 'gastrovision')
    with pytest.raises(DatasetError, match=r'no folder gastrovision.*hyper-kvasir, kvasir-capsule, own'):
        DataDEL(str(pool), ['gastrovision', 'own'])
    (pool / 'gastrovision').mkdir()
    with pytest.raises(DatasetError, match='below gastrovision'):
        DataDEL(str(pool), ['gastrovision', 'own'])
    with pytest.raises(DatasetError, match=r'\.\./pool'):
        DataDEL(str(pool), ['../pool'])


@pytest.mark.parametrize(
    ('text', 'words'), [(None, 'cannot be read'), ('\n \n', 'names no image'), ('a.jpg\nb.jpg', r'None of .*a\.jpg')]
)
def test_error__list_without_a_usable_image(pool, text, words):
    if text is not None:
        (pool / 'list.txt').write_text(text)
    with pytest.raises(DatasetError, match=words) as error:
        DataDEL(str(pool), ann_file='list.txt')
    assert str(pool) in str(error.value)
