from collections import Counter
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.dataset import BaseDataset

from mmdel.datasets import matching
from mmdel.images import keys

FOLDERS = st.sampled_from(['/d/one/img', '/d/one', '/d/img/img', '/d/img', '/d/two', '/e'])
NAMES = st.sampled_from(['1.jpg', '2.jpg', 'img/1.jpg', 'e\u0301.jpg', '\u00e9.jpg', 'a\\b.jpg', 'two\nlines.jpg'])


def leaf(prefix='', root='', name='img_path'):
    return BaseDataset(data_root=root, data_prefix={name: prefix}, lazy_init=True)


def match(leaves, paths, listed, wanted, root=None):
    """Match sets of keys; the keys that images have come back, None where they have none that is listed."""
    names = sorted(listed)
    found = matching.match(
        leaves, paths, pa.array(names, pa.string()), np.array([key in wanted for key in names], bool), root
    )
    met = [[names[row] if row >= 0 else None for row in rows] for rows in found.rows]
    return SimpleNamespace(keys=met, missing=found.missing, conflict=found.conflict)


def by_sets(leaves, paths, listed, wanted, root):
    """What is chosen, from all keys under all bases."""
    candidates = matching.candidate_bases(leaves, paths, root) or [[None] * len(leaves)]
    options = [[keys.keys_under(base, part) for base, part in zip(bases, paths, strict=True)] for bases in candidates]
    options.append(
        [max(each, key=lambda row: sum(key in listed for key in row)) for each in zip(*options, strict=True)]
    )
    best = None
    for rows in options:
        files, conflict = {}, None
        for row, part in zip(rows, paths, strict=True):
            for key, path in zip(row, part, strict=True):
                if conflict is None and key is not None and files.setdefault(key, path) != path:
                    conflict = key, files[key], path
        missing = sorted(wanted.difference(*rows))
        known = [[key if key in listed else None for key in row] for row in rows]
        score = (not missing and conflict is None, sum(key is not None for row in known for key in row))
        if best is None or score > best[0]:
            best = score, SimpleNamespace(keys=known, missing=missing, conflict=conflict)
    return best[1]


@given(
    st.lists(st.tuples(FOLDERS, st.sampled_from(['', 'img']), st.lists(NAMES, max_size=4)), min_size=1, max_size=3),
    st.data(),
)
def test_match__agrees_with_trying_everything(parts, data):
    leaves = [leaf(prefix, root) for root, prefix, _ in parts]
    paths = [[f'{folder}/{prefix}/{name}'.replace('//', '/') for name in names] for folder, prefix, names in parts]
    every = [
        key for part in paths for base in ('/', '/d', '/d/one', '/d/img') for key in keys.keys_under(base, part) if key
    ]
    listed = set(data.draw(st.lists(st.sampled_from(every), max_size=6))) if every else set()
    wanted = {key for key in sorted(listed) if data.draw(st.booleans())}
    root = data.draw(st.sampled_from([None, '/d', '/']))
    assert match(leaves, paths, listed, wanted, root) == by_sets(leaves, paths, listed, wanted, root)


@given(st.lists(st.tuples(FOLDERS, NAMES), max_size=9))
def test_examples__decide_the_bases_as_all_images_do(images):
    paths = [[f'{folder}/{name}' for folder, name in images]]
    some = matching.examples(paths)
    assert Counter(some[0]) <= Counter(paths[0])
    for dataset in (leaf('img', '/d'), leaf('', '/d/one'), leaf()):
        assert matching.candidate_bases([dataset], some) == matching.candidate_bases([dataset], paths)
        assert keys.table_base([dataset], some) == keys.table_base([dataset], paths)


@pytest.mark.parametrize(
    'listed', [{'1.jpg', '2.jpg'}, {'img/1.jpg', 'img/2.jpg'}, {'pool/img/1.jpg', 'pool/img/2.jpg'}]
)
def test_match__prefix_then_data_root_then_root(listed):
    dataset, paths = leaf('img', '/d/pool'), [['/d/pool/img/1.jpg', '/d/pool/img/2.jpg']]
    matched = match([dataset], paths, listed, listed, root='/d')
    assert set(matched.keys[0]) == listed
    assert not matched.missing
    assert matched.conflict is None


def test_match__is_not_misled_by_a_folder_inside_one_of_its_name():
    paths = [['/d/img/1.jpg', '/d/img/img/1.jpg']]
    matched = match([leaf('img', '/d')], paths, {'img/1.jpg', 'img/img/1.jpg'}, {'img/1.jpg'})
    assert matched.keys == [['img/1.jpg', 'img/img/1.jpg']]


def test_match__each_leaf_may_have_its_own_base():
    leaves = [leaf('img', '/d/one'), leaf('img', '/d/two')]
    paths = [['/d/one/img/1.jpg'], ['/d/two/img/2.jpg']]
    matched = match(leaves, paths, {'1.jpg', 'img/2.jpg'}, {'1.jpg', 'img/2.jpg'})
    assert matched.keys == [['1.jpg'], ['img/2.jpg']]


def test_match__names_two_files_that_share_a_key():
    leaves = [leaf('img', '/d/one'), leaf('img', '/d/two')]
    matched = match(leaves, [['/d/one/img/1.jpg'], ['/d/two/img/1.jpg']], {'1.jpg'}, {'1.jpg'})
    assert matched.conflict == ('1.jpg', '/d/one/img/1.jpg', '/d/two/img/1.jpg')


def test_match__the_same_file_twice_is_no_conflict():
    leaves = [leaf('img', '/d'), leaf('img', '/d')]
    matched = match(leaves, [['/d/img/1.jpg'], ['/d/img/1.jpg']], {'1.jpg'}, {'1.jpg'})
    assert matched.conflict is None
    assert not matched.missing


def test_match__what_no_base_explains_is_missing():
    matched = match([leaf('img', '/d')], [['/d/img/1.jpg']], {'x/9.jpg', '1.jpg'}, {'x/9.jpg', '1.jpg'})
    assert matched.missing == ['x/9.jpg']
