"""What a pipeline gets with the cache is what it gets without, in mmpretrain's and mmseg's pipelines."""

import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope

from mmdel.datasets import DataDEL, LoadCached, LoadFrame, decoded_store
from mmdel.errors import ConfigError, DatasetError, UnreadableImage
from mmdel.images import formats
from mmdel.registry import TRANSFORMS

IMAGE = [dict(type='LoadImageFromFile')]
SEGMENTATION = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
LOADERS = {
    'mmpretrain': [IMAGE, [dict(type='mmdel.LoadFrame')], [dict(type='LoadImageFromFile', color_type='grayscale')]],
    'mmseg': [SEGMENTATION, [dict(type='LoadImageFromFile', to_float32=True), dict(type='mmdel.LoadMask')]],
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    """An item as mmseg's datasets give it."""
    generator = np.random.default_rng(0)
    cv2.imwrite(str(tmp_path / 'image.jpg'), generator.integers(0, 256, (40, 60, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'mask.png'), generator.integers(0, 2, (40, 60), np.uint8))
    return dict(
        img_path=str(tmp_path / 'image.jpg'),
        seg_map_path=str(tmp_path / 'mask.png'),
        label_map={0: 1, 1: 0},
        reduce_zero_label=False,
        seg_fields=[],
        mask_kind='binary',
        sample_idx=3,
    )


@pytest.fixture
def item(files: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    return lambda **changes: {**files, 'seg_fields': [], **changes}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which files a LoadFrame has decoded."""
    seen: list[str] = []
    stock = LoadFrame.transform

    def transform(self: LoadFrame, results: dict[str, Any]) -> Any:
        seen.append(Path(results['img_path']).name)
        return stock(self, results)

    monkeypatch.setattr(LoadFrame, 'transform', transform)
    return seen


def cached(folder: Path, load: Any = None, **options: Any) -> LoadCached:
    return LoadCached(load or [dict(type='mmdel.LoadFrame')], str(folder / 'decoded'), **options)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return type(one) is type(other) and one == other


@pytest.mark.parametrize(('scope', 'load'), [(scope, load) for scope, loads in LOADERS.items() for load in loads])
def test_results__are_the_loaders_own(
    tmp_path: Path, item: Callable[..., dict[str, Any]], scope: str, load: list[dict[str, Any]]
) -> None:
    with DefaultScope.overwrite_default_scope(scope):
        stock = Compose(load)(item())
        for _ in range(3):  # decoded, read by the same transform, read by another one
            transform = cached(tmp_path, load)
            for _ in range(2):
                found = transform(item())
                assert found.keys() == stock.keys()
                assert all(same(found[key], stock[key]) for key in stock), load
    assert len(list((tmp_path / 'decoded').glob('??/*'))) == 1


def test_a_change_of_what_decides__is_decoded_anew(
    tmp_path: Path, item: Callable[..., dict[str, Any]], decoded: list[str]
) -> None:
    transform = cached(tmp_path)
    for _ in range(2):
        transform(item())
    assert len(decoded) == 1
    path = Path(item()['img_path'])
    before = path.stat()
    cv2.imwrite(str(path), np.full((9, 8, 3), 5, np.uint8))
    assert transform(item())['img_shape'] == (9, 8) and len(decoded) == 2
    transform(item())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 7))
    transform(item())
    assert len(decoded) == 3
    assert len(list((tmp_path / 'decoded').glob('??/*'))) == 1  # in the place of the old one
    transform(item(label_map=None))
    cached(tmp_path, dict(type='mmdel.LoadFrame', max_pixels=10_000))(item())
    assert len(decoded) == 5
    os.chdir(path.parent)
    transform(item(img_path='image.jpg', sample_idx=9))
    assert len(decoded) == 5


@pytest.mark.usefixtures('poor_file_system')
def test_files_exchanged__where_the_file_system_tells_nothing(
    tmp_path: Path, item: Callable[..., dict[str, Any]], decoded: list[str]
) -> None:
    load = cached(tmp_path)
    for names in (['a.bmp', 'b.bmp'], ['b.bmp', 'a.bmp']):
        for shade, name in enumerate(names):
            cv2.imwrite(str(tmp_path / name), np.full((40, 60, 3), shade, np.uint8))
            os.utime(tmp_path / name, (1_600_000_000, 1_600_000_000))
        for _ in range(2):
            for shade, name in enumerate(names):
                assert (load(item(img_path=str(tmp_path / name)))['img'] == shade).all()
    assert decoded == ['a.bmp', 'b.bmp', 'b.bmp', 'a.bmp']  # the second time from the cache


def test_masks_alone__depend_on_the_size_of_the_image(tmp_path: Path, item: Callable[..., dict[str, Any]]) -> None:
    steps = [cached(tmp_path), cached(tmp_path, dict(type='mmdel.LoadMask'))]
    for _ in range(2):
        results = Compose(steps)(item())
        assert results['gt_seg_map'].shape == (40, 60) and results['seg_fields'] == ['gt_seg_map']
        with pytest.raises(DatasetError, match='has 60 x 40 px'):
            steps[1](item(ori_shape=(41, 60)))


@pytest.mark.parametrize('content', [b'', b'text', None])
def test_failures__are_the_loaders_own(
    tmp_path: Path, item: Callable[..., dict[str, Any]], content: bytes | None
) -> None:
    path = Path(item()['img_path'])
    path.unlink() if content is None else path.write_bytes(content)
    for _ in range(2):
        for options, load in (({}, IMAGE), ({'ignore_empty': True}, IMAGE), ({'skip_unreadable': True}, None)):
            config = {**(load or [dict(type='mmdel.LoadFrame')])[0], **options}
            outcomes = []
            for transform in (TRANSFORMS.build(config), cached(tmp_path, config)):
                try:
                    outcomes.append(transform(item()))
                except Exception as error:  # whatever it is, it is the same
                    outcomes.append((type(error), str(error)))
            assert outcomes[0] == outcomes[1]
        with pytest.raises(UnreadableImage) as ours:
            cached(tmp_path)(item())
        with pytest.raises(UnreadableImage, match=re.escape(ours.value.reason)):
            TRANSFORMS.build(dict(type='mmdel.LoadFrame'))(item())
    assert not list((tmp_path / 'decoded').glob('??/*'))


def test_damaged_entry__is_decoded_anew(
    tmp_path: Path, item: Callable[..., dict[str, Any]], decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(decoded_store, 'print_log', lambda text, **_: said.append(text))
    expected = cached(tmp_path)(item())['img'].copy()
    (entry,) = (tmp_path / 'decoded').glob('??/*')
    content = entry.read_bytes()
    entry.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    for _ in range(2):
        assert np.array_equal(cached(tmp_path)(item())['img'], expected)
    assert len(decoded) == 2 and len(said) == 1


def test_frames_of_a_video__know_their_video(
    tmp_path: Path, render_video: Callable[..., Path], decoded: list[str]
) -> None:
    path = render_video(tmp_path / 'clip.mp4', frames=5)
    transform = cached(tmp_path)
    for _ in range(2):
        found = transform({'img_path': formats.frame_path(str(path), 3)})
        assert same(found['img'], LoadFrame()({'img_path': formats.frame_path(str(path), 3)})['img'])
    render_video(path, frames=7, start=5)
    transform({'img_path': formats.frame_path(str(path), 3)})
    assert len(decoded) == 4  # two of them by the LoadFrame compared with


def test_loader_that_reads_something_else__says_so_before_it_goes_wrong(
    tmp_path: Path, item: Callable[..., dict[str, Any]], decoded: list[str]
) -> None:
    class ByNumber(BaseTransform):
        def transform(self, results: dict[str, Any]) -> dict[str, Any]:
            if 'sample_idx' in results and results.get('sample_idx') and results['sample_idx']:
                return {**LoadFrame()(results), 'number': results['sample_idx']}
            raise AssertionError

    load = dict(type=ByNumber)
    for _ in range(2):
        with pytest.raises(ConfigError, match="ByNumber in mmdel.LoadCached reads 'sample_idx'"):
            cached(tmp_path, load)(item())
        for number in (3, 4):
            found = cached(tmp_path, load, reads=('img_path', 'sample_idx'))(item(sample_idx=number))
            assert found['number'] == number
    assert len(decoded) == 2


@pytest.mark.parametrize('limit', ['8 gigabytes', '', 0, -1, 'GB', None])
def test_wrong_arguments__are_named(tmp_path: Path, limit: Any) -> None:
    with pytest.raises(ConfigError, match="'500MB', '8GB'"):
        cached(tmp_path, limit=limit)
    with pytest.raises(ConfigError, match='is empty'):
        LoadCached([])


def test_limit__reads_units(tmp_path: Path) -> None:
    limits = [cached(tmp_path, limit=limit).store.limit for limit in (7, '7', '1.5kB', '20 MB', '8GB', '2TB')]
    assert limits == [7, 7, 1500, 20 * 10**6, 8 * 10**9, 2 * 10**12]


AUGMENTATIONS = st.lists(
    st.sampled_from(
        [
            dict(type='RandomResizedCrop', scale=24, backend='pillow', interpolation='bicubic'),
            dict(type='RandomResizedCrop', scale=(16, 24)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
            dict(type='RandomErasing', erase_prob=0.7, mode='rand'),
            dict(type='Invert', prob=0.5),
            dict(type='Rotate', angle=30.0, prob=0.5),
            dict(type='Shear', magnitude=0.3, prob=0.5),
            dict(type='Solarize', thr=128, prob=0.5),
            dict(type='RandomGrayscale', prob=0.5, keep_channels=True),
            'write into it',
        ]
    ),
    max_size=5,
)


class WriteIntoIt(BaseTransform):
    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        results['img'][::2] //= 2
        results['img'].fill(3) if np.random.rand() < 0.3 else None
        return results


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(AUGMENTATIONS, st.integers(0, 2**31))
def test_random_augmentations__give_the_same_images(
    tmp_path: Path, item: Callable[..., dict[str, Any]], steps: list[Any], seed: int
) -> None:
    steps = [dict(type=WriteIntoIt) if step == 'write into it' else step for step in steps]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        pipelines = [Compose([*load, *steps, dict(type='PackInputs')]) for load in (IMAGE, [cached(tmp_path, IMAGE)])]
    for turn in range(2):
        packed = []
        for pipeline in pipelines:
            random.seed(seed + turn)
            np.random.seed((seed + turn) % 2**32)
            packed.append(pipeline(item()))
        assert packed[0]['inputs'].equal(packed[1]['inputs'])
        about = [dict(each['data_samples'].metainfo_items()) for each in packed]
        assert about[0] == about[1]


def test_dataset__serves_another_image_in_place_of_a_broken_one(tmp_path: Path) -> None:
    pool = tmp_path / 'pool'
    pool.mkdir()
    for level in range(3):
        cv2.imwrite(str(pool / f'{level}.jpg'), np.full((32, 32, 3), 80 * level, np.uint8))
    (pool / '1.jpg').write_bytes(b'no image')
    load = cached(tmp_path, dict(type='mmdel.LoadFrame', skip_unreadable=True))
    dataset = DataDEL(data_root=str(pool), pipeline=[load])
    for _ in range(4):
        assert dataset[1]['img'].mean() in (0, 160)
    assert dataset.prepare_data(1) is None
    assert len(dataset.get_subset([0, 2])) == 2  # copies the pipeline
