"""A GPU gives what the processor gives: vectors within bounds, subsets to the last byte.

Every law is asserted of torch's CPU device, too, by the same code; `pytest -m gpu tests/test_devices.py` runs those of a GPU.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn

from mmdel.config.config_file import read_config
from mmdel.embedding import BaseEmbedder, ViTEmbedder
from mmdel.engine import DedupRunner
from mmdel.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
CUDA = pytest.param(
    'cuda',
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason='torch sees no CUDA device here')],
)
on_each_device = pytest.mark.parametrize('device', ['cpu', CUDA])

BACKBONE = dict(type='mmpretrain.VisionTransformer', arch='deit-tiny', patch_size=16, img_size=64)
BOUNDS = {'float32': 2e-3, 'bfloat16': 5e-2, 'float16': 1e-2}
"""Length of the difference to the vector in float32 on the CPU, over that vector's. Convolutions of a GPU may be in TF32."""


def encoder(precision: str = 'float32', **options: int) -> ViTEmbedder:
    return ViTEmbedder(BACKBONE, input_size=64, precision=precision, **options)


@pytest.fixture(scope='module')
def images() -> Tensor:
    """Smooth pictures, uint8 [24, 64, 64, 3]."""
    coarse = torch.rand((24, 3, 6, 6), generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(coarse, 64, mode='bicubic').clamp(0, 1).mul(255).byte().permute(0, 2, 3, 1)


@on_each_device
@pytest.mark.parametrize('precision', list(BOUNDS))
def test_vectors__agree_with_float32_on_the_cpu(images, device, precision):
    expected = encoder().embed(images)
    if precision != 'float32' and refused(device, precision):
        with pytest.raises(ConfigError, match=f"precision='{precision}' does not run on cpu with torch"):
            encoder(precision).to(device).embed(images)
        return
    found = encoder(precision).to(device).embed(images)
    assert found.dtype == np.float32 and found.shape == expected.shape
    difference = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert difference.max() <= BOUNDS[precision]


def refused(device: str, precision: str) -> bool:
    """Whether torch does not have it there, such as 2.1 float16 on the CPU."""
    try:
        with torch.autocast(device, getattr(torch, precision)):
            return False
    except RuntimeError:
        return True


class Hungry(nn.Module):
    """Takes a third of a GPU's memory for each image; on the CPU it only says that three are too many."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        if images.is_cuda:
            third = torch.cuda.get_device_properties(images.device).total_memory // 3
            torch.empty(len(images) * third, dtype=torch.uint8, device=images.device)
        elif len(images) > 2:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 1 EiB.')
        return images.mean(dim=(2, 3))


class HungryEmbedder(BaseEmbedder):
    def build_model(self) -> nn.Module:
        return Hungry()


@on_each_device
def test_memory_that_does_not_suffice__halves_the_batch_and_says_so(images, device, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'warning', said.append)
    embedder = HungryEmbedder(input_size=64, precision='float32', mean=(0, 0, 0), std=(255, 255, 255)).to(device)
    for _ in range(2):
        found = embedder.embed(images[:8])
    seen = embedder.ready_model().seen
    assert seen[:3] == [8, 4, 2] and seen.count(8) == seen.count(4) == 1  # what was learned holds for the next batch
    expected = images[:8].flip(-1).permute(0, 3, 1, 2).float().div(255).mean(dim=(2, 3))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert len(said) == 1 and 'not suffice for 8 images at once' in said[0] and 'embedder.batch_size=2' in said[0]


@on_each_device
def test_memory_that_does_not_suffice_for_one_image__is_an_error(images, device, monkeypatch):
    def starve(self, pixels):
        raise torch.cuda.OutOfMemoryError('CUDA out of memory.')

    monkeypatch.setattr(Hungry, 'forward', starve)
    embedder = HungryEmbedder(input_size=64, precision='float32').to(device)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        embedder.embed(images[:4])


@pytest.fixture(scope='module')
def vectors_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes with small changes, exact copies and pairs about the threshold, float32 [6000, 96]."""
    rng = np.random.default_rng(0)
    raw = rng.standard_normal((60, 96))[rng.integers(0, 60, 6000)] + 0.4 * rng.standard_normal((6000, 96))
    raw[rng.integers(0, 6000, 300)] = raw[0]
    path = tmp_path_factory.mktemp('vectors') / 'vectors.npy'
    np.save(path, raw.astype(np.float32))
    return path


@pytest.fixture(scope='module')
def subset_of(vectors_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """``subset_of(device, **selector)``: the bytes of the subset file."""

    def run(device: str, **selector: str) -> bytes:
        work = tmp_path_factory.mktemp('run')
        cfg = read_config(str(ROOT / 'configs' / 'meddel_eta08.py'))
        cfg.selector.update(selector, device=device)
        cfg.update(work_dir=str(work / 'out'), cache_dir=str(work / 'cache'), center=True)
        DedupRunner.from_cfg(cfg, embeddings=str(vectors_file), report=False).run()
        return (work / 'out' / 'subset.parquet').read_bytes()

    return run


@pytest.mark.parametrize('device', ['cpu:0', CUDA])
@pytest.mark.parametrize('selector', [dict(scope='cluster'), dict(scope='global'), dict(scope='global', rule='greedy')])
def test_subset__same_bytes_on_every_device(subset_of, device, selector):
    assert subset_of(device, **selector) == subset_of('cpu', **selector)


@pytest.mark.slow
@on_each_device
def test_two_processes_at_once__get_what_one_gets(demo_data, device, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = ['{ROOT}/configs/demo/meddel_pixels.py']\n"
        "embedder = dict(_delete_=True, type='mmdel.ViTEmbedder', input_size=64, precision='float32',\n"
        f'    backbone={BACKBONE})\n'
    )

    def start(name: str) -> 'subprocess.Popen[str]':
        command = [
            sys.executable, str(ROOT / 'tools' / 'dedup.py'), str(config), '--images', str(demo_data / 'pool'),
            '--device', device, '--no-report', '--ratio', '0.5', '--work-dir', str(tmp_path / name),
            '--cfg-options', f'cache_dir={tmp_path}/cache {name}', f'selector.device={device}',
        ]  # fmt: skip
        env = os.environ | {'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])}
        return subprocess.Popen(
            command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    running = {name: start(name) for name in ('one', 'other')}
    try:
        for process in running.values():
            said = process.communicate(timeout=500)[0]
            assert process.returncode == 0, said
    finally:
        for process in running.values():
            process.kill()
    subsets = {(tmp_path / name / 'subset.parquet').read_bytes() for name in running}
    assert len(subsets) == 1
