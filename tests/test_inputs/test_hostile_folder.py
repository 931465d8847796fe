"""A folder with every kind of file that people's folders hold: each is accounted for, once, and the sums are right."""

import csv
import io
import os
import re
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image, ImageDraw, features

from mmdel.engine import DedupRunner
from mmdel.images import keys
from mmdel.subset import Subset

IMAGE, LEDGER, SKIPPED = 'image', 'ledger', 'skipped'
"""A readable image; a file that cannot be used, with its reason; a file that is no image of the pool, by kind."""

COPIES = 6
"""Files of each kind."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Args:
        name (str): For people.
        becomes (str): What has to become of it.
        file (str): Its name below a folder of its own, with `{}` for a number.
        write (Callable): Writes one, given its path and the number.
    """

    name: str
    becomes: str
    file: str
    write: Callable[[Path, int], object]


def picture(seed: int, size: int = 48) -> Image.Image:
    """A picture that is like no other."""
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(low).resize((size, size), Image.Resampling.BILINEAR)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def saved(kind: str, mode: str = 'RGB', **options: object) -> Callable[[Path, int], object]:
    return lambda path, seed: path.write_bytes(encoded(picture(seed).convert(mode), kind, **options))


def pages(kind: str, **options: object) -> Callable[[Path, int], object]:
    def write(path: Path, seed: int) -> None:
        empty = Image.new('RGB', (48, 48))
        path.write_bytes(
            encoded(empty, kind, save_all=True, append_images=[picture(seed), picture(seed + 1)], **options)
        )

    return write


def array(kind: str, values: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path, int], object]:
    def write(path: Path, seed: int) -> None:
        grey = np.asarray(picture(seed).convert('L'))
        path.write_bytes(encoded(Image.fromarray(values(grey)), kind))

    return write


def bytes_of(data: bytes) -> Callable[[Path, int], object]:
    return lambda path, seed: path.write_bytes(data + b'%d' % seed if data else b'')


