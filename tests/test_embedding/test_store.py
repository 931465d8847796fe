import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from mmengine.logging import MMLogger

from mmdel.embedding.store import ROWS, UNKNOWN, EmbeddingStore
from mmdel.errors import StoreError


def rows(
    paths: list[str], readable: list[bool] | None = None, mtime_ns: int = 5, contents: Sequence[bytes] | None = None
) -> pa.Table:
    ok = np.array([True] * len(paths) if readable is None else readable)
    place = np.where(ok, np.cumsum(ok) - 1, -1)
    return pa.table(
        {
            'path': paths,
            'size': [10] * len(paths),
            'mtime_ns': [mtime_ns] * len(paths),
            'ctime_ns': [mtime_ns] * len(paths),
            'inode': [7] * len(paths),
            'content': pa.array(contents or [path.encode().ljust(16) for path in paths], pa.binary(16)),
            'reason': [None if good else 'is empty' for good in ok],
            'width': [3] * len(paths),
            'height': [4] * len(paths),
            'bytes': [10] * len(paths),
            'sharpness': [0.1] * len(paths),
            'vector': place,
        }
    ).cast(ROWS)


def values(count: int, start: float = 0.0) -> np.ndarray:
    return (start + np.arange(count * 4, dtype=np.float32)).reshape(count, 4)


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    store = EmbeddingStore(str(tmp_path), 'Tiny', {'type': 'Tiny'})
    with store.locked():
        store.load()
        store.append(rows(['/a', '/b', '/c'], [True, False, True]), values(2))
        store.append(rows(['/d', '/e']), values(2, 100))
    return store


def reopened(store: EmbeddingStore) -> EmbeddingStore:
    again = EmbeddingStore(str(store.folder.parent), 'Tiny', {'type': 'Tiny'})
    with again.locked():
        again.load()
    return again


def found(store: EmbeddingStore, *paths: str) -> list[int]:
    return store.latest(pa.array(paths, pa.string())).tolist()


def test_reopened_store__gives_the_same_rows_and_vectors(store: EmbeddingStore) -> None:
    again = reopened(store)
    assert found(again, '/e', '/a', '/nothing', '/b') == [4, 0, -1, 1]
    source = again.source(np.array([4, 0, 2, 3]))
    assert source.shape == (4, 4) and source.dtype == np.float32
    expected = np.concatenate([values(2, 100)[1:], values(2), values(2, 100)[:1]])
    assert np.array_equal(source.read(slice(0, 4)), expected)
    assert np.array_equal(source.read(np.array([3, 0, 0])), expected[[3, 0, 0]])
    assert source.read(np.array([], np.int64)).shape == (0, 4)


def test_later_row__wins(store: EmbeddingStore) -> None:
    with store.locked():
        store.append(rows(['/a'], mtime_ns=6), values(1, 7))
    for either in (store, reopened(store)):
        assert found(either, '/a') == [5]
        assert either.rows(np.array([5]))['mtime_ns'].to_pylist() == [6]


def test_another_fingerprint__lies_elsewhere(store: EmbeddingStore) -> None:
    assert EmbeddingStore(str(store.folder.parent), 'Tiny', {'type': 'Other'}).folder != store.folder


def test_shard_of_unreadable_images_only__is_kept(store: EmbeddingStore) -> None:
    with store.locked():
        store.append(rows(['/f'], [False]), np.empty((0, 0), np.float32))
    again = reopened(store)
    assert found(again, '/f') == [5]
    assert again.source(np.array([0, 3])).shape == (2, 4)


def test_known_failure_of_a_file_without_state__is_not_written_again(store: EmbeddingStore) -> None:
    def gone(reason: str) -> pa.Table:
        table = rows(['/a'], [False]).drop(['size', 'reason'])
        return (
            table.append_column('size', pa.array([UNKNOWN]))
            .append_column('reason', pa.array([reason]))
            .select(ROWS.names)
        )

    nothing = np.empty((0, 0), np.float32)
    with store.locked():
        for reason in ('permission denied', 'permission denied', 'does not exist'):
            store.append(gone(reason), nothing)
    assert store.shards == 4
    assert reopened(store).rows(np.array([6]))['reason'].to_pylist() == ['does not exist']


