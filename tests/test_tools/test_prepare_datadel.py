import dataclasses
import importlib.util
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmdel.datadel import fetch
from mmdel.datadel.catalog import CATALOG

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'prepare_datadel.py'


@pytest.fixture
def prepare(monkeypatch, capsys):
    """Call ``tools/prepare_datadel.py``; returns (exit status, what it printed)."""
    spec = importlib.util.spec_from_file_location('prepare_datadel', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv('COLUMNS', '240')

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['prepare_datadel.py', *map(str, arguments)])
        status = 0
        try:
            module.main()
        except SystemExit as end:
            status = end.code
        out = capsys.readouterr()
        return status, out.out + out.err

    return run


@pytest.fixture
def raw(tmp_path):
    with zipfile.ZipFile(tmp_path / 'TestDataset.zip', 'w') as archive:
        for number in range(60):
            for kind in ('images', 'masks'):
                values = np.full((4, 4, 3), number * 4 if kind == 'images' else 255, np.uint8)
                archive.writestr(f'TestDataset/CVC-300/{kind}/{number}.png', cv2.imencode('.png', values)[1].tobytes())
        archive.writestr('TestDataset/CVC-300/images/60.png', b'no image')
        archive.writestr('TestDataset/CVC-300/masks/60.png', b'no mask')
        archive.writestr('TestDataset/what.bin', b'?')
    return tmp_path / 'TestDataset.zip'


def line_of(output, name):
    return next(line for line in output.splitlines() if line.split('|')[0].split('│')[0].strip() == name)


def test_tool__prints_what_is_complete_and_where_the_rest_is(prepare, raw, tmp_path):
    status, output = prepare('--raw', raw, '--out', tmp_path / 'out')
    assert status == 0
    assert 'complete' in line_of(output, 'cvc-300')
    assert 'not found' in line_of(output, 'kvasir-seg')
    assert 'https://datasets.simula.no/kvasir-seg/: kvasir-seg.zip' in output
    assert '--download kvasir-seg' in output
    assert 'ledger/cvc-300.csv' in output
    assert '1 files of no known dataset' in output
    assert prepare('--raw', raw, '--out', tmp_path / 'out')[1].split('complete')[0] == output.split('complete')[0]


def test_tool__verify(prepare, raw, tmp_path):
    assert prepare('--out', tmp_path / 'out', '--verify')[0] == 2
    prepare('--raw', raw, '--out', tmp_path / 'out')
    status, output = prepare('--out', tmp_path / 'out', '--verify')
    assert status == 0
    assert 'complete' in line_of(output, 'cvc-300')
    (tmp_path / 'out' / 'cvc-300' / 'masks' / '7.png').unlink()
    status, output = prepare('--out', tmp_path / 'out', '--verify')
    assert status == 1
    assert 'cvc-300/masks/7.png: is gone' in output


def test_tool__list(prepare):
    status, output = prepare('--list')
    assert status == 0
    assert all(name in output for name in CATALOG)
    assert '374' in line_of(output, 'hyper-kvasir')
    assert 'its release' in output or 'the release has 386' in output
    assert prepare('--list', '--format', 'markdown')[1].startswith('# DataDEL')


def test_tool__mistakes_end_with_a_sentence(prepare, tmp_path):
    for arguments in (('--raw', tmp_path / 'none'), ('--raw', tmp_path, '--only', 'imagenet')):
        status, output = prepare(*arguments, '--out', tmp_path / 'out')
        assert status == 2
        assert output.startswith('error: ')
    assert prepare()[0] == 2
    assert prepare('--download', 'kvasir-seg')[0] == 2


def test_download__asks_and_shows_size_and_licence(prepare, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(fetch, 'download', lambda link, folder, tick: asked.append(link.archive) or link.archive)
    for answer, loaded in (('n', []), ('', []), ('y', ['kvasir-seg.zip'])):
        monkeypatch.setattr('builtins.input', lambda _, answer=answer: answer)
        status, output = prepare('--raw', tmp_path, '--download', 'Kvasir-SEG')
        assert '46,227,172 bytes' in output
        assert 'research and educational use only' in output
        assert asked == loaded
        assert status == (0 if loaded else 1)
    assert prepare('--raw', tmp_path, '--download', 'Kvasir-SEG', '--yes')[0] == 0
    assert len(asked) == 2


def test_download__without_a_link_says_where_to_go(prepare, tmp_path):
    status, output = prepare('--raw', tmp_path, '--download', 'etis')
    assert status == 2
    assert CATALOG['etis'].page in output


def test_download__only_what_the_catalogue_has(prepare, tmp_path, monkeypatch):
    bare = dataclasses.replace(CATALOG['kvasir-seg'], links=())
    monkeypatch.setitem(CATALOG, 'kvasir-seg', bare)
    assert prepare('--raw', tmp_path, '--download', 'kvasir-seg', '--yes')[0] == 2
