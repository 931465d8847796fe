import copy
import json
import os
import pickle
import random

import pytest
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from mmengine.registry import DATASETS
from mmpretrain.datasets import CustomDataset, ImageNet
from mmseg.datasets import BaseSegDataset, MultiImageMixDataset
from torch.utils.data import DataLoader
from torch.utils.data import Subset as TorchSubset

from mmdel.datasets import DataDEL, MedDELDataset
from mmdel.errors import ConfigError, DatasetError, SubsetError
from mmdel.images.image_table import image_table

NAMES = [f'{name}/{number}.jpg' for name in 'ab' for number in range(5)]
KEPT = ['a/0.jpg', 'a/3.jpg', 'a/4.jpg', 'b/1.jpg', 'b/2.jpg', 'b/4.jpg']
DROPPED = sorted(set(NAMES) - set(KEPT))


def flaky(info):
    """Half of the time there is no such sample."""
    return info if random.random() < 0.5 else None


@pytest.fixture(autouse=True)
def seed():
    random.seed(0)


@pytest.fixture
def pool(tmp_path, make_images):
    return make_images(tmp_path / 'pool', [f'img/{name}' for name in NAMES])


@pytest.fixture
def subset(write_subset):
    return write_subset(KEPT, DROPPED)


@pytest.fixture
def custom(pool):
    return dict(type='mmpretrain.CustomDataset', data_root=str(pool), data_prefix='img', pipeline=[flaky])


def served(dataset, pool, draws=20):
    """Every path that a dataset gave in some draws of every item, relative to the images."""
    paths = [dataset[index]['img_path'] for _ in range(draws) for index in range(len(dataset))]
    return {os.path.relpath(path, pool / 'img').replace(os.sep, '/') for path in paths}


def keep(dataset, subset, **kwargs):
    return dict(type='mmdel.MedDELDataset', dataset=dataset, subset=subset, **kwargs)


def concat(*datasets, **kwargs):
    return dict(type='ConcatDataset', datasets=list(datasets), **kwargs)


def repeat(dataset, **kwargs):
    return dict(type='RepeatDataset', dataset=dataset, times=3, **kwargs)


def balanced(dataset, **kwargs):
    return dict(type='ClassBalancedDataset', dataset=dataset, oversample_thr=0.1, **kwargs)


def mixed(dataset):
    return dict(type='mmseg.MultiImageMixDataset', dataset=dataset, pipeline=[])


NESTS = {
    'alone': (lambda d, s: keep(d, s), 6),
    'lazy': (lambda d, s: keep(dict(d, lazy_init=True), s, lazy_init=True), 6),
    'not serialised': (lambda d, s: keep(dict(d, serialize_data=False), s), 6),
    'inside concat': (lambda d, s: concat(keep(d, s), keep(d, s)), 12),
    'inside lazy concat': (lambda d, s: concat(keep(d, s, lazy_init=True), lazy_init=True), 6),
    'inside repeat': (lambda d, s: repeat(keep(d, s)), 18),
    'inside repeat, lazy': (lambda d, s: repeat(keep(d, s, lazy_init=True)), 18),
    'inside lazy repeat': (lambda d, s: repeat(keep(d, s, lazy_init=True), lazy_init=True), 18),
    'inside balanced': (lambda d, s: balanced(keep(d, s)), 6),
    'inside mix': (lambda d, s: mixed(concat(keep(d, s))), 6),
    'inside mix, directly': (lambda d, s: mixed(keep(d, s)), 6),
    'round concat': (lambda d, s: keep(concat(d, d), s), 12),
    'round lazy concat': (lambda d, s: keep(concat(dict(d, lazy_init=True), lazy_init=True), s), 6),
    'round repeat': (lambda d, s: keep(repeat(d), s), 18),
    'round balanced': (lambda d, s: keep(balanced(d), s), 6),
    'round balanced repeat of concat': (lambda d, s: keep(repeat(repeat(concat(d, d))), s), 108),
    'round mix': (lambda d, s: keep(mixed(concat(d, d)), s), 12),
    'round mix of balanced': (lambda d, s: keep(mixed(concat(balanced(d))), s), 6),
    'round itself': (lambda d, s: keep(keep(d, s, unlisted='keep'), s), 6),
    'round itself in a concat': (lambda d, s: keep(concat(keep(d, s), d), s), 12),
    'between': (lambda d, s: repeat(keep(repeat(d), s)), 54),
}


