"""Lists, tables and masks as people and other programs write them, and lists that other programs read."""

import csv
import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
import unicodedata
import zlib
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mmengine.registry import init_default_scope
from PIL import Image

from mmdel.datadel.converters.class_masks import foreground
from mmdel.datadel.image_folder import by_stem, read_list
from mmdel.datasets import DataDEL
from mmdel.embedding.given_vectors import read_given_vectors
from mmdel.errors import ConfigError, DatasetError, GuardError, SubsetError, UnreadableImage
from mmdel.export import export_coco, export_images, filter_annotations
from mmdel.images.masks import read_mask
from mmdel.selection.guards import Guards
from mmdel.selection.methods.from_file import FromFile
from mmdel.subset import COLUMNS, SCHEMA, Subset, plain_files

ROOT = Path(__file__).resolve().parents[2]

NFD = unicodedata.normalize('NFD', 'é.jpg')
HOSTILE = (
    *(
        'plain.jpg',
        NFD,
        unicodedata.normalize('NFC', 'ü.jpg'),
        'back\\slash.jpg',
        'a b.jpg',
        ' leading.jpg',
        'trailing .jpg',
    ),
    *(
        'ending.jpg ',
        '#1.jpg',
        '100%.jpg',
        '%20.jpg',
        "it's.jpg",
        'a"b.jpg',
        'a,b.jpg',
        '-rf.jpg',
        '~.jpg',
        '\u3000wide.jpg',
    ),
    *('\ufeffmark.jpg', '$HOME.jpg', 'x 0.jpg', '[1].jpg', '日本.jpg', 'sub folder/c.jpg', ' sub/d.jpg', '1.2.840.png'),
    *('upper.JPG', 'two  blanks.jpg', 'trailing.jpg', unicodedata.normalize('NFD', 'ö/ä.jpg')),
)
"""Names on disk; some differ from others by a blank only."""


