"""Coverage curves as people type them, with a method of their own among the others."""

import csv
import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from mmdel.registry import SELECTORS
from mmdel.subset import Subset

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs' / 'custom_selector.md'


@pytest.fixture
def curves(call_tool, pool, tmp_path, monkeypatch):
    """Call the tool from an empty folder on 30 images, which pixels choose from; returns (exit status, what it printed)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        config = ROOT / 'configs' / 'meddel_eta08.py'
        return call_tool('analysis_tools/coverage_curves', config, '--images', pool, '--encoder', 'pixels', *arguments)

    return run


@pytest.fixture
def own_method(tmp_path, monkeypatch):
    """The page's two files in the current folder."""
    package, config, study = re.findall(r'```python\n(.+?)```', PAGE.read_text(encoding='utf-8'), re.DOTALL)
    assert len([line for line in (package + config + study).splitlines() if line.strip()]) < 40
    (tmp_path / 'my_selectors.py').write_text(package)
    (tmp_path / 'thinning.py').write_text(config)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield 'thinning.py'
    SELECTORS.module_dict.pop('Thinning', None)
    sys.modules.pop('my_selectors', None)


def test_own_method__gets_its_row_and_its_subset(curves, call_tool, own_method, pool):
    status, out = curves('--judges', 'phash', '--selectors', own_method, 'every-nth', '--ratios', '0.2', '0.5')
    assert status == 0, out
    rows = [line.split(' | ') for line in Path('work_dirs/coverage/coverage.md').read_text().splitlines()[2:]]
    assert [row[1] for row in rows] == ['thinning', 'every-nth'] * 2
    config = ROOT / 'configs' / 'meddel_eta08.py'
    status, out = call_tool(
        'dedup', config, '--images', pool, '--encoder', 'pixels', '--selector', own_method, '--ratio', '0.2',
        '--work-dir', 'own',
    )  # fmt: skip
    assert status == 0, out
    assert len(Subset.read('own/subset.parquet').kept) == 6


def test_own_method__is_what_the_page_says(own_method, make_unit):
    """Naively: of the most similar pair that is left, the image farther from the mean goes."""
    importlib.import_module('my_selectors')
    vectors, unit = make_unit
    order = np.argsort(SELECTORS.build(dict(type='Thinning')).rank(vectors, None).rank)
    central = unit @ unit.mean(axis=0)
    left, gone = set(range(len(unit))), []
    while len(left) > 1:
        _, _, farther = max(
            (unit[i] @ unit[j], -min(i, j), i if central[i] < central[j] else j) for i in left for j in left if i < j
        )
        gone.append(farther)
        left.remove(farther)
    assert order.tolist() == [*left, *gone[::-1]]


@pytest.fixture
def make_unit():
    from mmdel.embedding.vectors import ArraySource, Vectors

    raw = np.random.default_rng(3).standard_normal((25, 6)).astype(np.float32)
    vectors = Vectors(ArraySource(raw), [f'{i:02d}' for i in range(25)])
    return vectors, vectors.read(slice(None)).astype(np.float64)


def test_files__hold_every_point_and_are_the_same_again(curves):
    arguments = ('--selectors', 'random', 'every-nth', 'meddel', '--ratios', '0.1', '0.5', '--seeds', '3')
    assert curves(*arguments, '--out', 'one')[0] == 0
    status, out = curves(*arguments, '--out', 'two', '--judges', 'phash')
    assert status == 0 and 'better than' in out, out
    with open('two/coverage.csv', newline='') as file:
        points = list(csv.DictReader(file))
    assert len(points) == (3 + 3 + 1) * 2 * 2
    assert {(point['selector'], point['seed']) for point in points} == {
        *(('random', str(i)) for i in range(3)), *(('every-nth', str(i)) for i in range(3)), ('meddel', ''),
    }  # fmt: skip
    assert {point['kept'] for point in points} == {'3', '15'}
    assert curves(*arguments, '--out', 'three', '--judges', 'phash')[0] == 0
    for name in ('coverage.csv', 'coverage.md', 'coverage.svg', 'coverage.png'):
        assert Path('two', name).read_bytes() == Path('three', name).read_bytes()


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ('--selectors best', 'every-nth'),
        ('--judges clip', 'phash'),
        ('--ratios 2', 'ratio'),
        ('--seeds 0', '--seeds'),
        ('--selectors nowhere.py', 'nowhere.py'),
    ],
)
def test_arguments__that_cannot_be_used(curves, arguments, words):
    status, out = curves(*arguments.split())
    assert status == 2 and words in out and 'Traceback' not in out
