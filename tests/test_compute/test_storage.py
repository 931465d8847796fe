"""Room is asked for before anything is written."""

from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config

from mmdel.compute import storage
from mmdel.engine import DedupRunner
from mmdel.errors import StoreError


@pytest.fixture
def free(monkeypatch):
    """Sets how many bytes are free."""

    def pretend(nbytes):
        monkeypatch.setattr(storage.shutil, 'disk_usage', lambda folder: SimpleNamespace(free=nbytes))

    return pretend


def test_what_has_no_room_is_refused_and_what_has_is_announced(tmp_path, free, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(storage, 'print_log', lambda line, logger: said.append(line))
    folder = tmp_path / 'not' / 'yet' / 'there'
    free(1_000_000_000)
    with pytest.raises(StoreError, match=r'results: up to 1\.5 GB will be written into .*there, where 1\.0') as caught:
        storage.require_space(folder, 1_500_000_000, 'results')
    assert '--work-dir' in str(caught.value) and 'cache_dir' in str(caught.value)
    storage.require_space(folder, 1_000_000_000, 'results')
    storage.require_space(folder, storage.SAID_FROM - 1, 'results')
    assert said == [f'results: up to 1.0 GB will be written into {folder} (1.0 GB are free).']
    assert not folder.exists()


@pytest.mark.parametrize(
    ('nbytes', 'text'), [(0, '0 B'), (999, '999 B'), (1000, '1.0 kB'), (15_360_000_128, '15.4 GB'), (3e15, '3000.0 TB')]
)
def test_sizes_are_as_people_read_them(nbytes, text):
    assert storage.readable_size(nbytes) == text


def test_a_run_ends_before_it_compares_where_its_results_have_no_room(tmp_path, free):
    np.save(tmp_path / 'vectors.npy', np.eye(8, dtype=np.float32))
    cfg = dict(selector=dict(type='mmdel.MedDEL'), work_dir=str(tmp_path / 'out'), cache_dir=str(tmp_path / 'cache'))
    runner = DedupRunner.from_cfg(Config(cfg), embeddings=str(tmp_path / 'vectors.npy'))
    free(100)
    with pytest.raises(StoreError, match='ranking: up to 224 B'):
        runner.run()
    assert not (tmp_path / 'out' / 'subset.parquet').exists()
    free(1_000_000)
    assert len(runner.run().table) == 8
