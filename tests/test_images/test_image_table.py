import os

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from mmpretrain.datasets import CustomDataset
from mmseg.datasets import BaseSegDataset

import mmdel.compute.blocks
from mmdel.datasets import DataDEL
from mmdel.errors import DatasetError
from mmdel.images import keys
from mmdel.images.image_table import SCHEMA, Files, image_table, masked_images


class Items(BaseDataset):
    """A dataset of the items it is given."""

    def __init__(self, items, **kwargs):
        self.items = items
        super().__init__(**kwargs)

    def load_data_list(self):
        return [dict(item) for item in self.items]


@pytest.fixture
def pool(tmp_path, make_images):
    return make_images(tmp_path / 'pool', ['img/b/2.jpg', 'img/a/1.jpg', 'img/a/0.jpg', 'more/3.jpg'])


def forbidden(info):
    raise AssertionError('no pipeline may run')


def test_table__sorted_keys_openable_paths_and_labels(pool):
    images = image_table(CustomDataset(data_root=str(pool), data_prefix='img', pipeline=[forbidden]))
    assert images.root == str(pool / 'img')
    assert images.table.schema == SCHEMA
    rows = images.table.to_pylist()
    assert [row['image'] for row in rows] == ['a/0.jpg', 'a/1.jpg', 'b/2.jpg']
    assert [row['path'] for row in rows] == [f'{pool}/img/{row["image"]}' for row in rows]
    assert [row['label'] for row in rows] == ['a', 'a', 'b']
    assert images.classes == ('a', 'b')
    assert images.ledger == images.notes == ()


def test_table__passes_on_what_datadel_found(pool):
    (pool / 'more' / 'lost.jpg').symlink_to('nowhere.jpg')
    (pool / 'more' / 'a.txt').write_text('')
    one = image_table(DataDEL(str(pool)))
    assert one.table['image'].to_pylist() == ['img/a/0.jpg', 'img/a/1.jpg', 'img/b/2.jpg', 'more/3.jpg']
    assert one.table['source'].to_pylist() == ['img', 'img', 'img', 'more']
    assert one.ledger == (('more/lost.jpg', 'dangling link to nowhere.jpg'),)
    assert one.notes == ('1 file with other endings ignored (1 .txt)',)
    assert one.classes == ()
    two = image_table(ConcatDataset([DataDEL(str(pool / 'more')), DataDEL(str(pool / 'img'))]))
    assert two.root == str(pool)
    assert two.table['image'].to_pylist() == one.table['image'].to_pylist()
    assert two.ledger == one.ledger


@pytest.mark.parametrize('wrap', [lambda d: d, lambda d: RepeatDataset(d, 3), lambda d: ConcatDataset([d, d])])
def test_table__one_row_per_image_however_often_it_is_served(pool, wrap):
    images = image_table(wrap(CustomDataset(data_root=str(pool), data_prefix='img', lazy_init=True)))
    assert images.table['image'].to_pylist() == ['a/0.jpg', 'a/1.jpg', 'b/2.jpg']


def test_table__a_segmentation_set_has_no_labels(pool):
    dataset = BaseSegDataset(
        data_root=str(pool), data_prefix={'img_path': 'img/a'}, metainfo={'classes': ['background', 'polyp']}
    )
    images = image_table(dataset)
    assert images.table['image'].to_pylist() == ['0.jpg', '1.jpg']
    assert images.table['label'].null_count == 2
    assert images.classes == ()


def test_table__does_not_follow_links_and_needs_no_file(tmp_path, monkeypatch):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'link').symlink_to('real')
    monkeypatch.chdir(tmp_path)
    images = image_table(
        Items([{'img_path': 'link/1.jpg'}, {'img_path': './link/a/clip.avi#000002'}], data_root='link')
    )
    assert images.root == str(tmp_path / 'link')
    assert images.table['image'].to_pylist() == ['1.jpg', 'a/clip.avi#000002']


def test_label__multi_label_and_without_classes():
    items = [
        {'img_path': '/d/1.jpg', 'gt_label': [0, 2]},
        {'img_path': '/d/2.jpg', 'gt_label': 5},
        {'img_path': '/d/3.jpg'},
    ]
    assert image_table(Items(items)).table['label'].to_pylist() == ['0,2', '5', None]
    named = Items(items, metainfo={'classes': ['x', 'y', 'z']})
    assert image_table(named).table['label'].to_pylist() == ['x,z', '5', None]


def test_columns__come_from_the_items():
    item = {'img_path': '/d/1.jpg', 'source': 's', 'patient': 3, 'video': 7, 'frame': '12', 'centre': 'Oslo'}
    (row,) = image_table(Items([item])).table.to_pylist()
    assert row == {
        'image': '1.jpg',
        'path': '/d/1.jpg',
        'source': 's',
        'label': None,
        'patient': '3',
        'video': '7',
        'frame': 12,
        'centre': 'Oslo',
    }


def test_names__that_cannot_be_keys_are_ledger_rows():
    names = [os.fsdecode(b'/d/latin\xe9.jpg'), '/d/two\nlines.jpg', '/d/1.jpg']
    images = image_table(Items([{'img_path': name} for name in names]))
    assert images.table['image'].to_pylist() == ['1.jpg']
    assert [key for key, _ in images.ledger] == ['latin\\xe9.jpg', 'two\\nlines.jpg']


