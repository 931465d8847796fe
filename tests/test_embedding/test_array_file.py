"""A file of vectors gives the rows that NumPy would, without being held in memory."""

import pickle
import resource

import numpy as np
import pytest

from mmdel.embedding.array_file import ArrayFile
from mmdel.errors import VectorError

SIZE, DIM = 40, 7


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
