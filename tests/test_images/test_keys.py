import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.dataset import BaseDataset

from mmdel.images import keys

PARTS = st.lists(st.sampled_from(['a', 'b c', '.', 'e\u0301', '\u00e9', 'x.jpg', '内', '#1']), min_size=1, max_size=5)
TEXT = st.text(st.characters(exclude_characters='\x00'), min_size=1).filter(lambda text: text.strip('./\\'))


def leaf(prefix='', root='', name='img_path'):
    return BaseDataset(data_root=root, data_prefix={name: prefix}, lazy_init=True)


@given(TEXT)
def test_normalise__is_idempotent_on_usable_names(text):
    once = keys.normalise(text)
    if keys.name_problem(text) is None:
        assert '\\' not in once
        assert keys.normalise(once) == once
        assert unicodedata.is_normalized('NFC', once)


@given(TEXT)
def test_normalise__escapes_exactly_the_unusable_names(text):
    assert (keys.name_problem(text) is not None) == ('\\' in keys.normalise(text))
    assert keys.name_problem(keys.normalise(text)) is None  # what is written can be read


@given(st.lists(st.binary(min_size=1, max_size=6).filter(lambda name: b'\0' not in name), unique=True))
def test_escape__gives_every_file_its_own_printable_key(names):
    escaped = [keys.escape(os.fsdecode(name)) for name in names]
    assert len(set(escaped)) == len(names)
    assert all('\\' in key or key.isascii() for key in escaped)
    assert all(key.encode() and '\n' not in key for key in escaped)


@given(PARTS, PARTS)
def test_keys_under__undoes_joining(base, inside):
    base, inside = '/'.join(['/top', *base]), '/'.join(inside)
    expected = keys.normalise(inside)
    if expected != '.' and not inside.endswith('.'):
        (path,) = keys.absolute_paths([f'{base}/{inside}'])
        assert keys.keys_under(os.path.abspath(base), [path]) == [expected]


@pytest.mark.parametrize(
    ('base', 'path', 'key'),
    [
        ('/d/pool', '/d/pool/1.jpg', '1.jpg'),
        ('/d/pool', '/d/pool2/1.jpg', None),
        ('/d/pool/', '/d/pool/a/1.jpg', 'a/1.jpg'),
        ('/', '/1.jpg', '1.jpg'),
        ('/d', '/d/a\\b\\.\\1.jpg', 'a/b/1.jpg'),
        ('/d/e\u0301', '/d/\u00e9/1.jpg', '1.jpg'),
        ('/d', '/d/clip.avi#000123', 'clip.avi#000123'),
        ('s3://bucket/pool', 's3://bucket/pool/a/1.jpg', 'a/1.jpg'),
        ('s3://bucket/pool', 's3://bucket2/pool/a/1.jpg', None),
        ('/d', '/d/bad\n.jpg', 'bad\\n.jpg'),
        (None, '/d/1.jpg', None),
    ],
)
def test_keys_under__examples(base, path, key):
    assert keys.keys_under(base, [path]) == [key]


def test_absolute_paths__are_abspath_without_following_links(tmp_path, monkeypatch):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'link').symlink_to('real')
    monkeypatch.chdir(tmp_path)
    paths = [
        'link/1.jpg',
        './link//2.jpg',
        'link/../3.jpg',
        '4.jpg',
        str(tmp_path / 'link' / '5.jpg'),
        '/6.jpg',
        'a/..',
    ]
    assert keys.absolute_paths(paths) == [os.path.abspath(path) for path in paths]
    assert keys.absolute_paths(['s3://bucket/./1.jpg']) == ['s3://bucket/./1.jpg']


@pytest.mark.parametrize(
    ('folders', 'common'),
    [
        (['/a/b'], '/a/b'),
        (['/a/b', '/a/bc'], '/a'),
        (['/a/b', '/a'], '/a'),
        (['/a', '/b'], '/'),
        (['/a', None], None),
        ([], None),
        (['s3://x/a', 's3://x/b'], 's3://x'),
        (['s3://x/a', 's3://y/b'], None),
        (['s3://x/a', '/a'], None),
    ],
)
def test_common_folder__examples(folders, common):
    assert keys.common_folder(folders) == common


@pytest.mark.parametrize(
    ('dataset', 'prefix'),
    [
        (leaf('img', '/d'), '/d/img'),
        (leaf('img', '/d', name='img'), '/d/img'),
        (leaf('img', '/d', name='anything'), '/d/img'),
        (leaf('', '/d'), '/d'),
        (leaf('/e', '/d'), '/e'),
        (leaf(), None),
        (BaseDataset(data_root='/d', data_prefix={'img_path': 'i', 'seg_map_path': 'm'}, lazy_init=True), '/d/i'),
        (BaseDataset(data_root='/d', data_prefix={'a': 'i', 'b': 'm'}, lazy_init=True), None),
    ],
)
def test_image_prefix__examples(dataset, prefix):
    assert keys.image_prefix(dataset) == prefix


def test_table_base__is_the_folder_of_all_prefixes_then_wider():
    one, two = leaf('a/img', '/d'), leaf('b/img', '/d')
    assert keys.table_base([one], [['/d/a/img/1.jpg']]) == '/d/a/img'
    assert keys.table_base([one, one], [['/d/a/img/1.jpg'], []]) == '/d/a/img'
    assert keys.table_base([one, two], [['/d/a/img/1.jpg'], ['/d/b/img/1.jpg']]) == '/d'
    assert keys.table_base([one], [['/d/a/img/1.jpg', '/d/other/2.jpg']]) == '/d'
    assert keys.table_base([one], [['/d/a/img/1.jpg', '/e/2.jpg']]) == '/'
    assert keys.table_base([leaf()], [['/d/a/1.jpg', '/d/b/2.jpg']]) == '/d'
    assert keys.table_base([leaf()], [['s3://x/1.jpg', '/d/b/2.jpg']]) is None


@given(
    st.lists(
        st.lists(st.sampled_from(['a', './a', 'e\u0301', '\u00e9', 'two\nlines', 'b\\c', 'b/c', '内']), max_size=2).map(
            '/'.join
        )
    )
)
def test_unique_keys__agree_with_going_through_them_one_by_one(paths):
    paths = [path for path in paths if path]
    taken, refused = {}, {}
    for key, _, path in sorted((keys.normalise(path), keys.normalise(path) != path, path) for path in paths):
        if keys.name_problem(path):
            refused[keys.escape(path) if key in refused else key] = keys.name_problem(path)
        elif taken.setdefault(key, path) != path:
            refused[keys.escape(path)] = f'the name is another spelling of {key}, which is used instead'
    spelled = {key: path for key, path in taken.items() if key != path}
    assert keys.unique_keys(paths) == (sorted(taken), spelled, sorted(refused.items()))
    assert all(keys.is_among(sorted(taken), key) for key in taken) and not keys.is_among(sorted(taken), 'b')
