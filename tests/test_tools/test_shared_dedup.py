"""The command line with several processes, started by torchrun and by a `srun` that does what Slurm's does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MORTAL = """
import os, signal
from pathlib import Path

from mmdel.embedding import PixelEmbedder
from mmdel.registry import EMBEDDERS


@EMBEDDERS.register_module()
class Mortal(PixelEmbedder):
    def embed(self, images):
        with open(f'embedded.{os.getpid()}', 'a') as file:
            file.write('batch ')
        if os.environ['RANK'] == '1' and not Path('died').exists() and len(list(Path('cache').rglob('*.parquet'))) >= 1:
            Path('died').touch()
            os.kill(os.getpid(), signal.SIGKILL)
        while os.environ['RANK'] == '0' and not Path('died').exists() and len(list(Path('cache').rglob('*.parquet'))) >= 1:
            pass
        return super().embed(images)
"""
CONFIG = """
_base_ = {base!r}
custom_imports = dict(imports=['mortal'])
embedder = dict(_delete_=True, type='Mortal', batch_size=3, shard_size=3)
cache_dir = 'cache'
default_scope = 'mmengine'
"""
SRUN = """#!/bin/bash
# as many processes as --ntasks says, and all of them end where one does with another status than 0
while [[ $1 == -* ]]; do
    case $1 in
        --ntasks=*) tasks=${1#*=} ;;
        -p) shift ;;
    esac
    shift
done
export SLURM_NTASKS=$tasks SLURM_NODELIST=node[1-2]
for ((i = 0; i < tasks; i++)); do
    SLURM_PROCID=$i SLURM_LOCALID=$i "$@" &
done
while ((tasks--)); do
    wait -n || { status=$?; kill -9 $(jobs -p); exit $status; }
done
"""
SHARDS = 7
"""Of three images each: 20 of the pool's 30 differ."""
SCONTROL = '#!/bin/sh\necho localhost\necho node2\n'


def free_port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


@pytest.mark.slow
def test_process_killed_under_torchrun__slurm_continues_with_the_same_bytes(pool, dedup, tmp_path):
    (tmp_path / 'mortal.py').write_text(MORTAL)
    (tmp_path / 'config.py').write_text(CONFIG.format(base=str(ROOT / 'configs' / 'meddel_eta08.py')))
    (tmp_path / 'bin').mkdir()
    for name, text in (('srun', SRUN), ('scontrol', SCONTROL)):
        (tmp_path / 'bin' / name).write_text(text)
        (tmp_path / 'bin' / name).chmod(0o755)
    env = os.environ | {
        'PYTHON': sys.executable,
        'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}',
        'PATH': f'{tmp_path / "bin"}{os.pathsep}{os.environ["PATH"]}',
        'PORT': str(free_port()),
        'GPUS': '2',
    }
    options = ['--images', str(pool), '--no-report']

    def start(script, *arguments):
        command = [str(ROOT / 'tools' / script), *arguments, *options]
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    def embedded():
        return sum(len(path.read_text().split()) for path in tmp_path.glob('embedded.*'))

    first = start('dist_dedup.sh', 'config.py', '2', '--work-dir', 'out')
    assert first.returncode not in (0, 2), first.stderr
    assert 'Signal 9 (SIGKILL)' in first.stderr, 'the launcher says which process it was'
    stored, before = len(list((tmp_path / 'cache').rglob('shard-*.parquet'))), embedded()
    assert 1 <= stored < SHARDS
    again = start('slurm_dedup.sh', 'gpu', 'job', 'config.py', 'out')
    assert again.returncode == 0, again.stderr
    assert again.stdout.count('all stages') == 1
    assert embedded() - before == SHARDS - stored, 'nothing that was stored is embedded again'
    status, out = dedup(*options, '--encoder', 'pixels', '--work-dir', 'alone')
    assert status == 0, out
    for name in ('keep.txt', 'centroids.npy'):
        assert (tmp_path / 'out' / name).read_bytes() == (tmp_path / 'alone' / name).read_bytes()