def test_root__given_or_an_error():
    items = [{'img_path': '/d/a/1.jpg'}, {'img_path': '/d/b/2.jpg'}]
    assert image_table(Items(items), root='/').table['image'].to_pylist() == ['d/a/1.jpg', 'd/b/2.jpg']
    with pytest.raises(DatasetError, match=r'/d/b/2\.jpg does not lie below the root /d/a'):
        image_table(Items(items), root='/d/a')
    with pytest.raises(DatasetError, match='UTF-8'):
        image_table(Items([{'img_path': os.fsdecode(b'/\xff/1.jpg')}]))


def test_error__two_images_with_one_key():
    with pytest.raises(DatasetError, match='Two images have the key') as error:
        image_table(Items([{'img_path': '/d/e\u0301.jpg'}, {'img_path': '/d/\u00e9.jpg'}]))
    assert '/d/e\u0301.jpg and /d/\u00e9.jpg' in str(error.value)


@pytest.mark.parametrize('item', [{}, {'img_path': ['a.jpg', 'b.jpg']}, {'img': 0}])
def test_error__items_without_one_path(item):
    with pytest.raises(DatasetError, match='img_path'):
        image_table(Items([item]))


def test_error__no_openmmlab_dataset(pool):
    from torch.utils.data import Subset

    with pytest.raises(DatasetError, match='BaseDataset'):
        image_table([1, 2])
    with pytest.raises(DatasetError, match='Subset'):
        image_table(Subset(DataDEL(str(pool)), [0]))


def by_rows(parts):
    """Rows and ledger, an image after the other; None where two files have one key."""
    base = keys.table_base([Items(part) for part in parts], [[item['img_path'] for item in part] for part in parts])
    rows, ledger = {}, {}
    for item in (item for part in parts for item in part):
        (key,), path = keys.keys_under(base, [item['img_path']]), item['img_path']
        if keys.name_problem(path):
            ledger[key] = keys.name_problem(path)
        elif rows.setdefault(key, item)['img_path'] != path:
            return None
    found = [
        {**dict.fromkeys(SCHEMA.names), 'image': key, 'path': rows[key]['img_path'], 'source': rows[key]['source']}
        for key in sorted(rows)
    ]
    return found, tuple(sorted(item for item in ledger.items() if item[0] not in rows))


NAMES = [
    'a/1.jpg',
    'b/1.jpg',
    'b.jpg',
    '\u00e9.jpg',
    'e\u0301.jpg',
    'a\\2.jpg',
    'two\nlines.jpg',
    os.fsdecode(b'a/latin\xe9.jpg'),
]
PATHS = st.sampled_from([f'/d/{name}' for name in NAMES])
ITEMS = st.fixed_dictionaries({'img_path': PATHS, 'source': st.sampled_from(['x', 'y'])})


@settings(max_examples=50)
@given(st.lists(st.lists(ITEMS, min_size=1, max_size=6), min_size=1, max_size=3), st.sampled_from([1, 2, 65_536]))
def test_table__agrees_with_going_through_the_items_one_by_one(parts, block):
    expected = by_rows(parts)
    dataset = Items(parts[0]) if len(parts) == 1 else ConcatDataset([Items(part) for part in parts])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmdel.compute.blocks, 'BLOCK', block)
        if expected is None:
            with pytest.raises(DatasetError, match='Two images have the key'):
                image_table(dataset)
            return
        images = image_table(dataset)
    assert (images.table.to_pylist(), images.ledger) == expected
    assert images.table.schema == SCHEMA
    assert dict(images.masks) == {}


# --- masks


def test_masked__is_what_the_dataset_names_and_what_is_there(pool, make_images):
    make_images(pool, ['masks/a.png'])
    items = [
        dict(img_path=str(pool / 'img/b/2.jpg'), seg_map_path=str(pool / 'masks/a.png')),
        dict(img_path=str(pool / 'img/a/1.jpg'), seg_map_path=str(pool / 'masks/none.png')),
        dict(img_path=str(pool / 'img/a/0.jpg'), seg_map_path=None),
        dict(img_path=str(pool / 'more/3.jpg')),
    ]
    images = image_table(Items(items))
    assert images.table.schema == SCHEMA
    assert masked_images(images) == {'img/b/2.jpg'}


def test_masked__else_a_file_of_the_same_name_in_masks_beside_images(tmp_path, make_images):
    folder = make_images(tmp_path / 'images' / 'set', [
        'images/a.jpg', 'images/b.jpg', 'images/deep/c.jpg', 'images/deep/d.jpg', 'imagesque/a.jpg', 'masks/a.png',
        'masks/deep/c.jpg', 'images/images/b.jpg', 'images/masks/b.png',
    ])  # fmt: skip
    found = masked_images(image_table(DataDEL(str(folder))))
    assert found == {'images/a.jpg', 'images/deep/c.jpg', 'images/images/b.jpg'}


def test_files__look_up_like_a_dict():
    keys = sorted(['b.jpg', 'a/é.jpg', 'a/e.jpg', 'Z'])
    files = Files(pa.table({'image': keys, 'path': [f'/data/{key}' for key in keys]}))
    assert dict(files) == {key: f'/data/{key}' for key in keys}
    assert [files.get(key) for key in ('', 'a', 'zz', 'a/e.jpg')] == [None, None, None, '/data/a/e.jpg']
    assert 'Z' in files and 'Y' not in files
    nothing = Files(pa.table({'image': pa.array([], pa.string()), 'path': pa.array([], pa.string())}))
    assert not len(nothing) and nothing.get('a') is None
