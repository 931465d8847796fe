"""The answer to another question never stands in for this one: not a vector, not a ranking, not a result, not a subset."""

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from torch import Tensor

import mmdel
from mmdel import similarity
from mmdel.cli import command
from mmdel.cli.dedup import COMMAND
from mmdel.cli.work_dir_name import default_work_dir
from mmdel.datasets import DataDEL, MedDELDataset
from mmdel.embedding import PixelEmbedder, embed_images
from mmdel.engine import DedupRunner
from mmdel.errors import ConfigError, DatasetError
from mmdel.images import frame_files
from mmdel.images.depth import find_max_value
from mmdel.images.image_table import image_table
from mmdel.leaks import search as leaks
from mmdel.selection.methods.meddel import MedDEL
from mmdel.subset import Subset

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs' / 'demo' / 'meddel_pixels.py'

THEN = 1_700_000_000_000_000_000
"""The same time of modification for all files, nanoseconds."""


def draw(number: int, side: int = 40) -> np.ndarray:
    """A picture that looks like no other, uint8 [side, side, 3]."""
    small = np.random.default_rng(number).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)


def at_one_time(folder: Path) -> None:
    for path in folder.rglob('*'):
        os.utime(path, ns=(THEN, THEN))


# --- vectors


class Counting(PixelEmbedder):
    """Counts the images that its model sees."""

    def __init__(self) -> None:
        super().__init__(batch_size=4, shard_size=4)
        self._seen: list[int] = []  # shared with its twins

    def embed(self, images: Tensor) -> np.ndarray:
        self._seen.append(int((images.flatten(1).max(dim=1).values > 0).sum()))
        return super().embed(images)


Vectors = dict[str, bytes]


@pytest.fixture
def embedded(tmp_path: Path) -> Callable[..., tuple[Vectors, int]]:
    """``embedded(folder)``: the vector of each image by its key, with one cache for all calls, and how many were made."""

    def run(folder: Path, cache: str = 'cache', **options: Any) -> tuple[Vectors, int]:
        embedder = Counting()
        found = embed_images(
            image_table(DataDEL(str(folder), **options)), embedder, str(tmp_path / cache), num_workers=0
        )
        vectors = found.source.read(slice(None))
        return dict(zip(found.table['image'].to_pylist(), map(np.ndarray.tobytes, vectors), strict=True)), sum(
            embedder._seen
        )

    return run


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    """Twelve bitmaps of one size and one time."""
    folder = tmp_path / 'sequence'
    folder.mkdir()
    for number in range(12):
        cv2.imwrite(str(folder / f'{number:02}.bmp'), draw(number))
    at_one_time(folder)
    assert len({path.stat().st_size for path in folder.iterdir()}) == 1
    return folder


def rotate(folder: Path, put: Callable[[str, str], object]) -> None:
    """Every file gets the contents of the one before it, and all of them have the same size and time as ever."""
    aside = folder.parent / 'aside'
    shutil.copytree(folder, aside)
    names = sorted(path.name for path in aside.iterdir())
    for name, before in zip(names, [names[-1], *names], strict=False):
        put(str(aside / before), str(folder / name))
    shutil.rmtree(aside)
    assert {path.stat().st_mtime_ns for path in folder.iterdir()} == {THEN}


@pytest.mark.parametrize('put', [shutil.move, shutil.copy2, os.replace], ids=['mv', 'cp -p', 'rsync -t'])
def test_renumbered_files__each_has_the_vector_of_what_it_holds(
    sequence: Path, embedded: Callable[..., tuple[Vectors, int]], put: Callable[[str, str], object]
) -> None:
    before, _ = embedded(sequence)
    rotate(sequence, put)
    after, made = embedded(sequence)
    keys = sorted(before)
    assert [after[key] for key in keys] == [before[key] for key in [keys[-1], *keys[:-1]]]
    assert made == 0
    assert embedded(sequence) == (after, 0) and embedded(sequence, 'another cache')[0] == after


@pytest.mark.usefixtures('poor_file_system')
def test_renumbered_files__where_the_file_system_tells_nothing(
    sequence: Path, embedded: Callable[..., tuple[Vectors, int]]
) -> None:
    before, _ = embedded(sequence)
    assert embedded(sequence) == (before, 0)
    rotate(sequence, shutil.copy2)
    after, made = embedded(sequence)
    keys = sorted(before)
    assert [after[key] for key in keys] == [before[key] for key in [keys[-1], *keys[:-1]]] and made == 0