@pytest.mark.parametrize('nest', NESTS)
def test_nests__a_dropped_image_is_never_served(nest, custom, subset, pool):
    build, length = NESTS[nest]
    dataset = DATASETS.build(build(custom, subset))
    dataset.full_init()
    assert len(dataset) == length
    assert served(dataset, pool) == set(KEPT)
    assert {os.path.relpath(dataset.get_data_info(i)['img_path'], pool / 'img') for i in range(len(dataset))} == set(
        KEPT
    )
    assert dataset.metainfo['classes'] == ('a', 'b')


@pytest.mark.parametrize('times', [1, 2])
def test_loader__workers_serve_what_is_kept(custom, subset, pool, times):
    dataset = MedDELDataset(dict(type='RepeatDataset', dataset=custom, times=times), subset)
    batches = DataLoader(
        dataset, batch_size=4, num_workers=2, collate_fn=lambda batch: [info['img_path'] for info in batch]
    )
    paths = [os.path.relpath(path, pool / 'img') for batch in batches for path in batch]
    assert len(paths) == 6 * times
    assert set(paths) <= set(KEPT)


def fold(dataset, test_mode=False, number=0, splits=2, seed=0):
    return dict(
        type='mmpretrain.KFoldDataset', dataset=dataset, fold=number, num_splits=splits, test_mode=test_mode, seed=seed
    )


@pytest.mark.parametrize('inside', [True, False])
def test_kfold__folds_share_nothing_and_miss_nothing(inside, custom, subset, pool):
    folds = []
    for number in (0, 1):
        config = fold(keep(custom, subset), True, number) if inside else keep(fold(custom, True, number), subset)
        dataset = DATASETS.build(config)
        assert dataset.metainfo['classes'] == ('a', 'b')
        assert len(dataset.get_gt_labels()) == len(dataset)
        assert dataset.get_cat_ids(0) in ([0], [1])
        folds.append(served(dataset, pool))
    assert folds[0] | folds[1] == set(KEPT)
    assert not folds[0] & folds[1]


def test_kfold__training_images_never_stand_in_the_whole_validation_fold(custom, subset, pool):
    train = DATASETS.build(keep(fold(custom), subset))
    validate = DATASETS.build(fold(custom, test_mode=True))
    assert not served(train, pool) & served(validate, pool)
    assert served(train, pool) <= set(KEPT)


def test_kfold__that_was_drawn_before_is_thinned_out(custom, subset, pool, write_subset):
    built = DATASETS.build(fold(custom))
    before = served(built, pool, 50)
    assert len(before) == 5
    assert served(MedDELDataset(built, subset), pool) == before & set(KEPT)
    with pytest.raises(DatasetError, match='are not in the dataset'):
        MedDELDataset(built, write_subset(['x/1.jpg'], name='other.parquet'), unlisted='drop')


def test_concat__beside_a_dataset_that_is_not_filtered(custom, subset, pool):
    dataset = DATASETS.build(concat(keep(custom, subset), custom, keep(custom, subset)))
    assert len(dataset) == 6 + 10 + 6
    assert {os.path.relpath(dataset[i]['img_path'], pool / 'img') for i in (*range(6), *range(16, 22))} <= set(KEPT)


@pytest.mark.parametrize('serialize', [True, False])
def test_concat__a_leaf_without_a_kept_image_is_empty(serialize, pool, write_subset):
    folders = [
        dict(type='mmdel.DataDEL', data_root=str(pool / 'img' / name), serialize_data=serialize) for name in 'aba'
    ]
    subset = write_subset(NAMES[5:], NAMES[:5])
    for config in (keep(concat(*folders), subset), repeat(keep(concat(repeat(folders[0]), folders[1]), subset))):
        dataset = DATASETS.build(config)
        dataset.full_init()
        assert served(dataset, pool, 1) == set(NAMES[5:])


