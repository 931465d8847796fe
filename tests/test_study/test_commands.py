"""Jobs for a cluster, seen by an sbatch and a squeue that are small scripts."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from mmdel.errors import ConfigError
from mmdel.study import collect, make_plan, read_study
from mmdel.study.commands import submit
from mmdel.study.execute import pending

SBATCH = """#!/bin/sh
n=$(($(cat "$FAKE/count") + 1)); echo $n > "$FAKE/count"
for argument in "$@"; do printf '%s\\n' "$argument"; done > "$FAKE/$n.args"
[ "$n" = "$(cat "$FAKE/refuse")" ] && { echo 'sbatch: error: invalid partition' >&2; exit 1; }
echo "$n;cluster"
"""
SQUEUE = """#!/bin/sh
grep -qx "$3" "$FAKE/queue" && echo PENDING
exit 0
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    fake = tmp_path / 'fake'
    fake.mkdir()
    for name, text in (('sbatch', SBATCH), ('squeue', SQUEUE)):
        (fake / name).write_text(text)
        (fake / name).chmod(0o755)
    for name, text in (('count', '0'), ('queue', ''), ('refuse', '0')):
        (fake / name).write_text(text)
    monkeypatch.setenv('FAKE', str(fake))
    monkeypatch.setenv('PATH', f'{fake}{os.pathsep}{os.environ["PATH"]}')
    return fake


@pytest.fixture
def hand_over(little, tmp_path):
    study = little.STUDY + "\nsbatch = ['--gres=gpu:1', '--time=1:00:00']\n"
    path = little.write_little_study(tmp_path, study)

    def call():
        plan = make_plan(read_study(str(path)))
        said = []
        jobs = submit(plan, pending(plan, collect(plan)), Path('tools/study.py'), ['my study.py'], said.append)
        return plan, jobs, said

    return call


def arguments(cluster, job):
    return (cluster / f'{job}.args').read_text().splitlines()


def test_submit__one_job_a_run_after_those_that_it_needs(hand_over, cluster):
    plan, jobs, _ = hand_over()
    assert list(jobs.values()) == [str(number) for number in range(1, 12)]
    for name, job in jobs.items():
        *options, script = arguments(cluster, job)
        assert '--parsable' in options and '--gres=gpu:1' in options and '--time=1:00:00' in options
        needs = [jobs[need] for need in plan.runs[name].needs.values()]
        after = [option for option in options if option.startswith('--dependency')]
        assert after == ([f'--dependency=afterok:{":".join(needs)}'] if needs else [])
        lines = Path(script).read_text().splitlines()
        assert lines[0] == '#!/bin/bash'
        assert lines[1].endswith(f"tools/study.py 'my study.py' --run {name}")


def test_submit__what_is_queued_is_left_alone_and_what_is_gone_is_submitted_again(hand_over, cluster):
    plan, jobs, _ = hand_over()
    (cluster / 'queue').write_text('\n'.join(list(jobs.values())[1:]) + '\n')
    _, again, said = hand_over()
    changed = {name for name in jobs if jobs[name] != again[name]}
    assert changed == {next(iter(plan.runs))}
    assert sum('queued already' in line for line in said) == 10


def test_submit__an_sbatch_that_refuses(hand_over, cluster):
    (cluster / 'refuse').write_text('2')
    with pytest.raises(ConfigError, match='sbatch refused pretrain/.*invalid partition'):
        hand_over()


def test_submit__no_cluster(hand_over, monkeypatch):
    monkeypatch.setenv('PATH', '')
    with pytest.raises(ConfigError, match='needs sbatch on the PATH'):
        hand_over()


def test_job_script__runs_the_command_as_it_is(hand_over, cluster, tmp_path):
    """With an interpreter that notes its arguments in place of Python."""
    _, jobs, _ = hand_over()
    script = Path(arguments(cluster, '1')[-1])
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\nprintf "%s\\0" "$@" > "$FAKE/words"\n')
    python.chmod(0o755)
    line = script.read_text().splitlines()[1].split(' ', 2)
    script.write_text(f'#!/bin/bash\nexec {python} {line[2]}\n')
    subprocess.run(['bash', str(script)], check=True, timeout=20)
    words = (cluster / 'words').read_text().split('\0')[:-1]
    assert words == ['tools/study.py', 'my study.py', '--run', next(iter(jobs))]
    assert json.loads(script.with_suffix('.job').read_text())['job'] == '1'
