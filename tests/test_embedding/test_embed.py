import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch
from mmcv.transforms import BaseTransform
from torch import nn

from mmdel.compute import storage
from mmdel.compute.progress import Stages
from mmdel.embedding import Embedded, embed_images
from mmdel.errors import ConfigError, DatasetError, StoreError, VectorError
from mmdel.images.frames import read_frame, resize
from mmdel.registry import TRANSFORMS

Make = Callable[..., Any]


def vectors(embedded: Embedded) -> dict[str, bytes]:
    stored = embedded.source.read(slice(0, len(embedded.table)))
    return dict(zip(embedded.table['image'].to_pylist(), (row.tobytes() for row in stored), strict=True))


def rewrite(path: Path, image: np.ndarray) -> None:
    """Change a file, and its time for certain."""
    state = path.stat()
    cv2.imwrite(str(path), image)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))


def test_row_order_and_what_is_noted(image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path) -> None:
    embedded = embed_images(table_of(image_folder), tiny(), str(tmp_path / 'cache'), num_workers=2)
    keys = embedded.table['image'].to_pylist()
    assert keys == [f'{i:03}.png' for i in range(20)]
    assert embedded.table['label'].to_pylist() == ['0'] * 20
    assert embedded.table['width'].to_pylist() == [30 - i for i in range(20)]
    assert embedded.table['height'].to_pylist() == [10 + i for i in range(20)]
    assert embedded.table.schema.field('bytes').type == pa.int64()
    frames = [read_frame(str(image_folder / key)) for key in keys]
    assert embedded.table['bytes'].to_pylist() == [frame.nbytes for frame in frames]
    assert embedded.table['sharpness'].to_pylist() == [frame.sharpness for frame in frames]
    resized = np.stack([resize(frame.image, 8, 8) for frame in frames])
    pixels = (
        torch.from_numpy(resized[..., ::-1].copy()).permute(0, 3, 1, 2)
        - torch.tensor([123.675, 116.28, 103.53])[:, None, None]
    )
    expected = tiny().build_model()(pixels / torch.tensor([58.395, 57.12, 57.375])[:, None, None])
    assert embedded.source.shape == (20, 5)
    assert np.allclose(embedded.source.read(slice(0, 20)), expected.detach(), atol=1e-5)


@pytest.mark.parametrize('workers', [0, 1, 2])
def test_vectors__same_bits_for_any_workers_and_order(
    image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path, workers: int
) -> None:
    one = embed_images(table_of(image_folder), tiny(), str(tmp_path / 'one'), num_workers=0)
    other = embed_images(table_of(image_folder), tiny(), str(tmp_path / 'other'), num_workers=workers)
    assert vectors(one) == vectors(other)


