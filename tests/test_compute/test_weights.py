import os
import pickle
import re
from pathlib import Path

import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from mmdel.compute.weights import load_strictly, read_state_dict, weight_digest
from mmdel.errors import WeightsError


class Attack:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f'touch "{self.proof}"',)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / 'encoder.pth'


def test_layouts_of_checkpoints__all_give_the_backbone(file: Path) -> None:
    weights = {'layer.weight': torch.arange(6.0).reshape(2, 3), 'layer.bias': torch.ones(2)}
    marked = {f'backbone.{name}': value for name, value in weights.items()}
    head = {'head.fc.weight': torch.zeros(1, 2)}
    for content in (
        weights,
        marked,
        {'state_dict': marked | head, 'meta': {'epoch': 3}},
        {'model': weights | head},
        {name: value.half() for name, value in weights.items()},
    ):
        torch.save(content, file)
        found = read_state_dict(str(file))
        assert found.keys() == weights.keys()
        assert all(torch.equal(found[name], weights[name]) and found[name].dtype == torch.float32 for name in weights)


def test_other_prefix__is_taken(file: Path) -> None:
    torch.save({'encoder.weight': torch.ones(2), 'decoder.weight': torch.ones(3)}, file)
    assert list(read_state_dict(str(file), prefix='encoder.')) == ['weight']


def test_checkpoint_of_mmengines_runner__its_log_is_not_unpickled(file: Path) -> None:
    log = HistoryBuffer([1.0, 2.0], [1, 1])
    message_hub = {'log_scalars': {'train/loss': log}, 'runtime_info': {'iter': 3}, 'resumed_keys': {}}
    torch.save({'meta': {'seed': 1}, 'state_dict': {'backbone.w': torch.ones(2)}, 'message_hub': message_hub}, file)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(file, weights_only=True)
    assert torch.equal(read_state_dict(str(file))['w'], torch.ones(2))
    with pytest.raises(pickle.UnpicklingError):  # the stand-ins are gone again
        torch.load(file, weights_only=True)


@pytest.mark.parametrize('zipped', [True, False])
def test_malicious_checkpoint__refused_and_not_run(file: Path, zipped: bool) -> None:
    proof = file.with_name('proof')
    content = {'state_dict': {'backbone.w': torch.ones(2)}, 'meta': Attack(proof)}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match='encoder.pth is no plain checkpoint.*was not loaded'):
        read_state_dict(str(file))
    assert not proof.exists()
    pickle.loads(pickle.dumps(Attack(proof)))
    assert proof.exists()  # so it would have run


def test_files_that_are_no_checkpoints__say_so(file: Path) -> None:
    torch.save({'a': torch.ones(100)}, file)
    whole = file.read_bytes()
    for content in (b'', b'text', whole[:200], whole[:-50]):
        file.write_bytes(content)
        with pytest.raises(WeightsError, match='encoder.pth'):
            read_state_dict(str(file))
    for content in ([torch.ones(2)], {'epoch': 3}, torch.ones(2)):
        torch.save(content, file)
        with pytest.raises(WeightsError, match='holds no state dict'):
            read_state_dict(str(file))


def test_missing_file_and_failed_download__name_the_file_and_the_ways_out(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError('Name or service not known')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', offline)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(file.parent / 'hub'))
    for checkpoint in (str(file), 'https://weights.example/vit.pth'):
        with pytest.raises(WeightsError, match=rf'{re.escape(checkpoint)}[\s\S]* Try pixels\.$'):
            read_state_dict(checkpoint, ways_out='Try pixels.')


def test_url__downloaded_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def download(url: str, path: str) -> None:
        calls.append(url)
        torch.save({'w': torch.ones(2)}, path)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(file.parent / 'hub'))
    for _ in range(2):
        assert list(read_state_dict('https://weights.example/a/vit.pth?download=1')) == ['w']
    assert len(calls) == 1 and (file.parent / 'hub' / 'checkpoints' / 'vit.pth').is_file()


def test_weights_that_do_not_fit__three_of_them_are_listed() -> None:
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))
    state = dict(model.state_dict())
    load_strictly(model, dict(state), 'own.pth')
    with pytest.raises(WeightsError, match=r'own.pth .*8 missing .*\(0.weight, 0.bias, 1.weight, ...\)'):
        load_strictly(model, {}, 'own.pth')
    with pytest.raises(WeightsError, match=r'1 unknown to the backbone \(norm.weight\)'):
        load_strictly(model, state | {'norm.weight': torch.ones(2)}, 'own.pth')
    with pytest.raises(WeightsError, match=r'own.pth .*size mismatch for 2.weight'):
        load_strictly(model, state | {'2.weight': torch.ones(5, 5)}, 'own.pth')


def test_digest__follows_names_shapes_and_values() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    digest = weight_digest(model)
    assert digest == weight_digest(model) and len(digest) == 64
    with torch.no_grad():
        model[0].bias[0] += 1e-6
    assert weight_digest(model) != digest
    assert weight_digest(nn.Flatten()) == weight_digest(nn.ReLU())
