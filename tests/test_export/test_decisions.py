"""Decisions in other forms are read back, by the real library where it is installed, with the values of the table."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from mmdel.errors import ConfigError, DatasetError
from mmdel.export import export_coco, export_csv, export_fiftyone, read_csv
from mmdel.export.decisions import group_of
from mmdel.subset import SCHEMA, Subset

NASTY = ['=cmd|" /C calc"!A0.jpg', '+1.jpg', '-2.jpg', '@SUM(A1).jpg', "'quoted.jpg", 'a,b;c.jpg', 'new\nline.jpg', '\ttab.jpg',
         '\r.jpg', 'say "hi".jpg', '\uff1dfull.jpg', 'Ünïcode/ä b.jpg']  # fmt: skip


def subset_of(images, seed=0, **more):
    """A subset with every column, some of it null, NaN, negative or empty."""
    images, rng = sorted(images), np.random.default_rng(seed)
    size = len(images)
    table = pa.table(
        {
            'image': images,
            'source': pa.array([['', None, 'a'][i % 3] for i in range(size)], pa.string()),
            'label': pa.array([[None, 'polyp', '=1+1'][i % 3] for i in range(size)], pa.string()),
            'width': pa.array([640] * size, pa.int32()),
            'height': pa.array([480] * size, pa.int32()),
            'bytes': pa.array(rng.integers(0, 2**40, size)),
            'cluster': pa.array(rng.integers(0, 3, size), pa.int32()),
            'distance': pa.array(rng.random(size), pa.float32()),
            'redundancy': np.where(rng.random(size) < 0.2, np.nan, rng.uniform(-1, 1, size)).astype(np.float32),
            'removed_by': [images[(i * 7) % size] for i in range(size)],
            'rank': rng.permutation(size),
        }
    )
    about = {'classes': ['polyp', '=1+1'], 'selector': {'epsilon': 0.9}, **more}
    return Subset.from_ranking(table, about, (('z/lost.jpg', 'gone'),)).at(eta=0.3)


def text_of(table):
    """Rows as text, so that NaN equals NaN."""
    return [repr(row) for row in table.to_pylist()]


# --- CSV


def test_csv__gives_the_table_back_and_no_cell_is_a_formula(tmp_path):
    subset = subset_of(NASTY)
    path = export_csv(subset, tmp_path / 'decisions.csv')
    assert read_csv(path).equals(subset.table) or text_of(read_csv(path)) == text_of(subset.table)
    raw = path.read_bytes()
    assert raw.startswith(b'\xef\xbb\xbf')
    with open(path, encoding='utf-8-sig', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['image'].removeprefix("'") for row in rows] == subset.images
    for row in rows:
        for name in ('image', 'source', 'label', 'removed_by', 'reason'):
            assert row[name][:1] not in tuple('=+-@\t\r\n\uff1d')


def test_csv__is_read_by_another_reader(tmp_path):
    subset = subset_of(['b.jpg', 'a.jpg', 'new\nline.jpg', 'x,y.jpg'])
    path = export_csv(subset, tmp_path / 'decisions.csv')
    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    table = pyarrow.csv.read_csv(path, parse_options=options)
    assert table['image'].to_pylist() == subset.images and table['keep'].to_pylist() == subset.keep.tolist()
    assert table['rank'].to_pylist() == subset.table['rank'].to_pylist()


texts = st.text(st.characters(codec='utf-8', exclude_characters='\0'), max_size=6)


@settings(max_examples=60)
@given(st.lists(texts.filter(bool), min_size=1, max_size=5, unique=True), st.lists(texts, min_size=5, max_size=5))
def test_csv__whatever_names_hold_comes_back(tmp_path_factory, images, labels):
    path = tmp_path_factory.getbasetemp() / 'any.csv'
    images = sorted(images)
    table = pa.table({'image': images, 'label': labels[: len(images)], 'rank': list(range(len(images)))})
    subset = Subset.from_ranking(table, {})
    export_csv(subset, path, overwrite=True)
    assert text_of(read_csv(path)) == text_of(subset.table)


@pytest.mark.parametrize('text', ['', 'a,b\n1,2\n', '\ufeff' + ','.join(SCHEMA.names) + '\nx\n', None])
def test_csv__that_is_none_is_an_error(tmp_path, text):
    if text is not None:
        (tmp_path / 'x.csv').write_text(text)
    with pytest.raises(DatasetError, match='Export it again'):
        read_csv(tmp_path / 'x.csv')


# --- COCO


def check_coco(document, subset):
    rows = subset.table.to_pylist()
    assert [image['key'] for image in document['images']] == subset.images
    assert [image['id'] for image in document['images']] == list(range(1, len(rows) + 1))
    for image, row in zip(document['images'], rows, strict=True):
        for name in set(SCHEMA.names) - {'image'}:
            value = row[name]
            assert image[name] == (None if isinstance(value, float) and value != value else value)


def test_coco__holds_every_decision_in_plain_json(tmp_path):
    subset = subset_of([*NASTY, 'ward/clip.avi#000123'])
    document = json.loads(export_coco(subset, tmp_path / 'x.json').read_text(), parse_constant=pytest.fail)
    check_coco(document, subset)
    names = {image['key']: image['file_name'] for image in document['images']}
    assert names['ward/clip.avi#000123'] == 'ward/clip.avi/000123.jpg' and names[NASTY[0]] == NASTY[0]
    assert document['categories'] == [{'id': 0, 'name': 'polyp'}, {'id': 1, 'name': '=1+1'}]


def test_coco__is_read_by_pycocotools(tmp_path):
    subset = subset_of(NASTY)
    read = COCO(str(export_coco(subset, tmp_path / 'x.json')))
    check_coco({'images': read.loadImgs(sorted(read.getImgIds()))}, subset)
    assert [each['name'] for each in read.loadCats(read.getCatIds())] == ['polyp', '=1+1']


# --- groups and files that are there


def test_group__is_the_kept_image_at_the_end_of_the_chain():
    for seed in range(20):
        subset = subset_of([f'{i:02d}.jpg' for i in range(30)], seed)
        rows = {row['image']: row for row in subset.table.to_pylist()}
        group = group_of(subset)
        for key, row in rows.items():
            seen = set()
            while row['reason'] == 'duplicate' and row['image'] not in seen:
                seen.add(row['image'])
                row = rows[row['removed_by']]
            assert group.get(key) == (row['image'] if row['keep'] else None)


@pytest.mark.parametrize('export', [export_csv, export_coco])
def test_out__that_is_there_is_replaced_only_when_asked(tmp_path, export):
    subset, out = subset_of(['a.jpg']), tmp_path / 'mine'
    out.write_text('mine')
    with pytest.raises(ConfigError, match='--overwrite'):
        export(subset, out)
    assert out.read_text() == 'mine'
    export(subset, out, overwrite=True)


# --- FiftyOne

READ = """
import json, sys
import fiftyone as fo
dataset = fo.Dataset.from_dir(sys.argv[1], fo.types.LegacyFiftyOneDataset)
names = ('key', 'reason', 'keep', 'rank', 'cluster', 'redundancy', 'distance', 'removed_by', 'group', 'video', 'frame', 'width')
print('RESULT ' + json.dumps({
    'rows': [
        {**{n: s[n] for n in names}, 'filepath': s.filepath, 'tags': s.tags, 'label': s.label and s.label.label}
        for s in dataset
    ],
    'kept': len(dataset.match_tags('kept')),
    'groups': len(dataset.exists('group').group_by('group')),
    'media': dataset.media_type, 'info': dataset.info,
}))
dataset.delete()
"""


@pytest.fixture
def pool(tmp_path, render_video):
    """Two images, a video, and the subset of them and some frames."""
    folder = tmp_path / 'pool'
    render_video(folder / 'ward' / 'clip.mp4', frames=6)
    for name in ('a.png', 'b c.png'):
        cv2.imwrite(str(folder / name), np.full((8, 12, 3), 90, np.uint8))
    frames = [f'ward/clip.mp4#{number:06d}' for number in range(4)]
    return folder, frames, without_bytes(subset_of(['a.png', 'b c.png', *frames]))


def without_bytes(subset):
    """These files are no real run's."""
    at = SCHEMA.get_field_index('bytes')
    return Subset(
        subset.table.set_column(at, SCHEMA.field('bytes'), pa.nulls(len(subset.table), pa.int64())), subset.metadata
    )


