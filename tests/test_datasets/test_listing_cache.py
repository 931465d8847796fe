import os

import pytest

from mmdel.datasets import listing_cache
from mmdel.datasets.listing import _Walk, list_images

LONG_AGO = 1_000_000_000


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """A folder that has not changed for long, and whose listing is worth keeping."""
    monkeypatch.setattr(listing_cache, 'WORTH_IT', 1)
    monkeypatch.setattr(listing_cache, 'LISTING_DIR', str(tmp_path / 'kept'))
    for name in ('a/1.jpg', 'a/2.jpg', 'a/deep/3.png', 'b/4.jpg', 'b/clip.avi', 'b/notes.txt', '5.jpg'):
        path = tmp_path / 'pool' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')
    settle(tmp_path / 'pool')
    return tmp_path / 'pool'


def settle(folder):
    for path in [folder, *folder.rglob('*')]:
        if path.is_dir():
            os.utime(path, (LONG_AGO, LONG_AGO))


@pytest.fixture
def walks(monkeypatch):
    """How often a tree was walked through."""
    seen = []
    run = _Walk.run
    monkeypatch.setattr(_Walk, 'run', lambda self, starts: seen.append(self.top) or run(self, starts))
    return seen


@pytest.mark.parametrize('with_videos', [False, True])
@pytest.mark.parametrize('within', [(), ('b', 'a/deep')])
def test_again__the_same_listing_without_a_walk(pool, walks, within, with_videos):
    first = list_images(pool, within, with_videos)
    assert list_images(pool, within, with_videos) == first
    assert list_images(f'{pool}/', within, with_videos).keys == first.keys
    assert len(walks) == 1


def test_what_was_asked__decides(pool, walks):
    found = {list_images(pool, within, films) for within in ((), ('a',), ('b',)) for films in (False, True)}
    assert len(walks) == 6
    assert len(found) > 1


CHANGES = {
    'a new file': lambda pool: (pool / 'a' / 'deep' / 'new.jpg').write_bytes(b''),
    'a file goes': lambda pool: (pool / 'b' / '4.jpg').unlink(),
    'a file is renamed': lambda pool: (pool / '5.jpg').rename(pool / '6.jpg'),
    'a new folder': lambda pool: (pool / 'c').mkdir(),
    'a folder goes': lambda pool: (pool / 'a').rename(pool.parent / 'elsewhere'),
    'a file becomes a folder': lambda pool: ((pool / '5.jpg').unlink(), (pool / '5.jpg').mkdir()),
    'a folder is replaced': lambda pool: (
        (pool / 'b').rename(pool.parent / 'old'),
        (pool / 'b').mkdir(),
        (pool / 'b' / 'x.jpg').write_bytes(b''),
        settle(pool),
    ),
}


@pytest.mark.parametrize('change', CHANGES)
def test_change__is_noticed(pool, walks, change):
    before = list_images(pool)
    CHANGES[change](pool)
    after = list_images(pool)
    assert len(walks) == 2
    assert (after != before) == (change != 'a new folder')
    walk = _Walk(str(pool), ('.jpg', '.png'))
    walk.run([''])
    assert set(after.keys) == set(walk.files)


def test_just_changed__is_not_kept(pool, walks):
    (pool / 'a' / 'new.jpg').write_bytes(b'')
    assert len({list_images(pool), list_images(pool)}) == 1
    assert len(walks) == 2


@pytest.mark.parametrize('name', ['lost.jpg', 'lost'])
def test_links_that_lead_nowhere__may_be_mended(pool, walks, name):
    (pool / 'a' / name).symlink_to(pool.parent / 'later')
    settle(pool)
    list_images(pool)
    (pool.parent / 'later').mkdir()
    (pool.parent / 'later' / 'x.jpg').write_bytes(b'')
    assert 'a/' + name + '/x.jpg' in list_images(pool).keys
    assert len(walks) == 2


def test_few_files_or_damage__are_listed_anew(pool, walks, monkeypatch):
    expected = list_images(pool)
    [kept] = os.scandir(pool.parent / 'kept')
    with open(kept.path, 'r+b') as file:
        file.truncate(100)
    assert list_images(pool) == expected
    monkeypatch.setattr(listing_cache, 'WORTH_IT', 100)
    os.unlink(kept.path)
    assert list_images(pool) == list_images(pool) == expected
    assert len(walks) == 4