def draw(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    ending = '.png' if path.suffix == '.png' else '.jpg'
    path.write_bytes(cv2.imencode(ending, cv2.resize(small, (24, 20), interpolation=cv2.INTER_CUBIC))[1].tobytes())


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('dedup', ROOT / 'tools' / 'dedup.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def dedup(tool, tmp_path, monkeypatch, capsys):
    """Call ``tools/dedup.py`` with the encoder ``pixels``; returns (exit status, what it printed)."""
    monkeypatch.setenv('COLUMNS', '200')
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        config = str(ROOT / 'configs' / 'meddel_eta08.py')
        options = [] if '--embeddings' in arguments else ['--encoder', 'pixels']
        monkeypatch.setattr(sys, 'argv', ['dedup.py', config, *options, '--no-report', *map(str, arguments)])
        status = 0
        try:
            tool.main()
        except SystemExit as end:
            status = end.code
        out = capsys.readouterr()
        return status, out.out + out.err

    return run


@pytest.fixture
def classes(tmp_path):
    """Twelve images in the folders of two classes, and one beside these."""
    for number in range(12):
        draw(tmp_path / 'frames' / ('polyp' if number < 4 else 'normal') / f'p{number % 3}' / f'{number}.jpg', number)
    draw(tmp_path / 'frames' / 'top.jpg', 99)
    return tmp_path / 'frames'


def rows(subset):
    return {row['image']: row for row in subset.table.to_pylist()}


# --- lists that other programs read


def hostile_run(dedup, tmp_path, labelled=True):
    """A run that keeps every image of a hostile folder; the bytes of each tell them apart."""
    folder = tmp_path / 'hostile'
    for number, name in enumerate(HOSTILE):
        draw(folder / 'one' / name, number)
    options = ('--labels', 'folders') if labelled else ()
    status, out = dedup('--images', folder, '--ratio', '1', '--work-dir', 'out', *options)
    assert status == 0, out
    kept = Subset.read('out/subset.parquet').kept
    return folder, {(folder / 'one' / name).read_bytes() for name in HOSTILE if Path(name).suffix}, kept, out


def opened(dataset):
    return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]


def test_lists_of_hostile_names__stock_mmpretrain_opens_exactly_the_kept_files(dedup, tmp_path):
    from mmpretrain.datasets import CustomDataset

    folder, _, kept, out = hostile_run(dedup, tmp_path)
    for name, labelled in (('keep.txt', False), ('keep_labels.txt', True)):
        found = opened(
            CustomDataset(
                data_root=str(folder), ann_file=os.path.abspath(f'out/{name}'), with_label=labelled, pipeline=[]
            )
        )
        assert len(found) == len(kept) == len({Path(path).read_bytes() for path in found}) >= len(HOSTILE) - 1, out
        assert {os.path.realpath(path) for path in found} <= {str(folder / 'one' / each) for each in HOSTILE}


def test_lists_of_hostile_names__stock_mmseg_opens_kept_files_and_what_it_cannot_name_is_said(dedup, tmp_path):
    from mmseg.datasets import BaseSegDataset

    folder, _, kept, out = hostile_run(dedup, tmp_path, labelled=False)
    init_default_scope('mmseg')
    found = []
    for path in Path('out').glob('keep_stems.*.txt'):
        suffix = '.' + path.name.split('.')[1]
        found += opened(
            BaseSegDataset(
                data_root=str(folder),
                ann_file=os.path.abspath(path),
                img_suffix=suffix,
                pipeline=[],
                metainfo=dict(classes=('a',), palette=[[0, 0, 0]]),
            )
        )
    found = [os.path.realpath(path) for path in found]
    plain = {str(folder / 'one' / name) for name in HOSTILE if name not in ('trailing .jpg', 'ending.jpg ')}
    assert sorted(found) == sorted(plain) and len(kept) - len(found) <= 2
    assert '1 kept images are in keep.txt but in no keep_stems list' in ' '.join(out.split())


def test_lists_of_hostile_names__are_read_back_as_the_same_keys(dedup, tmp_path):
    folder, _, kept, _ = hostile_run(dedup, tmp_path, labelled=False)
    images = DataDEL(str(folder), ann_file=os.path.abspath('out/keep.txt'))
    assert len(images) == len(kept) and images.ledger == ()
    keys = pa.chunked_array([pa.array(kept)])
    assert Guards(exclude='out/keep.txt').excluded(keys).all()
    status, out = dedup('--images', folder, '--selector', 'from-file', '--cfg-options', 'selector.file=out/keep.txt',
                        '--work-dir', 'again')  # fmt: skip
    assert status == 0, out
    assert Subset.read('again/subset.parquet').kept == kept


def test_exports_of_hostile_names__coco_and_labels_name_the_files_on_disk(dedup, tmp_path):
    from mmpretrain.datasets import CustomDataset

    folder, _, kept, _ = hostile_run(dedup, tmp_path)
    subset = Subset.read('out/subset.parquet')
    spelled = json.loads(Path('out/origin.json').read_text())['spelled']
    document = json.loads(export_coco(subset, 'coco.json', spelled=spelled).read_text(encoding='utf-8'))
    assert all((folder / image['file_name']).is_file() for image in document['images'])
    exported = export_images(subset, folder, tmp_path / 'copy')
    assert not exported.problems and len(exported.rows) == len(kept)
    found = opened(CustomDataset(data_root=str(tmp_path / 'copy'), ann_file='labels.txt', pipeline=[]))
    assert len({Path(path).read_bytes() for path in found}) == len(kept)


# --- lists that people write

NAMES = ['a/1.jpg', 'a/é.jpg', 'b c/2.jpg']
WAYS = {
    'plain': '\n'.join(NAMES).encode(),
    'mark': '\ufeff'.encode() + '\n'.join(NAMES).encode(),
    'windows': '\r\n'.join([*NAMES, '']).encode('utf-8-sig'),
    'old mac': '\r'.join(NAMES).encode(),
    'utf-16': '\r\n'.join(NAMES).encode('utf-16'),
    'utf-16 big': '\n'.join(NAMES).encode('utf-16-be').join([b'\xfe\xff', b'']),
    'blanks': '\n'.join(f'{name} \t' for name in NAMES).encode(),
    'blank end': '\n'.join([*NAMES, '', '  ', '']).encode(),
    'joined': b''.join(f'\ufeff{name}\n'.encode() for name in NAMES),
}


def readers(folder):
    """What each reader makes of a list file, sorted names; every one must understand the same."""
    vectors = folder.parent / 'v.npy'
    np.save(vectors, np.arange(3, dtype=np.float32)[:, None] + 1)
    keys = pa.chunked_array([sorted(NAMES)])
    table = pa.table({'image': NAMES, 'rank': range(3)})
    subset = Subset.from_ranking(table, {})

    def datadel(path):
        found = DataDEL(str(folder), ann_file=str(path))
        assert found.ledger == ()
        return [os.path.relpath(found.get_data_info(i)['img_path'], folder) for i in range(len(found))]

    def annotations(path):
        filter_annotations(path, folder.parent / 'out.txt', subset)
        return [plain_files.trimmed(line) for line in plain_files.read_lines(folder.parent / 'out.txt') if line]

    def guards(path):
        return keys.filter(pa.array(Guards(always_keep=str(path)).must(pa.table({'image': keys})))).to_pylist()

    def selector(path):
        return [plain_files.trimmed(key) for key in FromFile(str(path))._keys if plain_files.trimmed(key)]

    return {
        'keys': lambda path: read_given_vectors(str(vectors), str(path)).table['image'].to_pylist(),
        'ann_file': datadel,
        'guards': guards,
        'from-file': selector,
        'splits': lambda path: [f'{stem}.jpg' for stem in read_list(path, by_stem(folder))],
        'annotations': annotations,
    }


@pytest.fixture
def listed(tmp_path):
    for number, name in enumerate(NAMES):
        draw(tmp_path / 'pool' / name, number)
    return tmp_path / 'pool'


@pytest.mark.parametrize('way', WAYS)
def test_list_as_editors_save_it__every_reader_understands_the_same(listed, tmp_path, way):
    path = tmp_path / 'list.txt'
    path.write_bytes(WAYS[way])
    for name, read in readers(listed).items():
        assert sorted(read(path)) == NAMES, (name, way)


@pytest.mark.parametrize('data', [b'a/1.jpg\nb\xe9.jpg\n', b'PK\x03\x04\x00\x00', 'a/1.jpg'.encode('utf-16-le')])
def test_list_that_is_no_text__every_reader_refuses_it(listed, tmp_path, data):
    path = tmp_path / 'list.txt'
    path.write_bytes(data)
    for name, read in readers(listed).items():
        if name == 'ann_file' and b'\0' not in data:  # a name on disk that is not UTF-8 is a row of the ledger
            continue
        with pytest.raises((DatasetError, ConfigError), match=r'list\.txt.*(UTF-8 text)') as caught:
            read(path)
        assert 'line 2' in str(caught.value) or b'\0' in data, name


def test_keys_with_a_blank_line__are_refused_with_its_number(tmp_path):
    np.save(tmp_path / 'v.npy', np.ones((3, 2), np.float32))
    for text, line in (('a\n\nb\nc\n', 2), ('\na\nb\n', 1), ('a\nb\n \nc', 3), ('a\r\n\r\nb\r\n', 2)):
        (tmp_path / 'k.txt').write_bytes(text.encode())
        with pytest.raises(DatasetError, match=f'Line {line} of .*k.txt is blank'):
            read_given_vectors(str(tmp_path / 'v.npy'), str(tmp_path / 'k.txt'))


def test_name_that_stands_twice__both_lines_are_named_where_it_matters(listed, tmp_path):
    np.save(tmp_path / 'v.npy', np.ones((4, 2), np.float32))
    path = tmp_path / 'list.txt'
    path.write_text('a/1.jpg\nb c/2.jpg\n./a/1.jpg \na/1.jpg\n')
    with pytest.raises(DatasetError, match=r"'a/1\.jpg' stands twice, in the lines 1 and 4"):
        read_given_vectors(str(tmp_path / 'v.npy'), str(path))
    with pytest.raises(DatasetError, match=r"'a/1\.jpg' twice, in the lines 1 and 4"):
        FromFile(str(path))
    with pytest.raises(DatasetError, match=r"'a/1\.jpg' twice, in the lines 1 and 4"):
        read_list(path, by_stem(listed))


def test_name_that_stands_twice__counts_once_in_a_list_of_what_is_meant(listed, tmp_path):
    path = tmp_path / 'list.txt'
    path.write_text('a/1.jpg\nb c/2.jpg\n./a/1.jpg \na/1.jpg\n')
    assert len(DataDEL(str(listed), ann_file=str(path))) == 2
    assert Guards(exclude=str(path)).excluded(pa.chunked_array([NAMES])).tolist() == [True, False, True]


def test_blank_at_the_end_of_a_name__counts_only_where_a_file_has_it(tmp_path):
    for number, name in enumerate(('a.jpg', 'b.jpg ', 'c.jpg')):
        draw(tmp_path / 'pool' / name, number)
    (tmp_path / 'pool' / 'b.jpg ').rename(tmp_path / 'pool' / 'b .jpg')
    (tmp_path / 'list.txt').write_text('a.jpg \nb .jpg  \n c.jpg\n')
    found = DataDEL(str(tmp_path / 'pool'), ann_file=str(tmp_path / 'list.txt'))
    assert sorted(os.path.basename(found.get_data_info(i)['img_path']) for i in range(3)) == [
        'a.jpg',
        'b .jpg',
        'c.jpg',
    ]
    keys = pa.chunked_array([['a.jpg', 'a.jpg ', 'c.jpg']])
    assert Guards(exclude=['a.jpg ', 'c.jpg ']).excluded(keys).tolist() == [False, True, True]


# --- COCO


def test_coco_of_bare_names__that_two_folders_have_is_refused(tmp_path):
    table = pa.table({'image': ['a/1.jpg', 'a/2.jpg', 'b/1.jpg'], 'rank': [0, 1, 2]})
    subset = Subset.from_ranking(table, {'recut': 'ratio'}, kept=2)
    names = ['1.jpg', '2.jpg', '1.jpg']
    for document in (
        {'images': [{'id': i, 'file_name': name} for i, name in enumerate(names)], 'annotations': []},
        {'data_list': [{'img_path': name} for name in names]},
    ):
        (tmp_path / 'in.json').write_text(json.dumps(document))
        with pytest.raises(DatasetError, match=r'names 1\.jpg more than once.*a/1\.jpg, b/1\.jpg'):
            filter_annotations(tmp_path / 'in.json', tmp_path / 'out.json', subset)
        assert not (tmp_path / 'out.json').exists()


def test_coco_of_bare_names__that_fit_two_folders_alike_is_refused_and_the_advice_works(tmp_path):
    table = pa.table({'image': ['train/1.jpg', 'val/1.jpg'], 'rank': [0, 1]})
    subset = Subset.from_ranking(table, {'recut': 'ratio'}, kept=1)
    source = tmp_path / 'in.json'
    source.write_text(json.dumps({'images': [{'id': 7, 'file_name': '1.jpg'}], 'annotations': []}))
    with pytest.raises(DatasetError, match=r'several folders.*val/, train/.*--prefix val/'):
        filter_annotations(source, tmp_path / 'out.json', subset)
    filter_annotations(source, tmp_path / 'out.json', subset, prefix='train/')
    assert json.loads((tmp_path / 'out.json').read_text())['images'] == [{'id': 7, 'file_name': '1.jpg'}]


# --- masks

TRUTH = np.zeros((24, 32), np.uint8)
TRUTH[8:16, 8:24] = 1


def with_alpha(colour, alpha):
    colour = np.broadcast_to(np.asarray(colour, np.uint8)[..., None], (*TRUTH.shape, 3))
    return Image.fromarray(np.concatenate([colour, np.asarray(alpha, np.uint8)[..., None]], 2))


def paletted(values, colours):
    image = Image.new('P', TRUTH.shape[::-1])
    image.putdata(values.ravel().tolist())
    image.putpalette(colours)
    return image


def masks_by_alpha():
    shape = TRUTH * 255
    for grey in (0, 120, 255):
        yield with_alpha(np.full_like(TRUTH, grey), shape), {}
        yield Image.fromarray(np.stack([np.full_like(TRUTH, grey), shape], 2)), {}
    yield with_alpha(shape, shape), {}
    yield with_alpha(shape, np.full_like(TRUTH, 255)), {}
    yield with_alpha(shape, np.zeros_like(TRUTH)), {}
    yield paletted(TRUTH, [255, 255, 255] * 2), {'transparency': 0}
    yield paletted(TRUTH, [0, 0, 0, 128, 0, 0]), {'transparency': 0}


def test_mask_in_alpha__is_the_mask_and_never_empty(tmp_path):
    for number, (image, options) in enumerate(masks_by_alpha()):
        image.save(tmp_path / 'mask.png', **options)
        np.testing.assert_array_equal(read_mask(str(tmp_path / 'mask.png'), 'binary'), TRUTH, str(number))


def test_mask_in_alpha__that_contradicts_its_colours_is_refused(tmp_path):
    shape = TRUTH * 255
    for kind, image in (
        ('binary', with_alpha(shape, 255 - shape)),
        ('binary', with_alpha(255 - shape, shape)),  # a black shape on white that cannot be seen
        ('binary', with_alpha(np.full_like(TRUTH, 255), np.zeros_like(TRUTH))),
        ('index', with_alpha(np.zeros_like(TRUTH), shape)),
        ('index', with_alpha(TRUTH, 255 - shape)),
    ):
        image.save(tmp_path / 'mask.png')
        with pytest.raises(DatasetError, match='say different things'):
            read_mask(str(tmp_path / 'mask.png'), kind, 2 if kind == 'index' else None)


def test_mask_of_other_ranges__is_refused_and_never_empty(tmp_path):
    for name, values in (
        ('twelve bits.png', TRUTH.astype(np.uint16) * 4095),
        ('half.tif', TRUTH.astype(np.float32) / 2),
        ('nan.tif', np.where(TRUTH, np.nan, 0).astype(np.float32)),
        ('negative.tif', -TRUTH.astype(np.float32)),
        ('one.jpg', TRUTH),
        ('faint.jpg', TRUTH * 90),
        ('not labelled.png', np.where(np.arange(32) == 0, 255, TRUTH).astype(np.uint8)),
    ):
        Image.fromarray(values).save(tmp_path / name, quality=100)
        with pytest.raises(DatasetError, match='neither 0 and 1 nor 0 and 255|holds 1 and 255'):
            read_mask(str(tmp_path / name), 'binary')
    Image.fromarray(TRUTH * 90).save(tmp_path / 'faint.png')
    with pytest.raises(UnreadableImage, match='reach 90'):
        foreground(tmp_path / 'faint.png')


def test_mask_of_few_bits__keeps_its_numbers(tmp_path):
    numbers = (np.arange(24 * 32).reshape(24, 32) % 4).astype(np.uint8)
    Image.fromarray(TRUTH * 255).convert('1').save(tmp_path / 'white is zero.tif', tiffinfo={262: 0})
    np.testing.assert_array_equal(read_mask(str(tmp_path / 'white is zero.tif'), 'binary'), TRUTH)
    Image.fromarray(numbers).save(tmp_path / 'grey.tif', tiffinfo={262: 0})
    with pytest.raises(DatasetError, match='white as 0'):
        read_mask(str(tmp_path / 'grey.tif'), 'index', 4)
    cv2.imwrite(str(tmp_path / 'x.png'), numbers * 85)
    two_bits(numbers, tmp_path / 'two.png')
    np.testing.assert_array_equal(read_mask(str(tmp_path / 'two.png'), 'index', 4), numbers)


def two_bits(numbers, path):
    """A grey PNG of two bits a pixel, which Pillow cannot write."""

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    bits = (numbers.reshape(len(numbers), -1, 4) << np.array([6, 4, 2, 0], np.uint8)).sum(2).astype(np.uint8)
    lines = b''.join(b'\0' + line.tobytes() for line in bits)
    head = struct.pack('>IIBBBBB', numbers.shape[1], numbers.shape[0], 2, 0, 0, 0, 0)
    path.write_bytes(
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(lines)) + chunk(b'IEND', b'')
    )