def test_fiftyone__folder_has_a_sample_for_every_file_and_frames_as_pictures(pool, tmp_path):
    folder, frames, subset = pool
    paths = {key: str(folder / key) for key in subset.images if key != 'z/lost.jpg'}
    frames_written = export_fiftyone(subset, tmp_path / 'out', paths, folder)
    assert not frames_written.problems
    samples = json.loads((tmp_path / 'out' / 'samples.json').read_text(), parse_constant=pytest.fail)['samples']
    assert [sample['key'] for sample in samples] == ['a.png', 'b c.png', *frames]
    assert all(os.path.isfile(tmp_path / 'out' / sample['filepath']) for sample in samples)
    rows = {row['image']: row for row in subset.table.to_pylist()}
    for sample in samples:
        row = rows[sample['key']]
        assert sample['tags'] == (['kept'] if row['keep'] else ['removed', row['reason']])
    with pytest.raises(ConfigError, match='--overwrite'):
        export_fiftyone(subset, tmp_path / 'out', paths)
    export_fiftyone(subset, tmp_path / 'out', paths, overwrite=True)
    left = json.loads((tmp_path / 'out' / 'samples.json').read_text())['samples']
    assert [sample['key'] for sample in left] == ['a.png', 'b c.png']
    with pytest.raises(DatasetError, match='--images'):
        export_fiftyone(subset, tmp_path / 'none', {})


@pytest.mark.slow
def test_fiftyone__imports_it(pool, tmp_path):
    python = os.environ.get('MMDEL_FIFTYONE_PYTHON', sys.executable)
    if subprocess.run([python, '-c', 'import fiftyone'], capture_output=True, timeout=200).returncode:
        pytest.skip('fiftyone is not installed; MMDEL_FIFTYONE_PYTHON names an interpreter that has it')
    folder, _, subset = pool
    paths = {key: str(folder / key) for key in subset.images if key != 'z/lost.jpg'}
    export_fiftyone(subset, tmp_path / 'out', paths, folder)
    done = subprocess.run(
        [python, '-c', READ, str(tmp_path / 'out')], capture_output=True, text=True, timeout=280, check=False,
        env={**os.environ, 'FIFTYONE_DATABASE_DIR': str(tmp_path / 'database'), 'FIFTYONE_DO_NOT_TRACK': '1'},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.split('RESULT ')[1])
    rows = {row['image']: row for row in subset.table.to_pylist()}
    group = group_of(subset)
    assert told['media'] == 'image' and told['info']['kept'] == len(subset.kept) and len(told['rows']) == len(paths)
    assert told['kept'] == len(subset.kept) and told['groups'] == len(set(group.values()))
    for got in told['rows']:
        row = rows[got['key']]
        for name in ('reason', 'keep', 'rank', 'cluster', 'distance', 'removed_by', 'video', 'frame', 'width', 'label'):
            assert got[name] == row[name], name
        assert got['redundancy'] == (None if np.isnan(row['redundancy']) else row['redundancy'])
        assert got['group'] == group.get(got['key']) and Path(got['filepath']).is_file()