def test_built__the_dataset_that_was_given_stays_as_it_is(subset, write_subset, pool):
    leaf = CustomDataset(data_root=str(pool), data_prefix='img')
    whole = ConcatDataset([leaf, leaf])
    one = MedDELDataset(whole, subset)
    other = MedDELDataset(whole, write_subset(DROPPED, KEPT, name='other.parquet'))
    assert (len(one), len(other), len(whole), len(leaf)) == (12, 8, 20, 10)
    assert served(one, pool, 1) | served(other, pool, 1) == set(NAMES)


def test_built__may_be_handed_to_the_wrappers_of_mmengine(custom, subset):
    dataset = MedDELDataset(DATASETS.build(custom), subset)
    assert len(ConcatDataset([dataset, dataset])) == 12
    assert len(RepeatDataset(dataset, 2)) == 12
    assert len(MultiImageMixDataset(ConcatDataset([dataset]), [])) == 6


@pytest.mark.parametrize('copied', [copy.copy, copy.deepcopy, lambda dataset: pickle.loads(pickle.dumps(dataset))])
def test_copies__are_the_same_dataset(copied, custom, subset, pool):
    dataset = copied(MedDELDataset(custom, subset))
    assert served(dataset, pool) == set(KEPT)
    assert dataset.data_root == str(pool)


def test_get_subset__takes_positions_among_the_kept_ones(custom, subset, pool):
    dataset = MedDELDataset(custom, subset)
    assert served(dataset.get_subset([0, 5]), pool) == {KEPT[0], KEPT[5]}
    assert len(dataset) == 6
    dataset.get_subset_([1])
    assert served(dataset, pool) == {KEPT[1]}


def test_get_subset__of_any_version_of_mmengine_copies_each_dataset_by_itself(custom, subset, pool, monkeypatch):
    # in 0.10 a dataset that was copied before may come back in the place of this one's pipeline
    monkeypatch.setattr(BaseDataset, '_copy_without_annotation', None)
    dataset = MedDELDataset(custom, subset)
    part = dataset.get_subset([0, 5])
    assert part.pipeline is not dataset.pipeline and part.dataset is not dataset.dataset
    part.pipeline.transforms.clear()
    assert served(dataset, pool) == set(KEPT)


def test_labels__are_those_of_the_kept_images(custom, subset):
    for config in (custom, concat(custom)):
        dataset = MedDELDataset(config, subset, lazy_init=True)
        assert dataset.CLASSES == ('a', 'b')
        assert dataset.get_gt_labels().tolist() == [0, 0, 0, 1, 1, 1]
        assert [dataset.get_cat_ids(index) for index in (0, 5)] == [[0], [1]]
    assert MedDELDataset(custom, subset).class_to_idx == {'a': 0, 'b': 1}


def test_pipeline__can_be_replaced_and_prepare_data_may_give_none(custom, subset, pool):
    dataset = MedDELDataset(custom, subset)
    assert None in [dataset.prepare_data(0) for _ in range(50)]
    dataset.pipeline = lambda info: None if info['img_path'].endswith('/0.jpg') else info['img_path']
    assert {os.path.relpath(dataset[0], pool / 'img') for _ in range(100)} == set(KEPT) - {'a/0.jpg'}


def test_lazy__reads_nothing_before_full_init(custom, tmp_path):
    dataset = MedDELDataset(custom, str(tmp_path / 'later.parquet'), lazy_init=True)
    assert 'later.parquet' in repr(dataset)
    with pytest.raises(SubsetError, match=r'later\.parquet is not there'):
        len(dataset)


def test_log__one_line_says_what_was_kept(custom, subset, monkeypatch):
    lines = []
    monkeypatch.setattr('mmdel.datasets.meddel_dataset.print_log', lambda line, logger: lines.append(line))
    dataset = MedDELDataset(custom, subset)
    dataset.full_init()
    MedDELDataset(custom, subset, ratio=0.3)
    assert lines == [
        'MedDELDataset: 6 of 10 images kept (subset.parquet, eta 0.5)',
        'MedDELDataset: 3 of 10 images kept (subset.parquet, ratio 0.3)',
    ]
    assert repr(dataset) == 'MedDELDataset(CustomDataset, 6 of 10 images kept (subset.parquet, eta 0.5))'