# --- the subset file


def test_subset_of_an_earlier_version__is_read_and_what_it_lacks_is_null(tmp_path):
    path = ROOT / 'tests' / 'data' / 'subset_of_format_1.parquet'
    assert 'patient' not in pq.read_schema(path).names
    subset = Subset.read(path)
    assert subset.table.schema.equals(SCHEMA) and subset.table['patient'].null_count == len(subset.table)
    assert len(subset.kept) == 4 and subset.ratio == 0.5 and subset.count('unreadable') == 1
    assert len(subset.at(eta=0.45).kept) == 4 and len(subset.at(ratio=0.25).kept) == 2
    subset.write(tmp_path / 'now.parquet')
    assert Subset.read(tmp_path / 'now.parquet').table.equals(subset.table) or rows(subset)


def future(tmp_path, change=lambda table: table, **metadata):
    """The subset of today as a later version or another program might write it."""
    table = pq.read_table(ROOT / 'tests' / 'data' / 'subset_of_format_1.parquet')
    about = {**json.loads(table.schema.metadata[b'mmdel']), **metadata}
    table = change(table).replace_schema_metadata({b'mmdel': json.dumps(about).encode(), b'other': b'x'})
    pq.write_table(table, tmp_path / 'future.parquet')
    return tmp_path / 'future.parquet'


