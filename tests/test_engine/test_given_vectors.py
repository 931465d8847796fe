"""Vectors that people hand over rank the same in whatever order their rows come."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdel.embedding.vectors import Vectors
from mmdel.engine.given_vectors import read_given_vectors
from mmdel.errors import DatasetError
from mmdel.selection.methods.meddel import MedDEL
from mmdel.subset import plain_lists


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
    monkeypatch.setattr(plain_lists, 'BLOCK_CHARACTERS', block)
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