def test_cut__elsewhere(custom, subset, pool):
    assert served(MedDELDataset(custom, subset, ratio=0.2), pool) == set(KEPT[:2])
    assert served(MedDELDataset(custom, subset, eta=0.99), pool) == set(NAMES)
    with pytest.raises(ConfigError, match='either eta or ratio'):
        MedDELDataset(custom, subset, eta=0.9, ratio=0.2)


# --- datasets of every kind


def test_datasets__of_every_library(pool, subset, write_subset, tmp_path):
    (tmp_path / 'items.json').write_text(
        json.dumps({'metainfo': {}, 'data_list': [{'img_path': f'./img//{name}', 'more': [1]} for name in NAMES]})
    )
    (tmp_path / 'list.txt').write_text(''.join(f'{name} 1\n' for name in NAMES))
    (tmp_path / 'stems.txt').write_text(''.join(f'{name[:-4]}\n' for name in NAMES))
    root = dict(data_root=str(pool))
    whole = write_subset([f'img/{name}' for name in KEPT], [f'img/{name}' for name in DROPPED], name='whole.parquet')
    img = dict(img_path='img')
    for dataset, files in [
        (CustomDataset(**root, data_prefix='img'), (subset, whole)),
        (CustomDataset(**root, data_prefix='img', ann_file=str(tmp_path / 'list.txt')), (subset, whole)),
        (CustomDataset(data_prefix=str(pool / 'img'), with_label=False), (subset,)),
        (ImageNet(**root, data_prefix='img', classes=['a', 'b']), (subset, whole)),
        (BaseSegDataset(**root, data_prefix=dict(**img, seg_map_path='masks')), (subset, whole)),
        (BaseSegDataset(data_prefix=dict(img_path=str(pool / 'img'))), (subset,)),
        (BaseSegDataset(**root, data_prefix=img, ann_file=str(tmp_path / 'stems.txt')), (subset, whole)),
        (BaseDataset(**root, ann_file=str(tmp_path / 'items.json')), (whole,)),
        (BaseDataset(**root, ann_file=str(tmp_path / 'items.json'), serialize_data=False), (whole,)),
        (DataDEL(**root), (whole,)),
        (DataDEL(str(pool / 'img')), (subset,)),
    ]:
        for file in files:
            filtered = MedDELDataset(dataset, file)
            infos = [filtered.get_data_info(index) for index in range(len(filtered))]
            assert [os.path.relpath(info['img_path'], pool / 'img') for info in infos] == KEPT


# --- keys


@pytest.mark.parametrize('names', [NAMES, [f'deep/{name}' for name in NAMES]])
def test_keys__of_a_folder_match_it_as_a_prefix_later(names, tmp_path, make_images, write_subset):
    pool = make_images(tmp_path / 'pool', [f'img/{name}' for name in names])
    listed = image_table(DataDEL(str(pool / 'img'))).table['image'].to_pylist()  # what --images data/pool/img lists
    subset = write_subset(listed[::2], listed[1::2])
    dataset = CustomDataset(data_root=str(pool), data_prefix='img', with_label=False)
    assert served(MedDELDataset(dataset, subset), pool, 1) == set(listed[::2])


def test_keys__of_any_dataset_match_it_by_construction(pool, make_images, tmp_path, write_subset):
    make_images(tmp_path / 'pool', [f'more/{name}' for name in NAMES])
    img, more = DataDEL(str(pool / 'img')), CustomDataset(data_root=str(pool), data_prefix='more')
    seg = BaseSegDataset(data_prefix=dict(img_path=str(pool / 'img' / 'a')), data_root=None)
    for number, dataset in enumerate(
        [img, more, seg, ConcatDataset([img, DataDEL(str(pool / 'more'))]), RepeatDataset(DataDEL(str(pool)), 2)]
    ):
        listed = image_table(dataset).table['image'].to_pylist()
        filtered = MedDELDataset(dataset, write_subset(listed[:3], listed[3:], name=f'{number}.parquet'))
        assert image_table(filtered, image_table(dataset).root).table['image'].to_pylist() == listed[:3]