def test_subset_of_a_later_version__keeps_its_columns_through_everything(tmp_path):
    def change(table):
        table = table.append_column('quality', pa.array(np.linspace(0, 1, len(table))))
        table = table.append_column('tags', pa.array([['a', 'b']] * len(table)))
        return table.select(table.column_names[::-1])

    subset = Subset.read(future(tmp_path, change, invented={'a': [1]}))
    assert subset.table.column_names == [*SCHEMA.names, 'tags', 'quality']
    assert subset.metadata['invented'] == {'a': [1]}
    quality = {key: row['quality'] for key, row in rows(subset).items()}
    ranks = subset.readable_rows['rank'].to_numpy()
    new = pa.table({'image': ['pool/zzz.jpg'], 'rank': [len(ranks)], 'reason': ['duplicate']})
    for again in (
        subset.at(ratio=0.25),
        subset.at(eta=0.5),
        subset.reranked(ranks[::-1].copy(), 2, (0, 8)),
        subset.extended(new, {}),
    ):
        again.write(tmp_path / 'again.parquet')
        found = rows(Subset.read(tmp_path / 'again.parquet'))
        assert {key: found[key]['quality'] for key in quality} == quality
        assert all(row['tags'] == (None if key == 'pool/zzz.jpg' else ['a', 'b']) for key, row in found.items())