def test_other_process__appends_under_the_lock_of_this_one(store: EmbeddingStore) -> None:
    gone = rows(['/g'], [False]).drop(['size']).append_column('size', pa.array([UNKNOWN])).select(ROWS.names)
    nothing = np.empty((0, 0), np.float32)
    with store.locked():
        store.append(gone, nothing)
        other: EmbeddingStore = pickle.loads(pickle.dumps(store))
        assert other.append(rows(['/x', '/y']), values(2, 7), store.next_shard + 4)
        assert not other.append(gone, nothing, store.next_shard), 'known, though nothing else is'
        store.adopt([store.next_shard + 4])
        assert store.next_shard == 8
    for each in (store, reopened(store)):
        assert found(each, '/x', '/a', '/g') == [6, 0, 5]
        assert np.array_equal(each.source(np.array([6, 7])).read(slice(0, 2)), values(2, 7))


def test_shard_of_another_process__that_is_not_here(store: EmbeddingStore) -> None:
    with store.locked(), pytest.raises(StoreError, match=r'shard-000009.*file system that they share'):
        store.adopt([9])


@pytest.mark.parametrize(
    'damage',
    [
        lambda npy, parquet: npy.unlink(),
        lambda npy, parquet: npy.write_bytes(b''),
        lambda npy, parquet: npy.write_bytes(npy.read_bytes()[:-1]),
        lambda npy, parquet: parquet.write_bytes(b''),
        lambda npy, parquet: parquet.write_bytes(parquet.read_bytes()[:-9]),
        lambda npy, parquet: npy.write_bytes(npy.with_name('shard-000001.npy').read_bytes()),
        lambda npy, parquet: parquet.write_bytes(parquet.with_name('shard-000001.parquet').read_bytes()),
        lambda npy, parquet: np.save(npy, np.array([{}], object), allow_pickle=True),
    ],
    ids=[
        'no array',
        'empty array',
        'short array',
        'empty rows',
        'short rows',
        'array of another',
        'rows of another',
        'pickle',
    ],
)
def test_damaged_shard__dropped_with_a_warning(store: EmbeddingStore, damage: object, messages: list[str]) -> None:
    npy, parquet = (store.folder / f'shard-000000.{ending}' for ending in ('npy', 'parquet'))
    damage(npy, parquet)
    again = reopened(store)
    assert found(again, '/a', '/b', '/d', '/e') == [-1, -1, 0, 1]
    assert not npy.exists() and not parquet.exists()
    assert len(messages) == 1 and 'shard-000000.parquet is damaged' in messages[0]
    with again.locked():
        again.append(rows(['/a']), values(1))
    assert found(reopened(store), '/a', '/d') == [2, 0]


@pytest.mark.parametrize('ending', ['npy', 'parquet'])
def test_any_flipped_bit__never_changes_what_is_read(store: EmbeddingStore, ending: str, messages: list[str]) -> None:
    path = store.folder / f'shard-000000.{ending}'
    whole = {file: file.read_bytes() for file in store.folder.glob('shard-000000.*')}
    expected = store.rows(np.arange(3))
    generator = np.random.default_rng(0)
    for position in range(0, len(whole[path]), 1 if ending == 'npy' else 5):
        data = bytearray(whole[path])
        data[position] ^= 1 << generator.integers(8)
        path.write_bytes(data)
        again = EmbeddingStore(str(store.folder.parent), 'Tiny', {'type': 'Tiny'})
        again.load()
        if found(again, '/a') != [-1]:
            assert again.rows(np.arange(3)).equals(expected)
            assert np.array_equal(again.source(np.array([0, 2])).read(slice(0, 2)), values(2))
        else:
            for file, content in whole.items():
                file.write_bytes(content)


