import json

import numpy as np
import pyarrow as pa
import pytest
from mmengine.dataset import BaseDataset

from mmdel.errors import ConfigError, DatasetError
from mmdel.export import filter_annotations
from mmdel.subset import Subset

IMAGES = [f'images/{name}' for name in ('a b.jpg', 'c.jpg', 'd.jpg', 'é.jpg')]
KEPT = {'images/a b.jpg', 'images/d.jpg'}


@pytest.fixture
def subset():
    keys = sorted(IMAGES, key=lambda key: (key not in KEPT, key))
    table = pa.table({'image': keys, 'rank': np.arange(len(keys))})
    return Subset.from_ranking(table, {'recut': 'ratio'}, kept=2)


def write(path, document):
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding='utf-8')
    return path


def test_mmengine_json__keeps_the_kept_items_and_everything_else(subset, tmp_path):
    items = [{'img_path': name.split('/')[1], 'gt_label': number} for number, name in enumerate(IMAGES)]
    source = write(tmp_path / 'train.json', {'metainfo': {'classes': ['x', 'y', 'z', 'w']}, 'data_list': items})
    done = filter_annotations(source, tmp_path / 'out.json', subset)
    assert (done.before, done.after) == (4, 2)
    found = json.loads((tmp_path / 'out.json').read_text(encoding='utf-8'))
    assert found == {'metainfo': {'classes': ['x', 'y', 'z', 'w']}, 'data_list': [items[0], items[2]]}
    read = BaseDataset(ann_file=str(tmp_path / 'out.json'), pipeline=[])
    assert [read.get_data_info(index)['gt_label'] for index in range(len(read))] == [0, 2]


def test_coco_json__loses_the_annotations_of_dropped_images(subset, tmp_path):
    images = [{'id': 10 + number, 'file_name': name} for number, name in enumerate(IMAGES)]
    annotations = [{'id': number, 'image_id': 10 + number % 4} for number in range(9)]
    document = {'images': images, 'annotations': annotations, 'categories': [{'id': 1}], 'info': {'year': 2024}}
    filter_annotations(write(tmp_path / 'coco.json', document), tmp_path / 'out.json', subset)
    found = json.loads((tmp_path / 'out.json').read_text(encoding='utf-8'))
    assert [image['id'] for image in found['images']] == [10, 12]
    assert [each['id'] for each in found['annotations']] == [0, 2, 4, 6, 8]
    assert found['categories'] == [{'id': 1}]
    assert found['info'] == {'year': 2024}


@pytest.mark.parametrize(
    ('lines', 'stay'),
    [
        (['a b.jpg 0', 'c.jpg 1', 'd.jpg 2', 'é.jpg 3'], [0, 2]),
        (['images/d.jpg', './images/c.jpg', 'images/a b.jpg'], [0, 2]),
        (['d', 'c', 'a b', 'é'], [0, 2]),
        (['d.jpg 1 0 1', '', 'c.jpg 1 1 1'], [0]),
    ],
)
def test_text__lines_stay_as_they_are(subset, tmp_path, lines, stay):
    source = write(tmp_path / 'train.txt', '\n'.join(lines))
    filter_annotations(source, tmp_path / 'out.txt', subset)
    assert (tmp_path / 'out.txt').read_text(encoding='utf-8') == ''.join(f'{lines[index]}\n' for index in stay)
    assert source.read_text(encoding='utf-8') == '\n'.join(lines)


def test_unlisted_images__are_an_error_unless_said_otherwise(subset, tmp_path):
    source = write(tmp_path / 'train.txt', 'd.jpg\nnew.jpg\nc.jpg\n')
    with pytest.raises(DatasetError, match=r'1 of 3 images.*new\.jpg.*--unlisted'):
        filter_annotations(source, tmp_path / 'out.txt', subset)
    assert not (tmp_path / 'out.txt').exists()
    filter_annotations(source, tmp_path / 'out.txt', subset, unlisted='drop')
    assert (tmp_path / 'out.txt').read_text() == 'd.jpg\n'
    filter_annotations(source, tmp_path / 'out.txt', subset, unlisted='keep')
    assert (tmp_path / 'out.txt').read_text() == 'd.jpg\nnew.jpg\n'


def test_prefix__is_found_or_given(subset, tmp_path):
    source = write(tmp_path / 'train.txt', 'd.jpg\nc.jpg\n')
    filter_annotations(source, tmp_path / 'out.txt', subset, prefix='images/')
    assert (tmp_path / 'out.txt').read_text() == 'd.jpg\n'
    with pytest.raises(DatasetError, match='--prefix'):
        filter_annotations(source, tmp_path / 'out.txt', subset, prefix='elsewhere/')


def test_errors__say_what_is_wrong(subset, tmp_path):
    source = write(tmp_path / 'train.txt', 'd.jpg\n')
    with pytest.raises(ConfigError, match='never changed'):
        filter_annotations(source, tmp_path / '.' / 'train.txt', subset)
    with pytest.raises(ConfigError, match='unlisted'):
        filter_annotations(source, tmp_path / 'out.txt', subset, unlisted='maybe')
    for name, document, words in (
        ('gone.txt', None, 'cannot be read'),
        ('bad.json', '{', 'cannot be read'),
        ('list.json', '[1]', 'no form that is known'),
        ('item.json', {'data_list': [{'path': 'd.jpg'}]}, "has no 'img_path'"),
        ('dropped.txt', 'c.jpg\n', 'keeps none'),
    ):
        if document is not None:
            write(tmp_path / name, document)
        with pytest.raises(DatasetError, match=words):
            filter_annotations(tmp_path / name, tmp_path / 'out.txt', subset)