def test_subset_of_another_program__is_read_where_its_types_say_the_same(tmp_path):
    def change(table):
        columns = {name: table[name] for name in table.column_names}
        columns['image'] = columns['image'].cast(pa.large_string())
        columns['reason'] = columns['reason'].dictionary_encode()
        columns['width'] = columns['width'].cast(pa.int64())
        columns['redundancy'] = columns['redundancy'].cast(pa.float64())
        return pa.table(columns)

    subset = Subset.read(future(tmp_path, change))
    assert subset.table.schema.equals(SCHEMA)
    assert str(rows(subset)) == str(rows(Subset.read(ROOT / 'tests' / 'data' / 'subset_of_format_1.parquet')))


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda table: table.drop_columns(['rank', 'keep']), 'no column rank and no column keep'),
        (lambda table: table.append_column('keep', table['keep']), 'Multiple matches'),
        (lambda table: replaced(table, 'width', pa.array([2**40] * len(table))), 'column width is int64'),
        (lambda table: replaced(table, 'distance', pa.array([0.1] * len(table))), 'no float'),
        (lambda table: replaced(table, 'image', pa.array(range(len(table)))), 'column image|is not|sorted|rows'),
        (lambda table: replaced(table, 'keep', pa.nulls(len(table), pa.bool_())), 'keep is not known'),
    ],
)
def test_subset_of_another_program__that_says_something_else_is_refused(tmp_path, change, words):
    if words.startswith('column image'):
        path = future(tmp_path, lambda table: replaced(table, 'image', pa.array([[1]] * len(table))))
    else:
        path = future(tmp_path, change)
    with pytest.raises(SubsetError, match=f'future.parquet.*({words})'):
        Subset.read(path)


