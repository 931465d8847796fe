"""Installing mmdel into a working OpenMMLab project changes nothing that is there."""

import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = sorted((Path(__file__).parent / 'environments').glob('*.txt'))


def pins(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding='utf-8').splitlines():
        if line and not line.startswith('#'):
            name, _, version = line.partition('==')
            yield name, version


def normalised(name: str) -> str:
    return re.sub(r'[-_.]+', '-', name).lower()


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The interpreter of an environment in which pip sees these packages as installed."""
    venv = tmp_path / 'venv'
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', str(venv)], check=True, timeout=120)
    site = Path(sysconfig.get_path('purelib', 'venv', {'base': str(venv), 'platbase': str(venv)}))
    for name, version in pins(request.param):
        info = site / f'{name.replace("-", "_")}-{version}.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')
        (info / 'INSTALLER').write_text('pip\n')
        (info / 'RECORD').write_text('')
    return venv / ('Scripts' if sys.platform == 'win32' else 'bin') / 'python'


@pytest.mark.slow
@pytest.mark.parametrize('extra', ['', '[cpu]'], ids=['plain', 'cpu'])
@pytest.mark.parametrize('project', ENVIRONMENTS, ids=lambda path: path.stem, indirect=True)
def test_installing_mmdel__changes_nothing_that_is_there(
    project: Path, extra: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environment = dict(pins(request.node.callspec.params['project']))
    report = tmp_path / 'report.json'
    command = [sys.executable, '-m', 'pip', '--python', str(project), 'install', '--dry-run', '--quiet']
    # as in the README: new builds of faiss need NumPy 1.25, and pip would rather take a new NumPy than an old faiss
    pinned = ['faiss-cpu<1.9'] if extra and environment['numpy'].startswith('1.24.') else []
    run = subprocess.run(
        [*command, '--report', str(report), f'{ROOT}{extra}', *pinned], capture_output=True, text=True, timeout=500
    )
    assert run.returncode == 0, run.stderr
    here = {normalised(name) for name in environment}
    added = {
        normalised(each['metadata']['name']): each['metadata']['version']
        for each in json.loads(report.read_text())['install']
    }
    assert {name: version for name, version in added.items() if name in here} == {}
    assert {'mmdel', 'pyarrow', 'av'} <= added.keys()
    assert not {name for name in added if name.startswith(('nvidia', 'onedl', 'mm')) and name != 'mmdel'}
