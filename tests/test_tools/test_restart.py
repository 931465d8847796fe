"""Killed at any moment and started again, the main job ends with the same bytes; runs may share a cache."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    base = tmp_path_factory.mktemp('restart')
    pool = base / 'pool'
    pool.mkdir()
    rng = np.random.default_rng(0)
    for i in range(360):
        if i % 9 == 0:
            small = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        image = cv2.resize(small, (48, 40), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(pool / f'{i:03d}.jpg'), cv2.add(image, np.full_like(image, i % 9)))
    (pool / 'broken.jpg').write_bytes(b'no image')
    script = Path(__file__).with_name('killed_runs.py')
    (base / 'runs').mkdir()
    done = subprocess.run(
        [sys.executable, str(script), str(pool), str(base / 'runs')],
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.split('RESULT ')[1])


def test_killed__at_three_moments_of_each_stage_and_before_renames_then_same_bytes(found):
    assert found['plain']['ended'] == 'exit 0' and found['plain']['shards'] >= 3
    assert len(found['killed']) >= 30
    for moment, run in found['killed'].items():
        assert run['first'] == 'killed', moment
        assert run['ended'] == 'exit 0', moment
        assert run['digest'] == found['plain']['digest'], moment
        assert run['leftovers'] == [], moment


@pytest.mark.parametrize('damage', ['flip', 'cut', 'empty', 'remove'])
def test_damaged_shard__is_embedded_again_with_the_same_bytes(found, damage):
    run = found[f'damage {damage}']
    assert run['ended'] == 'exit 0' and run['digest'] == found['plain']['digest']
    assert run['shards'] == found['plain']['shards']


def test_five_etas_at_once__share_one_cache_and_equal_runs_alone(found):
    for eta, run in found['together'].items():
        assert run['ended'] == 'exit 0'
        assert run['digest'] == found['alone'][eta]['digest']
    assert len({run['digest'] for run in found['alone'].values()}) == 5
    assert found['together']['0.8']['shards'] == found['plain']['shards']


def test_killed_update__started_again_ends_with_the_same_bytes(tmp_path):
    pool = tmp_path / 'pool'
    pool.mkdir()
    for i in range(120):
        small = np.random.default_rng(i // 3).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        image = cv2.resize(small, (48, 40), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(pool / f'{"late" if i % 2 else "soon"}{i:03d}.png'), cv2.add(image, np.full_like(image, i % 3)))
    (pool / 'late.jpg').write_bytes(b'no image')
    (tmp_path / 'runs').mkdir()
    script = Path(__file__).with_name('killed_updates.py')
    done = subprocess.run(
        [sys.executable, str(script), str(pool), str(tmp_path / 'runs')],
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.split('RESULT ')[1])
    plain = found.pop('never')
    assert plain['ends'] == ['exit 0', 'exit 0'] and len(found) == 3
    for moment, run in found.items():
        assert run['ends'] == ['killed', 'exit 0'], moment
        assert run['digest'] == plain['digest'] and run['leftovers'] == [], moment
