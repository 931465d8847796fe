"""Checkpoints of every age are read, and what names anything else is refused before it is looked up, in every format."""

import collections
import io
import os
import pickle
import pickletools
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmdel.compute.checkpoint_file import read_checkpoint

LOG = b'mmengine.logging.history_buffer'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / 'epoch_1.pth'


def runner_checkpoint() -> dict[str, Any]:
    """What mmengine's runner saves."""
    log = HistoryBuffer([1.0, 2.0], [1, 1])
    return {
        'meta': {'epoch': 1, 'cfg': "model = dict(type='X')", 'dataset_meta': {'classes': ('a',), 'mean': np.ones(3)}},
        'state_dict': collections.OrderedDict(w=torch.arange(6.0).reshape(2, 3), half=torch.ones(2).bfloat16()),
        'message_hub': {'log_scalars': {'train/loss': log}, 'runtime_info': {'best': np.float64(0.5)}},
        'optimizer': {'state': {0: {'step': torch.tensor(3.0)}}, 'param_groups': [{'lr': 1e-3, 'betas': (0.9, 0.95)}]},
        'param_schedulers': [{'last_step': 3, '_global_step': 4}],
    }


def rewritten(path: Path, change: Any) -> None:
    """The pickle inside a zip checkpoint, changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in members.items():
            archive.writestr(name, change(data) if name.endswith('data.pkl') else data)


def old_tar(path: Path, pickled: bytes) -> None:
    """The format of torch before 0.1.11: one storage of three numbers, one tensor over it with the key 7, and a pickle."""
    storages, tensors = io.BytesIO(), io.BytesIO()
    pickle.dump(1, storages, 2)
    # the type of a storage by its name, as that torch wrote it
    key = pickle.dumps((5, 'cpu', 0), 2)[:-1].replace(b'K\x00', b'ctorch\nFloatStorage\n')
    storages.write(key + b'.')
    storages.write(struct.pack('<q', 3) + np.array([1, 2, 3], '<f4').tobytes())
    pickle.dump([], storages, 2)
    pickle.dump(1, tensors, 2)
    pickle.dump((7, 5, 'torch.FloatTensor'), tensors, 2)
    tensors.write(struct.pack('<ii', 1, 0) + struct.pack('<qqq', 3, 1, 0))
    with tarfile.open(path, 'w') as tar:
        for name, data in (('storages', storages.getvalue()), ('tensors', tensors.getvalue()), ('pickle', pickled)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def reduce_to(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls a function with one text."""
    return f"c{module}\n{name}\n(S'{argument}'\ntR.".encode()


