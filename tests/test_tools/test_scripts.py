"""The shell scripts: what they start, seen by a `python` and a `srun` that only write down how they were called."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
SCRIPTS = {
    'dist_train.sh': 2, 'dist_test.sh': 3, 'dist_dedup.sh': 2, 'slurm_train.sh': 4, 'slurm_test.sh': 4, 'slurm_dedup.sh': 4,
}  # fmt: skip
"""Each script and the number of arguments that it cannot do without."""
RECORDER = (
    '#!/bin/sh\nprintf "%s\\0" "$0" "$@" > "$RECORD"\necho "$MASTER_PORT" > "$RECORD.port"\n'
    'echo "$OMP_NUM_THREADS" > "$RECORD.threads"\n[ -z "$SBATCH" ] || cat > "$RECORD.job"\nexit "${STATUS:-0}"\n'
)


@pytest.fixture
def call(tmp_path):
    """Run a script from another folder, out of a folder whose name has a space; what it started, or (status, stderr)."""
    programs, elsewhere, tools = tmp_path / 'bin', tmp_path / 'else where', tmp_path / 'my tools'
    for folder in (programs, elsewhere, tools):
        folder.mkdir()
    for name in ('python', 'srun', 'sbatch', 'my python'):
        (programs / name).write_text(RECORDER)
        (programs / name).chmod(0o755)
    for name in SCRIPTS:
        shutil.copy2(TOOLS / name, tools)

    def run(script, *arguments, **environment):
        record = tmp_path / 'record'
        record.unlink(missing_ok=True)
        env = {name: os.environ[name] for name in ('HOME', 'LANG') if name in os.environ}
        env |= {'PATH': f'{programs}{os.pathsep}{os.environ["PATH"]}', 'RECORD': str(record), 'CDPATH': str(tmp_path)}
        done = subprocess.run(
            [os.path.relpath(tools / script, elsewhere), *arguments],
            cwd=elsewhere,
            env=env | environment,
            capture_output=True,
            text=True,
            timeout=20,
        )
        if not record.exists():
            return done.returncode, done.stderr
        assert done.returncode == int(environment.get('STATUS', 0)), done.stderr
        program, *rest = record.read_text().split('\0')[:-1]
        return [os.path.basename(program), *[each.replace(f'{tools}/', '<tools>/') for each in rest]]

    run.threads = lambda: (tmp_path / 'record.threads').read_text().strip()
    run.port = lambda: (tmp_path / 'record.port').read_text().strip()
    run.programs = programs
    return run


def torchrun(gpus, nnodes='1', rank='0', address='127.0.0.1', port='29500'):
    return [
        'python', '-m', 'torch.distributed.run', f'--nnodes={nnodes}', f'--node_rank={rank}',
        f'--master_addr={address}', f'--nproc_per_node={gpus}', f'--master_port={port}',
    ]  # fmt: skip


def srun(partition, name, *more, gpus='8', per_node='8', cpus='5'):
    return [
        'srun', '-p', partition, f'--job-name={name}', f'--gres=gpu:{per_node}', f'--ntasks={gpus}',
        f'--ntasks-per-node={per_node}', f'--cpus-per-task={cpus}', '--kill-on-bad-exit=1', *more, 'python', '-u',
    ]  # fmt: skip


OPTIONS = ('--cfg-options', 'a.b=two words', "c=['x', '*']", '$HOME', '', '--resume')


def test_dist_train__passes_every_argument_as_it_is(call):
    started = call('dist_train.sh', 'my configs/a b.py', '2', *OPTIONS)
    assert started == [*torchrun(2), '<tools>/train.py', 'my configs/a b.py', '--launcher', 'pytorch', *OPTIONS]


def test_dist_test__passes_every_argument_as_it_is(call):
    started = call('dist_test.sh', 'a b.py', 'best mIoU.pth', '4', *OPTIONS)
    command = ['<tools>/test.py', 'a b.py', 'best mIoU.pth', '--launcher', 'pytorch', *OPTIONS]
    assert started == [*torchrun(4), *command]


def test_slurm_train__passes_every_argument_as_it_is(call):
    started = call('slurm_train.sh', 'gpu', 'my job', 'a b.py', 'work dirs/1', *OPTIONS)
    command = ['<tools>/train.py', 'a b.py', '--work-dir=work dirs/1', '--launcher=slurm', *OPTIONS]
    assert started == [*srun('gpu', 'my job'), *command]


def test_slurm_test__passes_every_argument_as_it_is(call):
    started = call('slurm_test.sh', 'gpu', 'my job', 'a b.py', 'best mIoU.pth', *OPTIONS)
    assert started == [
        *srun('gpu', 'my job'),
        '<tools>/test.py',
        'a b.py',
        'best mIoU.pth',
        '--launcher=slurm',
        *OPTIONS,
    ]


def test_dist_dedup__passes_every_argument_as_it_is(call):
    started = call('dist_dedup.sh', 'my configs/a b.py', '2', *OPTIONS)
    assert started == [*torchrun(2), '<tools>/dedup.py', 'my configs/a b.py', '--launcher', 'pytorch', *OPTIONS]


def test_dist_dedup__divides_the_cores(call):
    cores = int(
        subprocess.run(['env', '-u', 'OMP_NUM_THREADS', 'nproc'], capture_output=True, text=True, check=True).stdout
    )
    for processes in (1, 2, 3, 100000):
        call('dist_dedup.sh', 'a.py', str(processes))
        assert int(call.threads()) == max(1, cores // processes)
    call('dist_dedup.sh', 'a.py', '2', OMP_NUM_THREADS='5')
    assert call.threads() == '5'


def test_slurm_dedup__passes_every_argument_as_it_is(call):
    started = call('slurm_dedup.sh', 'gpu', 'my job', 'a b.py', 'work dirs/1', *OPTIONS)
    command = ['<tools>/dedup.py', 'a b.py', '--work-dir=work dirs/1', '--launcher=slurm', *OPTIONS]
    assert started == [*srun('gpu', 'my job'), *command]


def test_slurm_dedup__without_gpus(call):
    expected = [word for word in srun('p', 'j', gpus='3', per_node='3') if not word.startswith('--gres')]
    assert call('slurm_dedup.sh', *'pjcd', GPUS='3', GRES='')[: len(expected)] == expected


def test_slurm_dedup__handed_to_the_queue(call, tmp_path):
    work_dir = str(tmp_path / 'work dirs' / '1')
    options = ('gpu', 'my job', 'a b.py', work_dir, *OPTIONS)
    assert call('slurm_dedup.sh', *options, SBATCH='1', GPUS='2', SRUN_ARGS='-A x') == [
        'sbatch', '-p', 'gpu', '--job-name=my job', '--gres=gpu:2', '--ntasks=2', '--ntasks-per-node=2', '--cpus-per-task=5',
        '-A', 'x', f'--output={work_dir}/slurm-%j.log',
    ]  # fmt: skip
    assert os.path.isdir(work_dir), 'Slurm does not make the folder of the log'
    # what the job then does
    (script := tmp_path / 'job').write_text((tmp_path / 'record.job').read_text())
    script.chmod(0o755)
    env = {'PATH': f'{call.programs}{os.pathsep}{os.environ["PATH"]}', 'RECORD': str(tmp_path / 'record')}
    subprocess.run([script], env=env, check=True, timeout=20)
    _, *rest = (tmp_path / 'record').read_text().split('\0')[:-1]
    tool = str(tmp_path / 'my tools' / 'dedup.py')
    command = ['python', '-u', tool, 'a b.py', f'--work-dir={work_dir}', '--launcher=slurm', *OPTIONS]
    assert rest == ['--cpus-per-task=5', '--kill-on-bad-exit=1', *command]


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh', 'dist_dedup.sh'])
def test_dist__several_machines(call, script):
    arguments = ['x'] * (SCRIPTS[script] - 1) + ['8']
    started = call(script, *arguments, NNODES='2', NODE_RANK='1', MASTER_ADDR='10.0.0.7', PORT='2345')
    assert started[:8] == torchrun(8, nnodes='2', rank='1', address='10.0.0.7', port='2345')


@pytest.mark.parametrize('script', ['slurm_train.sh', 'slurm_test.sh', 'slurm_dedup.sh'])
def test_slurm__asks_for_what_the_environment_says(call, script):
    extra = '--exclude=node[1-2]  --time=1:00:00\n-A *'  # split at white space, and * is no file name here
    started = call(script, *'pjcd', GPUS='16', GPUS_PER_NODE='4', CPUS_PER_TASK='2', SRUN_ARGS=extra, PORT='2345')
    words = ['--exclude=node[1-2]', '--time=1:00:00', '-A', '*']
    expected = srun('p', 'j', *words, gpus='16', per_node='4', cpus='2')
    assert started[: len(expected)] == expected
    assert call.port() == '2345'


@pytest.mark.parametrize('script', ['slurm_train.sh', 'slurm_test.sh', 'slurm_dedup.sh'])
def test_slurm__fewer_processes_than_a_machine_has(call, script):
    expected = srun('p', 'j', gpus='2', per_node='2')
    assert call(script, *'pjcd', GPUS='2')[: len(expected)] == expected


@pytest.mark.parametrize(
    ('own', 'port'), [({}, '29500'), ({'MASTER_PORT': '1'}, '1'), ({'PORT': '2', 'MASTER_PORT': '1'}, '2')]
)
def test_slurm__port_of_the_job(call, own, port):
    call('slurm_train.sh', *'pjcd', **own)
    assert call.port() == port


@pytest.mark.parametrize('script', SCRIPTS)
def test_every_script__takes_another_interpreter(call, script):
    interpreter = str(call.programs / 'my python')
    started = call(script, *['1'] * SCRIPTS[script], PYTHON=interpreter)
    assert started[0] == 'my python' or (started[0] == 'srun' and interpreter in started)
    assert 'python' not in started


@pytest.mark.parametrize('script', SCRIPTS)
def test_every_script__ends_as_what_it_started(call, script):
    call(script, *['1'] * SCRIPTS[script], STATUS='7')


@pytest.mark.parametrize('script', SCRIPTS)
def test_every_script__says_how_it_is_used(call, script):
    for count in range(SCRIPTS[script]):
        status, words = call(script, *['1'] * count)
        assert status == 2
        assert words.startswith('usage: ') and 'CONFIG' in words and 'PYTHON' in words and 'unbound' not in words


@pytest.mark.parametrize('script', SCRIPTS)
def test_every_script__is_executable_and_clean(script):
    assert os.access(TOOLS / script, os.X_OK)
    shellcheck = os.path.join(sysconfig.get_path('scripts'), 'shellcheck')
    done = subprocess.run([shellcheck, str(TOOLS / script)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_dist_train__starts_real_processes(tmp_path):
    (tmp_path / 'train.py').write_text(
        'import os, sys\nopen(f"{sys.argv[1]}.{os.environ[\'RANK\']}.{os.environ[\'WORLD_SIZE\']}", "w").close()\n'
    )
    shutil.copy2(TOOLS / 'dist_train.sh', tmp_path)
    environment = {**os.environ, 'PYTHON': sys.executable, 'PORT': '29631'}
    subprocess.run([tmp_path / 'dist_train.sh', str(tmp_path / 'a b'), '2'], env=environment, check=True, timeout=120)
    assert {path.name for path in tmp_path.glob('a b.*')} == {'a b.0.2', 'a b.1.2'}