def test_renumbered_files__videos_too(
    tmp_path: Path, embedded: Callable[..., tuple[Vectors, int]], render_video: Callable[..., Path]
) -> None:
    folder = tmp_path / 'videos'
    videos = [
        render_video(folder / f'{name}.avi', frames=3, codec='mjpeg', start=10 * n) for n, name in enumerate('ab')
    ]
    size = max(video.stat().st_size for video in videos)
    for video in videos:
        os.truncate(video, size)
    at_one_time(folder)
    before, made = embedded(folder, videos='all')
    assert made == 6
    rotate(folder, os.replace)
    after, made = embedded(folder, videos='all')
    assert made == 0
    for one, other in ('ab', 'ba'):
        assert [after[f'{one}.avi#{n:06}'] for n in range(3)] == [before[f'{other}.avi#{n:06}'] for n in range(3)]


@pytest.mark.usefixtures('poor_file_system')
def test_renumbered_files__videos_of_other_lengths_where_the_file_system_tells_nothing(
    tmp_path: Path, render_video: Callable[..., Path]
) -> None:
    lengths = {'a.avi': 3, 'b.avi': 5}
    videos = [render_video(tmp_path / 'videos' / name, frames=n, codec='mjpeg') for name, n in lengths.items()]
    size = max(video.stat().st_size for video in videos)
    for video in videos:
        os.truncate(video, size)
    at_one_time(tmp_path / 'videos')
    for counts in ([3, 5], [5, 3]):
        frame_files._read_index.cache_clear()  # as in another run
        assert [frame_files.read_index(str(video)).count for video in videos] == counts
        rotate(tmp_path / 'videos', shutil.copy2)


