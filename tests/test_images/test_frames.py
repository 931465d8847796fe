import io
import os
import struct
import tracemalloc
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose
from PIL import Image, ImageCms

from mmdel.errors import ConfigError, UnreadableImage
from mmdel.images import frames
from mmdel.images.formats import raster
from mmdel.images.frames import LoadFrame, read_frame

GRADIENT = np.arange(40 * 60 * 3, dtype=np.uint32).reshape(40, 60, 3)
RGB = (GRADIENT * 7 % 256).astype(np.uint8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / 'a frame with spaces ü.png'


def reason(path: Path, **options: int) -> str:
    with pytest.raises(UnreadableImage) as caught:
        read_frame(str(path), **options)
    text = caught.value.reason
    assert str(path.parent) not in text and ' object at ' not in text and '\n' not in text
    return text


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    header = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 1, 0, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + header + chunk(b'IDAT', zlib.compress(bytes(64))) + chunk(b'IEND', b'')


@pytest.mark.parametrize('kind', ['PNG', 'BMP', 'TIFF', 'PPM'])
def test_lossless_formats__same_pixels_as_bgr(file: Path, kind: str) -> None:
    file.write_bytes(encoded(Image.fromarray(RGB), kind))
    frame = read_frame(str(file))
    assert np.array_equal(frame.image, RGB[..., ::-1])
    assert frame.nbytes == file.stat().st_size


@pytest.mark.parametrize('kind', ['JPEG', 'WEBP', 'GIF'])
def test_other_formats__are_read(file: Path, kind: str) -> None:
    file.write_bytes(encoded(Image.fromarray(RGB), kind))
    assert read_frame(str(file)).image.shape == (40, 60, 3)


def test_sixteen_bit_grey__scaled_not_cut_off(file: Path) -> None:
    values = np.linspace(0, 65535, 256 * 4).reshape(16, 64).astype(np.uint16)
    grey = Image.fromarray(values)
    pgm = b'P5 64 16 65535\n' + values.astype('>u2').tobytes()
    for data in (encoded(grey, 'PNG'), encoded(grey, 'TIFF'), pgm):
        file.write_bytes(data)
        image = read_frame(str(file)).image
        assert np.array_equal(image[..., 0], np.rint(values / 257).astype(np.uint8)), data[:8]
        assert np.array_equal(image[..., 0], image[..., 2])


@pytest.mark.parametrize('ending', ['.png', '.tiff'])
def test_sixteen_bit_colour__scaled_not_cut_off(file: Path, ending: str) -> None:
    values = (GRADIENT * 9 % 65536).astype(np.uint16)
    file.write_bytes(cv2.imencode(ending, values)[1].tobytes())
    assert np.abs(read_frame(str(file)).image - values / 257).max() <= 1


def test_sixteen_bit_colour_tiff__that_pillow_does_not_know(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = (GRADIENT * 9 % 65536).astype(np.uint16)
    file.write_bytes(cv2.imencode('.tiff', values)[1].tobytes())

    def unknown(*_: object) -> None:
        raise SyntaxError('unknown pixel mode')

    monkeypatch.setattr(raster, 'open_image', unknown)
    assert np.abs(read_frame(str(file)).image - values / 257).max() <= 0.5
    assert '60 x 40' in reason(file, max_pixels=100)


def test_thirty_two_bit_integers__only_within_sixteen(file: Path) -> None:
    values = np.full((5, 6), 65535, np.int32)
    file.write_bytes(encoded(Image.fromarray(values), 'TIFF'))
    assert (read_frame(str(file)).image == 255).all()
    values[2, 3] = 70_000
    file.write_bytes(encoded(Image.fromarray(values), 'TIFF'))
    assert 'from 65535 to 70000' in reason(file)


def test_floats__only_within_zero_to_one(file: Path) -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    file.write_bytes(encoded(Image.fromarray(values), 'TIFF'))
    assert np.array_equal(read_frame(str(file)).image[..., 1], np.arange(256).reshape(16, 16))
    for wrong in (1.5, -0.1, np.nan):
        values[3, 3] = wrong
        file.write_bytes(encoded(Image.fromarray(values), 'TIFF'))
        assert 'outside 0 to 1' in reason(file)


def test_grey_palette_alpha__become_their_colours(file: Path) -> None:
    colours = Image.fromarray(RGB)
    flat = Image.fromarray((RGB // 64 * 64).astype(np.uint8))
    alpha = colours.copy()
    alpha.putalpha(Image.fromarray(RGB[..., 0]))
    for image, expected in (
        (colours.convert('L'), np.asarray(colours.convert('L').convert('RGB'))),
        (colours.convert('1'), np.asarray(colours.convert('1').convert('RGB'))),
        (flat.quantize(256), np.asarray(flat.quantize(256).convert('RGB'))),
        (alpha, RGB),
        (colours.convert('LA'), np.asarray(colours.convert('L').convert('RGB'))),
    ):
        file.write_bytes(encoded(image, 'PNG'))
        assert np.array_equal(read_frame(str(file)).image[..., ::-1], expected), image.mode


@pytest.mark.reads(pillow='12.3')
def test_print_colours__become_rgb(file: Path) -> None:
    red = Image.new('RGB', (32, 16), (200, 30, 30))
    to_lab = ImageCms.buildTransform(ImageCms.createProfile('sRGB'), ImageCms.createProfile('LAB'), 'RGB', 'LAB')
    for image, kind in (
        (red.convert('CMYK'), 'JPEG'),
        (red.convert('CMYK'), 'TIFF'),
        (red.convert('YCbCr'), 'TIFF'),
        (ImageCms.applyTransform(red, to_lab), 'TIFF'),
    ):
        file.write_bytes(encoded(image, kind))
        assert np.abs(read_frame(str(file)).image.astype(int) - (30, 30, 200)).max() <= 4, (image.mode, kind)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_rotation__applied(file: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ('PNG', 'TIFF'):
        file.write_bytes(encoded(Image.fromarray(RGB), kind, exif=exif))
        expected = {
            1: RGB,
            2: RGB[:, ::-1],
            3: RGB[::-1, ::-1],
            4: RGB[::-1],
            5: RGB.swapaxes(0, 1),
            6: np.rot90(RGB, -1),
            7: RGB[::-1, ::-1].swapaxes(0, 1),
            8: np.rot90(RGB),
        }[orientation]
        assert np.array_equal(read_frame(str(file)).image[..., ::-1], expected), kind


def test_broken_exif__says_nothing_about_the_pixels(file: Path) -> None:
    file.write_bytes(encoded(Image.fromarray(RGB), 'JPEG', exif=b'Exif\0\0no TIFF header'))
    assert read_frame(str(file)).image.shape == (40, 60, 3)


@pytest.mark.reads(opencv='4.11')
def test_one_pixel__has_no_sharpness(file: Path) -> None:
    file.write_bytes(encoded(Image.new('RGB', (1, 1), (1, 2, 3)), 'PNG'))
    frame = read_frame(str(file))
    assert frame.image.tolist() == [[[3, 2, 1]]]
    assert frame.sharpness == 0


@pytest.mark.reads(pillow='12.3')
def test_animation_and_pages__no_single_picture(file: Path) -> None:
    first, second = Image.new('RGB', (8, 8), (255, 0, 0)), Image.new('RGB', (8, 8), (0, 0, 255))
    for kind, what in (('GIF', 'frames'), ('TIFF', 'pages'), ('WEBP', 'frames'), ('PNG', 'frames'), ('AVIF', 'frames')):
        file.write_bytes(encoded(first, kind, save_all=True, append_images=[second]))
        assert reason(file).startswith(f'has 2 {what}; take them as frames with --videos all'), kind


def test_too_large__refused_from_the_header(file: Path) -> None:
    file.write_bytes(png_header(20_000, 20_000))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        text = reason(file)
    assert '20000 x 20000' in text and '400.0 megapixels' in text and '100.0' in text
    assert 'embedder.pipeline.0.max_pixels=400000000' in text


@pytest.mark.parametrize('kind', ['PNG', 'TIFF', 'WEBP', 'GIF'])
def test_pillows_own_limit__neither_warns_nor_bites(file: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(encoded(Image.fromarray(RGB), kind))
    for limit in (2000, 100):  # Pillow warns above its limit and raises above twice of it
        monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', limit)
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            assert read_frame(str(file)).image.shape == (40, 60, 3)
        assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'BMP', 'TIFF', 'WEBP', 'GIF', 'PPM'])
def test_truncated__is_an_error(file: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    for part in (0.05, 0.5, 0.9):
        file.write_bytes(data[: int(len(data) * part)])
        reason(file)


def test_every_single_cut__is_an_outcome_of_the_file(file: Path) -> None:
    data = encoded(Image.fromarray(RGB), 'JPEG')
    for length in range(0, len(data) - 2, 7):
        file.write_bytes(data[:length])
        reason(file)


def test_damaged_count_of_a_tiff_field__asks_for_no_memory(file: Path) -> None:
    data = bytearray(encoded(Image.fromarray(RGB), 'TIFF'))
    first = struct.unpack_from('<I', data, 4)[0] + 2
    for entry in range(first, first + 12 * struct.unpack_from('<H', data, first - 2)[0], 12):
        damaged = data.copy()
        struct.pack_into('<I', damaged, entry + 4, 2**31)
        file.write_bytes(damaged)
        tracemalloc.start()
        with suppress(UnreadableImage):
            read_frame(str(file))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 5e6, struct.unpack_from('<H', damaged, entry)


@pytest.mark.filterwarnings('ignore::UserWarning:PIL')
def test_random_damage__raises_only_unreadable(file: Path) -> None:
    generator = np.random.default_rng(1)
    for kind in ('JPEG', 'PNG', 'TIFF', 'BMP', 'GIF', 'WEBP'):
        data = np.frombuffer(encoded(Image.fromarray(RGB), kind), np.uint8)
        for _ in range(60):
            damaged = data.copy()
            damaged[generator.integers(0, min(len(data), 400), 6)] = generator.integers(0, 256, 6)
            file.write_bytes(damaged.tobytes())
            try:
                assert read_frame(str(file), max_pixels=50_000).image.dtype == np.uint8
            except UnreadableImage as error:
                assert error.reason  # noqa: PT017


def test_files_that_are_no_images__say_what_they_are(tmp_path: Path) -> None:
    (tmp_path / 'empty.jpg').touch()
    assert reason(tmp_path / 'empty.jpg') == 'is empty (0 bytes)'
    (tmp_path / 'text.jpg').write_text('This is a note about a patient.')
    assert 'is not an image' in reason(tmp_path / 'text.jpg')
    (tmp_path / 'folder.jpg').mkdir()
    assert reason(tmp_path / 'folder.jpg') == 'is a directory'
    (tmp_path / 'dangling.jpg').symlink_to('nothing')
    assert reason(tmp_path / 'dangling.jpg') == 'is a link to a file that does not exist'
    (tmp_path / 'loop.jpg').symlink_to('loop.jpg')
    assert reason(tmp_path / 'loop.jpg') == 'is a link that leads back to itself'
    os.mkfifo(tmp_path / 'pipe.jpg')
    assert reason(tmp_path / 'pipe.jpg') == 'is not a regular file'
    assert reason(tmp_path / 'gone.jpg') == 'does not exist (any more)'


def test_strange_names__are_read(tmp_path: Path) -> None:
    for name in ('line\nbreak.png', os.fsdecode(b'not-utf8-\xff.png'), 'ü' * 60 + '.png'):
        path = os.path.join(tmp_path, name)
        with open(path, 'wb') as file:
            file.write(encoded(Image.fromarray(RGB), 'PNG'))
        assert read_frame(path).image.shape == (40, 60, 3)
    with pytest.raises(UnreadableImage, match='name that no file can have'):
        read_frame('null\0byte.png')


@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='root may read every file')
def test_permission_denied(file: Path) -> None:
    file.write_bytes(encoded(Image.fromarray(RGB), 'PNG'))
    file.chmod(0)
    assert reason(file) == 'permission denied'


def test_a_lack_of_memory__is_not_the_files_fault(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(encoded(Image.fromarray(RGB), 'PNG'))

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(raster, 'pixels_of', full)
    with pytest.raises(MemoryError):
        read_frame(str(file))


def test_sharpness__falls_with_blur_and_hardly_with_resolution() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    image = cv2.resize(noise, (512, 512), interpolation=cv2.INTER_CUBIC)
    larger = cv2.resize(image, (1024, 1024), interpolation=cv2.INTER_NEAREST)
    assert frames.sharpness(larger) == pytest.approx(frames.sharpness(image))
    assert frames.sharpness(cv2.GaussianBlur(image, (0, 0), 4)) < frames.sharpness(image) / 4


@pytest.mark.parametrize(
    'sides',
    [
        (640, 640),
        (1080, 1920),
        (1008, 1158),
        (352, 352),
        (257, 811),
        (100, 60),
        pytest.param((1, 1), marks=pytest.mark.reads(opencv='4.11')),
    ],
)
@pytest.mark.parametrize('target', [224, 16])
def test_resize__close_to_the_average_over_the_area(sides: tuple[int, int], target: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    image = cv2.resize(noise, sides[::-1], interpolation=cv2.INTER_CUBIC)
    expected = cv2.resize(image, (target, target), interpolation=cv2.INTER_AREA).astype(float)
    found = frames.resize(image, target, target)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 1


def test_resize__every_pixel_counts() -> None:
    for side in (640, 512, 447, 300):
        for row, column in ((0, 0), (side - 1, side - 1), (side // 2, side // 3)):
            image = np.zeros((side, side), np.uint8)
            image[row, column] = 255
            assert frames.resize(image, 224, 224).any() and frames.resize(image, 64, 64).any(), (side, row, column)


def test_load_frame__takes_the_place_of_load_image_from_file(file: Path) -> None:
    file.write_bytes(encoded(Image.fromarray(RGB), 'PNG'))
    rest = [dict(type='mmpretrain.ResizeEdge', scale=24), dict(type='mmpretrain.PackInputs')]
    ours = Compose([dict(type='mmdel.LoadFrame'), *rest])({'img_path': str(file)})
    theirs = Compose([dict(type='LoadImageFromFile'), *rest])({'img_path': str(file)})
    assert np.array_equal(ours['inputs'], theirs['inputs'])
    assert ours['data_samples'].ori_shape == theirs['data_samples'].ori_shape == (40, 60)
    results = LoadFrame()({'img_path': str(file)})
    assert results['nbytes'] == file.stat().st_size


SMOOTH = cv2.resize(
    np.random.default_rng(0).integers(0, 256, (8, 11, 3), np.uint8), (1100, 801), interpolation=cv2.INTER_CUBIC
)


@pytest.mark.parametrize(
    ('least', 'scale'), [(801, 1), (401, 1), (400, 2), (201, 2), (200, 4), (150, 4), (100, 8), (16, 8)]
)
@pytest.mark.parametrize('orientation', [1, 6])
def test_reduced_jpeg__stays_large_enough_and_tells_its_full_size(
    file: Path, least: int, scale: int, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file.write_bytes(encoded(Image.fromarray(SMOOTH), 'JPEG', quality=95, exif=exif))
    full, frame = read_frame(str(file)), read_frame(str(file), reduce_to=least)
    sides = (801, 1100) if orientation == 1 else (1100, 801)
    assert full.full_shape == full.image.shape[:2] == frame.full_shape == sides
    assert frame.image.shape[:2] == tuple(-(-side // scale) for side in sides)
    assert min(frame.image.shape[:2]) >= least and frame.nbytes == full.nbytes
    shown = [frames.resize(image, 16, 16).astype(float) for image in (full.image, frame.image)]
    assert np.abs(shown[0] - shown[1]).mean() < 4  # turned the wrong way it would be 70
    loaded = LoadFrame(reduce_to=least)({'img_path': str(file)})
    assert loaded['ori_shape'] == sides and loaded['img_shape'] == frame.image.shape[:2]


def test_reduced__nearly_square_on_its_side(file: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file.write_bytes(encoded(Image.fromarray(SMOOTH[:640, :639]), 'JPEG', exif=exif))
    frame = read_frame(str(file), reduce_to=224)
    assert frame.image.shape[:2] == (320, 320) and frame.full_shape == (639, 640)


@pytest.mark.parametrize('kind', ['PNG', 'TIFF', 'WEBP', 'BMP', 'GIF'])
def test_other_formats__are_never_reduced(file: Path, kind: str) -> None:
    file.write_bytes(encoded(Image.fromarray(SMOOTH), kind))
    assert np.array_equal(read_frame(str(file), reduce_to=16).image, read_frame(str(file)).image)


def test_reduced__is_as_strict(file: Path) -> None:
    data = encoded(Image.fromarray(SMOOTH), 'JPEG')
    for part in (0.05, 0.5, 0.9, 0.99):
        file.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(UnreadableImage, match='truncated'):
            read_frame(str(file), reduce_to=100)
    for wrong in (0, -1, 2.5, '224'):
        with pytest.raises(ConfigError, match='of mmdel.LoadFrame is not a positive whole number'):
            LoadFrame(reduce_to=wrong)
