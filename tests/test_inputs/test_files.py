"""What becomes of files and folders, from the command line: each test is a row of docs/inputs.md."""

import csv
import importlib.util
import io
import os
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from mmengine.logging import MMLogger
from PIL import Image, features

from mmdel.cli import command
from mmdel.cli.dedup import COMMAND
from mmdel.engine import asked_images
from mmdel.subset import Subset

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs' / 'demo' / 'meddel_pixels.py'

FORMATS = {
    '.jpg': 'JPEG', '.jpeg': 'JPEG', '.jpe': 'JPEG', '.jfif': 'JPEG', '.jif': 'JPEG', '.png': 'PNG', '.apng': 'PNG',
    '.bmp': 'BMP', '.dib': 'DIB', '.gif': 'GIF', '.webp': 'WEBP', '.tif': 'TIFF', '.tiff': 'TIFF', '.jp2': 'JPEG2000',
    '.j2k': 'JPEG2000', **({'.avif': 'AVIF'} if features.check('avif') else {}), '.ppm': 'PPM', '.pgm': 'PPM', '.pnm': 'PPM',
}  # fmt: skip
OTHERS = (
    '.txt', '.csv', '.xml', '.json', '.md', '.pdf', '.docx', '.xlsx', '.mat', '.npy', '.h5', '.pkl', '.py', '.zip', '.rar', '.7z',
    '.tar.gz', '.dcm', '.nii', '.nii.gz', '.nrrd', '.svs', '.heic', '.log',
)  # fmt: skip
LEFTOVERS = (
    'Thumbs.db', 'desktop.ini', '.DS_Store', '._1.jpg', '.hidden.png', '1.jpg~', '@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg',
    '#recycle/1.jpg', '__MACOSX/._1.jpg', '.Trash-1000/files/1.jpg', 'lost+found/#123.jpg', '$RECYCLE.BIN/$R1.jpg',
    '.snapshot/daily/1.jpg',
)  # fmt: skip


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('dedup', ROOT / 'tools' / 'dedup.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def dedup(tool, tmp_path, monkeypatch, capsys):
    """Call ``tools/dedup.py`` in an empty folder; returns what it printed, and with ``status=0`` leaves a work dir ``run``."""
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    monkeypatch.setenv('COLUMNS', '200')
    MMLogger._instance_dict.clear()

    def call(*arguments, status=0):
        options = ['--ratio', '0.5', '--work-dir', 'run', '--overwrite', '--no-report']
        monkeypatch.setattr(sys, 'argv', ['dedup.py', str(CONFIG), *options, *map(str, arguments)])
        MMLogger._instance_dict.clear()  # a logger writes to what stdout was when it was made
        code = 0
        try:
            tool.main()
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        text = printed.out + printed.err
        assert (code, 'Traceback' in text) == (status, False), text
        return ' '.join(text.split())

    return call


def picture(seed, kind='JPEG'):
    """The bytes of a small random picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC).save(file, kind)
    return file.getvalue()


def write(folder, *names, first=0):
    for seed, name in enumerate(names, first):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(seed, FORMATS.get(path.suffix.lower(), 'JPEG')))
    return folder


def listed(run='run'):
    return set(Subset.read(Path(run) / 'subset.parquet').table['image'].to_pylist())


def skipped(run='run'):
    path = Path(run) / 'skipped.csv'
    if not path.exists():
        return {}
    with open(path, encoding='utf-8', newline='') as file:
        return {row['file']: row['reason'] for row in csv.DictReader(file)}


def numbered(pattern, count=6):
    return [pattern.format(number) for number in range(count)]


# --- masks


@pytest.mark.parametrize(
    ('images', 'masks'),
    [
        ('images/{}.jpg', 'masks/{}.jpg'),
        ('Original/{}.jpg', 'Ground Truth/{}.png'),
        ('img_dir/train/a/{}.jpg', 'ann_dir/train/a/{}.png'),
        ('scan {}.png', 'scan {}_mask.png'),
    ],
)
def test_masks_beside_images(images, masks, dedup, tmp_path):
    pool = write(tmp_path / 'kv', *numbered(images), *numbered(masks))
    said = dedup('--images', pool)
    assert listed() == set(numbered(images))
    assert '6 masks left out, in ' in said and '--masks keep takes them in' in said
    assert skipped() == dict.fromkeys(numbered(masks), 'mask of an image beside it')


def test_masks_taken_for_images(dedup, tmp_path):
    pool = write(tmp_path / 'kv', *numbered('images/{}.jpg'), *numbered('masks/{}.png'))
    dedup('--images', pool, '--masks', 'keep')
    assert len(listed()) == 12 and not skipped()
    assert "masks='keep'" in Path('run/config.py').read_text()


def test_masks_named_by_a_person(dedup, tmp_path):
    pool = write(tmp_path / 'kv', *numbered('images/{}.jpg'), *numbered('masks/{}.png'))
    dedup('--images', pool / 'masks')
    assert listed() == set(numbered('{}.png'))


def test_masks_in_doubt(dedup, tmp_path):
    pool = write(tmp_path / 'classes', *numbered('labels/{}.jpg'), *numbered('cats/{}.jpg'), *numbered('dogs/{}.jpg'))
    said = dedup('--images', pool)
    assert len(listed()) == 18
    assert (
        '6 files in ' in said and 'so they are kept. If they are no images, leave them out: --exclude /labels/' in said
    )
    dedup('--images', pool, '--exclude', '/labels/')
    assert len(listed()) == 12


# --- what is left out


def test_leftovers_of_systems(dedup, tmp_path):
    pool = write(tmp_path / 'pool', *numbered('{}.jpg'), *LEFTOVERS, 'a/@eaDir/x.jpg')
    said = dedup('--images', pool)
    assert listed() == set(numbered('{}.jpg'))
    assert f'{len(LEFTOVERS) + 1} files hidden or left behind by a system, ignored (' in said
    assert set(skipped().values()) == {'hidden, or left behind by a system'}
    assert '@eaDir/' in skipped() and 'a/@eaDir/' in skipped() and 'Thumbs.db' in skipped()


def test_exclude(dedup, tmp_path):
    pool = write(tmp_path / 'pool', *numbered('{}.jpg'), *numbered('old/{}.jpg'), 'a_overlay.png', 'keep_overlay.png')
    said = dedup('--images', pool, '--exclude', 'old/', '*_overlay.png', '!keep_overlay.png')
    assert listed() == {*numbered('{}.jpg'), 'keep_overlay.png'}
    assert '7 files left out by --exclude' in said
    assert skipped() == {'old/': 'excluded by old/', 'a_overlay.png': 'excluded by *_overlay.png'}
    assert "'*_overlay.png'" in Path('run/config.py').read_text()


def test_exclude_without_match(dedup, tmp_path):
    said = dedup('--images', write(tmp_path / 'pool', *numbered('{}.jpg')), '--exclude', 'olt/')
    assert f"--exclude 'olt/' matches nothing: patterns are relative to {tmp_path / 'pool'}" in said


@pytest.mark.parametrize(
    ('pattern', 'words'), [('', '--exclude: empty'), ('#recycle', "exclude: '#recycle'"), ('!', "exclude: '!'")]
)
def test_exclude_no_pattern(pattern, words, dedup, tmp_path):
    pool = write(tmp_path / 'pool', *numbered('{}.jpg'))
    assert words in dedup('--images', pool, f'--exclude={pattern}', status=2)


def test_exclude_of_other_datasets(dedup, tmp_path):
    np.save(tmp_path / 'v.npy', np.eye(4, dtype=np.float32))
    said = dedup('--embeddings', tmp_path / 'v.npy', '--exclude', 'old/', status=2)
    assert '--exclude is for mmdel.DataDEL' in said and 'Vectors have keys only' in said
    (tmp_path / 'other.py').write_text(
        "train_dataloader = dict(dataset=dict(type='mmpretrain.CustomDataset', data_root='x'))"
    )
    said = dedup('--dataset-from', tmp_path / 'other.py', '--exclude', 'old/', status=2)
    assert 'Other datasets tell this themselves' in said


# --- kinds


def test_endings_of_images(dedup, tmp_path):
    names = [f'{place}{ending}' for place, ending in enumerate([*FORMATS, '.JPG', '.Jp2'])]
    dedup('--images', write(tmp_path / 'pool', *names))
    table = Subset.read('run/subset.parquet').table
    assert set(table['image'].to_pylist()) == set(names)
    assert 'unreadable' not in table['reason'].to_pylist()


def test_images_without_ending(dedup, tmp_path):
    names = ['IM0001', '1.2.840.10008.1', 'photo.jpg_large', 'ä 1']
    pool = write(tmp_path / 'pool', *names)
    (pool / 'README').write_text('words')
    (pool / 'IM0002').write_bytes(bytes(128) + b'DICM' + bytes(9))
    said = dedup('--images', pool)
    assert listed() == set(names)
    assert '2 files with other endings ignored (1 DICOM without ending, 1 without ending)' in said


def test_other_endings(dedup, tmp_path):
    pool = write(tmp_path / 'pool', *numbered('{}.jpg'))
    for ending in OTHERS:
        (pool / f'x{ending}').write_text('')
    (pool / 'clip.avi').write_text('')
    said = dedup('--images', pool, '--list-skipped')
    assert f'{len(OTHERS)} files with other endings ignored' in said
    assert all(f'1 {ending}' in said and f'x{ending}: no image: {ending}' in said for ending in OTHERS)
    assert '1 video left out' in said and skipped()['clip.avi'] == 'video, of which no frames are taken'


def test_kinds_that_are_not_read(dedup, tmp_path):
    pool = tmp_path / 'pool'
    pool.mkdir()
    for name in ('a.dcm', 'b.nii.gz'):
        (pool / name).write_text('')
    said = dedup('--images', pool, status=2)
    assert '1 .dcm' in said and 'mmdel does not read DICOM and NIfTI files: convert them' in said
    assert 'is a NIfTI file, which mmdel does not read' in dedup('--images', pool / 'b.nii.gz', status=2)


def test_sums(dedup, tmp_path):
    """Hundreds of files of dozens of kinds: each is a row of the subset, or stands in skipped.csv itself or by its folder."""
    pool = write(tmp_path / 'pool', *(f'{ending[1:]}/{number}{ending}' for ending in FORMATS for number in range(12)))
    write(
        pool,
        *numbered('kv/images/{}.jpg', 20),
        *numbered('kv/masks/{}.png', 20),
        *LEFTOVERS,
        *numbered('IM{}'),
        first=500,
    )
    for number in range(2):
        for ending in OTHERS:
            (pool / f'{number}{ending}').write_text('words')
    for name, data in {
        'empty.jpg': b'',
        'words.png': b'words',
        'cut.jpg': picture(1)[:200],
        'README': b'',
        'DICOMDIR': bytes(140),
    }.items():
        (pool / name).write_bytes(data)
    (pool / 'lost.jpg').symlink_to('nowhere.jpg')
    (pool / 'up').symlink_to(pool)
    (pool / 'lost').symlink_to('nowhere')
    os.mkfifo(pool / 'pipe.jpg')
    said = dedup('--images', pool, '--exclude', 'dib/', 'kv/images/1?.jpg')
    files = {str((Path(folder) / name).relative_to(pool)) for folder, _, names in os.walk(pool) for name in names}
    rows, others = listed(), skipped()
    assert len(files) > 300 and len({Path(name).suffix for name in files}) > 40
    assert not rows & others.keys()
    by_folder = {name for name in files if any(str(parent) + '/' in others for parent in Path(name).parents)}
    assert files == (rows | by_folder | others.keys() & files)
    assert {name for name in others if name not in files} == {name for name in others if name.endswith('/')}
    assert not by_folder & (rows | others.keys())
    assert {'empty.jpg', 'words.png', 'cut.jpg', 'lost.jpg', 'pipe.jpg'} <= rows
    assert '20 masks left out' in said and f'{12 + 10} files left out by --exclude' in said


# --- forms of --images


def test_one_file(dedup, tmp_path):
    pool = write(tmp_path / 'pool', '1.jpg', '2')
    for name in ('1.jpg', '2'):
        assert (
            f'{name} is one image' in (said := dedup('--images', pool / name, status=2)) and f'--images {pool}' in said
        )
    (pool / 'a.mp4').write_text('')
    assert f'--images {pool} --videos 1fps' in dedup('--images', pool / 'a.mp4', status=2)


@pytest.mark.parametrize(
    ('name', 'advice'),
    [
        ('v.npy', '--embeddings'),
        ('c.py', '--dataset-from'),
        ('subset.parquet', '--update'),
        ('a.rar', 'Unpack'),
        ('a.bin', 'a folder'),
    ],
)
def test_one_file__of_another_kind(name, advice, dedup, tmp_path):
    (tmp_path / name).write_text('')
    assert advice in dedup('--images', tmp_path / name, status=2)


def test_list_of_paths(dedup, tmp_path):
    pool = write(tmp_path / 'pool', *numbered('a b/ä {}.jpg'))
    lines = [
        'a b/ä 0.jpg',
        '',
        ' a b/ä 1.jpg\t',
        str(pool / 'a b' / 'ä 2.jpg'),
        'a b\\ä 3.jpg',
        'a b/ä 0.jpg',
        'a b/gone.jpg',
    ]
    (pool / 'list.txt').write_bytes(b'\xef\xbb\xbf' + '\r\n'.join(lines).encode())
    dedup('--images', pool / 'list.txt')
    table = Subset.read('run/subset.parquet').table
    assert dict(
        zip(table['image'].to_pylist(), (reason == 'unreadable' for reason in table['reason'].to_pylist()), strict=True)
    ) == {
        **dict.fromkeys(numbered('a b/ä {}.jpg', 4), False),
        'a b/gone.jpg': True,
    }


def test_list_of_paths__relative_to_the_current_folder(dedup, tmp_path):
    write(tmp_path / 'here' / 'pool', *numbered('{}.jpg'))
    (tmp_path / 'lists').mkdir()
    (tmp_path / 'lists' / 'train.csv').write_text('image,label\n' + ''.join(f'pool/{n}.jpg,{n}\n' for n in range(4)))
    dedup('--images', tmp_path / 'lists' / 'train.csv')
    assert listed() == set(numbered('pool/{}.jpg', 4))


def test_list_of_paths__of_other_folders(dedup, tmp_path):
    write(tmp_path / 'one', '1.jpg')
    write(tmp_path / 'two', '2.jpg', '3.jpg')
    (tmp_path / 'one' / 'list.lst').write_text('1.jpg\n../two/2.jpg\n')
    dedup('--images', tmp_path / 'one' / 'list.lst')
    assert listed() == {'one/1.jpg', 'two/2.jpg'}


def test_list_of_nothing(dedup, tmp_path):
    (tmp_path / 'keep.txt').write_text('images/1.jpg\n')
    said = dedup('--images', tmp_path / 'keep.txt', status=2)
    write(tmp_path / 'kv', *numbered('images/{}.jpg'))
    assert f'dataset.data_root=FOLDER dataset.ann_file={tmp_path / "keep.txt"}' in said
    dedup('--cfg-options', f'dataset.data_root={tmp_path / "kv"}', f'dataset.ann_file={tmp_path / "keep.txt"}')
    assert listed() == {'images/1.jpg'}


@pytest.fixture
def archives(tmp_path):
    """A zip and a tar file of six images, a readme, and what does not belong there."""
    pool = write(tmp_path / 'pool', *numbered('set/{}.jpg'))
    (pool / 'set' / 'readme.txt').write_text('words')
    with zipfile.ZipFile(tmp_path / 'set.zip', 'w') as file:
        for path in sorted(pool.rglob('*.*')):
            file.write(path, path.relative_to(pool))
        file.writestr('__MACOSX/set/._1.jpg', 'rubbish')
        file.writestr('../evil.jpg', 'evil')
    with tarfile.open(tmp_path / 'set.tar.gz', 'w:gz') as file:
        file.add(pool, '.')
    return tmp_path


@pytest.mark.parametrize('name', ['set.zip', 'set.tar.gz'])
def test_archive(name, archives, dedup, monkeypatch):
    said = dedup('--images', archives / name)
    assert listed() == set(numbered('set/{}.jpg')) and skipped() == {'set/readme.txt': 'no image: .txt'}
    assert f'{name} is unpacked into work_dirs/.archives/set-' in said
    assert not (archives / 'evil.jpg').exists() and not list(Path('work_dirs').rglob('evil.jpg'))
    monkeypatch.setattr(asked_images, '_unpack', lambda *_: pytest.fail('it was unpacked already'))
    dedup('--images', archives / name)


def test_archive__killed_while_unpacked(archives, dedup, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, 'replace', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            asked_images.asked_images(str(archives / 'set.zip'))
    dedup('--images', archives / 'set.zip')
    assert listed() == set(numbered('set/{}.jpg'))


def test_archive__that_has_changed_is_unpacked_again(archives, dedup):
    dedup('--images', archives / 'set.zip')
    with zipfile.ZipFile(archives / 'set.zip', 'a') as file:
        file.writestr('set/new.jpg', picture(99))
    dedup('--images', archives / 'set.zip')
    assert listed() == {*numbered('set/{}.jpg'), 'set/new.jpg'}


def test_archive_cut_off(archives, dedup):
    for name in ('set.zip', 'set.tar.gz'):
        whole = (archives / name).read_bytes()
        (archives / name).write_bytes(whole[: len(whole) // 2])
        assert 'load it again' in dedup('--images', archives / name, status=2)
    assert not [path for path in Path('work_dirs/.archives').iterdir() if not path.name.startswith('.')]


def test_home_and_variables(dedup, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('POOL', str(tmp_path / 'my pool'))
    write(tmp_path / 'my pool', *numbered('{}.jpg'))
    for typed in ('~/my pool', '$POOL', '${POOL}/', ' "~/my pool" ', f'{tmp_path}/my pool '):
        dedup('--images', typed)
        assert listed() == set(numbered('{}.jpg'))
    assert 'the variable $NOT_SET is not set' in dedup('--images', '$NOT_SET/pool', status=2)


def test_pattern(dedup, tmp_path):
    pool = write(tmp_path / 'pool', *numbered('a/{}.jpg'), *numbered('b/{}.png'), 'a/@eaDir/9.jpg')
    expected = {
        'a/*.jpg': set(numbered('{}.jpg')),  # all of a folder is that folder
        '**/*.png': set(numbered('{}.png')),
        'a/[0-2].jpg': set(numbered('{}.jpg', 3)),
        '*/1.*': {'a/1.jpg', 'b/1.png'},
        '*': {*numbered('a/{}.jpg'), *numbered('b/{}.png')},
        '**': {*numbered('a/{}.jpg'), *numbered('b/{}.png')},
    }
    for pattern, names in expected.items():
        dedup('--images', pool / pattern)
        assert listed() == names, pattern
    assert 'no file or folder matches' in dedup('--images', pool / 'c*', status=2)


def test_several_paths(dedup, tmp_path):
    pool = write(tmp_path / 'pool', *numbered('a/{}.jpg'), *numbered('b/{}.jpg'), *numbered('c/{}.jpg'), 'x.jpg')
    dedup('--images', pool / 'a', pool / 'c')
    assert listed() == {*numbered('a/{}.jpg'), *numbered('c/{}.jpg')}
    dedup('--images', *(pool / 'a' / name for name in numbered('{}.jpg', 3)))
    assert listed() == set(numbered('{}.jpg', 3))
    assert 'a mix of folders, files and archives' in dedup('--images', pool / 'a', pool / 'x.jpg', status=2)


def test_several_paths__before_the_config(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['dedup.py', '--images', 'a', 'b', 'configs/x.py'])
    args = command.parse(COMMAND)
    assert (args.images, args.config) == (['a', 'b'], 'configs/x.py')


@pytest.mark.parametrize(
    ('typed', 'words'),
    [
        ('C:\\data\\pool', 'is a Windows path, and this is no Windows. In WSL the drive is /mnt/c'),
        ('C:/data/pool', 'is a Windows path'),
        ('C:datapool', 'Put paths with a backslash in quotes'),
        ('\\\\server\\share', 'is a network path of Windows'),
        ('pool\\a', 'is spelled as on Windows. Give pool/a'),
        ('https://example.org/pool.zip', 'Download or mount it'),
        ('s3://bucket/pool', 'Download or mount it'),
        ('file:///data/pool', 'Give the path alone: /data/pool'),
    ],
)
def test_paths_of_elsewhere(typed, words, dedup, tmp_path):
    write(tmp_path / 'here' / 'pool' / 'a', '1.jpg')
    assert words in dedup('--images', typed, status=2)


def test_path_that_is_not_there(dedup, tmp_path):
    write(tmp_path / 'my' / 'frames', '1.jpg')
    said = dedup('--images', tmp_path / 'my' / 'frmaes' / 'x', status=2)
    assert f'{tmp_path / "my"} has no frmaes. There is {tmp_path / "my" / "frames"}.' in said
    (tmp_path / 'link').symlink_to('nowhere')
    assert 'is a link to nowhere, which is not there' in dedup('--images', tmp_path / 'link', status=2)