def replaced(table, name, values):
    return table.set_column(table.schema.get_field_index(name), name, values)


def test_subset_columns__are_declared_once_with_their_meaning():
    assert SCHEMA.names == [column.name for column in COLUMNS]
    assert all(column.meaning and column.source in ('dataset', 'file', 'selector', 'cut') for column in COLUMNS)


# --- labels and tables of own folders


def test_labels_of_folders__guard_classes_as_the_documents_show(dedup, classes):
    options = ('--images', classes, '--ratio', '0.5', '--cfg-options', 'guards.min_keep.label=2')
    status, out = dedup(*options, '--work-dir', 'out', '--labels', 'folders')
    assert status == 0, out
    subset = Subset.read('out/subset.parquet')
    assert subset.metadata['classes'] == ['normal', 'polyp']
    labels = {key: row['label'] for key, row in rows(subset).items()}
    assert labels == {key: key.split('/')[0] if '/' in key else None for key in subset.images}
    kept = [labels[key] for key in subset.kept]
    assert kept.count('polyp') >= 2 and kept.count('normal') >= 2
    assert 'normal 8, polyp 4); 1 image without' in ' '.join(out.split())
    # the same numbers as stock datasets give
    from mmpretrain.datasets import CustomDataset

    theirs = CustomDataset(data_prefix=str(classes), pipeline=[])
    numbers = {
        os.path.relpath(info['img_path'], classes): info['gt_label'] for info in map(theirs.get_data_info, range(12))
    }
    ours = DataDEL(str(classes), labels='folders')
    found = {
        os.path.relpath(info['img_path'], classes): info.get('gt_label') for info in map(ours.get_data_info, range(13))
    }
    assert found == {**numbers, 'top.jpg': None} and ours.metainfo['classes'] == ('normal', 'polyp')


def test_labels_that_nobody_told__are_asked_for_with_advice_that_works(dedup, classes):
    options = ('--images', classes, '--ratio', '0.5', '--work-dir', 'out', '--cfg-options', 'guards.min_keep.label=2')
    status, out = dedup(*options)
    assert status == 2 and '--labels folders' in out and '--table' in out
    assert dedup(*options, '--labels', 'folders')[0] == 0
    with pytest.raises(ConfigError, match="labels is 'folders'"):
        DataDEL(str(classes), labels='files')


@pytest.mark.parametrize('folder', ['', 'train', 'images'])
def test_labels_of_folders__that_are_named_after_no_class_are_refused(tmp_path, folder):
    draw(tmp_path / 'frames' / folder / 'a.jpg', 1)
    with pytest.raises(DatasetError, match='first folder below .*--table'):
        DataDEL(str(tmp_path / 'frames'), labels='folders')


def table_text(classes, separator=',', end='\n'):
    names = sorted(path.relative_to(classes).as_posix() for path in classes.rglob('*.jpg'))
    lines = [separator.join(('key', 'label', 'patient', 'video', 'frame'))]
    for number, name in enumerate(names):
        lines.append(separator.join((name, 'ab'[number % 2], f'p{number % 3}', 'v', str(number))))
    return end.join([*lines, '']), names


