import os
import shutil

import pytest
from mmengine.dataset import BaseDataset, ClassBalancedDataset

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


def test_items__are_made_one_by_one_and_serialised_as_by_mmengine(pool):
    lazy = DataDEL(str(pool), lazy_init=True).load_data_list()
    plain = DataDEL(str(pool), serialize_data=False)
    assert [*lazy] == lazy[:] == plain.data_list and (lazy[-1], len(lazy)) == (plain.data_list[-1], len(plain))
    serialised = DataDEL(str(pool))
    data, ends = BaseDataset._serialize_data(plain)
    assert (serialised.data_bytes.tobytes(), serialised.data_address.tolist()) == (data.tobytes(), ends.tolist())


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
    with pytest.raises(DatasetError, match='mmdel select DIR') as error:
        DataDEL('data/nothing here')
    assert 'mmdel demo' in str(error.value)
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


@pytest.fixture
def films(tmp_path, render_video):
    """Videos where the datasets have them, one of one's own, and what is none."""
    root = tmp_path / 'films'
    render_video(
        root / 'hyper-kvasir' / 'labeled-videos' / 'upper-gi-tract' / 'pylorus' / 'v.avi', frames=10, codec='mpeg4'
    )
    render_video(root / 'kvasir-capsule' / 'labelled_videos' / '0123456789abcdef.mp4', frames=6)
    render_video(root / 'own' / 'walk.MP4', frames=50)
    (root / 'own' / 'broken.avi').write_bytes(b'none')
    render_video(root / 'own' / 'sound.mp4', frames=0)
    return root


def test_videos__are_left_out_unless_asked_for(films, make_images):
    with pytest.raises(DatasetError, match='5 videos left out.*--videos 1fps'):
        DataDEL(str(films))
    make_images(films, ['own/still.jpg'])
    dataset = DataDEL(str(films))
    assert list(items(dataset)) == ['own/still.jpg']
    assert dataset.notes == ('5 videos left out. Take frames of them with videos=, for instance --videos 1fps',)


def test_videos__their_frames_are_items_that_say_where_they_are_from(films, make_images):
    make_images(films, ['own/walk.MP4.jpg', 'own/z.jpg'])
    dataset = DataDEL(str(films), videos=5)
    capsule = 'kvasir-capsule/labelled_videos/0123456789abcdef.mp4'
    hyper = 'hyper-kvasir/labeled-videos/upper-gi-tract/pylorus/v.avi'
    found = items(dataset)
    own = [f'own/walk.MP4#{number:06d}' for number in range(0, 50, 5)]
    assert list(found) == [
        f'{hyper}#000000', f'{hyper}#000005', f'{capsule}#000000', f'{capsule}#000005', *own, 'own/walk.MP4.jpg', 'own/z.jpg'
    ]  # fmt: skip
    assert list(found) == sorted(found)
    assert dataset.metainfo['classes'] == ('pylorus',)
    assert found[f'{hyper}#000005'] == {
        'source': 'hyper-kvasir', 'video': hyper, 'frame': 5, 'gt_label': 0, 'sample_idx': 1
    }  # fmt: skip
    # the labelled images of this dataset carry the same name of the video
    assert found[f'{capsule}#000005']['video'] == '0123456789abcdef'
    assert found[own[1]] == {'source': 'own', 'video': 'own/walk.MP4', 'frame': 5, 'sample_idx': 5}
    reasons = dict(dataset.ledger)
    assert sorted(reasons) == ['own/broken.avi', 'own/sound.mp4']
    assert 'sound, but no pictures' in reasons['own/sound.mp4']


@pytest.mark.parametrize(('step', 'frames'), [('all', 50), (20, 3), ('1fps', 2), ('5fps', 10)])
def test_videos__how_many_frames(films, step, frames):
    assert len(DataDEL(str(films), ['own'], videos=step)) == frames


def test_list__names_frames_and_videos(films):
    lines = ['own/walk.MP4#000003', 'own/walk.MP4#000050', 'own/gone.avi#000001', 'own/broken.avi#000000']
    (films / 'list.txt').write_text('\n'.join([*lines, 'kvasir-capsule/labelled_videos/0123456789abcdef.mp4']))
    dataset = DataDEL(str(films), ann_file='list.txt', videos=3)
    capsule = 'kvasir-capsule/labelled_videos/0123456789abcdef.mp4'
    assert list(items(dataset)) == [f'{capsule}#000000', f'{capsule}#000003', 'own/walk.MP4#000003']
    reasons = dict(dataset.ledger)
    assert reasons['own/walk.MP4#000050'] == 'the video has 50 frames, counted from 0'
    assert set(reasons) == set(lines[1:])


def test_division__stands_for_its_datasets_that_are_there(pool):
    dataset = DataDEL(str(pool), sources=('pretraining', 'own'))
    assert list(items(dataset)) == FRAMES[:7]
    assert dataset.sources == ('gastrovision', 'hyper-kvasir', 'kvasir-capsule', 'own')
    with pytest.raises(DatasetError, match='none of the downstream datasets'):
        DataDEL(str(pool), sources=('downstream',))


@pytest.mark.parametrize('sources', [(), ('kvasir-seg',), ('downstream',), ('own', 'kvasir-seg/images'), ('deep',)])
def test_downstream_datasets__are_refused_unless_they_are_meant(pool, make_images, sources):
    make_images(pool, [f'{folder}kvasir-seg/{part}/a.png' for folder in ('', 'deep/') for part in ('images', 'masks')])
    with pytest.raises(DatasetError, match='kvasir-seg.*allow_downstream'):
        DataDEL(str(pool), sources)
    assert any('kvasir-seg' in key for key in items(DataDEL(str(pool), sources, allow_downstream=True)))


def test_downstream_datasets__an_own_folder_of_such_a_name_is_none(pool, make_images):
    make_images(pool, ['etis/1.jpg'])
    assert 'etis/1.jpg' in items(DataDEL(str(pool)))