# --- what is read


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'before torch 1.6'])
@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_runner_checkpoint__weights_and_numbers_are_read(file: Path, zipped: bool, protocol: int) -> None:
    saved = runner_checkpoint()
    torch.save(saved, file, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(file)
    assert all(torch.equal(found['state_dict'][name], value) for name, value in saved['state_dict'].items())
    assert found['state_dict']['half'].dtype == torch.bfloat16
    assert found['optimizer'] == saved['optimizer'] and found['param_schedulers'] == saved['param_schedulers']
    assert found['meta']['cfg'] == saved['meta']['cfg']
    assert not isinstance(found['message_hub']['log_scalars']['train/loss'], HistoryBuffer)


@pytest.mark.parametrize('core', ['core', '_core'])
def test_numpy_of_either_age__its_values_are_passed_over(file: Path, core: str) -> None:
    torch.save(runner_checkpoint(), file)
    for name in (b'core', b'_core'):
        rewritten(file, lambda data, name=name: data.replace(b'cnumpy.%s.' % name, b'cnumpy.%s.' % core.encode()))
    with zipfile.ZipFile(file) as archive:
        data = next(archive.read(name) for name in archive.namelist() if name.endswith('data.pkl'))
    assert b'cnumpy.%s.multiarray' % core.encode() in data
    assert torch.equal(read_checkpoint(file)['state_dict']['w'], torch.arange(6.0).reshape(2, 3))


def test_tar_of_the_first_torch__its_tensors_are_read(file: Path) -> None:
    reference = b"(dS'w'\n" + b'I7\nQs.'  # a persistent id: the key of the tensor
    old_tar(file, reference)
    assert torch.equal(read_checkpoint(file)['w'], torch.tensor([1.0, 2.0, 3.0]))


def test_names_of_python_2__mean_those_of_python_3(file: Path) -> None:
    torch.save(runner_checkpoint(), file)
    with zipfile.ZipFile(file) as archive:
        data = next(archive.read(name) for name in archive.namelist() if name.endswith('data.pkl'))
    assert b'c__builtin__\ngetattr\n' in data  # by which protocol 2 names the statistics of a log
    assert read_checkpoint(file)['meta']['epoch'] == 1


def test_parameters_with_their_gradients__are_tensors(file: Path) -> None:
    torch.save({'w': torch.nn.Parameter(torch.ones(2)), 'size': torch.Size([2]), 'kind': torch.float16}, file)
    found = read_checkpoint(file)
    assert torch.equal(found['w'], torch.ones(2))
    assert found['size'] == (2,) and found['kind'] == torch.float16


# --- what is refused


CALLS = {
    'a command': ('os', 'system', 'posix', 'system'),
    'eval': ('builtins', 'eval', '__builtin__', 'eval'),
    'an import': ('builtins', '__import__', '__builtin__', '__import__'),
    'a nested checkpoint': ('torch.storage', '_load_from_bytes', 'torch', 'load'),
    'a subprocess': ('subprocess', 'Popen', 'runpy', 'run_path'),
    'a hub': ('torch.hub', 'load', 'torch.jit', 'load'),
    'a file of NumPy': ('numpy', 'load', 'numpy', 'fromfile'),
}


@pytest.mark.parametrize('what', CALLS)
@pytest.mark.parametrize('form', ['zip', 'before torch 1.6', 'tar'])
def test_a_call_of_anything_else__refused_and_not_made(
    file: Path, what: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = file.with_name('proof')
    monkeypatch.setattr(os, 'system', lambda *_: proof.write_text('ran'))
    first, second = CALLS[what][:2], CALLS[what][2:]
    for module, name in (first, second):
        attack = reduce_to(module, name, f'touch {proof}')
        if form == 'zip':
            torch.save({'w': torch.ones(2)}, file)
            rewritten(file, lambda _, attack=attack: attack)
        elif form == 'tar':
            old_tar(file, attack)
        else:
            torch.save({'w': torch.ones(2)}, file, _use_new_zipfile_serialization=False)
            data = file.read_bytes()
            # the content is the fourth pickle, behind a number, a version and what is known of the machine
            stream = io.BytesIO(data)
            for _ in range(3):
                pickle.load(stream)
            start = stream.tell()
            end = start + next(place for code, _, place in pickletools.genops(data[start:]) if code.name == 'STOP') + 1
            file.write_bytes(data[:start] + attack + data[end:])
        with pytest.raises(
            pickle.UnpicklingError, match=f'it names {"builtins" if "builtin" in module else module}.{name}'
        ):
            read_checkpoint(file)
    assert not proof.exists()


@pytest.mark.parametrize(
    'expression',
    [
        b"c__builtin__\ngetattr\n(c%s\nHistoryBuffer\nS'__init__'\ntR." % LOG,
        b"c__builtin__\ngetattr\n(c%s\nHistoryBuffer\nS'mean.__globals__'\ntR." % LOG,
        b"c__builtin__\ngetattr\n(ccollections\nOrderedDict\nS'fromkeys'\ntR.",
        b"c__builtin__\ngetattr\n(c__builtin__\ngetattr\n(c%s\nHistoryBuffer\nS'mean'\ntRS'__globals__'\ntR." % LOG,
    ],
    ids=['private', 'dotted', 'of another type', 'of a method'],
)
def test_getattr__reaches_nothing_but_the_statistics_of_a_log(file: Path, expression: bytes) -> None:
    torch.save({'w': torch.ones(2)}, file)
    rewritten(file, lambda _: expression)
    with pytest.raises(pickle.UnpicklingError, match='asks for the attribute'):
        read_checkpoint(file)


def test_what_getattr_gives__cannot_be_called(file: Path) -> None:
    torch.save({'w': torch.ones(2)}, file)
    rewritten(file, lambda _: b"c__builtin__\ngetattr\n(c%s\nHistoryBuffer\nS'register_statistics'\ntR(S'x'\ntR." % LOG)
    with pytest.raises(TypeError, match='not callable'):
        read_checkpoint(file)


@pytest.mark.parametrize('state', [b"(dS'__doc__'\nS'x'\ns", b"(N(dS'__defaults__'\n(I1\ntst"], ids=['dict', 'slots'])
def test_state_of_a_function__cannot_be_set(file: Path, state: bytes) -> None:
    before = torch._utils._rebuild_tensor_v2.__defaults__
    torch.save({'w': torch.ones(2)}, file)
    rewritten(file, lambda _: b'ctorch._utils\n_rebuild_tensor_v2\n' + state + b'b.')
    with pytest.raises(pickle.UnpicklingError, match='of a function'):
        read_checkpoint(file)
    assert torch._utils._rebuild_tensor_v2.__defaults__ == before


def test_private_names_of_a_log__refused_in_later_protocols(file: Path) -> None:
    torch.save({'w': torch.ones(2)}, file)
    for name in ('HistoryBuffer.__init__.__globals__', 'HistoryBuffer.__init__', 'np', 'HistoryBufferX'):
        text = b''.join(b'\x8c' + bytes([len(part)]) + part for part in (LOG, name.encode()))
        rewritten(file, lambda _, text=text: b'\x80\x04' + text + b'\x93.')
        with pytest.raises(pickle.UnpicklingError, match='it names'):
            read_checkpoint(file)


def test_torchscript__refused(file: Path) -> None:
    class Model(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1

    torch.jit.save(torch.jit.script(Model()), str(file))
    with pytest.raises(pickle.UnpicklingError, match='TorchScript'):
        read_checkpoint(file)
