"""mmdel installed from its wheel, outside the sources: what people type who never clone it.

The environment borrows the libraries of the one that runs these tests. `make test-wheel` sets MMDEL_EMPTY, and pip installs
everything into an empty one, mim among it.
"""

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
EMPTY = 'MMDEL_EMPTY' in os.environ
MEGABYTE = 2**20


def run(*command: str | Path, cwd: Path, timeout: int = 300) -> str:
    """What a command printed; the sources are not on its path."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(('PYTHONPATH', 'COVERAGE'))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, f'{shlex.join(map(str, command))}\n{done.stdout}'
    return done.stdout


def python(environment: Path, *words: str | Path, cwd: Path) -> str:
    return run(environment / 'bin' / 'python', *words, cwd=cwd)


@pytest.fixture(scope='module')
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of sdist and wheel, the wheel built from the sdist."""
    out = tmp_path_factory.mktemp('distributions')
    isolation = () if EMPTY else ('--no-isolation',)
    run(sys.executable, '-m', 'build', *isolation, '--outdir', out, ROOT, cwd=out)
    return out


@pytest.fixture(scope='module')
def wheel(distributions: Path) -> Path:
    return next(distributions.glob('*.whl'))


@pytest.fixture(scope='module')
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the wheel."""
    folder = tmp_path_factory.mktemp('environment')
    venv.create(folder, with_pip=True)
    if EMPTY:
        arguments: Sequence[str] = [*shlex.split(os.environ['MMDEL_EMPTY']), f'{wheel}[onedl,cpu,test]', 'onedl-mim']
    else:
        # Below the wheel's own folder in the order of imports. The links of editable installs there are not followed.
        borrowed = dict.fromkeys(sysconfig.get_path(name) for name in ('purelib', 'platlib'))
        (site,) = folder.glob('lib/python*/site-packages')
        (site / 'borrowed.pth').write_text('\n'.join(borrowed))
        arguments = ['--no-deps', str(wheel)]
    run(folder / 'bin' / 'python', '-m', 'pip', 'install', *arguments, cwd=folder, timeout=1800)
    return folder


@pytest.fixture(scope='module')
def demo(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where the demo ran, with its frames in ``my/frames``, and what it said."""
    folder = tmp_path_factory.mktemp('work')
    text = run(environment / 'bin' / 'mmdel', 'demo', '--quick', cwd=folder)
    (folder / 'my').mkdir()
    (folder / 'data' / 'demo-quick' / 'pool').rename(folder / 'my' / 'frames')
    return folder, text


def test_distributions__pass_the_checks_of_an_index_and_are_small(distributions):
    files = sorted(distributions.iterdir())
    assert [re.sub(r'.*?(\.tar\.gz|\.whl)$', r'\1', path.name) for path in files] == ['.whl', '.tar.gz']
    text = run(sys.executable, '-m', 'twine', 'check', '--strict', *files, cwd=distributions)
    assert text.count('PASSED') == 2
    assert files[0].stat().st_size < MEGABYTE


def test_wheel__is_what_is_imported(environment, tmp_path):
    program = 'import mmdel, pathlib; print(pathlib.Path(mmdel.__file__).resolve().parents[4])'
    assert Path(python(environment, '-c', program, cwd=tmp_path).split()[-1]) == environment.resolve()


def test_demo__draws_chooses_and_reports(demo):
    folder, text = demo
    (report,) = (folder / 'work_dirs').rglob('report/index.html')
    assert 'All of it took' in text and report.stat().st_size > 10_000


def test_readme__its_lines_of_python_run(environment, demo):
    (block,) = re.findall(r'```python\n(.*?)```', (ROOT / 'README.md').read_text('utf-8'), re.DOTALL)
    offline = block.replace('ratio=0.05', "ratio=0.05, encoder='pixels'")
    assert offline != block
    assert ".jpg'" in python(environment, '-c', offline, cwd=demo[0])
    assert (demo[0] / 'work_dirs' / 'mine' / 'subset.parquet').is_file()


def test_tools__run_from_where_mim_finds_them_with_configs_by_name(environment, demo):
    folder, _ = demo
    words = ('meddel_eta08', '--images', 'my/frames', '--encoder', 'pixels', '--ratio', '0.1', '--work-dir')
    (tools,) = environment.glob('lib/python*/site-packages/mmdel/.mim/tools')
    python(environment, tools / 'dedup.py', *words, 'by_tool', cwd=folder)
    run(environment / 'bin' / 'mmdel', 'select', '--config', *words, 'by_command', cwd=folder)
    if EMPTY:
        run(environment / 'bin' / 'mim', 'run', 'mmdel', 'dedup', *words, 'by_mim', cwd=folder)
    subsets = [path.read_bytes() for path in sorted(folder.glob('by_*/subset.parquet'))]
    assert len(subsets) == 2 + EMPTY and len(set(subsets)) == 1


def test_sdist__tests_itself(distributions, environment, tmp_path):
    with tarfile.open(next(distributions.glob('*.tar.gz'))) as archive:
        archive.extractall(tmp_path, filter='data')
    (source,) = tmp_path.iterdir()
    text = python(environment, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', 'tests/test_subset', cwd=source)
    assert ' passed' in text and 'failed' not in text
