"""What becomes of files with several pictures, and of values that are not of 8 bits. Each test is a row of docs/inputs.md."""

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image, features

from mmdel.datasets import DataDEL, MedDELDataset
from mmdel.engine import DedupRunner
from mmdel.engine.finished_run import FinishedRun
from mmdel.engine.leakage import check_run
from mmdel.errors import ConfigError, DatasetError, UnreadableImage
from mmdel.export import export_images
from mmdel.images.formats import tiff_pages
from mmdel.images.frames import LoadFrame, read_frame
from mmdel.images.image_table import image_table
from mmdel.leaks.leak_check import ExcludeNear

PIXELS = dict(type='mmdel.PixelEmbedder')
ADVICE = 'take them as frames with --videos all'
TYPES = {1: 'B', 2: 'B', 3: 'H', 4: 'I', 8: 'h', 9: 'i', 11: 'f', 12: 'd'}

LOADER = {'type': 'mmdel.LoadFrame', 'reduce_to': 64}
"""What loads images for thumbnails."""


# --- pictures


def scene(number: int, side: int = 32) -> np.ndarray:
    """One of many pictures that do not look alike, uint8 [side, side]."""
    coarse = np.random.default_rng(number).integers(0, 256, (4, 4), np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def colours(number: int) -> np.ndarray:
    return np.stack([scene(1000 * channel + number) for channel in range(3)], axis=-1)


def of_bits(picture: np.ndarray, bits: int) -> np.ndarray:
    """The picture as a camera of so many bits writes it, uint16."""
    return np.rint(picture / 255 * (2**bits - 1)).astype(np.uint16)


def tiff_file(
    pages: Sequence[np.ndarray], order: str = '<', tags: dict[int, Any] | None = None, packed: int = 0
) -> bytes:
    """An uncompressed TIFF file; ``tags`` are tag to ``(type, numbers)``, or a list of these, one for each page."""
    out = bytearray((b'II' if order == '<' else b'MM') + struct.pack(order + 'HI', 42, 0))
    link = 4
    for number, page in enumerate(pages):
        samples = 1 if page.ndim == 2 else page.shape[2]
        data = _pack(page, packed) if packed else page.astype(page.dtype.newbyteorder(order)).tobytes()
        more = tags[number] if isinstance(tags, list) else tags or {}
        fields = {
            256: (4, [page.shape[1]]), 257: (4, [page.shape[0]]), 258: (3, [packed or page.dtype.itemsize * 8] * samples),
            259: (3, [1]), 262: (3, [2 if samples > 2 else 1]), 273: (4, [len(out)]), 277: (3, [samples]),
            279: (4, [len(data)]), 339: (3, [{'u': 1, 'i': 2, 'f': 3}[page.dtype.kind]] * samples),
            **({338: (3, [2])} if samples in (2, 4) else {}), **more,
        }  # fmt: skip
        out += data + bytes(len(data) % 2)
        entries = b''
        for tag in sorted(fields):
            kind, numbers = fields[tag]
            value = struct.pack(order + TYPES[kind] * len(numbers), *numbers)
            if len(value) > 4:
                place, out = struct.pack(order + 'I', len(out)), out + value + bytes(len(value) % 2)
                value = place
            entries += struct.pack(order + 'HHI', tag, kind, len(numbers)) + value.ljust(4, b'\0')
        struct.pack_into(order + 'I', out, link, len(out))
        out += struct.pack(order + 'H', len(fields)) + entries
        link = len(out)
        out += bytes(4)
    return bytes(out)


def _pack(page: np.ndarray, bits: int) -> bytes:
    rows = page.reshape(len(page), -1)
    return b''.join(np.packbits((row[:, None] >> np.arange(bits)[::-1] & 1).astype(np.uint8)).tobytes() for row in rows)


def png_file(values: np.ndarray, kind: int, extra: bytes = b'', depth: int = 16) -> bytes:
    """A PNG file of 16 bits; ``kind`` is its colour type."""
    height, width = values.shape[:2]
    rows = b''.join(b'\0' + row.astype('>u2' if depth == 16 else 'u1').tobytes() for row in values)
    header = struct.pack('>IIBBBBB', width, height, depth, kind, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + extra
        + chunk(b'IDAT', zlib.compress(rows))
        + chunk(b'IEND', b'')
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def animation(kind: str, pictures: Sequence[np.ndarray], duration: Any = 500) -> bytes:
    images = [Image.fromarray(picture) for picture in pictures]
    lossless = {'lossless': True} if kind == 'WEBP' else {}
    return encoded(images[0], kind, save_all=True, append_images=images[1:], duration=duration, **lossless)


def pixels(tmp_path: Path, data: bytes, name: str = 'one.tif', **options: Any) -> np.ndarray:
    (tmp_path / name).write_bytes(data)
    return read_frame(str(tmp_path / name), **options).image


def refused(tmp_path: Path, data: bytes, name: str = 'one.tif', **options: Any) -> str:
    with pytest.raises(UnreadableImage) as caught:
        pixels(tmp_path, data, name, **options)
    return caught.value.reason


def scaled(values: np.ndarray, high: float, low: float = 0) -> np.ndarray:
    """The reference: black is ``low``, white is ``high``, in BGR."""
    levels = np.floor((values.astype(np.float64) - low) * 255 / (high - low) + 0.5).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=2) if levels.ndim == 2 else levels[..., 2::-1]


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Equal up to how halves are rounded."""
    difference = np.abs(one.astype(int) - other)
    return one.shape == other.shape and difference.max() <= 1 and np.count_nonzero(difference) <= 3


# --- runs


def run(
    tmp_path: Path, pool: Path, name: str = 'run', videos: Any = None, embedder: dict | None = None, **options: Any
):
    """A run on a folder and its subset."""
    cfg = Config(
        dict(
            dataset=dict(type='mmdel.DataDEL', data_root=str(pool), **({} if videos is None else {'videos': videos})),
            embedder=embedder or PIXELS,
            selector=dict(
                type='mmdel.MedDEL', epsilon=None, eta=0.99, clusterer=dict(type='mmdel.FaissKMeans', num_clusters=1)
            ),
            center=True,
            work_dir=str(tmp_path / name),
            cache_dir=str(tmp_path / 'cache'),
        )
    )
    cfg.merge_from_dict({name: options.pop(name) for name in ('exclude_near',) if name in options})
    runner = DedupRunner.from_cfg(cfg, **{'report': False, **options})
    return runner, runner.run()


def kept(tmp_path: Path, pool: Path, name: str) -> int:
    return run(tmp_path, pool, name)[1].metadata['kept']


def write_pool(folder: Path, write: Any, count: int = 40) -> Path:
    folder.mkdir()
    for number in range(count):
        # every fourth is nearly the one before, so that something is to be removed
        write(folder / f'{number:02d}', scene(number - (number % 4 == 3)))
    return folder


def plain(path: Path, picture: np.ndarray) -> None:
    path.with_suffix('.png').write_bytes(encoded(Image.fromarray(picture), 'PNG'))


def stacks(folder: Path, count: int = 6) -> Path:
    """TIFF files with an empty first page and three others that differ."""
    folder.mkdir()
    for number in range(count):
        pages = [np.zeros((32, 32), np.uint8), *(scene(100 + 3 * number + page) for page in range(3))]
        (folder / f'stack{number}.tif').write_bytes(tiff_file(pages))
    return folder


# --- several pictures in one file


def test_pages_unasked(tmp_path: Path) -> None:
    pool = stacks(tmp_path / 'pool')
    plain(pool / 'single', scene(1))
    runner, subset = run(tmp_path, pool)
    assert subset.kept == ['single.png']
    assert subset.count('unreadable') == 6 and subset.count('duplicate') == 0
    ledger = (tmp_path / 'run' / 'unreadable.csv').read_text()
    assert ledger.count('has 4 pages; ' + ADVICE) == 6
    assert any(note.startswith('6 files with several pages or frames were left out') for note in runner.notes)


def test_pages_unasked__nothing_else_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match='has 4 pages; take them as frames with --videos all'):
        run(tmp_path, stacks(tmp_path / 'pool'))


def test_pages_unasked__under_another_ending(tmp_path: Path) -> None:
    """The advice works: with this ending alone, `--videos` would not find the pages."""
    data = tiff_file([scene(1), scene(2)])
    assert refused(tmp_path, data, 'x.jpg').startswith('has 2 pages; give its name the ending of its kind (.tif, ')
    assert refused(tmp_path, data, 'x.tif').startswith('has 2 pages; ' + ADVICE)


def test_pages_asked(tmp_path: Path) -> None:
    pool = stacks(tmp_path / 'pool')
    plain(pool / 'single', scene(1))
    _, subset = run(tmp_path, pool, videos='all')
    assert len(subset.table) == 6 * 4 + 1
    empty = [key for key in subset.images if key.endswith('#000000')]
    # the empty pages are copies of each other, and nothing else is
    assert len(empty) == 6 and len(set(empty) & set(subset.kept)) == 1
    assert set(subset.images) - set(empty) <= set(subset.kept)
    assert 'single.png' in subset.kept
    row = subset.table.slice(subset.images.index('stack2.tif#000003'), 1).to_pylist()[0]
    assert (row['video'], row['frame'], row['bytes'], row['width']) == ('stack2.tif', 3, 32 * 32, 32)


def test_pages_asked__every_nth(tmp_path: Path) -> None:
    table = image_table(DataDEL(str(stacks(tmp_path / 'pool', 1)), videos=2)).table
    assert table['image'].to_pylist() == ['stack0.tif#000000', 'stack0.tif#000002']


def test_pages_by_a_rate(tmp_path: Path) -> None:
    pool = stacks(tmp_path / 'pool', 1)
    plain(pool / 'single', scene(1))
    dataset = DataDEL(str(pool), videos='2fps')
    assert len(dataset) == 1
    assert 'no frame rate and no times' in dict(dataset.ledger)['stack0.tif']


@pytest.mark.parametrize('kind', ['GIF', 'WEBP', 'PNG', 'AVIF'])
def test_animation(tmp_path: Path, kind: str) -> None:
    if kind == 'AVIF' and not features.check('avif'):
        pytest.skip('Pillow without AVIF')
    pictures = [colours(number) for number in range(5)]
    name = f'moving.{kind.lower()}'
    (tmp_path / name).write_bytes(animation(kind, pictures, [100, 200, 700, 500, 500]))
    (tmp_path / 'list.txt').write_text(f'{name}\n')

    def frames(videos: Any) -> list[int]:
        dataset = DataDEL(str(tmp_path), ann_file='list.txt', videos=videos)
        return [dataset.get_data_info(place)['frame'] for place in range(len(dataset))]

    assert frames('all') == [0, 1, 2, 3, 4]
    assert frames(3) == [0, 3]
    assert frames('1fps') == [0, 3]  # they begin at 0, 0.1, 0.3, 1.0 and 1.5 seconds
    assert refused(tmp_path, (tmp_path / name).read_bytes(), name).startswith('has 5 frames; ' + ADVICE)
    in_order = [read_frame(f'{tmp_path / name}#{number:06d}').image for number in range(5)]
    for number in (4, 0, 2, 1, 3):
        assert np.array_equal(read_frame(f'{tmp_path / name}#{number:06d}').image, in_order[number])
    if kind in ('PNG', 'WEBP'):
        for picture, image in zip(pictures, in_order, strict=True):
            assert np.array_equal(picture, image[..., ::-1])


def test_animation__is_composited(tmp_path: Path) -> None:
    background = np.full((16, 16, 3), 200, np.uint8)
    spot = background.copy()
    spot[4:8, 4:8] = (255, 0, 0)
    for kind in ('GIF', 'PNG', 'WEBP'):
        path = tmp_path / f'x.{kind.lower()}'
        path.write_bytes(animation(kind, [background, spot, background]))
        assert np.abs(read_frame(f'{path}#000001').image.astype(int) - spot[..., ::-1]).max() <= 1, kind


def test_animation_without_times(tmp_path: Path) -> None:
    (tmp_path / 'x.gif').write_bytes(animation('GIF', [colours(1), colours(2)], 0))
    (tmp_path / 'y.png').write_bytes(encoded(Image.fromarray(colours(3)), 'PNG'))
    (tmp_path / 'list.txt').write_text('x.gif\ny.png\n')
    dataset = DataDEL(str(tmp_path), ann_file='list.txt', videos='1fps')
    assert len(dataset) == 1 and 'no times' in dict(dataset.ledger)['x.gif']


def test_single_page(tmp_path: Path) -> None:
    pool = tmp_path / 'pool'
    pool.mkdir()
    (pool / 'a.tif').write_bytes(tiff_file([scene(1)]))
    for name, kind in (('b.gif', 'GIF'), ('c.webp', 'WEBP'), ('d.png', 'PNG')):
        (pool / name).write_bytes(encoded(Image.fromarray(colours(2)), kind))
    (pool / 'list.txt').write_text('a.tif\nb.gif\nc.webp\nd.png\nd.png#000000\n')
    for videos in (None, 'all'):
        dataset = DataDEL(str(pool), ann_file='list.txt', videos=videos)
        items = [dataset.get_data_info(place) for place in range(len(dataset))]
        assert [Path(item['img_path']).name for item in items] == ['a.tif', 'b.gif', 'c.webp', 'd.png']
        assert not any('video' in item for item in items)
        assert 'a single picture' in dict(dataset.ledger)['d.png#000000']


@pytest.mark.reads(pillow='12.3')
def test_thumbnails_masks_and_previews(tmp_path: Path) -> None:
    picture, small = scene(1), scene(2, 8)
    for subfile in ({254: (4, [1])}, {254: (4, [4])}, {255: (3, [2])}):
        assert np.array_equal(pixels(tmp_path, tiff_file([picture, small], tags=[{}, subfile]))[..., 0], picture)
        assert np.array_equal(pixels(tmp_path, tiff_file([small, picture], tags=[subfile, {}]))[..., 0], picture)
    data = tiff_file([picture, small, picture], tags=[{}, {254: (4, [1])}, {}])
    assert refused(tmp_path, data).startswith('has 2 pages')
    (tmp_path / 'x.jpg').write_bytes(
        encoded(Image.fromarray(colours(1)), 'MPO', save_all=True, append_images=[Image.fromarray(colours(2))])
    )
    assert read_frame(str(tmp_path / 'x.jpg')).image.shape == (32, 32, 3)


def test_imagej_stack(tmp_path: Path) -> None:
    """Above 4 GB ImageJ writes one directory; the other images follow the first one."""
    pictures = np.stack([scene(number) for number in range(5)])
    said = b'ImageJ=1.53t\nimages=5\nslices=5\n\0'
    data = tiff_file([pictures.reshape(-1, 32)], tags={257: (4, [32]), 279: (4, [32 * 32]), 270: (2, list(said))})
    assert refused(tmp_path, data, 'stack.tif').startswith('has 5 pages')
    for number, picture in enumerate(pictures):
        assert np.array_equal(read_frame(f'{tmp_path / "stack.tif"}#{number:06d}').image[..., 0], picture)


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('big', [False, True])
def test_pages_of_every_kind(tmp_path: Path, order: str, big: bool) -> None:
    """Grey and colour, 8 and 16 bits, compressed and not, in one file."""
    pictures = [scene(1), of_bits(scene(2), 16), of_bits(colours(3), 16), colours(4)]
    path = tmp_path / 'stack.tif'
    if big:
        images = [Image.fromarray(picture) for number, picture in enumerate(pictures) if number != 2]
        pictures.pop(2)
        path.write_bytes(
            encoded(images[0], 'TIFF', save_all=True, append_images=images[1:], big_tiff=True, compression='tiff_lzw')
        )
    else:
        path.write_bytes(tiff_file(pictures, order))
    for number, picture in enumerate(pictures):
        expected = scaled(picture, np.iinfo(picture.dtype).max)
        assert same(read_frame(f'{path}#{number:06d}').image, expected), number


def test_damaged_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (64, 64), np.uint8)) for _ in range(4)]
    data = bytearray(
        encoded(images[0], 'TIFF', save_all=True, append_images=images[1:], compression='tiff_adobe_deflate')
    )
    file = io.BytesIO(data)
    page = tiff_pages.read_pages(file)[2]
    start = page.number(file, tiff_pages.STRIP_OFFSETS, 0)
    data[start + 40 : start + 400] = bytes(360)
    pool = tmp_path / 'pool'
    pool.mkdir()
    (pool / 'x.tif').write_bytes(data)
    _, subset = run(tmp_path, pool, videos='all')
    assert subset.images == [f'x.tif#{number:06d}' for number in range(4)]
    assert [key for key, bad in zip(subset.images, subset.has_reason('unreadable'), strict=True) if bad] == [
        'x.tif#000002'
    ]


def test_damaged_page__of_an_animation(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = animation('PNG', [rng.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(4)])
    place = [start for start in range(len(data)) if data[start : start + 4] == b'fdAT'][1]
    path = tmp_path / 'x.png'
    path.write_bytes(data[: place + 50] + bytes(20) + data[place + 70 :])
    for order in ((0, 1, 2, 3), (3, 2, 1, 0)):
        for number in order:
            if number < 2:
                assert read_frame(f'{path}#{number:06d}').image.shape == (32, 32, 3)
            else:
                with pytest.raises(UnreadableImage, match='damaged' if number == 2 else 'rests on a damaged one'):
                    read_frame(f'{path}#{number:06d}')


def test_page_in_training(tmp_path: Path) -> None:
    init_default_scope('mmpretrain')
    pool = stacks(tmp_path / 'pool')
    _, subset = run(tmp_path, pool, videos='all')
    dataset = MedDELDataset(
        dataset=dict(type='mmdel.DataDEL', data_root=str(pool), videos='all', pipeline=[dict(type='mmdel.LoadFrame')]),
        subset=str(tmp_path / 'run' / 'subset.parquet'),
    )
    assert len(dataset) == subset.metadata['kept']
    for place, key in enumerate(subset.kept):
        item = dataset[place]
        assert item['img_path'].endswith(key)
        number, page = int(key[5]), int(key[-1])
        expected = scene(100 + 3 * number + page - 1) if page else np.zeros((32, 32), np.uint8)
        assert np.array_equal(item['img'][..., 0], expected)


def test_page_in_the_report_and_exported(tmp_path: Path) -> None:
    pool = stacks(tmp_path / 'pool', 3)
    _, subset = run(tmp_path, pool, videos='all', report=True)
    page = (tmp_path / 'run' / 'report' / 'index.html').read_text(encoding='utf-8')
    assert 'data:image/jpeg' in page and 'no longer' not in page
    exported = export_images(subset, pool, tmp_path / 'out')
    assert exported.problems == () and len(exported.rows) == subset.metadata['kept']
    assert np.array_equal(cv2.imread(str(tmp_path / 'out' / 'stack1.tif' / '000002.png'))[..., 0], scene(104))


def test_number_sign_in_a_name(tmp_path: Path) -> None:
    pool = tmp_path / 'pool'
    pool.mkdir()
    (pool / 'a.tif#000001.png').write_bytes(encoded(Image.fromarray(scene(1)), 'PNG'))
    (pool / 'a.tif').write_bytes(tiff_file([scene(2), scene(3)]))
    (pool / 'b.tif#000001').write_bytes(tiff_file([scene(4)]))
    images = image_table(DataDEL(str(pool), videos='all')).table['image'].to_pylist()
    assert [image for image in images if image.startswith('a')] == ['a.tif#000000', 'a.tif#000001', 'a.tif#000001.png']
    for name, number in (('a.tif#000001.png', 1), ('a.tif#000001', 3), ('b.tif#000001', 4)):
        assert np.array_equal(read_frame(str(pool / name)).image[..., 0], scene(number)), name


# --- 10 and 12 bits in files of 16


def write_tiff(path: Path, values: np.ndarray) -> None:
    path.with_suffix('.tif').write_bytes(tiff_file([values]))


def write_png(path: Path, values: np.ndarray) -> None:
    cv2.imwrite(str(path.with_suffix('.png')), values)


@pytest.mark.parametrize('write', [write_png, write_tiff])
@pytest.mark.parametrize('bits', [8, 10, 12, 14])
def test_fewer_bits_in_sixteen(tmp_path: Path, write: Any, bits: int) -> None:
    expected = kept(tmp_path, write_pool(tmp_path / 'plain', plain), 'plain-run')
    assert expected == 30
    pool = write_pool(tmp_path / 'deep', lambda path, picture: write(path, of_bits(picture, bits)))
    runner, subset = run(tmp_path, pool)
    assert subset.metadata['kept'] == expected
    maximum = 2**bits - 1
    assert subset.metadata['embedder']['pipeline'] == [{**LOADER, 'max_value': maximum}]
    assert f'max_value = {maximum}' in (tmp_path / 'run' / 'config.py').read_text().replace(
        'max_value=', 'max_value = '
    )
    assert [
        note for note in runner.notes if f'16-bit images use {bits} bits' in note and f'max_value={maximum}' in note
    ]


def test_fewer_bits_in_sixteen__colour(tmp_path: Path) -> None:
    expected = kept(
        tmp_path,
        write_pool(tmp_path / 'plain', lambda path, picture: plain(path, np.dstack([picture] * 3))),
        'plain-run',
    )
    for name, write in (('png', write_png), ('tif', write_tiff)):
        pool = write_pool(
            tmp_path / name, lambda path, picture, write=write: write(path, of_bits(np.dstack([picture] * 3), 12))
        )
        assert kept(tmp_path, pool, f'{name}-run') == expected == 30


def test_fewer_bits_in_sixteen__pages(tmp_path: Path) -> None:
    pool = tmp_path / 'pool'
    pool.mkdir()
    (pool / 'x.tif').write_bytes(tiff_file([of_bits(scene(number), 12) for number in range(10)]))
    _, subset = run(tmp_path, pool, videos='all')
    assert subset.metadata['embedder']['pipeline'][0]['max_value'] == 4095
    assert subset.metadata['kept'] == 10
    export_images(subset, pool, tmp_path / 'out')
    assert np.array_equal(cv2.imread(str(tmp_path / 'out' / 'x.tif' / '000007.png'))[..., 0], scene(7))


def test_all_sixteen_bits(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / 'pool', lambda path, picture: write_png(path, of_bits(picture, 16)))
    runner, subset = run(tmp_path, pool)
    assert subset.metadata['kept'] == 30
    assert subset.metadata['embedder']['pipeline'] == [LOADER]
    assert not any('bits' in note for note in runner.notes)


def test_eight_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is decoded to find a range, and JPEG files are not even opened."""
    from mmdel.images import depth

    pool = write_pool(tmp_path / 'pool', plain)
    Image.fromarray(colours(7)).save(pool / 'x.jpg')
    looked: list[str] = []
    real = depth._maximum
    monkeypatch.setattr(depth, '_maximum', lambda path, size: looked.append(path) or real(path, size))
    monkeypatch.setattr('mmdel.images.formats.raster.open_maximum', lambda *_: pytest.fail('decoded'))
    _, subset = run(tmp_path, pool)
    assert subset.metadata['embedder']['pipeline'] == [LOADER]
    assert len(looked) == 40 and not any(path.endswith('.jpg') for path in looked)
    run(tmp_path, pool)
    assert len(looked) == 40  # what was found is remembered


def test_mixed_depths(tmp_path: Path) -> None:
    """8-bit files beside 12-bit ones stay as they are; beside true 16-bit ones nothing tells that others use fewer bits."""
    pool = tmp_path / 'pool'
    pool.mkdir()
    plain(pool / 'a', scene(1))
    write_png(pool / 'b', of_bits(scene(1), 12))
    _, subset = run(tmp_path, pool)
    assert subset.metadata['kept'] == 1 and subset.count('duplicate') == 1
    write_png(pool / 'c', of_bits(scene(3), 16))
    _, subset = run(tmp_path, pool, 'again')
    assert subset.metadata['embedder']['pipeline'] == [LOADER]
    # a file that says its range keeps it, whatever the pool does
    (pool / 'd.tif').write_bytes(tiff_file([of_bits(scene(1), 12)], tags={281: (3, [4095])}))
    _, subset = run(tmp_path, pool, 'third')
    assert len({'a.png', 'd.tif'} & set(subset.kept)) == 1 and 'c.png' in subset.kept


@pytest.mark.reads(opencv='4.11')
def test_range_that_the_file_says(tmp_path: Path) -> None:
    values = of_bits(scene(1), 12)
    expected = scaled(values, 4095)
    for max_value in (None, 1023, 16383):
        options = {'max_value': max_value}
        said = tiff_file([values], tags={281: (3, [4095])})
        assert same(pixels(tmp_path, said, **options), expected)
        for order in '<>':
            assert same(pixels(tmp_path, tiff_file([values], order, packed=12), **options), expected)
        unscaled, shifted = (chunk(b'sBIT', bytes([12])), values << 4)
        assert same(pixels(tmp_path, png_file(values, 0, unscaled), 'x.png', **options), expected)
        assert same(pixels(tmp_path, png_file(shifted, 0, unscaled), 'x.png', **options), scaled(shifted, 65535))
        dark = shifted // 20 // 16 * 16
        assert same(pixels(tmp_path, png_file(dark, 0, unscaled), 'x.png', **options), scaled(dark, 65535))
        pgm = b'P5\n# a comment\n32 32\n4095\n' + values.astype('>u2').tobytes()
        assert same(pixels(tmp_path, pgm, 'x.pgm', **options), expected)


def test_range_that_the_file_says__statistics_do_not_count(tmp_path: Path) -> None:
    values = of_bits(scene(1), 16)
    data = tiff_file([values], tags={281: (3, [int(values.max()) // 2 * 2]), 280: (3, [3])})
    assert same(pixels(tmp_path, data), scaled(values, 65535))


def test_max_value_in_the_config(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / 'pool', lambda path, picture: write_png(path, of_bits(picture, 10)))
    write_png(pool / 'bright', of_bits(scene(50), 14))
    embedder = dict(PIXELS, pipeline=[dict(type='mmdel.LoadFrame', max_value=1023)])
    runner, subset = run(tmp_path, pool, embedder=embedder)
    assert subset.metadata['kept'] == 30 and not any('bits' in note for note in runner.notes)
    ledger = (tmp_path / 'run' / 'unreadable.csv').read_text()
    assert 'outside 0 to 1023, max_value of mmdel.LoadFrame; give a larger one' in ledger


@pytest.mark.parametrize('wrong', [0, -1, 1.5, '4095', True])
def test_max_value_in_the_config__that_is_none(wrong: Any) -> None:
    with pytest.raises(ConfigError, match='max_value='):
        LoadFrame(max_value=wrong)


def test_update_with_deeper_images(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / 'pool', lambda path, picture: write_png(path, of_bits(picture, 12)), 12)
    run(tmp_path, pool, 'old')
    write_png(pool / 'more', of_bits(scene(70) // 4, 12))
    _, subset = run(tmp_path, pool, 'new', update=str(tmp_path / 'old'))
    assert 'more.png' in subset.images and subset.metadata['embedder']['pipeline'][0]['max_value'] == 4095
    write_png(pool / 'deeper', of_bits(scene(71), 16))
    with pytest.raises(ConfigError, match='12 bits .white is 4,095.; those that are there now use all 16 bits'):
        run(tmp_path, pool, 'newer', update=str(tmp_path / 'old'))


def test_update_with_deeper_images__of_an_old_run_without(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / 'pool', plain, 12)
    run(tmp_path, pool, 'old')
    write_png(pool / 'twelve', of_bits(scene(71), 12))
    with pytest.raises(ConfigError, match='all 16 bits; those that are there now use 12 bits'):
        run(tmp_path, pool, 'new', update=str(tmp_path / 'old'))


def test_leak_of_a_deep_image(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / 'pool', lambda path, picture: write_png(path, of_bits(picture, 12)), 8)
    tests = tmp_path / 'tests'
    tests.mkdir()
    detail = np.random.default_rng(5).integers(0, 256, (12, 12), np.uint8)
    picture = cv2.resize(detail, (240, 240), interpolation=cv2.INTER_CUBIC)
    plain(tests / 'test', picture)
    write_png(pool / 'copy', of_bits(picture, 12))
    _, subset = run(tmp_path, pool, exclude_near=dict(against=[str(tests)]))
    assert [key for key, leak in zip(subset.images, subset.has_reason('leak'), strict=True) if leak] == ['copy.png']
    run(tmp_path, pool, 'unchecked')
    asked = ExcludeNear([str(tests)])
    assert check_run(FinishedRun.open(tmp_path / 'unchecked'), asked).images == ['copy.png']


# --- other numbers


@pytest.mark.parametrize('order', ['<', '>'])
def test_sixteen_bit_kinds(tmp_path: Path, order: str) -> None:
    """Grey, colour, with alpha, white first, turned; against the plain formula."""
    rng = np.random.default_rng(0)
    for channels in (1, 2, 3, 4):
        shape = (9, 11) if channels == 1 else (9, 11, channels)
        values = rng.integers(0, 4096, shape, np.uint16)
        shown = values[..., 0] if channels == 2 else values
        for high, max_value in ((65535, None), (4095, 4095)):
            read = pixels(tmp_path, tiff_file([values], order), max_value=max_value)
            assert same(read, scaled(shown, high)), channels
            if order == '>':
                kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
                assert same(pixels(tmp_path, png_file(values, kind), 'x.png', max_value=max_value), scaled(shown, high))
        turned = tiff_file([values], order, {274: (3, [6])})
        assert same(pixels(tmp_path, turned, max_value=4095), np.rot90(scaled(shown, 4095), -1))
    grey = rng.integers(0, 4096, (9, 11), np.uint16)
    inverted = tiff_file([grey], order, {262: (3, [0])})
    assert same(pixels(tmp_path, inverted, max_value=4095), 255 - scaled(grey, 4095))


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize(
    'bits', [1, 2, 4, *(pytest.param(bits, marks=pytest.mark.reads(opencv='4.11')) for bits in (10, 12, 14))]
)
def test_odd_bits(tmp_path: Path, order: str, bits: int) -> None:
    values = np.random.default_rng(0).integers(0, 2**bits, (9, 11), np.uint16)
    expected = scaled(values, 2**bits - 1)
    assert same(pixels(tmp_path, tiff_file([values], order, packed=bits)), expected)
    assert same(pixels(tmp_path, tiff_file([values], order, {262: (3, [0])}, packed=bits)), 255 - expected)


def test_sixteen_bit_pnm_and_jpeg_2000(tmp_path: Path) -> None:
    grey, colour = of_bits(scene(1, 64), 12), of_bits(np.dstack([scene(n, 64) for n in range(3)]), 12)
    for head, values in (('P5', grey), ('P6', colour)):
        data = f'{head} 64 64 65535\n'.encode() + values.astype('>u2').tobytes()
        assert same(pixels(tmp_path, data, 'x.ppm', max_value=4095), scaled(values, 4095))
        assert same(pixels(tmp_path, data, 'x.ppm'), scaled(values, 65535))
    if features.check('jpg_2000'):
        data = encoded(Image.fromarray(grey), 'JPEG2000')
        assert same(pixels(tmp_path, data, 'x.jp2', max_value=4095), scaled(grey, 4095))


def test_signed_numbers(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(-32768, 32768, (9, 11)).astype(np.int16)
    for order in '<>':
        assert 'has grey values from -' in refused(tmp_path, tiff_file([values], order))
        assert 'has grey values from -' in refused(tmp_path, tiff_file([(values // 256).astype(np.int8)], order))
        said = tiff_file([values], order, {340: (8, [-32768]), 341: (8, [32767])})
        assert same(pixels(tmp_path, said), scaled(values, 32767, -32768))
        positive = (values.astype(int) % 4096).astype(np.int16)
        assert same(pixels(tmp_path, tiff_file([positive], order), max_value=4095), scaled(positive, 4095))


def test_wide_integers(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (9, 11)).astype(np.uint32)
    for order in '<>':
        assert same(pixels(tmp_path, tiff_file([values], order)), scaled(values, 65535))
        larger = tiff_file([values + 2**31], order)
        assert 'outside 0 to 65535; convert it to 8 or 16 bits, or give the maximum' in refused(tmp_path, larger)


@pytest.mark.reads(opencv='4.11', pillow='12.3')
def test_floating_point(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((9, 11, 3))
    for order in '<>':
        for kind in (np.float16, np.float32, np.float64):
            for part in (values, values[..., 0]):
                part = part.astype(kind)
                assert same(pixels(tmp_path, tiff_file([part], order)), scaled(part, 1)), (kind, part.shape)
        grey = values[..., 0].astype(np.float32)
        assert same(pixels(tmp_path, tiff_file([grey], order, {262: (3, [0])})), 255 - scaled(grey, 1))
        said = tiff_file([grey * 1000 - 50], order, {340: (11, [-50.0]), 341: (11, [950.0])})
        assert same(pixels(tmp_path, said), scaled(grey * 1000 - 50, 950, -50))
        for wrong in (np.nan, np.inf, -0.5, 1.5):
            other = grey.copy()
            other[3, 3] = wrong
            assert 'outside 0 to 1' in refused(tmp_path, tiff_file([other], order))


def test_cut_off_deep_file(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 65536, (40, 50, 3)).astype(np.uint16)
    too_long = tiff_file([colour], tags={279: (4, [10**6])})
    assert 'the file ends before the page does' in refused(tmp_path, too_long)
    for data, name in ((cv2.imencode('.png', colour)[1].tobytes(), 'x.png'), (png_file(colour[..., 0], 0), 'y.png')):
        for part in (0.3, 0.7, 0.95):
            assert 'damaged or truncated' in refused(tmp_path, data[: int(len(data) * part)], name)


def test_palette_and_print_colours(tmp_path: Path) -> None:
    flat = Image.fromarray(colours(1) // 64 * 64).quantize(32)
    expected = np.asarray(flat.convert('RGB'))[..., ::-1]
    assert np.array_equal(pixels(tmp_path, encoded(flat, 'PNG', transparency=3), 'x.png'), expected)
    assert np.array_equal(pixels(tmp_path, encoded(flat, 'TIFF')), expected)
    inks = np.random.default_rng(0).integers(0, 256, (9, 11, 4), np.uint8)
    expected = np.asarray(Image.fromarray(inks, 'CMYK').convert('RGB'))[..., ::-1]
    assert np.array_equal(pixels(tmp_path, encoded(Image.fromarray(inks, 'CMYK'), 'TIFF')), expected)
    deep = tiff_file([inks.astype(np.uint16) * 257], tags={262: (3, [5])})
    assert np.array_equal(pixels(tmp_path, deep), expected)