@pytest.mark.parametrize(
    'way', ['comma', 'semicolon', 'tab', 'windows', 'utf-16', 'quoted', 'parquet', 'spelling', 'sep']
)
def test_table_of_own_images__gives_labels_patients_and_time(dedup, classes, tmp_path, way):
    text, names = table_text(classes, {'semicolon': ';', 'tab': '\t', 'sep': ';'}.get(way, ','))
    data = text.encode()
    if way == 'windows':
        data = text.replace('\n', '\r\n').encode('utf-8-sig')
    elif way == 'utf-16':
        data = text.encode('utf-16')
    elif way == 'sep':
        data = b'sep=;\n' + data
    elif way == 'quoted':
        data = '\n'.join(','.join(f'"{cell}"' for cell in line.split(',')) for line in text.split('\n')[:-1]).encode()
    elif way == 'spelling':
        lines = text.split('\n')
        lines[1], lines[2] = f'./{lines[1]}', lines[2].replace('/', '\\')
        lines[3] = f'{classes.absolute()}/{lines[3]}'
        data = '\n'.join([lines[0].replace('key', ' Key '), *lines[1:], '', ',,,,']).encode()
    path = tmp_path / ('table.parquet' if way == 'parquet' else 'table.csv')
    path.write_bytes(data)
    if way == 'parquet':
        header, *lines = list(csv.reader(text.splitlines()))
        table = dict(zip(header, zip(*lines, strict=True), strict=True))
        table['frame'] = pa.array(map(float, table['frame']))
        pq.write_table(pa.table({**table, 'key': pa.array(table['key'])}), path)
    dataset = DataDEL(str(classes), table=str(path))
    for number, name in enumerate(names):
        info = dataset.get_data_info(number)
        assert info['img_path'].endswith(name) and info['gt_label'] == number % 2
        assert (info['patient'], info['video'], info['frame']) == (f'p{number % 3}', 'v', number)
    assert dataset.metainfo['classes'] == ('a', 'b')


def test_table_of_own_images__guards_patients_and_orders_time(dedup, classes, tmp_path):
    text, _ = table_text(classes)
    (tmp_path / 'table.csv').write_text(text)
    options = ('--images', classes, '--table', 'table.csv', '--ratio', '0.4')
    status, out = dedup(*options, '--work-dir', 'out', '--cfg-options', 'guards.min_keep.patient=1')
    assert status == 0, out
    subset = Subset.read('out/subset.parquet')
    assert {rows(subset)[key]['patient'] for key in subset.kept} == {'p0', 'p1', 'p2'}
    status, out = dedup(*options, '--work-dir', 'time', '--selector', 'coverage-time')
    assert status == 0, out
    assert set(Subset.read('time/subset.parquet').table['video'].to_pylist()) == {'v'}


def test_table_of_own_images__a_row_of_a_file_is_about_all_its_pictures(tmp_path):
    pictures = [Image.fromarray(np.full((16, 16, 3), 60 * number, np.uint8)) for number in range(3)]
    pictures[0].save(tmp_path / 'loop.gif', save_all=True, append_images=pictures[1:])
    draw(tmp_path / 'still.jpg', 1)
    (tmp_path / 't.csv').write_text('file,label,patient\nloop.gif,a,p1\nstill.jpg,b,p2\n')
    dataset = DataDEL(str(tmp_path), table=str(tmp_path / 't.csv'), videos='all')
    found = [(Path(info['img_path']).name, info['patient']) for info in map(dataset.get_data_info, range(len(dataset)))]
    assert found == [*((f'loop.gif#{number:06d}', 'p1') for number in range(3)), ('still.jpg', 'p2')]
    assert not [note for note in dataset.notes if 't.csv' in note and 'not used' not in note]


def test_table_of_class_numbers__are_the_numbers_of_gt_label(classes, tmp_path):
    names = sorted(path.relative_to(classes).as_posix() for path in classes.rglob('*.jpg'))
    numbers = [number + 1 if number < 12 else 0 for number in range(13)]
    lines = [f'{name},{number}' for name, number in zip(names, numbers, strict=True)]
    (tmp_path / 't.csv').write_text('\n'.join(['image,label', *lines]))
    dataset = DataDEL(str(classes), table=str(tmp_path / 't.csv'))
    assert [dataset.get_data_info(i)['gt_label'] for i in range(13)] == numbers
    assert dataset.metainfo['classes'] == tuple(map(str, range(13)))


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('', 'is empty'),
        ('name,label\ntop.jpg,a\n', 'needs a first line'),
        ('key,age\ntop.jpg,a\n', 'needs a first line'),
        ('top.jpg,a\n', 'needs a first line'),
        ('key,label\nelsewhere.jpg,a\n', 'says nothing of any'),
        ('key,label\ntop.jpg,a\n./top.jpg,b\n', 'two things of top.jpg'),
        ('key,label\nto,p.jpg,a\n', 'has 3 cells'),
        ('key,label\n"top.jpg,a\n', 'quote never closed'),
        ('key,label,label\ntop.jpg,a,b\n', "column 'label' twice"),
        ('key,frame\ntop.jpg,first\n', "frame 'first'"),
        ('key,frame\ntop.jpg,1.5\n', "frame '1.5'"),
        ('key,frame\ntop.jpg,nan\n', "frame 'nan'"),
    ],
)
def test_table_that_cannot_be_used__says_what_is_wrong(classes, tmp_path, text, words):
    (tmp_path / 't.csv').write_text(text)
    with pytest.raises(DatasetError, match=f'(?i)t.csv.*{words}|{words}.*t.csv'):
        DataDEL(str(classes), table=str(tmp_path / 't.csv'))


