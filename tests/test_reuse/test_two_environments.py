"""The same vectors give the same subset whatever versions of torch, NumPy and mmengine are installed."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
OTHER = os.path.abspath(os.environ.get('MMDEL_OTHER_PYTHON', 'absent'))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(OTHER).is_file(), reason='MMDEL_OTHER_PYTHON names no interpreter of another stack'),
]

OPTIONS = {
    'clusters': ('--ratio', '0.2'),
    'pairs': ('--eta', '0.9', '--cfg-options', 'selector.scope=global', 'center=True'),
    'greedy': ('--eta', '0.9', '--cfg-options', 'selector.rule=greedy', 'selector.clusterer.num_clusters=7'),
    'coverage': ('--selector', 'coverage', '--ratio', '0.1'),
    'random': ('--selector', 'random', '--ratio', '0.1'),
}


@pytest.fixture(scope='module')
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    scenes = rng.standard_normal((200, 48))
    rows = scenes[rng.integers(0, 200, 3000)] + 0.4 * rng.standard_normal((3000, 48))
    rows[100:140] = rows[200:240]  # exact ties
    path = tmp_path_factory.mktemp('vectors') / 'vectors.npy'
    np.save(path, rows.astype(np.float32))
    return path


@pytest.mark.parametrize('name', OPTIONS)
def test_same_vectors__same_subset_in_both_environments(name: str, vectors: Path, tmp_path: Path) -> None:
    command = [str(ROOT / 'tools' / 'dedup.py'), str(ROOT / 'configs' / 'meddel_eta08.py'), '--no-report']
    command += ['--embeddings', str(vectors)]
    for side, interpreter in (('here', sys.executable), ('there', OTHER)):
        run = subprocess.run(
            [interpreter, *command, '--work-dir', side, *OPTIONS[name]],
            cwd=tmp_path,
            env={**os.environ, 'PYTHONPATH': str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert run.returncode == 0, run.stderr
    here, there = (tmp_path / 'here', tmp_path / 'there')
    # in the file pyarrow notes its own version, too
    tables = [pq.read_table(side / 'subset.parquet') for side in (here, there)]
    assert tables[0].schema.equals(tables[1].schema, check_metadata=True)
    assert repr(tables[0].to_pydict()) == repr(tables[1].to_pydict())  # all digits, and NaN beside NaN
    files = sorted(path.name for path in here.glob('*.txt')) + ['request.json'] * (here / 'request.json').exists()
    files += [path.name for path in here.glob('centroids.npy')]
    assert 'keep.txt' in files
    for file in files:
        assert (here / file).read_bytes() == (there / file).read_bytes()