@pytest.mark.usefixtures('poor_file_system')
def test_renumbered_files__the_range_of_16_bit_images_where_the_file_system_tells_nothing(tmp_path: Path) -> None:
    folder, kept = tmp_path / 'deep', str(tmp_path / 'depth.parquet')
    for name, top in (('a.tif', 1000), ('b.tif', 4000)):
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / name), np.full((8, 8), top, np.uint16), [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    at_one_time(folder)
    assert len({path.stat().st_size for path in folder.iterdir()}) == 1
    for expected in (1023, 4095):
        assert find_max_value(pa.chunked_array([[str(folder / 'a.tif')]]), kept, 10**8) == expected
        rotate(folder, shutil.copy2)


def test_file_overwritten_with_its_old_size_and_time(
    sequence: Path, embedded: Callable[..., tuple[Vectors, int]]
) -> None:
    before, _ = embedded(sequence)
    cv2.imwrite(str(sequence / '05.bmp'), draw(99))
    at_one_time(sequence)
    after, made = embedded(sequence)
    assert made == 1 and {key for key in before if before[key] != after[key]} == {'05.bmp'}


@pytest.mark.parametrize('change', ['touched', 'moved', 'copied', 'permissions'])
def test_pool_that_was_touched_or_moved(
    sequence: Path, embedded: Callable[..., tuple[Vectors, int]], change: str, tmp_path: Path
) -> None:
    before, _ = embedded(sequence)
    folder = tmp_path / 'elsewhere'
    if change == 'touched':
        folder = sequence
        for path in folder.iterdir():
            path.touch()
    elif change == 'moved':
        sequence.rename(folder)
    elif change == 'copied':
        shutil.copytree(sequence, folder, copy_function=shutil.copyfile)
    else:
        folder = sequence
        for path in folder.iterdir():
            path.chmod(0o600)
    rows = {path: path.stat().st_size for path in (tmp_path / 'cache').rglob('*.npy')}
    assert embedded(folder) == (before, 0)
    more = {path: path.stat().st_size for path in (tmp_path / 'cache').rglob('*.npy') if path not in rows}
    assert more and max(more.values()) < 200, 'no vector is kept twice'
    assert embedded(folder) == (before, 0)


# --- results


def pictures(folder: Path, numbers: range, ending: str = 'png') -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for place, number in enumerate(numbers):
        cv2.imwrite(str(folder / f'{place:02}.{ending}'), draw(number))
    return folder


Choose = Callable[..., DedupRunner]


@pytest.fixture
def choose(tmp_path: Path) -> Choose:
    """``choose(images, work_dir='out', **changes)``: a run with thumbnails; ``changes`` of the config or of the runner."""

    def run(images: Path, work_dir: str = 'out', **changes: Any) -> DedupRunner:
        options = {name: changes.pop(name) for name in ('ratio', 'overwrite', 'update') if name in changes}
        cfg = Config.fromfile(CONFIG)
        cfg.dataset = dict(type='mmdel.DataDEL', data_root=str(images), **changes.pop('dataset', {}))
        cfg.work_dir, cfg.cache_dir = str(tmp_path / work_dir), str(tmp_path / 'cache')
        if 'embedder' in changes:
            cfg.embedder = changes.pop('embedder')
        cfg.merge_from_dict(changes)
        runner = DedupRunner.from_cfg(cfg, report=False, **{'ratio': 0.5} | options)
        runner.run()
        return runner

    return run


def files_of(*folders: Path) -> dict[Path, tuple[bytes, int]]:
    """What lies in folders, and when it was written; the lock is taken by whoever looks whether it may write."""
    found = [path for folder in folders for path in folder.rglob('*') if path.is_file() and path.name != '.lock']
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``tools/dedup.py`` as a module, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location('dedup', ROOT / 'tools' / 'dedup.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def dedup(
    tool: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """``dedup('--images', folder, ...)``: exit status and what it printed."""

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, 'argv', ['dedup.py', *map(str, arguments)])
        status = 0
        try:
            tool.main()
        except SystemExit as end:
            status = int(end.code or 0)
        out = capsys.readouterr()
        return status, out.out + out.err

    return call


def test_folders_of_one_name__have_work_dirs_of_their_own(
    dedup: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    config, options = ROOT / 'configs' / 'meddel_eta08.py', ('--encoder', 'pixels', '--ratio', '0.5', '--no-report')
    for folder, numbers in (('A/images', range(6)), ('B/images', range(9)), ('v/f.v1', range(7)), ('v/f.v2', range(8))):
        pictures(tmp_path / folder, numbers)
        assert dedup(config, '--images', tmp_path / folder, *options)[0] == 0
    subsets = sorted(Path('work_dirs').glob('*/subset.parquet'))
    assert sorted(len(Subset.read(path).images) for path in subsets) == [6, 7, 8, 9]
    before = files_of(Path('work_dirs'))
    assert dedup(config, '--images', 'A/../A/images', *options)[0] == 0
    assert sorted(Path('work_dirs').glob('*/subset.parquet')) == subsets, 'the same question has the same place'
    names = {path.parent.name.rpartition('-')[0] for path in subsets}
    assert names == {f'meddel_eta08-{name}-pixels-ratio0.5' for name in ('images', 'f.v1', 'f.v2')}
    assert before.keys() <= files_of(Path('work_dirs')).keys()


def test_work_dir_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ('a/list.txt', 'b/list.txt', 'a/enc.py', 'b/enc.py', 'a/v.npy', 'b/v.npy'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'pixels').mkdir()

    def named(*arguments: str) -> str:
        monkeypatch.setattr(sys, 'argv', ['dedup.py', 'configs/meddel_eta08.py', *arguments])
        return default_work_dir(command.parse(COMMAND))

    questions = [
        *(
            '',
            '--ratio 0.05',
            '--ratio 0.0500000001',
            '--eta 0',
            '--eta 0.75',
            '--encoder pixels',
            '--encoder a/enc.py',
        ),
        *(
            '--encoder b/enc.py',
            '--selector coverage --ratio 0.05',
            '--images a',
            '--images b',
            '--images a --videos 1fps',
        ),
        *(
            '--embeddings a/v.npy',
            '--embeddings b/v.npy',
            '--embeddings a/v.npy --keys a/list.txt',
            '--dataset-from a/enc.py',
        ),
        *(
            '--embeddings a/v.npy --keys b/list.txt',
            '--images a --cfg-options center=True',
            '--cfg-options center=True',
        ),
        '--cfg-options center=False selector.epsilon=0.5',
    ]
    names = [named(*question.split()) for question in questions]
    assert len(set(names)) == len(names)
    assert names[:2] == ['work_dirs/meddel_eta08', 'work_dirs/meddel_eta08-ratio0.05']
    assert named('--encoder', 'pixels') == 'work_dirs/meddel_eta08-pixels', 'a folder of that name is not meant'
    assert [named(*question.split()) for question in questions] == names
    assert named('--images', str(tmp_path / 'a')) == named('--images', 'a') == named('--images', './b/../a')
    assert named('--cfg-options', 'center=False', 'selector.epsilon=0.5', 'cache_dir=/tmp') in names
    assert named('--cfg-options', 'selector.epsilon=0.5', 'center=False') in names
    assert named('--cfg-options', 'cache_dir=/tmp') == 'work_dirs/meddel_eta08'
    assert named('--device', 'cpu', '--no-report', '--overwrite') == 'work_dirs/meddel_eta08'
    long = tmp_path / ('ö' * 120)
    long.mkdir()
    assert len(Path(named('--images', str(long))).name.encode()) < 160


ANOTHER = {
    'ratio': (dict(ratio=0.25), r'asked\.ratio: 0\.5, now 0\.25'),
    'eta': (dict(ratio=None), r'asked\.eta: None, now 0\.95'),
    'selector': ({'selector.keep': 'far'}, r"selector\.keep: 'near', now 'far'"),
    'center': (dict(center=False), r'center: True, now False'),
    'guards': ({'guards': dict(exclude=['00.png'])}, r'guards: None, now .*00\.png'),
    'leaks': ({'exclude_near': dict(against=['TESTS'])}, r'exclude_near: None, now .*neighbours'),
    'videos': (dict(dataset=dict(videos='all')), r"dataset\.videos: None, now 'all'"),
    'sources': (dict(dataset=dict(sources=['more'])), r"dataset\.sources: None, now \['more'\]"),
    'pixels': (
        {'embedder': dict(type='mmdel.PixelEmbedder', pipeline=[dict(type='mmdel.LoadFrame', reduce_to=90)])},
        r"embedder\.pipeline: \[.*\], now \[.*reduce_to': 90",
    ),
}


@pytest.mark.parametrize('name', ANOTHER)
def test_another_question_in_a_work_dir(tmp_path: Path, choose: Choose, name: str) -> None:
    images = pictures(tmp_path / 'images', range(8))
    pictures(images / 'more', range(10, 14))
    pictures(tmp_path / 'tests', range(100, 102))
    choose(images)
    changes, words = ANOTHER[name]
    changes = json.loads(json.dumps(changes).replace('TESTS', str(tmp_path / 'tests')))
    before = files_of(tmp_path / 'out', images)
    with pytest.raises(ConfigError, match=rf'(?s){words}.*--work-dir.*--overwrite'):
        choose(images, **changes)
    assert files_of(tmp_path / 'out', images) == before
    choose(images)
    choose(images, **changes, overwrite=True)
    assert Subset.read(tmp_path / 'out' / 'subset.parquet').metadata['kept'] and files_of(tmp_path / 'out') != before
    choose(images, **changes)


def test_another_question_in_a_work_dir__other_weights_or_another_layer(tmp_path: Path, choose: Choose) -> None:
    arch = dict(embed_dims=32, num_layers=3, num_heads=2, feedforward_channels=64)
    backbone = dict(type='mmpretrain.VisionTransformer', arch=arch, patch_size=8)
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = MODELS.build(backbone | {'img_size': 32})
        model.init_weights()
        torch.save(
            {'state_dict': {f'backbone.{k}': v for k, v in model.state_dict().items()}}, tmp_path / f'{seed}.pth'
        )

    def vit(seed: int, out_index: int) -> dict[str, Any]:
        checkpoint = str(tmp_path / f'{seed}.pth')
        return dict(
            type='mmdel.ViTEmbedder', backbone=backbone, input_size=32, checkpoint=checkpoint, out_index=out_index
        )

    images = pictures(tmp_path / 'images', range(8))
    choose(images, embedder=vit(1, 2))
    before = files_of(tmp_path / 'out')
    with pytest.raises(ConfigError, match=r'embedder\.out_index: 2, now 1'):
        choose(images, embedder=vit(1, 1))
    with pytest.raises(ConfigError, match=r"embedder\.weights: '\w+', now '\w+'"):
        choose(images, embedder=vit(2, 2))
    assert files_of(tmp_path / 'out') == before
    choose(images, embedder=vit(1, 2))


def test_another_question_in_a_work_dir__test_images_of_the_same_name(tmp_path: Path, choose: Choose) -> None:
    images = pictures(tmp_path / 'images', range(8))
    for name in ('A', 'B'):
        pictures(tmp_path / name / 'set' / 'tests', range(100, 102))
    choose(images, exclude_near=dict(against=[str(tmp_path / 'A' / 'set' / 'tests')]))
    with pytest.raises(ConfigError, match=r'against.*A/set/tests.*now.*B/set/tests'):
        choose(images, exclude_near=dict(against=[str(tmp_path / 'B' / 'set' / 'tests')]))


def test_another_question_in_a_work_dir__an_update_of_other_images(tmp_path: Path, choose: Choose) -> None:
    for name, numbers in (('A', range(8)), ('B', range(50, 58))):
        pictures(tmp_path / name, numbers)
    choose(tmp_path / 'A', 'old', ratio=None)
    pictures(tmp_path / 'A', range(10))
    choose(tmp_path / 'A', 'new', ratio=None, update=str(tmp_path / 'old'))
    before = files_of(tmp_path / 'new')
    with pytest.raises(ConfigError, match=r'guards: None, now'):
        choose(tmp_path / 'A', 'new', ratio=None, update=str(tmp_path / 'old'), guards=dict(exclude=['09.png']))
    with pytest.raises(ConfigError, match=r'result of other images'):
        choose(tmp_path / 'B', 'new', ratio=None, update=str(tmp_path / 'old'))
    assert files_of(tmp_path / 'new') == before


@pytest.mark.parametrize('known', ['request.json', 'origin.json', 'neither'])
def test_another_folder_in_a_work_dir(tmp_path: Path, choose: Choose, known: str) -> None:
    for name, numbers in (('A/images', range(8)), ('B/images', range(50, 58))):
        pictures(tmp_path / name, numbers)
    choose(tmp_path / 'A' / 'images')
    for name in {'request.json': [], 'origin.json': ['request.json'], 'neither': ['request.json', 'origin.json']}[
        known
    ]:
        (tmp_path / 'out' / name).unlink()
    before = files_of(tmp_path)
    with pytest.raises(ConfigError, match=r'(?s)result of other images.*B/images.*--work-dir.*--overwrite'):
        choose(tmp_path / 'B' / 'images')
    assert files_of(tmp_path) == before
    choose(tmp_path / 'A' / 'images')
    choose(tmp_path / 'B' / 'images', overwrite=True)
    with pytest.raises(ConfigError, match='result of other images'):
        choose(tmp_path / 'A' / 'images')


def test_other_images_in_the_same_folder(tmp_path: Path, choose: Choose) -> None:
    images = pictures(tmp_path / 'images', range(8))
    choose(images)
    shutil.rmtree(images)
    pictures(images, range(50, 58))
    with pytest.raises(ConfigError, match='of 8 of them that were looked for 0 are here'):
        choose(images)


@pytest.mark.parametrize('change', ['grown', 'shrunk', 'moved', 'moved and grown', 'behind a link'])
def test_folder_that_grew_or_moved(
    tmp_path: Path, choose: Choose, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pictures(tmp_path / 'images', range(8))
    choose(images)
    if 'moved' in change:
        images = images.rename(tmp_path / 'elsewhere')
    if 'grown' in change:
        pictures(images / 'more', range(20, 40))
    if change == 'shrunk':
        for path in sorted(images.iterdir())[3:]:
            path.unlink()
    if change == 'behind a link':
        (tmp_path / 'link').symlink_to(images)
        images = tmp_path / 'link'
    said: list[str] = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'info', said.append)
    choose(images)
    changed = any('The images have changed since the last run here' in line for line in said)
    assert changed == (change in ('grown', 'shrunk', 'moved and grown'))
    assert json.loads((tmp_path / 'out' / 'request.json').read_text())['dataset']['root'] == os.path.realpath(images)


def test_refused_run__writes_nothing(dedup: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    images = pictures(tmp_path / 'images', range(8))
    options = (CONFIG, '--images', images, '--no-report', '--work-dir', 'out')
    assert dedup(*options, '--ratio', '0.5')[0] == 0
    log = ''.join(path.read_text() for path in Path('out').glob('*.log'))
    assert '8 images below' in log and 'Subset' in log, 'what was said before the file was made is in it'
    before = files_of(tmp_path)
    for question in (('--ratio', '0.25'), ('--ratio', '0.5', '--cfg-options', 'embedder.pipeline.0.reduce_to=90')):
        status, out = dedup(*options, *question)
        assert status == 2 and '--overwrite' in out
    for place in (('--work-dir', images / 'out'), ('--cfg-options', f'cache_dir={images / "cache"}')):
        status, out = dedup(CONFIG, '--images', images, '--ratio', '0.5', *place)
        assert status == 2 and 'inside the image folder' in out
    assert dedup(CONFIG, '--images', tmp_path / 'nothing', '--work-dir', 'new')[0] == 2
    after = files_of(tmp_path)
    assert after == before and not Path('new').exists() and not (images / 'out').exists()


# --- subsets


def wrapped(images: Path, subset: Path, **options: Any) -> MedDELDataset:
    return MedDELDataset(dict(type='mmdel.DataDEL', data_root=str(images)), str(subset / 'subset.parquet'), **options)


@pytest.mark.parametrize('ending', ['png', 'bmp'])
def test_subset_of_other_images(tmp_path: Path, choose: Choose, ending: str) -> None:
    for name, numbers in (('A', range(30)), ('B', range(50, 80))):
        pictures(tmp_path / name, numbers, ending)
    choose(tmp_path / 'B')
    words = r'(?s)30 of the 30 that were compared differ.*00\.\w+: .*A/00.*--dataset-from.*root=.*check_files=False'
    with pytest.raises(DatasetError, match=words):
        wrapped(tmp_path / 'A', tmp_path / 'out')
    assert (
        len(wrapped(tmp_path / 'B', tmp_path / 'out'))
        == len(wrapped(tmp_path / 'A', tmp_path / 'out', check_files=False))
        == 15
    )


def test_subset_of_pictures_saved_in_another_way(tmp_path: Path, choose: Choose) -> None:
    choose(pictures(tmp_path / 'A', range(30), 'jpg'))
    (tmp_path / 'small').mkdir()
    for path in (tmp_path / 'A').iterdir():
        cv2.imwrite(str(tmp_path / 'small' / path.name), cv2.resize(cv2.imread(str(path)), (20, 20)))
    with pytest.raises(DatasetError, match='check_files=False'):
        wrapped(tmp_path / 'small', tmp_path / 'out')
    assert len(wrapped(tmp_path / 'small', tmp_path / 'out', check_files=False)) == 15


@pytest.mark.parametrize('ending', ['png', 'bmp'])
def test_subset_of_which_a_few_files_have_changed(
    tmp_path: Path, choose: Choose, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(pictures(tmp_path / 'A', range(30), ending))
    shutil.copytree(tmp_path / 'A', tmp_path / 'copy', copy_function=shutil.copyfile)
    for name in ('04', '17'):
        cv2.imwrite(str(tmp_path / 'copy' / f'{name}.{ending}'), draw(99))
    said: list[str] = []
    monkeypatch.setattr('mmdel.datasets.matching.print_log', lambda line, **_: said.append(line))
    assert len(wrapped(tmp_path / 'A', tmp_path / 'out')) == 15 and said == []
    assert len(wrapped(tmp_path / 'copy', tmp_path / 'out')) == 15
    assert (
        len(said) == 1 and '2 files have changed' in said[0] and f'04.{ending}' in said[0] and f'17.{ending}' in said[0]
    )


# --- rankings


def test_changed_algorithm(tmp_path: Path, choose: Choose, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(tmp_path / 'images', range(8))
    made: list[str] = []
    rank = MedDEL.rank
    monkeypatch.setattr(MedDEL, 'rank', lambda self, *arguments: made.append('x') or rank(self, *arguments))

    def times() -> int:
        made.clear()
        choose(images)
        return len(made)

    assert (times(), times()) == (1, 0)
    monkeypatch.setattr(mmdel, '__version__', '99.0')
    assert times() == 0, 'a release alone changes no ranking'
    for owner, name in ((MedDEL, 'version'), (similarity, 'VERSION'), (type(MedDEL().clusterer), 'version')):
        monkeypatch.setattr(owner, name, 2)
        assert (times(), times()) == (1, 0), name


def test_changed_algorithm__of_the_leak_check(tmp_path: Path, choose: Choose, monkeypatch: pytest.MonkeyPatch) -> None:
    images, tests = pictures(tmp_path / 'images', range(8)), pictures(tmp_path / 'tests', range(2))
    looked: list[str] = []
    find = leaks.find_leaks
    monkeypatch.setattr('mmdel.leaks.leak_check.find_leaks', lambda *arguments: looked.append('x') or find(*arguments))

    def times() -> int:
        looked.clear()
        choose(images, exclude_near=dict(against=[str(tests)]))
        return len(looked)

    assert (times(), times()) == (1, 0)
    monkeypatch.setattr(mmdel, '__version__', '99.0')
    assert times() == 0
    monkeypatch.setattr(leaks, 'VERSION', 2)
    assert (times(), times()) == (1, 0)
