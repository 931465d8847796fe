"""The subset file says the same after a round trip, in the same bytes, and refuses what it cannot trust."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmdel.errors import ConfigError, SubsetError
from mmdel.subset import SCHEMA, Subset, plain_files, size_at


def make(size=10, **metadata):
    rng = np.random.default_rng(0)
    redundancy = np.sort(rng.uniform(0, 1, size)).astype(np.float32)
    redundancy[:2] = np.nan
    table = pa.table(
        {
            'image': [f'a/{i:03d}.jpg' for i in range(size)],
            'label': ['polyp' if i % 2 else 'normal' for i in range(size)],
            'distance': pa.array(np.where(np.arange(size) == size - 1, 0.95, 0.1), pa.float32()),
            'redundancy': redundancy,
            'rank': np.arange(size),
        }
    )
    about = {'selector': {'type': 'mmdel.MedDEL', 'epsilon': 0.9}, 'classes': ['normal', 'polyp'], **metadata}
    return Subset.from_ranking(table, about, (('b/broken.jpg', 'empty file'),))


def rows(subset):
    return str(subset.table.to_pylist())  # text, because NaN is not equal to NaN


def test_round_trip__same_table_metadata_and_bytes(tmp_path):
    subset = make().at(ratio=0.5)
    subset.write(tmp_path / 'one.parquet')
    again = Subset.read(tmp_path / 'one.parquet')
    assert rows(again) == rows(subset) and again.metadata == subset.metadata
    again.write(tmp_path / 'two.parquet')
    assert (tmp_path / 'one.parquet').read_bytes() == (tmp_path / 'two.parquet').read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['one.parquet', 'two.parquet']


def test_rows__unreadable_files_are_rows_and_never_kept():
    subset = make()
    assert subset.images[-1] == 'b/broken.jpg'
    for cut in (subset, subset.at(ratio=1.0), subset.at(eta=1.0)):
        assert cut.count('unreadable') == 1 and 'b/broken.jpg' not in cut.kept
    assert subset.at(ratio=0.3).ratio == 0.3


def test_at__eta_one_keeps_all_but_the_far_and_cuts_commute():
    subset = make()
    assert len(subset.at(eta=1.0).kept) == 9 and subset.at(eta=1.0).count('far') == 1
    assert rows(subset.at(ratio=0.2).at(eta=0.5)) == rows(subset.at(eta=0.5))


def test_retention__is_what_each_cut_keeps():
    subset = make(40).at(ratio=0.5)
    etas = np.linspace(-1, 1, 50)
    np.testing.assert_array_equal(subset.retention(etas), [subset.at(eta=float(eta)).ratio for eta in etas])


def test_eta_interval__none_where_cluster_heads_fell():
    assert make().at(ratio=0.1).eta_interval() is None
    assert make().at(ratio=1.0).eta_interval() is None
    assert make().at(ratio=0.5).eta_interval() is not None


@pytest.mark.parametrize('ratio', [0, -1, 1.01, float('nan'), 0.01])
def test_at__impossible_ratio(ratio):
    with pytest.raises(ConfigError, match='ratio'):
        make().at(ratio=ratio)


@pytest.mark.parametrize('eta', [1.1, -1.1, float('nan')])
def test_at__impossible_eta(eta):
    with pytest.raises(ConfigError, match='eta'):
        make().at(eta=eta)


def test_at__needs_exactly_one():
    with pytest.raises(ConfigError, match='either eta or ratio'):
        make().at()
    with pytest.raises(ConfigError, match='either eta or ratio'):
        make().at(eta=0.5, ratio=0.5)


@pytest.mark.parametrize(('ratio', 'images', 'size'), [(0.5, 3, 2), (0.05, 2922, 146), (1, 7, 7), (0.05, 10, 1)])
def test_size_at__rounds_half_up(ratio, images, size):
    assert size_at(ratio, images) == size


def test_lists__plain_labels_and_stems(tmp_path):
    table = pa.table(
        {'image': ['a b/x.jpg', 'a b/y.JPG', 'clip.avi#000003'], 'rank': [0, 1, 2], 'label': ['n', 'p', 'p']}
    )
    subset = Subset.from_ranking(table, {'classes': ['n', 'p']})
    (tmp_path / 'keep_stems.png.txt').write_text('old')
    (tmp_path / 'keep_for_me.txt').write_text('mine')
    subset.write_lists(tmp_path)
    files = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert files.pop('keep_for_me.txt') == 'mine'
    assert files == {
        'keep.txt': 'a b/x.jpg\na b/y.JPG\n',
        'keep_labels.txt': 'a b/x.jpg 0\na b/y.JPG 1\n',
        'keep_stems.jpg.txt': 'a b/x\n',
        'keep_stems.JPG.txt': 'a b/y\n',
    }


@pytest.mark.parametrize('rows', [1, 2, 3, 100])
def test_lists__whole_and_in_order_for_any_batch(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(plain_files, 'BLOCK', rows)
    images = [f'{i}.{"png" if i % 3 else "jpg"}' for i in range(8)]
    table = pa.table({'image': images, 'rank': range(8), 'label': ['n'] * 8})
    Subset.from_ranking(table, {'classes': ['n']}).write_lists(tmp_path)
    assert (tmp_path / 'keep.txt').read_text().split() == images
    assert (tmp_path / 'keep_labels.txt').read_text().splitlines() == [f'{image} 0' for image in images]
    assert (tmp_path / 'keep_stems.jpg.txt').read_text().split() == ['0', '3', '6']
    assert (tmp_path / 'keep_stems.png.txt').read_text().split() == ['1', '2', '4', '5', '7']


def test_lists__dots_of_an_identifier_are_no_ending(tmp_path):
    images = [f'1.2.840.{i}' for i in range(2000)]
    table = pa.table({'image': sorted(images), 'rank': range(2000)})
    written = Subset.from_ranking(table, {}).write_lists(tmp_path)
    assert [path.name for path in written.files] == ['keep.txt'] and written.notes == ()


def test_frames_and_reasons__of_each_row():
    images = ['a.jpg', 'b#12.jpg', 'clip.avi#000003', 'dir#1/c.jpg']
    table = pa.table({'image': images, 'rank': [3, 0, 1, 2]})
    subset = Subset.from_ranking(table, {}, unreadable=(('x.jpg', 'gone'),), kept=2)
    assert subset.frames.tolist() == [False, False, True, False, False]
    assert subset.has_reason('kept').tolist() == subset.keep.tolist() == [False, True, True, False, False]
    assert subset.has_reason('unreadable', 'kept').tolist() == [False, True, True, False, True]
    assert subset.reasons(['x.jpg', 'a.jpg', 'nowhere']) == {'a.jpg': 'unselected', 'x.jpg': 'unreadable'}
    assert subset.readable_rows['image'].to_pylist() == images


def test_lists__no_label_list_where_one_kept_image_has_none(tmp_path):
    table = pa.table({'image': ['x.jpg', 'y.jpg'], 'rank': [0, 1], 'label': ['n', None]})
    Subset.from_ranking(table, {'classes': ['n']}).write_lists(tmp_path)
    assert not (tmp_path / 'keep_labels.txt').exists()


def damage(path, how):
    data = bytearray(path.read_bytes())
    table = pq.read_table(path)
    about = table.schema.metadata
    if how == 'missing':
        path.unlink()
    elif how == 'cut off':
        path.write_bytes(data[: len(data) // 2])
    elif how == 'text':
        path.write_text('hello')
    elif how == 'foreign':
        pq.write_table(pa.table({'a': [1]}), path)
    elif how == 'version':
        meta = json.loads(about[b'mmdel'])
        pq.write_table(table.replace_schema_metadata({b'mmdel': json.dumps({**meta, 'format': 99})}), path)
    elif how == 'columns':
        pq.write_table(table.drop_columns(['rank']), path)
    elif how == 'order':
        pq.write_table(table.take(list(range(len(table)))[::-1]), path)
    elif how == 'twice':
        pq.write_table(pa.concat_tables([table, table]).sort_by('image').replace_schema_metadata(about), path)
    elif how == 'keep':
        keep = pa.array([not k for k in table['keep'].to_pylist()])
        pq.write_table(table.set_column(SCHEMA.get_field_index('keep'), 'keep', keep), path)
    elif how == 'rank':
        pq.write_table(table.set_column(SCHEMA.get_field_index('rank'), 'rank', pa.array([0] * len(table))), path)
    elif how == 'not text':
        wrong = pa.array([b'\xff'] * len(table)).view(pa.string())
        pq.write_table(table.set_column(SCHEMA.get_field_index('label'), 'label', wrong), path)
    elif how == 'null':
        nulls = pa.nulls(len(table), pa.bool_())
        pq.write_table(table.set_column(SCHEMA.get_field_index('keep'), 'keep', nulls), path)
    elif how in ('counts', 'eta', 'selector'):
        lie = {'counts': {'kept': 3}, 'eta': {'eta': '<b>'}, 'selector': {'selector': [1]}}[how]
        meta = {**json.loads(about[b'mmdel']), **lie}
        pq.write_table(table.replace_schema_metadata({b'mmdel': json.dumps(meta)}), path)
    elif how == 'nested':
        pq.write_table(table.replace_schema_metadata({b'mmdel': '[' * 100_000}), path)


@pytest.mark.parametrize(
    'how',
    [
        *('missing', 'cut off', 'text', 'foreign', 'version', 'columns', 'order', 'twice', 'keep', 'rank'),
        *('not text', 'null', 'counts', 'eta', 'selector', 'nested'),
    ],
)
def test_read__damaged_file_is_an_error_that_names_it(tmp_path, how):
    path = tmp_path / 'subset.parquet'
    make().at(ratio=0.5).write(path)
    damage(path, how)
    with pytest.raises(SubsetError, match='subset.parquet'):
        Subset.read(path)
