"""Runs the command line inside the test's process: importing torch and the mm packages again for each test would take minutes."""

import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='session')
def load_tool():
    """``load_tool('analysis_tools/compare_runs')`` imports a script of ``tools/``."""

    def load(name):
        path = ROOT / 'tools' / f'{name}.py'
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, path.stem, module)  # dataclasses look their module up
            spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def call_tool(load_tool, monkeypatch, capsys):
    """``call_tool(name, *arguments)`` runs a script's main; returns (exit status, what it printed)."""
    monkeypatch.setenv('COLUMNS', '200')
    loaded = {}

    def call(name, *arguments):
        module = loaded.get(name) or loaded.setdefault(name, load_tool(name))
        monkeypatch.setattr(sys, 'argv', [f'{Path(name).name}.py', *map(str, arguments)])
        status = 0
        try:
            module.main()
        except SystemExit as end:
            status = end.code
        out = capsys.readouterr()
        return status, out.out + out.err

    return call


@pytest.fixture
def dedup(call_tool, tmp_path, monkeypatch):
    """Call ``tools/dedup.py`` from an empty folder; returns (exit status, what it printed)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, config=ROOT / 'configs' / 'meddel_eta08.py'):
        return call_tool('dedup', config, *arguments)

    return run


def draw(seed, size=(40, 48)):
    """A smooth random picture, uint8 [height, width, 3]; neighbours in ``seed`` look nothing alike."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def pool(tmp_path):
    """30 images: 10 scenes of one original, one exact copy and one slightly brighter frame; names as people have them."""
    folder = tmp_path / 'pool' / 'img'
    for scene in range(10):
        where = folder / ('a b' if scene % 2 else 'Ünïcode') / f'scene{scene}'
        where.mkdir(parents=True)
        image = draw(scene)
        cv2.imwrite(str(where / 'frame 1.png'), image)
        (where / 'copy.PNG').write_bytes((where / 'frame 1.png').read_bytes())
        cv2.imwrite(str(where / 'frame 2.jpg'), cv2.add(image, np.full_like(image, 4)))
    return folder
