"""A study that is killed at any moment and started again ends with the same table."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CALLS = 11
RENAMES = 48
MOMENTS = [*(f'call:{count}' for count in range(1, CALLS + 1)), *(f'rename:{n}' for n in range(1, RENAMES + 1, 3))]
"""In the middle of each tool, and before every third file: records, tables and configs follow each other in another rhythm."""


def killed_at(folder, moments):
    script = Path(__file__).with_name('killed_studies.py')
    run = subprocess.run(
        [sys.executable, str(script), str(folder), *moments],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.split('RESULT ')[1])


def check(found, moments):
    plain = found.pop('plain')
    assert (plain['first'], plain['then'], plain['calls']) == ('exit 0', 'exit 0', CALLS)
    assert list(found) == list(moments)
    for moment, end in found.items():
        assert (end['first'], end['then']) == ('killed', 'exit 0'), moment
        assert end['alone'] or sys.platform != 'linux', moment
        assert end['tables'] == plain['tables'], moment
        assert end['left'] == [], moment
        # with two jobs at most two runs were lost
        assert CALLS <= end['calls'] <= CALLS + 2, moment


@pytest.mark.slow
@pytest.mark.parametrize('part', range(2))
def test_killed__in_every_call_and_before_files(tmp_path, part):
    moments = MOMENTS[part::2]
    check(killed_at(tmp_path, moments), moments)
