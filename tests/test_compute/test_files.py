"""A file is whole or absent, and what killed writers left is tidied up."""

import os
import platform
import subprocess
import sys

import pytest

from mmdel.compute.files import atomic, write_text


def test_atomic__an_error_leaves_the_old_file_and_no_other(tmp_path):
    write_text(tmp_path / 'a', 'old')

    def fail():
        with atomic(tmp_path / 'a') as temporary:
            temporary.write_text('new')
            raise RuntimeError('amid writing')

    with pytest.raises(RuntimeError, match='amid writing'):
        fail()
    assert os.listdir(tmp_path) == ['a'] and (tmp_path / 'a').read_text() == 'old'


def test_atomic__removes_what_a_dead_process_left_but_not_what_a_living_one_writes(tmp_path):
    done = subprocess.run(
        [sys.executable, '-c', 'import os; print(os.getpid())'], capture_output=True, text=True, check=True
    )
    dead = tmp_path / f'.a.{platform.node()}.{done.stdout.strip()}.tmp'
    living = tmp_path / f'.a.{platform.node()}.1.tmp'
    elsewhere = tmp_path / '.a.other-host.1.tmp'
    for path in (dead, living, elsewhere):
        path.write_text('half')
    write_text(tmp_path / 'a', 'new')
    assert sorted(os.listdir(tmp_path)) == sorted(['a', living.name, elsewhere.name])