def test_table_of_some_images__says_which_rows_and_images_are_left_out(classes, tmp_path):
    (tmp_path / 't.csv').write_text('Image;Class;age\ntop.jpg;a;7\ngone.jpg;b;8\ntop.jpg;a;9\n')
    notes = ' '.join(DataDEL(str(classes), table=str(tmp_path / 't.csv')).notes)
    assert (
        'says nothing of 12 of 13 images' in notes
        and "1 rows of t.csv name no image that is there, first 'gone.jpg'" in notes
    )
    assert 'not used: age' in notes and '1 image with a label, 1 different ones (a 1); 12 images without' in notes


def test_labels_and_tables__are_for_folders(dedup, tmp_path):
    np.save('v.npy', np.eye(4, dtype=np.float32))
    for option in (('--labels', 'folders'), ('--table', 't.csv')):
        status, out = dedup('--embeddings', 'v.npy', '--work-dir', 'out', *option)
        assert status == 2 and f'{option[0]} is for mmdel.DataDEL' in out
        assert not Path('out').exists()


def test_guard_of_a_column_that_is_not_there__names_the_table(classes):
    table = pa.table({'image': ['a'], 'rank': [0]})
    with pytest.raises(GuardError, match='No image has a patient.*--table'):
        Guards(min_keep=dict(patient=1)).apply(Subset.from_ranking(table, {}), exact=False)


# --- and


@pytest.mark.parametrize('option', ['work_dir', 'cache_dir', 'both'])
def test_work_dir_among_the_images__is_refused_and_nothing_created(dedup, classes, option):
    def listing():
        return sorted(str(path) for path in classes.rglob('*'))

    before = listing()
    inside = {'work_dir': classes / 'out', 'cache_dir': classes / 'cache'}
    asked = inside if option == 'both' else {option: inside[option]}
    options = [f'{name}={path}' for name, path in asked.items()]
    status, out = dedup('--images', classes, '--ratio', '0.5', '--cfg-options', *options)
    assert status == 2 and 'would lie inside the image folder' in out, out
    assert listing() == before
    advice = out.split('--cfg-options ')[1].split('\n')[0].split()
    status, out = dedup('--images', classes, '--ratio', '0.5', '--cfg-options', *advice)
    assert status == 0, out
    assert listing() == before


def test_csv_on_every_python__holds_any_character(tmp_path):
    code = (
        'import importlib.util, sys, types\n'
        'sys.modules["mmdel"] = mmdel = types.ModuleType("mmdel")\n'  # bare interpreters lack what the package needs
        'sys.modules["mmdel.compute"] = mmdel.compute = types.ModuleType("mmdel.compute")\n'
        'mmdel.compute.storage = None\n'
        f'spec = importlib.util.spec_from_file_location("files", {str(ROOT / "mmdel" / "compute" / "files.py")!r})\n'
        'files = importlib.util.module_from_spec(spec); spec.loader.exec_module(files)\n'
        'parts = ["a", "\\"", ",", "\\n", "\\r", "\\0", "\\ufdd0", "0", " ", "", "\\\\"]\n'
        'rows = [[x + y, z] for x in parts for y in parts for z in parts] + [[x] for x in parts]\n'
        'for end in ("\\n", "\\r\\n"):\n'
        '    text = files.csv_text(rows, end)\n'
        '    assert files.csv_rows(text) == rows\n'
        '    print(ascii(text))\n'
    )
    texts = []
    for version in ('3.10', '3.11', '3.12', '3.13', ''):
        python = interpreter(version) if version else sys.executable
        if python:
            done = subprocess.run([python, '-I', '-c', code], capture_output=True, text=True, check=False)
            assert done.returncode == 0, (version, done.stderr)
            texts.append(done.stdout)
    assert len(set(texts)) == 1


def interpreter(version):
    """Another Python on this machine, '' where there is none that runs."""
    pyenv = Path(os.environ.get('PYENV_ROOT', Path.home() / '.pyenv')) / 'versions'
    for python in (*map(str, pyenv.glob(f'{version}.*/bin/python')), shutil.which(f'python{version}')):
        if python and subprocess.run([python, '-c', ''], capture_output=True, check=False).returncode == 0:
            return python
    return ''
