"""Processes share work and end together; what comes out does not depend on how many they are, nor on who died."""

import json
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch.distributed import HashStore

from mmdel.compute import sharing
from mmdel.compute.cores import usable_cores
from mmdel.errors import LostProcessError

IMAGES = 100
BATCHES, SHARDS = 25, 13


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """``run(*jobs)`` runs jobs of ``shared_runs.py``, in a process of its own as they are forked; what it found, by job."""
    base = tmp_path_factory.mktemp('shared')
    (base / 'pool').mkdir()
    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        if i % 9 == 0:
            small = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        image = cv2.resize(small, (24, 20), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(base / 'pool' / f'{i:03d}.png'), cv2.add(image, np.full_like(image, i % 9)))
    scenes = rng.standard_normal((60, 12))
    vectors = scenes[rng.integers(0, 60, 400)] + 0.3 * rng.standard_normal((400, 12))
    vectors[100:140] = vectors[200:240]  # exact ties
    np.save(base / 'vectors.npy', vectors.astype(np.float32))

    def run(*jobs):
        (folder := base / jobs[-1]).mkdir()
        script = Path(__file__).with_name('shared_runs.py')
        done = subprocess.run(
            [sys.executable, str(script), str(base / 'pool'), str(base / 'vectors.npy'), str(folder), *jobs],
            capture_output=True,
            text=True,
            timeout=580,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.split('RESULT ')[1])

    return run


@pytest.fixture(scope='module')
def fast(run):
    return run('same 1', 'same 2', 'same 3', 'slow', 'refused by 1')


@pytest.fixture(scope='module')
def slow(run):
    victims = [f'killed {what} {victim}' for what in ('embedding', 'comparing') for victim in (0, 2)]
    return run('same 1', 'same 8', 'refused by 0', 'broken everywhere', *victims)


def reasons(job):
    """What the processes of a job that has failed say to people."""
    return [line for text in job['texts'] for line in text.splitlines() if line.startswith(('error: ', 'Traceback'))]


def same(found, *sizes):
    for size in sizes:
        job = found[f'same {size}']
        assert job['ends'] == [0] * size, job['texts']
        assert job['digests'] == found['same 1']['digests'], size
        assert job['embedded'] == BATCHES
        assert not any(job['texts'][1:]), 'only rank 0 prints'
        if size > 1:
            ((*shards,),) = job['shards']
            assert len(shards) == size and sum(shards) == SHARDS


def test_processes__write_the_same_bytes(fast):
    same(fast, 1, 2, 3)


@pytest.mark.slow
def test_eight_processes__write_the_same_bytes(slow):
    same(slow, 1, 8)


def test_slow_process__leaves_the_shards_to_the_others(fast):
    job = fast['slow']
    assert job['ends'] == [0, 0, 0], job['texts']
    ((first, hindered, third),) = job['shards']
    assert first + hindered + third == SHARDS
    assert hindered < (first + third) / 2


def test_error_of_one__is_said_once_and_ends_all(fast):
    job = fast['refused by 1']
    assert job['ends'] == [1, 2, 1]
    assert reasons(job) == ['error: the third leg is too short']
    assert 'rank 1 on ' in job['texts'][1]


@pytest.mark.slow
def test_error_of_rank_0__is_said_once_and_ends_all(slow):
    job = slow['refused by 0']
    assert job['ends'] == [2, 1, 1]
    assert reasons(job) == ['error: the third leg is too short']


@pytest.mark.slow
def test_bug__shows_one_traceback(slow):
    job = slow['broken everywhere']
    assert job['ends'] == [1, 1, 1]
    assert len(reasons(job)) == 1
    assert sum('ZeroDivisionError: a bug' in text for text in job['texts']) == 1


@pytest.mark.slow
@pytest.mark.parametrize('victim', [0, 2])
@pytest.mark.parametrize('stage', ['embedding', 'comparing'])
def test_killed_process__takes_the_others_along_and_a_restart_continues(slow, stage, victim):
    found = slow[f'killed {stage} {victim}']
    ends = found['first']['ends']
    assert ends.pop(victim) == -9
    assert ends == [1, 1]
    (reason,) = reasons(found['first'])
    assert 'cannot be reached' in reason if victim == 0 else 'rank 2 gave no sign of life' in reason
    assert 'goes on where it stopped' in reason
    again = found['again']
    assert not any(again['ends']), again['texts']
    assert found['digest'] == slow['same 1']['digests'][stage == 'embedding']
    if stage == 'embedding':
        assert 2 <= found['stored'] < SHARDS
        # two batches a shard, but one in the last: nothing that was stored is embedded again
        assert again['embedded'] in (BATCHES - 2 * found['stored'], BATCHES - 2 * found['stored'] + 1)


# --- without processes


@pytest.mark.parametrize(('count', 'at_once'), [(0, 1), (1, 4), (100, 1), (1000, 7)])
def test_claim__gives_each_number_to_one_process(count, at_once):
    store, taken = HashStore(), []
    teams = [sharing.Team(store, rank, 4) for rank in range(4)]
    threads = [threading.Thread(target=lambda team=team: taken.extend(team._claim(count, at_once))) for team in teams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(count))


def test_claim__a_slow_process_takes_fewer():
    store, taken = HashStore(), Counter()
    begun, rest_done = threading.Event(), threading.Barrier(3)

    def work(rank):
        if rank != 1:
            begun.wait(10)
        for _ in sharing.Team(store, rank, 3)._claim(60):
            taken[rank] += 1
            if rank == 1:
                begun.set()
                rest_done.wait(10)  # as slow as can be: until nothing is left
        if rank != 1:
            rest_done.wait(10)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken[1] == 1 and taken[0] + taken[2] == 59


def test_alone__share_is_a_call():
    def work(common, claim, tick):
        tick(2)
        return common, list(claim(3, 2))

    told = []
    assert sharing.share(work, 'x', told.append) == [('x', [0, 1, 2])]
    assert told == [2] and sharing.get_world_size() == 1 and sharing.is_main_process()


def test_store_that_has_gone__is_a_lost_process():
    class Gone:
        def add(self, name, more):
            raise RuntimeError('Connection reset by peer')

    with pytest.raises(LostProcessError, match='goes on where it stopped'):
        sharing.Team(Gone(), 1, 2)._count('tasks')


@pytest.mark.parametrize(('processes', 'part'), [('1', 1), ('2', 2), ('100000', 100000), ('', 1), ('0', 1)])
def test_usable_cores__are_divided_among_the_processes_of_torchrun(monkeypatch, processes, part):
    monkeypatch.delenv('LOCAL_WORLD_SIZE', raising=False)
    cores = usable_cores()
    monkeypatch.setenv('LOCAL_WORLD_SIZE', processes)
    assert usable_cores() == max(1, cores // part)
