import pytest
from mmengine.config import Config

from mmdel.compute import distributed
from mmdel.errors import ConfigError


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
def test_start__without_its_launcher_says_how_to_begin(launcher, monkeypatch):
    for names in distributed._PLACES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        ConfigError, match=rf'--launcher {launcher} is for processes that {launcher} starts.*is not set'
    ):
        distributed.start(launcher)


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
def test_start__without_gpus_joins_over_gloo_under_every_launcher(launcher, monkeypatch, tmp_path):
    joined = []
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cpu')
    monkeypatch.setattr(distributed.torch.distributed, 'init_process_group', joined.append)
    for names in distributed._PLACES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    for name, value in zip(distributed._PLACES[launcher], ('3', '8', '1'), strict=True):
        monkeypatch.setenv(name, value)
    for name in ('MASTER_ADDR', 'MASTER_PORT', 'RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        if name not in distributed._PLACES[launcher]:
            monkeypatch.setenv(name, '')  # so that it is restored afterwards
            monkeypatch.delenv(name)
    monkeypatch.setenv('SLURM_NODELIST', 'node[3-4]')
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\necho node3\necho node4\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
    distributed.start(launcher)
    assert joined == ['gloo']
    environment = distributed.os.environ
    assert [environment[name] for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')] == ['3', '8', '1']
    assert environment['MASTER_ADDR'] == ('node3' if launcher == 'slurm' else '127.0.0.1')


def test_prepare__without_a_launcher_leaves_the_model_alone():
    cfg = Config(dict())
    distributed.prepare(cfg, 'none')
    assert cfg.to_dict() == {'launcher': 'none'}