def test_second_run__opens_no_image_and_no_worker(
    image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path, messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = embed_images(table_of(image_folder), tiny(), str(tmp_path / 'cache'), num_workers=0)
    monkeypatch.setattr('mmdel.embedding.embed.read_batches', None)
    again = tiny()
    assert vectors(embed_images(table_of(image_folder), again, str(tmp_path / 'cache'))) == vectors(first)
    assert again.seen == 0
    assert messages[0].startswith('0 of 20 images have vectors') and '20 are embedded now' in messages[0]
    assert messages[1].startswith('20 of 20 images have vectors') and 'embedded now' not in messages[1]


def test_full_disk__is_said_after_the_first_shard_and_what_is_there_is_kept(
    image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = str(tmp_path / 'cache')
    with monkeypatch.context() as full:
        full.setattr(storage.shutil, 'disk_usage', lambda folder: SimpleNamespace(free=100))
        with pytest.raises(StoreError, match='vectors of new images: up to'):
            embed_images(table_of(image_folder), tiny(), cache, num_workers=0)
    kept = len(list(Path(cache).rglob('*.npy')))
    assert kept == 1
    embedded = embed_images(table_of(image_folder), tiny(), cache, num_workers=0)
    assert vectors(embedded) == vectors(
        embed_images(table_of(image_folder), tiny(), str(tmp_path / 'other'), num_workers=0)
    )


def test_growing_and_changing_dataset__only_what_is_new_is_embedded(
    image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path
) -> None:
    cache = str(tmp_path / 'cache')
    before = vectors(embed_images(table_of(image_folder), tiny(), cache, num_workers=0))
    rewrite(image_folder / '007.png', np.full((12, 12, 3), 90, np.uint8))
    cv2.imwrite(str(image_folder / '0065.png'), np.full((12, 12, 3), 91, np.uint8))
    (image_folder / '011.png').unlink()
    embedder = tiny()
    after = vectors(embed_images(table_of(image_folder), embedder, cache, num_workers=0))
    assert embedder.seen == 2
    assert {key for key in after if before.get(key) != after[key]} == {'007.png', '0065.png'}
    assert set(before) - set(after) == {'011.png'}


def test_changed_weights_and_settings__another_folder(
    image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path
) -> None:
    cache = tmp_path / 'cache'
    variants = [{}, {'factor': 2.0}, {'input_size': 8, 'mean': (1, 2, 3)}, {'to_rgb': False}, {'precision': 'bfloat16'}]
    results = [vectors(embed_images(table_of(image_folder), tiny(**v), str(cache), num_workers=0)) for v in variants]
    assert len(list(cache.iterdir())) == len(variants)
    assert all(results[0] != other for other in results[1:])
    embed_images(table_of(image_folder), tiny(batch_size=5, shard_size=10), str(cache), num_workers=0)
    assert len(list(cache.iterdir())) == len(variants)


def test_unusable_files__are_rows_with_a_reason(image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path) -> None:
    (image_folder / '003.png').write_bytes(b'')
    (image_folder / '008.png').write_text('text')
    data = (image_folder / '009.png').read_bytes()
    (image_folder / '009.png').write_bytes(data[: len(data) // 2])
    images = table_of(image_folder, more=('004b.png',), ledger=(('0045.png', 'is a dangling link'),))
    for _ in range(2):
        embedded = embed_images(images, tiny(), str(tmp_path / 'cache'))
        assert [key for key, _ in embedded.unreadable] == ['003.png', '0045.png', '004b.png', '008.png', '009.png']
        reasons = dict(embedded.unreadable)
        assert reasons['003.png'] == 'is empty (0 bytes)'
        assert reasons['004b.png'] == 'does not exist (any more)'
        assert 'truncated' in reasons['009.png']
        assert len(embedded.table) == embedded.source.shape[0] == 17


def test_unusable_file__tried_again_only_when_it_has_changed(
    image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path, messages: list[str]
) -> None:
    cache = str(tmp_path / 'cache')
    (image_folder / '003.png').write_bytes(b'')
    gone = ('vanished.png',)
    embed_images(table_of(image_folder, gone), tiny(), cache, num_workers=0)
    messages.clear()
    embed_images(table_of(image_folder, gone), tiny(), cache, num_workers=0)
    # a file that could not be opened may be there the next time, whatever its time says
    assert messages[0].startswith('20 of 21 images have vectors')
    rewrite(image_folder / '003.png', np.full((12, 12, 3), 90, np.uint8))
    cv2.imwrite(str(image_folder / 'vanished.png'), np.full((12, 12, 3), 90, np.uint8))
    embedder = tiny()
    embedded = embed_images(table_of(image_folder), embedder, cache, num_workers=0)
    assert embedder.seen == 2 and embedded.unreadable == ()


def test_nothing_usable__is_an_error(tmp_path: Path, table_of: Make, tiny: Make) -> None:
    folder = tmp_path / 'images'
    folder.mkdir()
    for name in ('a.png', 'b.png'):
        (folder / name).write_text('text')
    with pytest.raises(DatasetError, match=r'None of the 3 images found can be used.\n  a.png: is not an image'):
        embed_images(table_of(folder, ledger=(('c.png', 'is a link'),)), tiny(), str(tmp_path / 'cache'))


def test_no_images_at_all__is_an_error(tmp_path: Path, table_of: Make, tiny: Make) -> None:
    (tmp_path / 'images').mkdir()
    with pytest.raises(DatasetError, match='None of the 0 images'):
        embed_images(table_of(tmp_path / 'images'), tiny(), str(tmp_path / 'cache'))


def test_damaged_shard__only_its_images_are_embedded_again(
    image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path, messages: list[str]
) -> None:
    cache = tmp_path / 'cache'
    before = vectors(embed_images(table_of(image_folder), tiny(), str(cache), num_workers=0))
    shard = next(cache.rglob('shard-000001.npy'))
    data = bytearray(shard.read_bytes())
    data[-3] ^= 4
    shard.write_bytes(data)
    embedder = tiny()
    assert vectors(embed_images(table_of(image_folder), embedder, str(cache), num_workers=0)) == before
    assert embedder.seen == 6
    assert any('shard-000001.parquet is damaged' in message for message in messages)


def test_two_datasets__share_a_cache(image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path) -> None:
    images = table_of(image_folder)
    numbers = random.Random(0).sample(range(20), 9)
    part = type(images)(images.root, images.table.take(pa.array(sorted(numbers))), (), (), ())
    embed_images(part, tiny(), str(tmp_path / 'cache'), num_workers=0)
    embedder = tiny()
    embedded = embed_images(images, embedder, str(tmp_path / 'cache'), num_workers=0)
    assert embedder.seen == 11 and len(embedded.table) == 20


def test_not_finite__names_the_images(image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path) -> None:
    class Overflowing(tiny):  # type: ignore[misc, valid-type]
        def build_model(self) -> nn.Module:
            class Model(nn.Module):
                def forward(self, images: torch.Tensor) -> torch.Tensor:
                    features = images.flatten(1)[:, :4].clone()
                    features[1, 2] = float('nan')
                    return features

            return Model()

    with pytest.raises(VectorError, match="'001.png'.*precision=float32"):
        embed_images(table_of(image_folder), Overflowing(), str(tmp_path / 'cache'), num_workers=0)


@TRANSFORMS.register_module(force=True)
class Failing(BaseTransform):
    def __init__(self, answer: object = 'raise') -> None:
        self.answer = answer

    def transform(self, results: dict[str, Any]) -> Any:
        if results['img_path'].endswith('005.png'):
            if self.answer == 'raise':
                raise ZeroDivisionError(f'no luck with {results["img_path"]}')
            return self.answer
        return results


@pytest.mark.parametrize('workers', [0, 1])
def test_pipelines__of_registered_transforms(
    image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path, workers: int
) -> None:
    ours = embed_images(table_of(image_folder), tiny(), str(tmp_path / 'cache'), num_workers=workers)
    (image_folder / '003.png').write_bytes(b'')
    (image_folder / '004.png').write_text('text')
    (image_folder / '010.png').unlink()
    images = table_of(image_folder, ('010.png',))
    pipeline = [dict(type='LoadImageFromFile')]
    loaded = embed_images(images, tiny(pipeline=pipeline), str(tmp_path / 'cache'), num_workers=workers)
    assert {key: vector for key, vector in vectors(ours).items() if key in vectors(loaded)} == vectors(loaded)
    assert [key for key, _ in loaded.unreadable] == ['003.png', '004.png', '010.png']
    assert all(reason and str(image_folder) not in reason for _, reason in loaded.unreadable)
    for name in ('width', 'height', 'bytes', 'sharpness'):
        expected = dict(zip(ours.table['image'].to_pylist(), ours.table[name].to_pylist(), strict=True))
        assert loaded.table[name].to_pylist() == [expected[key] for key in loaded.table['image'].to_pylist()]
    packed = [*pipeline, dict(type='mmpretrain.ResizeEdge', scale=8), dict(type='mmpretrain.PackInputs')]
    assert len(embed_images(images, tiny(pipeline=packed), str(tmp_path / 'cache')).table) == 17


@pytest.mark.parametrize('workers', [0, 1])
def test_transforms_after_the_loader__their_errors_end_the_run(
    image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path, workers: int
) -> None:
    def run(*transforms: dict[str, Any]) -> Embedded:
        return embed_images(table_of(image_folder), tiny(pipeline=transforms), str(tmp_path / 'c'), num_workers=workers)

    load = dict(type='mmdel.LoadFrame')
    with pytest.raises(ZeroDivisionError):
        run(load, dict(type='mmdel.Failing'))
    with pytest.raises(ConfigError, match=r'^Failing in the embedder pipeline gives nothing for .*005.png'):
        run(load, dict(type='mmdel.Failing', answer=None))
    with pytest.raises(ConfigError, match=r'^LoadImageFromFile .* gives float32'):
        run(dict(type='LoadImageFromFile', to_float32=True))


def test_random_numbers_of_the_caller__stay_as_they_are(
    image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    embed_images(table_of(image_folder), tiny(), str(tmp_path / 'cache'), num_workers=1)
    assert torch.equal(torch.rand(3), expected)


def test_progress__counts_every_image(image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path) -> None:
    class Counting(Stages):
        done = 0

        def stage(self, name: str, total: float | None = None, unit: str = 'images') -> Any:
            counting = self

            class Context:
                def __enter__(self) -> Any:
                    def tick(done: int) -> None:
                        counting.done += done if name == 'embed' else 0

                    return tick

                def __exit__(self, *_: object) -> None:
                    pass

            return Context()

    progress = Counting()
    embed_images(table_of(image_folder), tiny(), str(tmp_path / 'cache'), num_workers=0, progress=progress)
    assert progress.done == 20


def test_other_encoder_on_another_machine__is_an_error(
    image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def share(work: Any, job: Any, tick: Any, worth: bool) -> Any:
        there = pickle.loads(pickle.dumps(job))
        there.embedder._factor = 2.0
        return [work(each, lambda count: iter(range(count)), tick) for each in (job, there)]

    monkeypatch.setattr('mmdel.compute.sharing.share', share)
    with pytest.raises(ConfigError, match='is not that of rank 0: its weights is'):
        embed_images(table_of(image_folder), tiny(), str(tmp_path / 'cache'), num_workers=0)


def test_reduced_decoding__is_another_cache_and_keeps_the_size(table_of: Make, tiny: Make, tmp_path: Path) -> None:
    folder = tmp_path / 'images'
    folder.mkdir()
    small = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    cv2.imwrite(str(folder / 'a.jpg'), cv2.resize(small, (700, 500), interpolation=cv2.INTER_CUBIC))
    found = []
    for load in (dict(type='mmdel.LoadFrame'), dict(type='mmdel.LoadFrame', reduce_to=100)):
        embedded = embed_images(table_of(folder), tiny(pipeline=[load]), str(tmp_path / 'cache'), num_workers=0)
        found.append(embedded.table.select(['width', 'height', 'bytes']).to_pylist())
    assert found[0] == found[1] and found[0][0]['width'] == 700
    assert len(list((tmp_path / 'cache').iterdir())) == 2
