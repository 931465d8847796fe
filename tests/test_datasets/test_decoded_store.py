import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from mmdel.datasets import decoded_store
from mmdel.datasets.decoded_store import DecodedStore
from mmdel.errors import ConfigError

KILLED_WRITERS = Path(__file__).with_name('killed_writers.py')
ENTRY = 2 * 4096
"""Bytes of an entry whose array takes a page."""


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(decoded_store, 'print_log', lambda text, **_: found.append(text))
    return found


def page(level: int) -> dict[str, Any]:
    return {'img': np.full((64, 64), level, np.uint8)}


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers() | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
arrays = st_np.arrays(
    st.sampled_from([np.uint8, np.uint16, np.int64, np.float32, np.bool_]),
    st_np.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=40),
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=5), plain | arrays, max_size=4))
def test_values__come_back_with_their_types(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    store = DecodedStore(str(tmp_path_factory.getbasetemp() / 'laws'), 10**12)
    store.put('entry', [1], values)
    found = store.get('entry', [1])
    assert found is not None and found.keys() == values.keys()
    for key, value in values.items():
        assert type(found[key]) is type(value)
        if isinstance(value, np.ndarray):
            assert found[key].dtype == value.dtype and found[key].shape == value.shape and found[key].flags.writeable
            assert found[key].tobytes() == value.tobytes()
        else:
            assert repr(found[key]) == repr(value)  # tells 0.0 from -0.0, and tuples inside from lists
    assert store.get('entry', [2]) is None and store.get('entri', [1]) is None


def test_what_cannot_be_kept__is_named(tmp_path: Path) -> None:
    for value in (object(), np.array(['a'], object), {'a': [Path()]}):
        with pytest.raises(ConfigError, match="as 'odd', which cannot be kept"):
            DecodedStore(str(tmp_path), 10**6).put('entry', [], {'odd': value})


def test_writing_into_an_array__never_reaches_the_file(tmp_path: Path) -> None:
    store = DecodedStore(str(tmp_path), 10**6)
    store.put('entry', [], page(7))
    first, second = store.get('entry', []), store.get('entry', [])
    assert first and second
    first['img'][:] = 99
    assert (second['img'] == 7).all()
    assert (store.get('entry', []) or {})['img'].max() == 7


def test_every_changed_byte_and_every_cut__is_noticed(tmp_path: Path, said: list[str]) -> None:
    store = DecodedStore(str(tmp_path), 10**6)
    values = {'img': np.arange(5000, dtype=np.uint8), 'ori_shape': (50, 100)}
    store.put('entry', [], values)
    (path,) = tmp_path.glob('??/*')
    whole = path.read_bytes()
    used = [*range(16), *range(16, 100, 7), 4096, 4097, 8191, 8192, 4096 + 4999]
    damaged = [whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :] for at in used]
    damaged += [whole[:length] for length in (0, 1, 15, 16, 60, 4096, 8192, len(whole) - 1)] + [whole + bytes(4096)]
    damaged.append(whole[:4096] + whole[8192:] + whole[4096:8192])  # pages exchanged
    for number, content in enumerate(damaged):
        path.write_bytes(content)
        assert store.get('entry', []) is None, number
        assert len(said) == number + 1 and 'is damaged' in said[-1]
    store.put('entry', [], values)
    assert path.read_bytes() == whole


def test_limit__is_never_exceeded_and_said_once_for_a_run(tmp_path: Path, said: list[str]) -> None:
    store = DecodedStore(str(tmp_path), 3 * ENTRY)
    other_worker = DecodedStore(str(tmp_path), 3 * ENTRY)
    other_worker._run = store._run
    for number in range(6):
        (store, other_worker)[number % 2].put(f'entry{number}', [], page(number))
        assert store.used() <= 3 * ENTRY
    assert [store.get(f'entry{number}', []) is not None for number in range(6)] == [True] * 3 + [False] * 3
    assert len(said) == 1 and 'Raise the limit, or remove the folder' in said[0]
    DecodedStore(str(tmp_path), 3 * ENTRY).put('another', [], page(0))
    assert len(said) == 2  # another run says it, too
    DecodedStore(str(tmp_path), 4 * ENTRY).put('another', [], page(0))
    assert store.used() == 4 * ENTRY


@pytest.mark.parametrize('count', ['{"bytes": 999999, "told": []}', 'no JSON', '{}', None])
def test_count__that_is_wrong_or_gone_is_made_anew(tmp_path: Path, count: str | None) -> None:
    DecodedStore(str(tmp_path), 4 * ENTRY).put('first', [], page(1))
    file = tmp_path / 'count.json'
    file.unlink() if count is None else file.write_text(count)
    store = DecodedStore(str(tmp_path), 2 * ENTRY)
    for name in ('second', 'third'):
        store.put(name, [], page(2))
    assert [store.get(name, []) is not None for name in ('first', 'second', 'third')] == [True, True, False]
    assert json.loads(file.read_text())['bytes'] == store.used() == 2 * ENTRY


@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='root may write everywhere')
def test_folder_that_cannot_be_written__is_said_once_and_still_read(tmp_path: Path, said: list[str]) -> None:
    DecodedStore(str(tmp_path), 10**6).put('entry', [], page(1))
    tmp_path.chmod(0o500)
    try:
        store = DecodedStore(str(tmp_path), 10**6)
        for _ in range(2):
            store.put('more', [], page(2))
        assert store.get('entry', []) is not None
    finally:
        tmp_path.chmod(0o700)
    assert len(said) == 1 and 'can no longer be kept' in said[0]


def test_full_disk__is_said_once_and_leaves_nothing(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DecodedStore(str(tmp_path), 10**6)
    store.put('entry', [], page(1))

    def full(*_: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(decoded_store.os, 'replace', full)
    for _ in range(2):
        store.put('more', [], page(2))
    monkeypatch.undo()
    assert len(said) == 1
    assert store.used() == ENTRY and store.get('more', []) is None


def test_killed_at_any_step__no_entry_is_half_and_the_limit_holds(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, str(KILLED_WRITERS), str(tmp_path)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    assert result['wrong'] == [] and result['kills'] >= 20
