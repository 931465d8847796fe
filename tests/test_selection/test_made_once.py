import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdel.selection.made_once import MadeByBlock, MadeOnce


def test_blocks__are_made_once_whatever_threads_ask_for():
    made = Counter()

    def make(number):
        made[number] += 1
        return f'block {number}'

    blocks = MadeOnce(40)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: blocks.get(number, make), [*range(40), *range(39, -1, -1)] * 5))
    assert found == [f'block {number}' for number in [*range(40), *range(39, -1, -1)] * 5]
    assert made == Counter(range(40))
    assert blocks.complete


def test_thread_that_would_wait__makes_a_later_block():
    begun, made = threading.Event(), []

    def make(number):
        made.append((number, threading.current_thread().name))
        if number == 0:
            begun.set()
            assert later.wait(10)
        else:
            later.set()
        return str(number)

    later, blocks = threading.Event(), MadeOnce(2)
    first = threading.Thread(target=blocks.get, args=(0, make), name='first')
    first.start()
    assert begun.wait(10)
    assert blocks.get(0, make) == '0'
    first.join()
    assert made == [(0, 'first'), (1, 'MainThread')]


def test_failure__is_raised_where_it_happened_and_the_block_is_begun_anew():
    blocks = MadeOnce(1)
    with pytest.raises(OSError, match='gone'):
        blocks.get(0, fail)
    assert not blocks.complete
    assert blocks.get(0, str) == '0'
    assert blocks.get(0, fail) == '0'


def fail(number):
    raise OSError('gone')


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 999))
def test_rows__are_those_that_were_made_however_they_are_asked_for(size, step, seed):
    rng = np.random.default_rng(seed)
    every = rng.standard_normal((size, 3))
    made = []

    def make(part):
        made.append(part.start)
        return every[part]

    rows = MadeByBlock(size, step, lambda first, size: np.empty((size, *first.shape[1:])))
    for _ in range(5):
        start, stop = sorted(rng.integers(0, size + 1, 2).tolist())
        asked = rng.integers(0, size, 7) if start == stop else np.arange(start, stop)
        np.testing.assert_array_equal(rows.of(asked, make), every[asked])
        np.testing.assert_array_equal(rows.whole(asked, make)[asked], every[asked])
    assert len(made) == len(set(made))
