import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

KILLED_RUNS = Path(__file__).with_name('killed_runs.py')


@pytest.fixture
def folder(image_folder: Path) -> Path:
    (image_folder / '004.png').write_bytes(b'')
    shutil.copy(image_folder / '015.png', image_folder / '002b.png')
    (image_folder / '017.png').unlink()
    (image_folder / '017.png').symlink_to('nothing')  # cannot be opened: tried again by every run
    return image_folder


@pytest.mark.slow
def test_killed_at_any_step__a_restart_ends_with_the_same_files(folder: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(KILLED_RUNS), str(folder), str(tmp_path / 'caches')], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    assert result['different'] == []
    assert result['kills'] >= 20
    assert result['files'] == 2 * 3 + 1 + 2  # shards, store.json, results


WAIT_AND_EMBED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from killed_runs import *
Colours.embed = lambda self, images, embed=Colours.embed: (time.sleep(0.2), print('batch', flush=True), embed(self, images))[2]
embed_images(table_of(Path(sys.argv[2])), Colours(), sys.argv[3], num_workers=1)
print('done', flush=True)
"""


def started(folder: Path, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, '-c', WAIT_AND_EMBED, str(KILLED_RUNS.parent), str(folder), str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {'OMP_NUM_THREADS': '1'},
    )


def test_two_runs_on_one_cache__the_second_waits_and_embeds_nothing(folder: Path, tmp_path: Path) -> None:
    with started(folder, tmp_path / 'cache') as one, started(folder, tmp_path / 'cache') as other:
        outputs = [process.communicate()[0] for process in (one, other)]
    assert [output.splitlines()[-1] for output in outputs] == ['done', 'done']
    assert sorted(output.count('batch') for output in outputs) == [0, 5]
    assert sum('is embedding into' in output for output in outputs) == 1


def test_killed_run__its_workers_do_not_hold_the_lock(folder: Path, tmp_path: Path) -> None:
    with started(folder, tmp_path / 'cache') as run:
        assert run.stdout is not None
        printed = []
        for line in run.stdout:
            printed.append(line)
            if 'batch' in line:
                break
        assert run.poll() is None, ''.join(printed)
        run.kill()
    (store,) = (tmp_path / 'cache').iterdir()
    with FileLock(store / 'lock', timeout=1):  # sooner than orphaned workers notice by themselves
        pass
