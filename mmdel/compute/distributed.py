"""Starts torch.distributed under any launcher, with or without GPUs."""

import os
import subprocess

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import init_dist, is_distributed

from mmdel.errors import ConfigError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')

_PLACES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
"""Where each launcher tells a process its rank, the number of processes, and its rank on this machine."""


def start(launcher: str, backend: str = 'nccl') -> None:
    """Join the other processes of a launcher, once.

    mmengine's ``init_dist`` selects a GPU first and so fails on machines without one; there the processes talk over gloo.

    Args:
        launcher (str): One of :data:`LAUNCHERS`.
        backend (str): How the processes talk where there are GPUs. Defaults to 'nccl'.

    Raises:
        ConfigError: The launcher has not started this process.
    """
    if launcher == 'none' or is_distributed():
        return
    missing = [name for name in _PLACES[launcher] if name not in os.environ]
    if missing:
        raise ConfigError(
            f'--launcher {launcher} is for processes that {launcher} starts, and {", ".join(missing)} is not set. '
            'Use tools/dist_*.sh or tools/slurm_*.sh, or leave --launcher away.'
        )
    for name in _PLACES[launcher]:
        if not os.environ[name].isdigit():
            raise ConfigError(
                f'{name}={os.environ[name]!r} is no number, and {launcher} sets it to one. What else has set it?'
            )
    if get_device() != 'cpu':
        init_dist(launcher, backend=backend)
        return
    for name, place in zip(('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), _PLACES[launcher], strict=True):
        os.environ[name] = os.environ[place]
    if launcher == 'slurm' and 'MASTER_ADDR' not in os.environ:
        try:
            ask = ['scontrol', 'show', 'hostname', os.environ['SLURM_NODELIST']]
            hosts = subprocess.run(ask, capture_output=True, text=True, check=True)
        except (KeyError, OSError, subprocess.CalledProcessError) as error:
            raise ConfigError(
                f'Slurm does not say on which machines it runs ({error}). Set MASTER_ADDR to the first.'
            ) from error
        os.environ['MASTER_ADDR'] = hosts.stdout.split()[0]
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    os.environ.setdefault('MASTER_PORT', '29500')
    torch.distributed.init_process_group('gloo')


def prepare(cfg: Config, launcher: str) -> None:
    """Join the other processes before mmengine's runner would, and let it wrap the model where there is no GPU."""
    start(launcher)
    cfg.launcher = launcher
    if launcher != 'none' and get_device() == 'cpu':
        # the runner's default names a GPU, which torch refuses for a model that is on none
        wrapper = dict(type='MMDistributedDataParallel', broadcast_buffers=False, device_ids=None)
        wrapper['find_unused_parameters'] = cfg.get('find_unused_parameters', False)
        cfg.model_wrapper_cfg = {**wrapper, **(cfg.get('model_wrapper_cfg') or {})}
