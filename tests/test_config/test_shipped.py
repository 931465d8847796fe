"""A config is found by its name, from whatever folder."""

import importlib.util
from pathlib import Path

import pytest

from mmdel.config.config_file import read_config
from mmdel.config.shipped import CONFIGS, DEFAULT_CONFIG, config_names, find_config, part_label, shipped


@pytest.mark.parametrize(
    'name',
    ['meddel_eta08', 'meddel_eta08.py', 'configs/meddel_eta08.py', 'mmdel::meddel_eta08.py', 'mmdel::meddel_eta08'],
)
def test_name__is_the_config_in_every_spelling(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == str(CONFIGS / 'meddel_eta08.py')
    assert read_config(name).selector.eta == 0.8


def test_name__in_a_folder_of_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ('meddel_pixels', 'demo/meddel_pixels.py', 'mmdel::demo/meddel_pixels.py'):
        assert find_config(name) == str(CONFIGS / 'demo' / 'meddel_pixels.py')


def test_file_that_is_there__comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'meddel_eta08.py').write_text('x = 1')
    assert find_config('meddel_eta08.py') == 'meddel_eta08.py'
    (tmp_path / 'meddel_eta09').mkdir()
    assert find_config('meddel_eta09') == str(CONFIGS / 'meddel_eta09.py')


@pytest.mark.parametrize(
    'name', ['/nowhere/meddel_eta08.py', 'mine/meddel_eta08.py', '../meddel_eta08', 'none', 'no-such::x.py', '']
)
def test_path_that_is_not_there__is_never_another_config(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == name


def test_config_of_another_package() -> None:
    spec = importlib.util.find_spec('mmseg')
    if spec is None or not spec.submodule_search_locations:
        pytest.skip('mmseg is not installed')
    found = Path(find_config('mmseg::_base_/default_runtime.py'))
    assert found.is_file() and found.is_relative_to(spec.submodule_search_locations[0])


def test_names__are_unique_and_have_the_default() -> None:
    files = [path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts]
    assert len(config_names()) == len(files)
    assert DEFAULT_CONFIG in config_names()
    assert all(shipped(name).is_dir() for name in ('configs', 'tools', 'demo'))


@pytest.mark.parametrize(
    ('name', 'label'),
    [
        ('pixels', 'pixels'),
        ('a/mine.py', 'mine'),
        ('timm:vit_base_patch14_dinov2.lvd142m', 'timm-vit_base_patch14_dinov2.lvd142m'),
        ('hf:facebook/dinov2-base', 'hf-facebook_dinov2-base'),
    ],
)
def test_part_label__tells_encoders_apart_and_holds_no_folder(name: str, label: str) -> None:
    assert part_label(name) == label
