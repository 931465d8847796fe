import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from mmdel.errors import ConfigError, DatasetError, LockedError
from mmdel.export import export_images, verify_export
from mmdel.export import images as export_module
from mmdel.images import formats, frame_files
from mmdel.subset import Subset

CLIPS = ('clips/a.mp4', 'clips/b.avi')


def subset_of(keys, **columns):
    """A subset that keeps all of these."""
    keys = sorted(keys)
    metadata = {'recut': 'ratio', 'classes': ['no', 'yes']}
    return Subset.from_ranking(pa.table({'image': keys, 'rank': np.arange(len(keys)), **columns}), metadata)


@pytest.fixture
def pool(tmp_path, render_video):
    """Five stills and two clips of 20 frames."""
    root = tmp_path / 'pool'
    for number in range(5):
        (root / 'still').mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / 'still' / f'{number}.png'), np.full((8, 9, 3), number * 30, np.uint8))
    render_video(root / CLIPS[0], frames=20)
    render_video(root / CLIPS[1], frames=20, codec='mpeg4')
    return root


KEYS = [
    *(f'still/{number}.png' for number in (0, 3)),
    *(f'{clip}#{number:06d}' for clip in CLIPS for number in (0, 7, 8, 19)),
]


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and '.export' not in path.parts
    }


def test_files__are_the_kept_images_and_no_other(pool, tmp_path):
    exported = export_images(subset_of(KEYS), pool, tmp_path / 'out', frame_format='png')
    assert exported.problems == ()
    assert exported.written == len(exported.rows) == len(KEYS)
    names = {row.file: row.key for row in exported.rows}
    assert names['clips/a.mp4/000007.png'] == 'clips/a.mp4#000007'
    assert set(contents(tmp_path / 'out')) == {*names, 'manifest.csv'}
    for file, key in names.items():
        frame = formats.split_frame(str(pool / key))
        expected = frame_files.read(*frame, 10**8)[0] if frame else cv2.imread(str(pool / key))
        assert np.array_equal(cv2.imread(str(tmp_path / 'out' / file)), expected)
    with open(tmp_path / 'out' / 'manifest.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(row['file'], row['key'], int(row['bytes']), row['sha256']) for row in rows] == [
        tuple(vars(row).values()) for row in exported.rows
    ]
    assert verify_export(tmp_path / 'out') == (len(KEYS), ())


@pytest.mark.parametrize('workers', [1, 2, 5])
def test_bytes__do_not_depend_on_threads(pool, tmp_path, workers):
    export_images(subset_of(KEYS), pool, tmp_path / 'one', workers=1)
    export_images(subset_of(KEYS), pool, tmp_path / 'other', workers=workers)
    assert contents(tmp_path / 'one') == contents(tmp_path / 'other')


@pytest.mark.parametrize('how', ['copy', 'hardlink', 'symlink'])
def test_how__files_are_copied_or_linked_and_the_pool_stays_as_it_was(pool, tmp_path, how):
    before = {path: path.stat() for path in pool.rglob('*') if path.is_file()}
    data = contents(pool)
    export_images(subset_of(KEYS), pool, tmp_path / 'out', how=how)
    file = tmp_path / 'out' / 'still' / '3.png'
    assert file.is_symlink() == (how == 'symlink')
    assert os.path.samefile(file, pool / 'still' / '3.png') == (how != 'copy')
    assert file.read_bytes() == (pool / 'still' / '3.png').read_bytes()
    assert contents(pool) == data
    for path, state in before.items():
        assert path.stat().st_mtime_ns == state.st_mtime_ns


def test_again__nothing_is_written_and_what_is_lost_is_made_anew(pool, tmp_path):
    out = tmp_path / 'out'
    export_images(subset_of(KEYS), pool, out)
    before = contents(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob('*.jpg')}
    assert export_images(subset_of(KEYS), pool, out).written == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob('*.jpg')} == times
    (out / 'still' / '0.png').unlink()
    (out / 'clips' / 'b.avi' / '000008.jpg').unlink()
    assert export_images(subset_of(KEYS), pool, out).written == 2
    assert contents(out) == before


def test_killed__goes_on_and_ends_the_same(pool, tmp_path):
    subset_of(KEYS).write(tmp_path / 'subset.parquet')
    script = Path(__file__).with_name('killed_exports.py')
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path / 'subset.parquet'), str(pool), str(tmp_path / 'outs')],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=200,
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    assert result['different'] == []
    assert result['kills'] >= len(KEYS)
    assert result['files'] == len(KEYS) + 1


