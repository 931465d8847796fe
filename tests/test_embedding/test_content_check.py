import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from mmdel.embedding import Embedded, content_check, embed_images
from mmdel.embedding import embed as embedder
from mmdel.embedding.content_check import first_identical
from mmdel.engine import DedupRunner

Make = Callable[..., Any]
PIXELS = Path(__file__).resolve().parents[2] / 'configs' / 'demo' / 'meddel_pixels.py'


def alone(paths: pa.Array, sizes: np.ndarray) -> np.ndarray:
    """As if no two files were the same."""
    return np.arange(len(paths))


def rows(embedded: Embedded) -> dict[str, Any]:
    stored = embedded.source.read(slice(0, len(embedded.table)))
    table = embedded.table.drop_columns(['path']).to_pylist()
    return {row['image']: (row, vector.tobytes()) for row, vector in zip(table, stored, strict=True)}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=3) | st.sampled_from([b'a' * 9000, b'a' * 8999 + b'b', b'b' + b'a' * 8999])))
def test_first_identical__agrees_with_comparing_everything(tmp_path: Path, contents: list[bytes]) -> None:
    paths = [str(tmp_path / f'{i}') for i in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        Path(path).write_bytes(content)
    # empty files have nothing in common that a model could see
    expected = [contents.index(content) if content else i for i, content in enumerate(contents)]
    sizes = np.array([len(content) for content in contents], int)
    assert first_identical(pa.array(paths, pa.string()), sizes).tolist() == expected


def test_first_identical__opens_only_files_of_equal_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    digest = content_check.digest_of
    monkeypatch.setattr(content_check, 'digest_of', lambda path: read.append(Path(path).name) or digest(path))
    for name, content in (('a', b'12'), ('b', b'123'), ('c', b'124'), ('d', b'124')):
        (tmp_path / name).write_bytes(content)
    paths = pa.array([str(tmp_path / name) for name in ('a', 'b', 'c', 'd', 'gone')])
    assert first_identical(paths, np.array([2, 3, 3, 3, 3])).tolist() == [0, 1, 2, 2, 4]
    assert read == ['c', 'd']


def test_a_pipe__is_never_opened(tmp_path: Path) -> None:
    for name in ('a', 'b'):
        os.mkfifo(tmp_path / name)
    assert first_identical(pa.array([str(tmp_path / 'a'), str(tmp_path / 'b')]), np.zeros(2, int)).tolist() == [0, 1]


def test_model__sees_each_content_once_and_vectors_are_the_same(
    image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: list[str]
) -> None:
    for original, copy in (('003', '0005'), ('003', '018b'), ('011', '012b'), ('019', 'zz')):
        shutil.copy(image_folder / f'{original}.png', image_folder / f'{copy}.png')
    (image_folder / '0001.png').write_text('no image')
    (image_folder / '0002.png').write_text('no image')
    together = tiny()
    found = embed_images(table_of(image_folder), together, str(tmp_path / 'together'), num_workers=0)
    assert together.seen == 20
    assert messages[0].endswith('26 are embedded now, 5 of them as exact copies of others.')
    again = embed_images(table_of(image_folder), again_model := tiny(), str(tmp_path / 'together'), num_workers=0)
    assert again_model.seen == 0 and rows(again) == rows(found)
    monkeypatch.setattr(embedder, 'first_identical', alone)
    apart = tiny()
    expected = embed_images(table_of(image_folder), apart, str(tmp_path / 'apart'), num_workers=0)
    assert apart.seen == 24
    assert rows(found) == rows(expected) and found.unreadable == expected.unreadable


def test_copies_of_what_is_known__take_its_vector(
    image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path
) -> None:
    (image_folder / '000.png').write_text('no image')
    cache = str(tmp_path / 'cache')
    before = rows(embed_images(table_of(image_folder), tiny(), cache, num_workers=0))
    for number in range(15):
        shutil.copy(image_folder / f'{number:03}.png', image_folder / f'copy{number:03}.png')
    cv2.imwrite(str(image_folder / 'new.png'), np.full((9, 9, 3), 77, np.uint8))
    model = tiny()
    found = embed_images(table_of(image_folder), model, cache, num_workers=0)
    assert model.seen == 1
    after = rows(found)
    assert all(after[key] == before[key] for key in before)
    assert all(after[f'copy{number:03}.png'][1] == before[f'{number:03}.png'][1] for number in range(1, 15))
    assert [key for key, _ in found.unreadable] == ['000.png', 'copy000.png']
    model = tiny()
    assert rows(embed_images(table_of(image_folder), model, cache, num_workers=0)) == after and model.seen == 0


def test_file_that_changes_after_it_was_compared__keeps_its_vector_to_itself(
    image_folder: Path, table_of: Make, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(image_folder / '003.png', image_folder / 'copy.png')
    expected = rows(embed_images(table_of(image_folder), tiny(), str(tmp_path / 'expected'), num_workers=0))

    def compared(paths: pa.Array, sizes: np.ndarray) -> np.ndarray:
        first = first_identical(paths, sizes)
        cv2.imwrite(str(image_folder / '003.png'), np.full((5, 6, 3), 200, np.uint8))
        return first

    monkeypatch.setattr(embedder, 'first_identical', compared)
    model = tiny()
    found = rows(embed_images(table_of(image_folder), model, str(tmp_path / 'cache'), num_workers=0))
    assert model.seen == 21
    assert found['copy.png'] == expected['copy.png']
    assert found['003.png'][0]['width'] == 6 and found['003.png'][1] != expected['003.png'][1]


def test_subset__has_the_same_bytes(image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        shutil.copy(image_folder / f'{number:03}.png', image_folder / f'copy{number}.png')
    subsets = []
    for name in ('together', 'apart'):
        cfg = Config.fromfile(PIXELS)
        cfg.dataset = dict(type='mmdel.DataDEL', data_root=str(image_folder))
        cfg.work_dir, cfg.cache_dir = str(tmp_path / name), str(tmp_path / f'{name}_cache')
        DedupRunner.from_cfg(cfg, report=False).run()
        subsets.append((tmp_path / name / 'subset.parquet').read_bytes())
        monkeypatch.setattr(embedder, 'first_identical', alone)
    assert subsets[0] == subsets[1]