def cut_off(kind: str) -> Callable[[Path, int], object]:
    def write(path: Path, seed: int) -> None:
        whole = encoded(picture(seed, 256), kind)
        path.write_bytes(whole[: len(whole) * 2 // 3])

    return write


def turned(path: Path, seed: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path.write_bytes(encoded(picture(seed), 'JPEG', exif=exif))


def bomb(path: Path, seed: int) -> None:
    path.write_bytes(encoded(Image.new('1', (12_000, 12_000 + seed)), 'PNG'))


def archive(path: Path, seed: int) -> None:
    with zipfile.ZipFile(path, 'w') as packed:
        packed.writestr('a.jpg', encoded(picture(seed), 'JPEG'))


def drawn_mask(path: Path, seed: int) -> None:
    mask = Image.new('L', (48, 48))
    ImageDraw.Draw(mask).ellipse((seed % 20, 5, seed % 20 + 20, 30), fill=255)
    path.write_bytes(encoded(mask, 'PNG'))


def linked(target: str) -> Callable[[Path, int], object]:
    return lambda path, seed: path.symlink_to(target.format(seed))


KINDS = (
    Kind('JPEG', IMAGE, 'jpg/{}.jpg', saved('JPEG')),
    Kind('JPEG, upper case', IMAGE, 'upper/{}.JPG', saved('JPEG')),
    Kind('JPEG, long ending', IMAGE, 'jpeg/{}.jpeg', saved('JPEG')),
    Kind('JPEG, .jfif', IMAGE, 'jfif/{}.jfif', saved('JPEG')),
    Kind('JPEG, .jpe', IMAGE, 'jpe/{}.jpe', saved('JPEG')),
    Kind('progressive JPEG', IMAGE, 'progressive/{}.jpg', saved('JPEG', progressive=True)),
    Kind('grey JPEG', IMAGE, 'grey jpeg/{}.jpg', saved('JPEG', 'L')),
    Kind('CMYK JPEG', IMAGE, 'cmyk/{}.jpg', saved('JPEG', 'CMYK')),
    Kind('JPEG turned by EXIF', IMAGE, 'exif/{}.jpg', turned),
    Kind('PNG', IMAGE, 'png/{}.png', saved('PNG')),
    Kind('PNG with alpha', IMAGE, 'rgba/{}.png', saved('PNG', 'RGBA')),
    Kind('grey PNG with alpha', IMAGE, 'la/{}.png', saved('PNG', 'LA')),
    Kind('palette PNG', IMAGE, 'palette/{}.png', saved('PNG', 'P')),
    Kind('1-bit PNG', IMAGE, '1bit/{}.png', saved('PNG', '1')),
    Kind('16-bit PNG', IMAGE, '16bit/{}.png', array('PNG', lambda grey: grey.astype(np.uint16) * 257)),
    Kind('BMP', IMAGE, 'bmp/{}.bmp', saved('BMP')),
    Kind('DIB', IMAGE, 'dib/{}.dib', saved('DIB')),
    Kind('GIF', IMAGE, 'gif/{}.gif', saved('GIF')),
    Kind('WebP', IMAGE, 'webp/{}.webp', saved('WEBP')),
    Kind('lossless WebP', IMAGE, 'lossless/{}.webp', saved('WEBP', lossless=True)),
    *([Kind('AVIF', IMAGE, 'avif/{}.avif', saved('AVIF'))] if features.check('avif') else []),
    Kind('JPEG 2000', IMAGE, 'jp2/{}.jp2', saved('JPEG2000')),
    Kind('PPM', IMAGE, 'ppm/{}.ppm', saved('PPM')),
    Kind('PGM', IMAGE, 'pgm/{}.pgm', saved('PPM', 'L')),
    Kind('PBM', IMAGE, 'pbm/{}.pbm', saved('PPM', '1')),
    Kind('TIFF', IMAGE, 'tif/{}.tif', saved('TIFF')),
    Kind('compressed TIFF', IMAGE, 'lzw/{}.tiff', saved('TIFF', compression='tiff_lzw')),
    Kind('16-bit TIFF', IMAGE, '16bit tif/{}.tif', array('TIFF', lambda grey: grey.astype(np.uint16) * 257)),
    Kind('TIFF of fractions', IMAGE, 'float/{}.tif', array('TIFF', lambda grey: (grey / 255).astype(np.float32))),
    Kind('image without an ending', IMAGE, 'no ending/{}', saved('JPEG')),
    Kind('image named by a UID', IMAGE, 'uid/1.2.840.10008.{}', saved('PNG')),
    Kind('PNG named .jpg', IMAGE, 'misnamed/{}.jpg', saved('PNG')),
    Kind('name with blanks', IMAGE, 'a b/ {}  x.jpg', saved('JPEG')),
    Kind('name with a number sign', IMAGE, 'hash/a#{:06d}.jpg', saved('JPEG')),
    Kind('name in decomposed Unicode', IMAGE, unicodedata.normalize('NFD', 'für/ö{}.jpg'), saved('JPEG')),
    Kind('long name', IMAGE, 'long/' + 'x' * 240 + '{}.jpg', saved('JPEG')),
    Kind('link to an image', IMAGE, 'links/{}.jpg', linked('../jpg/{}.jpg')),
    Kind('animated GIF', LEDGER, 'animated gif/{}.gif', pages('GIF', duration=100)),
    Kind('animated PNG', LEDGER, 'apng/{}.png', pages('PNG', duration=100)),
    Kind('animated WebP', LEDGER, 'animated webp/{}.webp', pages('WEBP', duration=100)),
    Kind('TIFF of pages', LEDGER, 'pages/{}.tif', pages('TIFF')),
    Kind(
        'TIFF of signed numbers',
        LEDGER,
        'signed/{}.tif',
        array('TIFF', lambda grey: grey.astype(np.int32) * 400 - 50_000),
    ),
    Kind(
        'TIFF with NaN',
        LEDGER,
        'nan/{}.tif',
        array('TIFF', lambda grey: np.where(grey > 200, np.nan, grey).astype(np.float32)),
    ),
    Kind('empty file', LEDGER, 'empty/{}.jpg', bytes_of(b'')),
    Kind('text named .jpg', LEDGER, 'text/{}.jpg', bytes_of(b'not an image')),
    Kind('web page named .png', LEDGER, 'page/{}.png', bytes_of(b'<!DOCTYPE html><html>404')),
    Kind('JPEG that is cut off', LEDGER, 'cut jpg/{}.jpg', cut_off('JPEG')),
    Kind('PNG that is cut off', LEDGER, 'cut png/{}.png', cut_off('PNG')),
    Kind('link to nothing', LEDGER, 'dangling/{}.jpg', linked('nowhere/{}.jpg')),
    Kind('link to itself', LEDGER, 'loop/{}.jpg', linked('{}.jpg')),
    Kind('pipe', LEDGER, 'pipe/{}.png', lambda path, _: os.mkfifo(path)),
    Kind('name with a line break', LEDGER, 'line/a\n{}.jpg', saved('JPEG')),
    Kind('image of 144 megapixels', LEDGER, 'bomb/{}.png', bomb),
    Kind('text', SKIPPED, 'notes/{}.txt', bytes_of(b'a note')),
    Kind('table', SKIPPED, 'tables/{}.csv', bytes_of(b'a,b\n1,2\n')),
    Kind('annotations', SKIPPED, 'json/{}.json', bytes_of(b'{}')),
    Kind('PDF', SKIPPED, 'pdf/{}.pdf', bytes_of(b'%PDF-1.4')),
    Kind('archive', SKIPPED, 'zip/{}.zip', archive),
    Kind('DICOM', SKIPPED, 'dicom/{}.dcm', bytes_of(b'\0' * 128 + b'DICM')),
    Kind('NIfTI', SKIPPED, 'nifti/{}.nii.gz', bytes_of(b'\x1f\x8b')),
    Kind('video', SKIPPED, 'video/{}.mp4', bytes_of(b'\0\0\0\x18ftypmp42')),
    Kind('text without an ending', SKIPPED, 'readme/README{}', bytes_of(b'read me')),
    Kind('hidden image', SKIPPED, 'hidden/.{}.jpg', saved('JPEG')),
    Kind('resource fork', SKIPPED, 'forks/._{}.jpg', bytes_of(b'\0\5\26\7')),
    Kind('thumbnail of a NAS', SKIPPED, 'jpg/@eaDir/{}.jpg/SYNOPHOTO_THUMB_M.jpg', saved('JPEG')),
    Kind('file in the bin', SKIPPED, '.Trash-1000/files/{}.jpg', saved('JPEG')),
    Kind('file in the bin of a NAS', SKIPPED, '#recycle/{}.jpg', saved('JPEG')),
    Kind('file of an archive of macOS', SKIPPED, '__MACOSX/jpg/{}.jpg', saved('JPEG')),
    Kind('found by fsck', SKIPPED, 'lost+found/{}.jpg', saved('JPEG')),
    Kind('image with a mask beside it', IMAGE, 'kv/images/{}.jpg', saved('JPEG')),
    Kind('mask in a folder beside', SKIPPED, 'kv/masks/{}.png', drawn_mask),
    Kind('image with a mask in its folder', IMAGE, 'pairs/{}.jpg', saved('JPEG')),
    Kind('mask in the same folder', SKIPPED, 'pairs/{}_mask.png', drawn_mask),
)


def make(folder: Path) -> dict[str, Kind]:
    """Write :data:`COPIES` files of each kind; file below the folder, as the system spells it, to its kind."""
    made: dict[str, Kind] = {}
    for place, kind in enumerate(KINDS):
        for copy in range(COPIES):
            path = folder / kind.file.format(copy)
            path.parent.mkdir(parents=True, exist_ok=True)
            kind.write(path, copy if 'link' in kind.name else 100 * place + copy)
            made[os.path.relpath(path, folder)] = kind
    return made


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Kind]]:
    pool = tmp_path_factory.mktemp('hostile') / 'pool'
    return pool, make(pool)


@pytest.fixture(scope='module')
def run(folder: tuple[Path, dict[str, Kind]], tmp_path_factory: pytest.TempPathFactory) -> tuple[DedupRunner, Subset]:
    out = tmp_path_factory.mktemp('out')
    cfg = dict(
        selector=dict(type='mmdel.MedDEL', epsilon=0.9, eta=0.95, scope='global'),
        embedder=dict(type='mmdel.PixelEmbedder'),
        dataset=dict(type='mmdel.DataDEL', data_root=str(folder[0])),
        work_dir=str(out / 'run'),
        cache_dir=str(out / 'cache'),
    )
    runner = DedupRunner.from_cfg(Config(cfg), ratio=0.5)
    return runner, runner.run()


def rows(path: Path) -> list[tuple[str, str]]:
    with open(path, encoding='utf-8', newline='') as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


def test_hostile_folder__has_hundreds_of_files_of_dozens_of_kinds(folder: tuple[Path, dict[str, Kind]]) -> None:
    assert len(folder[1]) == len(KINDS) * COPIES >= 300
    assert len(KINDS) >= 40
    on_disk = {
        os.path.relpath(os.path.join(top, name), folder[0]) for top, _, names in os.walk(folder[0]) for name in names
    }
    assert on_disk == set(folder[1])


def test_hostile_folder__each_file_becomes_what_it_has_to(
    folder: tuple[Path, dict[str, Kind]], run: tuple[DedupRunner, Subset]
) -> None:
    runner, subset = run
    unreadable = {key for key, _ in rows(runner.work_dir / 'unreadable.csv')}
    skipped = [path.rstrip('/') for path, _ in rows(runner.work_dir / 'skipped.csv')]
    images = set(subset.table.filter(subset.readable)['image'].to_pylist())
    wrong = []
    for path, kind in folder[1].items():
        key = keys.normalise(path)
        inside = [path, *map(str, Path(path).parents)]
        found = [
            name
            for name, is_there in (
                (IMAGE, key in images),
                (LEDGER, key in unreadable or keys.escape(path) in unreadable),
                (SKIPPED, any(keys.normalise(part) in skipped or keys.escape(part) in skipped for part in inside)),
            )
            if is_there
        ]
        if found != [kind.becomes]:
            wrong.append((kind.name, path, found))
    assert wrong == []


def test_hostile_folder__the_sums_are_right(
    folder: tuple[Path, dict[str, Kind]], run: tuple[DedupRunner, Subset]
) -> None:
    runner, subset = run
    expected = Counter(kind.becomes for kind in folder[1].values())
    assert int(subset.readable.sum()) == expected[IMAGE]
    assert subset.count('unreadable') == len(rows(runner.work_dir / 'unreadable.csv')) == expected[LEDGER]
    assert len(subset.kept) + int((subset.readable & ~subset.keep).sum()) == expected[IMAGE]
    assert len(subset.kept) == int(expected[IMAGE] * 0.5 + 0.5)
    summary = dict(runner.summary.rows)
    assert summary['images'] == f'{expected[IMAGE] + expected[LEDGER]:,}'
    assert summary['unreadable'] == f'{expected[LEDGER]:,}'
    about_skipped = r'^(\d+) (?:masks left out|files with other endings|files hidden|videos left out)'
    assert sum(int(found[1]) for note in runner.notes if (found := re.match(about_skipped, note))) == expected[SKIPPED]


def test_hostile_folder__nothing_in_it_has_changed(
    folder: tuple[Path, dict[str, Kind]], run: tuple[DedupRunner, Subset]
) -> None:
    on_disk = {
        os.path.relpath(os.path.join(top, name), folder[0]) for top, _, names in os.walk(folder[0]) for name in names
    }
    assert on_disk == set(folder[1])