def test_what_a_killed_run_leaves__is_removed(store: EmbeddingStore) -> None:
    before = sorted(os.listdir(store.folder))
    (store.folder / 'shard-000002.npy').write_bytes(b'no rows were written for it')
    (store.folder / '.shard-000002.parquet.77.tmp').write_bytes(b'half')
    again = reopened(store)
    assert sorted(os.listdir(store.folder)) == before
    assert found(again, '/a', '/e') == [0, 4]


def test_second_process__says_who_is_in_and_waits(store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        'import sys; from pathlib import Path; from mmdel.embedding.store import EmbeddingStore\n'
        "with EmbeddingStore(sys.argv[1], 'Tiny', {'type': 'Tiny'}).locked():\n"
        "    print('in', flush=True); sys.stdin.read(); Path(sys.argv[1], 'left').touch()"
    )
    command = [sys.executable, '-c', code, str(store.folder.parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None and other.stdout is not None and other.stdout.readline() == b'in\n'
        messages: list[str] = []

        def read_and_let_go(message: str) -> None:
            messages.append(message)
            other.stdin.close()

        monkeypatch.setattr(MMLogger.get_current_instance(), 'warning', read_and_let_go)
        with store.locked():
            assert (store.folder.parent / 'left').exists()
    assert f'Process {other.pid}' in messages[0] and str(store.folder) in messages[0]


def test_folder_that_cannot_be_made__says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    store = EmbeddingStore(str(tmp_path / 'file'), 'Tiny', {})
    with pytest.raises(StoreError, match='cache_dir=FOLDER'), store.locked():
        pass


def test_vectors_of_two_lengths__are_refused(store: EmbeddingStore) -> None:
    with store.locked():
        store.append(rows(['/z']), np.ones((1, 9), np.float32))
    with pytest.raises(StoreError, match='4 and 9 dimensions'):
        store.source(np.array([0, 5]))


@pytest.mark.parametrize('searched', [1, 3, 1 << 22])
def test_latest__is_the_last_row_of_each_path_however_many_are_looked_up_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, searched: int
) -> None:
    monkeypatch.setattr('mmdel.embedding.store.SEARCHED', searched)
    rng = np.random.default_rng(0)
    store = EmbeddingStore(str(tmp_path), 'Tiny', {'type': 'Tiny'})
    written = []
    with store.locked():
        store.load()
        for _ in range(4):
            names = [f'/{i}' for i in rng.integers(0, 12, 5)]
            store.append(rows(names), values(5))
            written += names
    asked = [f'/{i}' for i in rng.integers(0, 20, 30)]
    expected = [max((row for row, name in enumerate(written) if name == path), default=-1) for path in asked]
    assert found(store, *asked) == expected
    assert min(expected) == -1 and len(set(asked)) < len(asked)


def test_source__reads_any_rows_in_any_order(store: EmbeddingStore) -> None:
    every = np.concatenate([values(2), values(2, 100)])
    for numbers in ([0, 2, 3, 4], [4, 0, 3, 2], [2, 2, 4, 0, 0]):
        source = store.source(np.array(numbers))
        expected = every[np.searchsorted([0, 2, 3, 4], numbers)]
        np.testing.assert_array_equal(source.read(slice(None)), expected)
        places = np.array([len(numbers) - 1, 0, 1, 0])
        np.testing.assert_array_equal(source.read(places), expected[places])
        assert source.read(np.empty(0, np.int64)).shape == (0, 4)


@pytest.mark.parametrize('damage', ['gone', 'shorter'])
def test_source__shard_that_vanishes_or_shrinks_is_an_error(store: EmbeddingStore, damage: str) -> None:
    source = store.source(np.array([0, 3]))
    source.read(slice(None))
    path = store.folder / 'shard-000001.npy'
    path.unlink() if damage == 'gone' else path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError, match=rf'{path}.*(gone|shorter).*run again'):
        source.read(slice(None))
