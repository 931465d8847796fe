"""Threads take pieces of work in order; an error ends the work."""

import threading

import pytest

from mmdel.compute.cores import on_threads


def test_error_in_a_piece__ends_the_work():
    done = []

    def piece(number):
        if number == 3:
            raise ZeroDivisionError
        done.append(number)

    with pytest.raises(ZeroDivisionError):
        on_threads(piece, range(9), 1)
    assert done == [0, 1, 2]


@pytest.mark.parametrize('threads', [1, 3, None])
def test_pieces__are_done_once_each_and_asked_for_when_a_thread_is_free(threads):
    done, asked = [], []

    def numbers():
        for number in range(20):
            asked.append(number)
            assert len(asked) - len(done) <= 1 + (threads or 64)
            yield number

    on_threads(done.append, numbers(), threads)
    assert sorted(done) == asked == list(range(20))


def test_pieces__run_at_the_same_time():
    both = threading.Barrier(2, timeout=60)
    on_threads(lambda number: both.wait(), range(2), 2)
