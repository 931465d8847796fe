"""A finished run opens again with the same rows, files and vectors, and a stranger's file leads nowhere."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from mmengine.config import Config

from mmdel.engine import DedupRunner
from mmdel.engine.finished_run import FinishedRun
from mmdel.engine.inspection import inspect
from mmdel.errors import DatasetError, StoreError, SubsetError
from mmdel.subset import Subset

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def done(demo_data, tmp_path_factory):
    """A run on the synthetic pool, without its report."""
    base = tmp_path_factory.mktemp('done')
    cfg = Config.fromfile(ROOT / 'configs' / 'demo' / 'meddel_pixels.py')
    cfg.dataset.data_root = str(demo_data / 'pool')
    cfg.work_dir, cfg.cache_dir = str(base / 'out'), str(base / 'cache')
    DedupRunner.from_cfg(cfg, report=False).run()
    return base / 'out'


@pytest.fixture
def run(done, tmp_path):
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(done, tmp_path / 'out'))


def test_open__by_folder_or_file_gives_every_readable_image_its_file(run):
    for path in (run, run / 'subset.parquet'):
        finished = FinishedRun.open(path)
        readable = finished.subset.table.filter(finished.subset.readable)['image'].to_pylist()
        assert all(os.path.isfile(finished.paths[key]) for key in readable)
        assert len(finished.vectors()) == len(readable)
    assert {key for key, _ in finished.unreadable} == set(finished.subset.images) - set(readable)
    assert all('not known' not in reason for _, reason in finished.unreadable)
    assert "type='mmdel.MedDEL'" in finished.config


def test_vectors__that_changed_or_are_gone_are_an_error(run, tmp_path):
    subset = Subset.read(run / 'subset.parquet')
    Subset(subset.table, {**subset.metadata, 'vectors': 'another'}).write(run / 'subset.parquet')
    with pytest.raises(StoreError, match='changed'):
        FinishedRun.open(run).vectors()
    subset.write(run / 'subset.parquet')
    for origin in ({'cache_dir': str(tmp_path / 'nowhere')}, {}):
        (run / 'origin.json').write_text(json.dumps(origin))
        with pytest.raises(StoreError, match=r'mmdel select'):
            FinishedRun.open(run).vectors()
    assert not (tmp_path / 'nowhere').exists()


@pytest.mark.parametrize('text', ['[1]', '{"images": 1}', '{"other": "x"}', 'hello', '{"spelled": {"a": 1}}', ''])
def test_origin__that_no_run_wrote_is_an_error(run, text):
    (run / 'origin.json').write_text(text)
    with pytest.raises(SubsetError, match=r'origin\.json'):
        FinishedRun.open(run)


def test_config__beside_a_subset_is_never_executed(run):
    (run / 'config.py').write_text('raise SystemExit(3)\n')
    assert FinishedRun.open(run).config == 'raise SystemExit(3)\n'
    FinishedRun.open(run).vectors()


def foreign(folder, names):
    """A subset file as a stranger might send it."""
    table = pa.table({'image': sorted(names), 'rank': list(range(len(names))), 'removed_by': [sorted(names)[0]] * len(names),
                      'redundancy': np.full(len(names), 0.9, np.float32)})  # fmt: skip
    folder.mkdir()
    Subset.from_ranking(table, {'vectors': 'x', 'embedder_type': '../../x', 'embedder': {}}, kept=1).write(
        folder / 'subset.parquet'
    )
    return folder / 'subset.parquet'


def test_paths__of_a_foreign_subset_stay_below_the_image_folder(tmp_path):
    names = ['/etc/passwd', '../secret.jpg', 'a/../../secret.jpg', 'a\nb.jpg', 'x' * 5000, 'fine.jpg']
    finished = FinishedRun.open(foreign(tmp_path / 'sent', names), images=str(tmp_path / 'pool'))
    assert finished.paths == {'fine.jpg': str(tmp_path / 'pool' / 'fine.jpg')}


def test_spelled__names_of_an_origin_stay_below_the_image_folder_too(tmp_path):
    file = foreign(tmp_path / 'sent', ['a.jpg', 'b.jpg'])
    origin = {'images': str(tmp_path / 'pool'), 'spelled': {'a.jpg': '../../secret', 'b.jpg': 'B.jpg'}}
    (file.parent / 'origin.json').write_text(json.dumps(origin))
    assert FinishedRun.open(file).paths == {'b.jpg': str(tmp_path / 'pool' / 'B.jpg')}


# --- one image


def test_inspect__agrees_with_a_loop_over_all_images(done):
    finished = FinishedRun.open(done)
    vectors = finished.vectors()
    table = finished.subset.table.filter(finished.subset.readable)
    images, keep = table['image'].to_pylist(), table['keep'].to_pylist()
    unit = vectors.read(slice(None)).astype(np.float64)
    for own in (0, len(images) // 2, len(images) - 1):
        cosine = [float(np.float32(min(1.0, (unit[own] * other).sum()))) for other in unit]
        ranked = sorted((i for i in range(len(images)) if i != own), key=lambda i: (-cosine[i], images[i]))
        found = inspect(finished, images[own], count=5)
        assert found.neighbours == tuple((images[i], cosine[i]) for i in ranked[:5])
        assert found.nearest_kept == next((images[i], cosine[i]) for i in ranked if keep[i])
        assert found.shown[0][0] == images[own]


def test_inspect__says_why_for_every_reason(done):
    finished = FinishedRun.open(done)
    words = {
        'kept': 'kept:',
        'duplicate': 'removed as a duplicate',
        'far': 'dropped by epsilon',
        'unreadable': 'could not be used',
    }
    rows = {row['reason']: row for row in finished.subset.table.to_pylist()}
    assert set(rows) == set(words)
    for reason, row in rows.items():
        text = '\n'.join(inspect(finished, row['image'], count=1).lines)
        assert words[reason] in text
        if reason == 'duplicate':
            assert row['removed_by'] in text and text.split('neighbours:')[0].count(' is ') >= 1


def test_inspect__the_chain_of_removers_ends_with_what_stays_or_is_no_duplicate(done):
    finished = FinishedRun.open(done)
    rows = {row['image']: row for row in finished.subset.table.to_pylist()}
    for row in [row for row in rows.values() if row['reason'] == 'duplicate'][:10]:
        lines = inspect(finished, row['image'], count=0).lines
        while row['reason'] == 'duplicate':
            row = rows[row['removed_by']]
            assert any(line.strip().startswith(f'{row["image"]} is {row["reason"]}') for line in lines)


def test_inspect__a_foreign_subset_tells_what_its_table_tells(tmp_path):
    names = ['a.jpg', 'b.jpg', 'c\u202e\n.jpg']
    finished = FinishedRun.open(foreign(tmp_path / 'sent', names))
    found = inspect(finished, 'b.jpg')
    assert any('removed as a duplicate: a.jpg' in line for line in found.lines)
    assert any('neighbours are not known' in line for line in found.lines)
    assert found.neighbours == () and found.nearest_kept is None
    assert '\n' not in ''.join(inspect(finished, names[2]).lines)
    # what removed the first image is itself: going in circles ends
    assert inspect(finished, 'a.jpg').key == 'a.jpg'


def test_find_key__takes_a_key_a_path_or_an_unambiguous_ending(done):
    finished = FinishedRun.open(done)
    key = finished.subset.kept[0]
    for name in (key, './' + key, finished.paths[key], key.rpartition('/')[2]):
        assert inspect(finished, name, count=0).key == key
    with pytest.raises(DatasetError, match='lists no image'):
        inspect(finished, 'nothing.jpg')