def test_keys__several_roots_with_equal_names(tmp_path, make_images, write_subset):
    roots = [make_images(tmp_path / name / 'images', ['1.jpg', '2.jpg']) for name in ('one', 'two')]
    configs = [dict(type='mmpretrain.CustomDataset', data_root=str(root), with_label=False) for root in roots]
    subset = write_subset(['one/images/1.jpg', 'two/images/2.jpg'], ['one/images/2.jpg', 'two/images/1.jpg'])
    dataset = MedDELDataset(concat(*configs), subset)
    assert sorted(dataset.get_data_info(i)['img_path'] for i in range(2)) == [f'{roots[0]}/1.jpg', f'{roots[1]}/2.jpg']


def test_keys__relative_to_a_root_of_their_own(custom, write_subset, tmp_path, pool):
    subset = write_subset([f'pool/img/{name}' for name in KEPT], [f'pool/img/{name}' for name in DROPPED])
    with pytest.raises(DatasetError, match='root='):
        MedDELDataset(custom, subset)
    assert served(MedDELDataset(custom, subset, root=str(tmp_path)), pool) == set(KEPT)


def test_keys__unreadable_and_escaped_ones_are_dropped(custom, pool, write_subset):
    path = os.fsdecode(os.fsencode(pool) + b'/img/a/latin\xe9.jpg')
    with open(path, 'wb'):
        pass
    subset = write_subset(KEPT, DROPPED[1:], unreadable=['a/latin\\xe9.jpg', DROPPED[0]])
    assert served(MedDELDataset(custom, subset), pool) == set(KEPT)


def test_keys__relative_paths_from_the_working_folder(custom, subset, tmp_path, pool, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert served(MedDELDataset(dict(custom, data_root='./pool/../pool'), subset), pool) == set(KEPT)


# --- mistakes


def test_error__keys_of_other_images_show_three_and_three(custom, write_subset, pool):
    subset = write_subset([f'x/{number}.jpg' for number in range(5)])
    with pytest.raises(DatasetError, match='x/0.jpg, x/1.jpg, x/2.jpg') as error:
        MedDELDataset(custom, subset)
    text = str(error.value)
    assert 'x/0.jpg, x/1.jpg, x/2.jpg, ...' in text
    assert f'{pool}/img/a/0.jpg, {pool}/img/a/1.jpg, {pool}/img/a/2.jpg, ...' in text
    assert f'{pool}/img, {pool}' in text
    assert subset in text
    assert 'root=' in text


def test_error__one_kept_image_is_not_in_the_dataset(custom, subset, pool):
    (pool / 'img' / KEPT[3]).unlink()
    with pytest.raises(DatasetError, match=r'1 of the 6 images .*are not in the dataset.\n.*b/1\.jpg\n'):
        MedDELDataset(custom, subset)


def test_unlisted__error_drop_or_keep(custom, write_subset, pool):
    subset = write_subset(KEPT, DROPPED[:1])
    with pytest.raises(DatasetError, match=r"3 images .* not listed .*'drop'.*'keep'") as error:
        MedDELDataset(custom, subset)
    assert f'{pool}/img/{DROPPED[1]}' in str(error.value)
    assert served(MedDELDataset(custom, subset, unlisted='drop'), pool) == set(KEPT)
    assert served(MedDELDataset(custom, subset, unlisted='keep'), pool) == {*KEPT, *DROPPED[1:]}
    with pytest.raises(ConfigError, match='unlisted'):
        MedDELDataset(custom, subset, unlisted='ignore')


def test_error__two_files_with_one_key(tmp_path, make_images, write_subset):
    folders = [make_images(tmp_path / name, ['1.jpg']) for name in ('one', 'two')]
    configs = [dict(type='mmdel.DataDEL', data_root=str(folder)) for folder in folders]
    with pytest.raises(DatasetError, match=r'match the key 1\.jpg') as error:
        MedDELDataset(concat(*configs), write_subset(['1.jpg']))
    assert f'{folders[0]}/1.jpg and {folders[1]}/1.jpg' in str(error.value)


def test_error__nothing_is_kept(custom, write_subset):
    with pytest.raises(DatasetError, match='keeps none of the 10 images'):
        MedDELDataset(custom, write_subset([], NAMES))


def test_error__what_cannot_be_looked_through(pool, subset):
    leaf = DataDEL(str(pool / 'img'))
    for dataset in (TorchSubset(leaf, [0]), [leaf], None):
        with pytest.raises(DatasetError, match=r'mmengine|wrappers'):
            MedDELDataset(dataset, subset)
