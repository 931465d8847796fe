"""Vectors that people hand over rank the same in whatever order their rows come."""

import pickle
import resource
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdel.embedding.given_vectors import ArrayFile, read_given_vectors
from mmdel.embedding.vectors import Vectors
from mmdel.errors import DatasetError, VectorError
from mmdel.selection.methods.meddel import MedDEL
from mmdel.subset import plain_files

SIZE, DIM = 40, 7


def ranked(raw, names, selector, center):
    """Keys, ranks, removers, distances and redundancies, as a run on a file with these rows finds them."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, 'v.npy'), raw)
        Path(folder, 'k.txt').write_text('\n'.join(names))
        embedded = read_given_vectors(f'{folder}/v.npy', f'{folder}/k.txt')
        keys = embedded.table['image'].to_pylist()
        ranking = selector.rank(Vectors(embedded.source, keys, center), embedded.table)
    removers = [None if i < 0 else keys[i] for i in ranking.removed_by]
    return keys, ranking.rank.tolist(), removers, ranking.distance.tobytes(), ranking.redundancy.tobytes()


@settings(max_examples=40)
@given(
    st.integers(1, 50),
    st.integers(0, 999),
    st.sampled_from(['pairwise', 'greedy']),
    st.sampled_from(['cluster', 'global']),
    st.booleans(),
)
def test_ranking__does_not_depend_on_the_order_of_the_rows(size, seed, rule, scope, center):
    rng = np.random.default_rng(seed)
    scenes = rng.standard_normal((max(1, size // 8), 12))
    raw = (scenes[rng.integers(0, len(scenes), size)] + 0.3 * rng.standard_normal((size, 12))).astype(np.float32)
    raw[rng.integers(0, size, size // 6)] = raw[0]
    names = [f'{i} é.jpg' for i in rng.permutation(size)]
    selector = MedDEL(eta=0.8, rule=rule, scope=scope, clusterer=dict(type='mmdel.FaissKMeans', num_clusters=3))
    order = rng.permutation(size)
    one = ranked(raw, names, selector, center)
    other = ranked(raw[order], [names[i] for i in order], selector, center)
    assert one == other
    assert one[0] == sorted(names)


def test_row_numbers__sort_as_the_rows_do(tmp_path):
    np.save(tmp_path / 'v.npy', np.eye(120, dtype=np.float32))
    keys = read_given_vectors(str(tmp_path / 'v.npy'), None).table['image'].to_pylist()
    assert keys == sorted(keys) and [int(key) for key in keys] == list(range(120))
    assert keys[7] == '007'


@pytest.mark.parametrize('block', [1, 2, 7, 1000])
@pytest.mark.parametrize('end', ['\n', '\r\n'])
@pytest.mark.parametrize('last', [True, False])
def test_keys__are_the_lines_however_they_are_read(tmp_path, monkeypatch, block, end, last):
    monkeypatch.setattr(plain_files, 'BLOCK_CHARACTERS', block)
    names = ['z.jpg', 'a b/é.jpg', 'm', 'a b/e.jpg', 'x y']
    (tmp_path / 'k.txt').write_bytes((end.join(names) + end * last).encode())
    np.save(tmp_path / 'v.npy', np.arange(5, dtype=np.float32)[:, None] + 1)
    embedded = read_given_vectors(str(tmp_path / 'v.npy'), str(tmp_path / 'k.txt'))
    assert embedded.table['image'].to_pylist() == sorted(names)
    assert [names[int(row) - 1] for row in embedded.source.read(slice(None))[:, 0]] == sorted(names)


@pytest.mark.parametrize(
    ('text', 'problem'),
    [
        (b'a\nb\n', 'has 2 lines'),
        (b'a\nb\nc\nd', 'has 4 lines'),
        (b'', 'has 0 lines'),
        (b'a\nb\n\xff\n', 'cannot be read as UTF-8'),
        (b'a\nb\na\n', "the key 'a' stands twice, in the lines 1 and 3"),
    ],
)
def test_keys__what_cannot_be_used_is_named(tmp_path, text, problem):
    (tmp_path / 'k.txt').write_bytes(text)
    np.save(tmp_path / 'v.npy', np.ones((3, 2), np.float32))
    with pytest.raises(DatasetError, match=problem) as caught:
        read_given_vectors(str(tmp_path / 'v.npy'), str(tmp_path / 'k.txt'))
    assert 'k.txt' in str(caught.value)


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64, np.dtype('>f4')])
@pytest.mark.parametrize('transposed', [False, True])
@pytest.mark.parametrize('version', [(1, 0), (2, 0)])
def test_read__gives_the_rows_of_the_array(dtype, transposed, version, tmp_path):
    rng = np.random.default_rng(0)
    array = rng.standard_normal((SIZE, DIM)).astype(dtype)
    array = np.asfortranarray(array) if transposed else array
    with open(tmp_path / 'v.npy', 'wb') as file:
        np.lib.format.write_array(file, array, version=version)
    found = ArrayFile(tmp_path / 'v.npy')
    assert (found.shape, found.dtype) == (array.shape, array.dtype)
    some = rng.integers(0, SIZE, 25)
    for rows in (
        some,
        np.sort(some),
        np.arange(5, 9),
        np.array([], np.int64),
        slice(3, 11),
        slice(None),
        slice(0, 40, 3),
    ):
        read = found.read(rows)
        assert read.dtype == array.dtype and read.flags.writeable
        np.testing.assert_array_equal(read, array[rows])


def test_read__leaves_nothing_in_memory(tmp_path):
    np.save(tmp_path / 'v.npy', np.ones((50_000, 512), np.float32))  # 100 MB
    found = ArrayFile(tmp_path / 'v.npy')
    found.read(slice(0, 1000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for start in range(0, 50_000, 1000):
        found.read(np.arange(start, start + 1000))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 20_000, f'{grown} KiB for blocks of 2,000 KiB'


@pytest.mark.parametrize(
    ('array', 'what'),
    [
        (np.ones((3, 2), np.int32), 'int32 of shape'),
        (np.ones(3, np.float32), 'float32 of shape'),
        (np.array([{}]), 'not a plain .npy file'),
    ],
)
def test_other_arrays__are_refused_by_what_they_are(array, what, tmp_path):
    np.save(tmp_path / 'v.npy', array, allow_pickle=True)
    with pytest.raises(VectorError, match=f'v.npy .*{what}'):
        ArrayFile(tmp_path / 'v.npy')


def test_other_files__are_refused(tmp_path):
    with pytest.raises(VectorError, match='v.npy is not there'):
        ArrayFile(tmp_path / 'v.npy')
    (tmp_path / 'v.npy').write_text('1 2 3')
    with pytest.raises(VectorError, match='is not a plain .npy file'):
        ArrayFile(tmp_path / 'v.npy')
    np.savez(tmp_path / 'v.npz', np.eye(3))
    with pytest.raises(VectorError, match='holds an .npz archive'):
        ArrayFile(tmp_path / 'v.npz')


def test_sent_to_another_process__the_file_stays_where_it_is(tmp_path):
    array = np.random.default_rng(1).standard_normal((1000, 50))
    np.save(tmp_path / 'v.npy', array)
    message = pickle.dumps(ArrayFile(tmp_path / 'v.npy'))
    assert len(message) < 1000
    np.testing.assert_array_equal(pickle.loads(message).read(slice(None)), array)
    np.save(tmp_path / 'v.npy', array[1:])
    with pytest.raises(VectorError, match='is not the same file'):
        pickle.loads(message)
    (tmp_path / 'v.npy').unlink()
    with pytest.raises(VectorError, match='is not there'):
        pickle.loads(message)


def test_file_that_changes_while_it_is_in_use__is_said(tmp_path):
    np.save(tmp_path / 'v.npy', np.ones((1000, 50)))
    found = ArrayFile(tmp_path / 'v.npy')
    with open(tmp_path / 'v.npy', 'r+b') as file:
        file.truncate(100_000)
    assert len(found.read(slice(0, 10))) == 10
    with pytest.raises(VectorError, match='has become shorter'):
        found.read(slice(None))
    (tmp_path / 'v.npy').unlink()
    with pytest.raises(VectorError, match='cannot be read any more'):
        found.read(slice(0, 10))
