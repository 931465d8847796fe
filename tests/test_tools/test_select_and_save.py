"""What ``mmdel.select(...).save(folder)`` writes is what ``tools/dedup.py`` writes, so that every tool works on it."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import mmdel
from mmdel.config.shipped import find_config
from mmdel.engine.finished_run import FinishedRun
from mmdel.errors import ConfigError
from mmdel.subset import Subset

ASKED = ('--ratio', 0.2, '--encoder', 'pixels')
SELECT = Path(find_config('select'))


def contents(folder):
    """Every file by its name; where vectors are kept, only that they are."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob('*') if path.is_file()}
    return {
        name: data
        for name, data in found.items()
        if not name.endswith(('.log', '.lock')) and not name.startswith('.embeddings')
    }


def test_saved_folder__is_that_of_the_command_byte_for_byte(dedup, pool, tmp_path):
    status, out = dedup(
        '--images', pool, *ASKED, '--work-dir', 'mine', '--cfg-options', 'cache_dir=cache', config=SELECT
    )
    assert status == 0, out
    written = contents('mine')
    shutil.move('mine', 'theirs')
    chosen = mmdel.select(pool, ratio=0.2, encoder='pixels', cache_dir='cache')
    assert chosen.save('mine') == Path('mine')
    assert contents('mine') == written
    status, out = dedup('--images', pool, *ASKED, '--work-dir', 'mine', '--no-report', '--cfg-options', 'cache_dir=cache',
                        config=SELECT)  # fmt: skip
    assert status == 0, out  # the same question, so its answer may be replaced
    with pytest.raises(ConfigError, match='another run'):
        mmdel.select(pool, ratio=0.5, encoder='pixels', cache_dir='cache').save('mine')
    with pytest.raises(ConfigError, match='inside the image folder'):
        chosen.save(pool / 'mine')


def test_saved_vectors__are_those_of_the_command(dedup, tmp_path):
    vectors = np.random.default_rng(0).standard_normal((40, 8))
    names = [f'{i * 7 % 40:02d}.jpg' for i in range(40)]
    mmdel.select(vectors=vectors, ratio=0.25, selector='meddel', center=False).save('plain', report=False)
    mmdel.select(vectors=vectors, ratio=0.25, selector='meddel', center=False, keys=names).save('named', report=False)
    for folder, keys in (('plain', ()), ('named', ('--keys', 'named/keys.txt'))):
        status, out = dedup('--embeddings', f'{folder}/vectors.npy', *keys, '--ratio', 0.25, '--work-dir', 'by command')
        assert status == 0, out
        ours, theirs = contents(folder), contents('by command')
        for name in ('subset.parquet', 'keep.txt', 'unreadable.csv', 'centroids.npy'):
            assert ours[name] == theirs[name], name
        asked = {name: each for name, each in json.loads(ours['request.json']).items() if name != 'config'}
        assert asked.items() <= json.loads(theirs['request.json']).items()
        shutil.rmtree('by command')
    assert np.array_equal(np.load('plain/vectors.npy'), vectors)


def test_saved_folder__answers_the_tools_without_what_was_temporary(call_tool, dedup, pool, tmp_path):
    files = sorted(str(path) for path in pool.rglob('*.*'))
    chosen = mmdel.select(files, ratio=0.2, encoder='pixels', selector='meddel', columns={'patient': files})
    chosen.save('mine', report=False)
    kept = chosen.kept
    del chosen
    run = FinishedRun.open('mine')
    assert run.subset.kept == kept and len(run.vectors()) == 30
    status, out = dedup('--ratio', 0.2, '--work-dir', 'again', '--no-report', config=Path('mine/config.py'))
    assert status == 0, out
    assert Path('again/subset.parquet').read_bytes() == Path('mine/subset.parquet').read_bytes()
    for tool, *arguments in (
        ('export_subset', 'mine', '--out', 'out', '--root', pool),
        ('analysis_tools/make_report', 'mine'),
        ('analysis_tools/inspect_image', 'mine', kept[0], '--no-picture'),
    ):
        status, out = call_tool(tool, *arguments)
        assert status == 0 and 'not known' not in out, out
    assert len([path for path in Path('out').rglob('*.*') if path.suffix in ('.png', '.PNG', '.jpg')]) == len(kept)
    assert (pool / kept[0]).exists() and Path('mine/report/index.html').exists()
    # one more image, held to the old decisions with the saved vectors
    (pool / 'new.png').write_bytes(Path(files[0]).read_bytes())
    status, out = dedup('--update', 'mine', '--images', pool, '--work-dir', 'more', '--no-report',
                        config=Path('mine/config.py'))  # fmt: skip
    assert status == 0, out
    assert len(Subset.read('more/subset.parquet').images) == 31


def test_saved_pictures__keep_their_vectors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures = [np.full((8, 8, 3), level, np.uint8) for level in range(0, 250, 25)]
    chosen = mmdel.select(pictures, ratio=0.3, encoder='pixels')
    chosen.save('mine')
    saved = FinishedRun.open('mine')
    assert saved.subset.kept == chosen.kept and np.array_equal(saved.vectors().source.read(slice(None)), chosen.vectors)
    assert 'mmdel-' not in Path('mine/config.py').read_text() + Path('mine/origin.json').read_text()
    assert os.path.exists('mine/report/index.html')
    chosen.save('mine', report=False)