def test_foreign_files__are_left_as_they_are(pool, tmp_path):
    mine = tmp_path / 'out' / 'still' / '3.png'
    mine.parent.mkdir(parents=True)
    mine.write_text('precious')
    exported = export_images(subset_of(KEYS), pool, tmp_path / 'out')
    assert exported.problems == (('still/3.png', 'another file lies at still/3.png already, and is not touched'),)
    assert mine.read_text() == 'precious'
    assert len(exported.rows) == len(KEYS) - 1


def test_another_subset_or_setting__needs_another_folder(pool, tmp_path):
    export_images(subset_of(KEYS), pool, tmp_path / 'out')
    for keys, options in (
        (KEYS[:4], {}),
        (KEYS, {'quality': 90}),
        (KEYS, {'frame_format': 'png'}),
        (KEYS, {'how': 'symlink'}),
    ):
        with pytest.raises(ConfigError, match='another --out'):
            export_images(subset_of(keys), pool, tmp_path / 'out', **options)


def test_problems__are_named_and_the_rest_is_exported(pool, tmp_path, render_video):
    keys = [*KEYS, 'still/9.png', 'clips/a.mp4#000020']
    sizes = [(pool / key).stat().st_size if key == 'still/3.png' else None for key in sorted(keys)]
    subset = subset_of(keys, bytes=pa.array(sizes, pa.int64()))
    with open(pool / 'still' / '3.png', 'ab') as file:
        file.write(b'more')
    exported = export_images(subset, pool, tmp_path / 'out')
    reasons = dict(exported.problems)
    assert sorted(reasons) == ['clips/a.mp4#000020', 'still/3.png', 'still/9.png']
    assert 'has changed since the subset was made' in reasons['still/3.png']
    assert 'it has 20' in reasons['clips/a.mp4#000020']
    assert len(exported.rows) == len(KEYS) - 1


def test_names_on_disk_that_are_spelled_otherwise__are_found(tmp_path):
    root = tmp_path / 'pool'
    root.mkdir()
    decomposed = 'e\u0301tude.png'
    cv2.imwrite(str(root / decomposed), np.zeros((4, 4, 3), np.uint8))
    exported = export_images(subset_of(['\u00e9tude.png']), root, tmp_path / 'out')
    assert [row.file for row in exported.rows] == ['\u00e9tude.png']


@pytest.mark.parametrize(
    'key', ['../a.png', '/etc/passwd', 'a/../../b.png', 'a//b.png', '../clip.avi#000001', 'a\0b.png']
)
def test_keys_that_lead_elsewhere__are_refused(pool, tmp_path, key):
    with pytest.raises(DatasetError, match='leads out of the folder'):
        export_images(subset_of([key]), pool, tmp_path / 'out')


def test_errors__say_what_to_do(pool, tmp_path):
    with pytest.raises(ConfigError, match='inside the image folder'):
        export_images(subset_of(KEYS), pool, pool / 'out')
    with pytest.raises(DatasetError, match='as --root'):
        export_images(subset_of(KEYS), tmp_path / 'nowhere', tmp_path / 'out')
    with pytest.raises(DatasetError, match='as --root'):
        export_images(subset_of(['other/1.png']), pool, tmp_path / 'out')
    with pytest.raises(ConfigError, match='quality'):
        export_images(subset_of(KEYS), pool, tmp_path / 'out', quality=0)
    with pytest.raises(DatasetError, match='Export first'):
        verify_export(tmp_path / 'out')


def test_two_at_once__the_second_says_so(pool, tmp_path):
    (tmp_path / 'out' / '.export').mkdir(parents=True)
    with (
        export_module.FileLock(tmp_path / 'out' / '.export' / 'lock'),
        pytest.raises(LockedError, match='exporting'),
    ):
        export_images(subset_of(KEYS), pool, tmp_path / 'out')


def test_verify__finds_what_has_changed(pool, tmp_path):
    export_images(subset_of(KEYS), pool, tmp_path / 'out')
    (tmp_path / 'out' / 'still' / '0.png').unlink()
    changed = tmp_path / 'out' / 'clips' / 'a.mp4' / '000007.jpg'
    data = bytearray(changed.read_bytes())
    data[-3] ^= 1
    changed.write_bytes(data)
    files, wrong = verify_export(tmp_path / 'out')
    assert files == len(KEYS)
    assert dict(wrong) == {'still/0.png': 'is gone', 'clips/a.mp4/000007.jpg': 'has changed since it was exported'}


def test_labels__are_listed_where_every_image_has_one(pool, tmp_path):
    labels = ['yes' if 'still' in key else 'no' for key in sorted(KEYS)]
    exported = export_images(subset_of(KEYS, label=labels), pool, tmp_path / 'out')
    assert (tmp_path / 'out' / 'classes.txt').read_text() == 'no\nyes\n'
    lines = (tmp_path / 'out' / 'labels.txt').read_text().splitlines()
    assert lines == [f'{row.file} {int("still" in row.file)}' for row in exported.rows]
