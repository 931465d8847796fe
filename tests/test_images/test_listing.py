import os
import unicodedata
from pathlib import Path

import pytest

from mmdel.errors import DatasetError
from mmdel.images.listing import list_images


def test_keys__any_ending_any_depth_any_name_sorted(tmp_path, make_images):
    names = [
        'b.JPG',
        'a/deep/er/1.png',
        'a/with space.jpeg',
        'ä/ß 內.TIF',
        'Z.bmp',
        'a.tiff',
        'w.webp',
        'a-1.jpg',
        'c.jpg',
    ]
    make_images(tmp_path, names)
    listing = list_images(tmp_path)
    assert list(listing.keys) == sorted(names)
    assert list(listing.keys) == sorted(names, key=str.encode)  # the order of str is that of its UTF-8 bytes
    assert all(Path(listing.path(key)).samefile(tmp_path / key) for key in listing.keys)
    assert listing.ledger == listing.notes == ()


def test_notes__other_endings_and_hidden_files_are_counted(tmp_path, make_images):
    make_images(tmp_path, ['1.jpg', '.hidden.jpg', '.cache/2.jpg'])
    for name in ('readme.txt', 'a.csv', 'b.csv', 'LICENCE', 'clip.avi'):
        (tmp_path / name).write_text('')
    listing = list_images(tmp_path)
    assert listing.keys == ('1.jpg',)
    assert listing.notes == (
        '5 files with other endings ignored (2 .csv, 1 .avi, 1 .txt, 1 without ending)',
        '2 files hidden or left behind by a system, ignored (.cache, .hidden.jpg)',
    )


def test_folders__named_like_an_image_are_walked_not_listed(tmp_path, make_images):
    make_images(tmp_path, ['x.jpg/1.png'])
    assert list_images(tmp_path).keys == ('x.jpg/1.png',)


def test_links__to_files_and_folders_are_followed(tmp_path, make_images):
    make_images(tmp_path / 'elsewhere', ['1.jpg'])
    make_images(tmp_path / 'pool', ['0.jpg'])
    (tmp_path / 'pool' / 'file.jpg').symlink_to(tmp_path / 'elsewhere' / '1.jpg')
    (tmp_path / 'pool' / 'one').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'pool' / 'two').symlink_to(tmp_path / 'elsewhere')
    assert list_images(tmp_path / 'pool').keys == ('0.jpg', 'file.jpg', 'one/1.jpg', 'two/1.jpg')


def test_links__broken_ones_are_ledger_rows(tmp_path, make_images):
    make_images(tmp_path, ['1.jpg'])
    (tmp_path / 'dangling.jpg').symlink_to('../not there.jpg')
    (tmp_path / 'under_a_file.jpg').symlink_to('1.jpg/x.jpg')
    (tmp_path / 'a.jpg').symlink_to('b.jpg')
    (tmp_path / 'b.jpg').symlink_to('a.jpg')
    listing = list_images(tmp_path)
    assert listing.keys == ('1.jpg',)
    reasons = dict(listing.ledger)
    assert sorted(reasons) == ['a.jpg', 'b.jpg', 'dangling.jpg', 'under_a_file.jpg']
    assert reasons['dangling.jpg'] == 'dangling link to ../not there.jpg'
    assert 'link' in reasons['a.jpg']


def test_links__a_folder_loop_ends(tmp_path, make_images):
    make_images(tmp_path, ['a/1.jpg', 'b/2.jpg'])
    (tmp_path / 'a' / 'up').symlink_to(tmp_path)
    (tmp_path / 'b' / 'self').symlink_to('.')
    listing = list_images(tmp_path)
    assert listing.keys == ('a/1.jpg', 'b/2.jpg')
    assert listing.notes == ('2 folder links back to a folder above not followed',)


def test_names__not_utf8_or_with_control_characters_are_ledger_rows(tmp_path, make_images):
    make_images(tmp_path, ['1.jpg'])
    folder = os.fsencode(tmp_path)
    for name in (b'latin\xe9.jpg', b'two\nlines.jpg', b'bell\x07.jpg', 'next\x85line.jpg'.encode(), b'f\xff/2.jpg'):
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb'):
            pass
    listing = list_images(tmp_path)
    assert listing.keys == ('1.jpg',)
    reasons = dict(listing.ledger)
    assert sorted(reasons) == sorted(
        ['latin\\xe9.jpg', 'two\\nlines.jpg', 'bell\\x07.jpg', 'next\\u0085line.jpg', 'f\\xff/2.jpg']
    )
    assert 'UTF-8' in reasons['latin\\xe9.jpg']
    assert 'line break' in reasons['two\\nlines.jpg']


def test_names__of_two_that_become_one_key_the_nfc_one_stays(tmp_path, make_images):
    composed = unicodedata.normalize('NFC', 'caf\u00e9.jpg')
    make_images(
        tmp_path, [composed, unicodedata.normalize('NFD', composed), unicodedata.normalize('NFD', '\u00fc.jpg')]
    )
    if len(os.listdir(tmp_path)) < 3:
        pytest.skip('this file system stores one spelling only')
    listing = list_images(tmp_path)
    assert listing.keys == (composed, '\u00fc.jpg')
    assert os.path.basename(listing.path(listing.keys[0])) == composed
    assert os.path.exists(listing.path(listing.keys[1]))
    assert [key for key, _ in listing.ledger] == ['cafe\\u0301.jpg']
    assert composed in listing.ledger[0][1]


def test_names__a_backslash_is_a_slash_unless_that_file_is_there(tmp_path, make_images):
    make_images(tmp_path, ['a/1.jpg', 'a\\1.jpg', 'b\\2.jpg'])
    listing = list_images(tmp_path)
    assert listing.keys == ('a/1.jpg', 'b/2.jpg')
    assert all(os.path.isfile(path) for path in map(listing.path, listing.keys))
    assert [key for key, _ in listing.ledger] == ['a\\\\1.jpg']


def test_files__that_are_no_files_are_never_opened(tmp_path, make_images):
    make_images(tmp_path, ['1.jpg'])
    os.mkfifo(tmp_path / 'pipe.jpg')
    assert list_images(tmp_path).ledger == (('pipe.jpg', 'not a regular file'),)


@pytest.mark.skipif(os.geteuid() == 0, reason='root may list every folder')
def test_folders__that_cannot_be_listed_are_ledger_rows(tmp_path, make_images):
    make_images(tmp_path, ['1.jpg', 'locked/2.jpg'])
    (tmp_path / 'locked').chmod(0)
    try:
        listing = list_images(tmp_path)
    finally:
        (tmp_path / 'locked').chmod(0o700)
    assert listing.keys == ('1.jpg',)
    assert [key for key, _ in listing.ledger] == ['locked']


@pytest.mark.parametrize(
    ('make', 'words'),
    [
        (lambda folder: None, 'not there'),
        (lambda folder: folder.write_text(''), 'not a folder'),
        (lambda folder: folder.mkdir(), 'empty'),
        (lambda folder: (folder.mkdir(), (folder / 'a.txt').write_text('')), r'1 \.txt'),
    ],
)
def test_error__no_images(tmp_path, make, words):
    make(tmp_path / 'pool')
    with pytest.raises(DatasetError, match=words) as error:
        list_images(tmp_path / 'pool')
    assert str(tmp_path / 'pool') in str(error.value)
