"""``mmdel.select`` keeps what the command keeps, whatever the images come as; it leaves nothing behind and says what is wrong."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from PIL import Image
from rich.console import Console
from torch.utils.data import Dataset

import mmdel
from mmdel.compute.progress import Stages
from mmdel.config.shipped import find_config
from mmdel.embedding import reader
from mmdel.embedding.embedders.pixel_embedder import PixelEmbedder
from mmdel.engine import select as module
from mmdel.engine.dedup_config import check_dedup_config
from mmdel.errors import ConfigError, DatasetError, MmdelError, VectorError
from mmdel.selection import Coverage

ROOT = Path(__file__).resolve().parents[2]

COUNT = 24


def draw(number):
    """Eight scenes of three pictures that hardly differ, uint8 [40, 48, 3], RGB."""
    small = np.random.default_rng(number // 3).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    image = cv2.resize(small, (48, 40), interpolation=cv2.INTER_CUBIC)
    return cv2.add(image, np.full_like(image, number % 3 * 3))


PICTURES = [draw(number) for number in range(COUNT)]


class Pairs(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, place):
        return self.items[place]  # never IndexError by itself


class Frame:
    """A table as pandas and polars have it."""

    def __init__(self, **columns):
        self.held = columns
        self.columns = list(columns)

    def __getitem__(self, name):
        return self.held[name]


class Listed(BaseDataset):
    def load_data_list(self):
        paths = sorted(Path(self.data_root).rglob('*.png'))
        return [{'img_path': str(path), 'gt_label': place % 2} for place, path in enumerate(paths)]


def listed(folder):
    return Listed(data_root=str(folder), metainfo=dict(classes=('left', 'right')))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pool') / 'frames'
    folder.mkdir()
    for number, picture in enumerate(PICTURES):
        Image.fromarray(picture).save(folder / f'{number:02d}.png')
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reader, 'MAX_WORKERS', 0)  # starting processes takes longer than reading 24 small files


@pytest.fixture(scope='module')
def reference(folder):
    return mmdel.select(folder, ratio=0.25, encoder='pixels')


def files(folder):
    return sorted(map(str, folder.iterdir()))


FORMS = {
    'a pattern': lambda folder: str(folder / '*.png'),
    'paths': files,
    'arrays': lambda folder: PICTURES,
    'one array': lambda folder: np.stack(PICTURES),
    'tensors': lambda folder: [torch.from_numpy(picture).permute(2, 0, 1) for picture in PICTURES],
    'PIL images': lambda folder: [Image.open(path) for path in files(folder)],
    'a table': lambda folder: pa.table(
        {'path': files(folder), 'centre': ['p', 'q'] * (COUNT // 2), 'age': [1] * COUNT}
    ),
    'a frame of columns': lambda folder: Frame(path=files(folder), label=[None, 'b'] * (COUNT // 2)),
    'an mm dataset': listed,
    'a wrapper': lambda folder: ConcatDataset([listed(folder)]),
    'torch pairs': lambda folder: Pairs([(picture, number % 2) for number, picture in enumerate(PICTURES)]),
    'torch dicts': lambda folder: Pairs([{'img_path': path, 'gt_label': 1} for path in files(folder)]),
    'torch images': lambda folder: Pairs([{'image': Image.fromarray(picture)} for picture in PICTURES]),
    'a dataset config': lambda folder: dict(type='mmdel.DataDEL', data_root=str(folder)),
    'a dataset config of mmpretrain': lambda folder: dict(
        type='CustomDataset', data_root=str(folder), with_label=False
    ),
    'a training': lambda folder: Config(
        dict(default_scope='mmengine', train_dataloader=dict(dataset=dict(type='mmdel.DataDEL', data_root=str(folder))))
    ),
}


@pytest.mark.parametrize('form', FORMS)
def test_kept__is_the_same_for_every_form_of_the_same_images(form, folder, reference):
    chosen = mmdel.select(FORMS[form](folder), ratio=0.25, encoder='pixels')
    assert chosen.indices.tolist() == reference.indices.tolist() and len(chosen.kept) == COUNT // 4
    assert np.array_equal(chosen.ranking.rank, reference.ranking.rank)


def test_kept__is_the_same_for_the_vectors_and_whatever_they_lie_in(reference, tmp_path):
    vectors = reference.vectors
    np.save(tmp_path / 'v.npy', vectors)
    keys = [f'{COUNT - number:02d}' for number in range(COUNT)]
    for form in (vectors, torch.from_numpy(vectors), vectors.tolist(), tmp_path / 'v.npy'):
        assert mmdel.select(vectors=form, ratio=0.25).indices.tolist() == reference.indices.tolist()
    named = mmdel.select(vectors=vectors, ratio=0.25, keys=keys, columns={'frame': range(COUNT)})
    assert sorted(keys[place] for place in named.indices) == named.kept
    frames = dict(zip(named.table['image'].to_pylist(), named.table['frame'].to_pylist(), strict=True))
    assert [frames[key] for key in keys] == list(range(COUNT))


def test_kept__is_the_same_for_a_method_and_an_encoder_as_name_config_or_object(folder, reference):
    encoder = PixelEmbedder(pipeline=[dict(type='mmdel.LoadFrame', reduce_to=64)])
    for selector, pixels in ((Coverage(), encoder), (dict(type='mmdel.Coverage'), dict(type='mmdel.PixelEmbedder'))):
        chosen = mmdel.select(folder, ratio=0.25, selector=selector, encoder=pixels)
        assert chosen.kept == reference.kept
    asked = mmdel.select(folder, ratio=0.25, selector=Coverage(neighbours=3), encoder=encoder)._runner.request
    check_dedup_config(asked.config)  # what is noted of an object makes it again
    assert asked.config.selector.neighbours == 3 and encoder.pipeline == [dict(type='mmdel.LoadFrame', reduce_to=64)]


@pytest.mark.parametrize('ratio', [0.03, 0.5, 0.51, 1])
def test_ratio__is_exact(ratio, reference):
    assert len(mmdel.select(vectors=reference.vectors, ratio=ratio).kept) == int(ratio * COUNT + 0.5)


def test_config__of_mmdel_says_everything_and_arguments_count_more(folder, reference, tmp_path):
    text = f"""
dataset = dict(type='mmdel.DataDEL', data_root={str(folder)!r})
embedder = dict(type='mmdel.PixelEmbedder')
selector = dict(type='mmdel.MedDEL', eta=0.999, epsilon=None, scope='global')
center = True
work_dir = 'never'
cache_dir = 'never'
"""
    Path('mine.py').write_text(text)
    chosen = mmdel.select('mine.py')
    assert chosen.subset.eta == 0.999 and chosen.subset.metadata['center'] and 8 <= len(chosen.kept) < COUNT
    assert len(mmdel.select(Config.fromfile('mine.py'), eta=-1).kept) == 1
    assert mmdel.select('mine.py', ratio=0.25, selector='coverage').kept == reference.kept
    assert os.listdir('.') == ['mine.py']


def test_columns__are_known_to_guards_methods_and_the_table(folder):
    patients = ['rare', *['often'] * (COUNT - 1)]
    for images in (files(folder), PICTURES, pa.table({'path': files(folder), 'patient': patients})):
        columns = (
            None if isinstance(images, pa.Table) else {'patient': patients, 'label': [None, 'polyp'] * (COUNT // 2)}
        )
        chosen = mmdel.select(
            images, ratio=0.25, encoder='pixels', columns=columns, guards=dict(min_keep=dict(patient=1))
        )
        assert 0 in chosen.indices and len(chosen.kept) == COUNT // 4
        assert chosen.table['patient'].to_pylist() == patients
    told = mmdel.select(listed(folder), ratio=0.25, encoder='pixels', columns={'patient': patients}).table
    assert told['label'].to_pylist() == ['left', 'right'] * (COUNT // 2) and told['patient'].to_pylist() == patients


def test_pictures__are_read_as_files_of_them_are(tmp_path):
    """Grey, transparent, palette and turned ones."""
    whole = Image.fromarray(PICTURES[0])
    turned = whole.copy()
    turned.getexif()[0x0112] = 6
    pictures = [whole, whole.convert('L'), whole.convert('RGBA'), whole.convert('P'), whole.convert('1'), turned]
    (tmp_path / 'pool').mkdir()
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / 'pool' / f'{number}.png', exif=turned.getexif() if picture is turned else b'')
    from_files = mmdel.select(tmp_path / 'pool', ratio=0.5, encoder='pixels')
    assert np.array_equal(mmdel.select(pictures, ratio=0.5, encoder='pixels').vectors, from_files.vectors)
    arrays = [np.asarray(picture.convert('RGB')) for picture in pictures[:2]]
    arrays[1] = np.asarray(pictures[1])
    assert np.array_equal(mmdel.select(arrays, ratio=0.5, encoder='pixels').vectors, from_files.vectors[:2])


# --- what a result tells


def test_why__tells_of_kept_and_removed_images_by_key_path_or_place(folder, reference):
    chosen = mmdel.select(files(folder), ratio=0.25, encoder='pixels', selector='meddel-global', center=False)
    kept, removed = chosen.kept[0], next(key for key in chosen.subset.images if key not in chosen.kept)
    why = chosen.why(removed)
    row = chosen.table.slice(chosen.subset.images.index(removed), 1).to_pylist()[0]
    assert (why.kept, why.reason, why.removed_by, why.rank) == (False, 'duplicate', row['removed_by'], row['rank'])
    assert why.similarity == row['redundancy'] and f'removed as a duplicate: {why.removed_by}' in str(why)
    assert chosen.why(folder / kept).kept and chosen.why(folder / kept).removed_by is None
    assert chosen.why(int(kept[:2])).key == kept
    assert len(reference.why(reference.kept[0]).neighbours) == 8
    with pytest.raises(DatasetError, match='no image'):
        chosen.why('nowhere.jpg')
    with pytest.raises(DatasetError, match='24 were given'):
        chosen.why(COUNT)


def test_result__shows_itself_in_text_and_in_a_notebook(reference, folder):
    assert '6 of 24 images kept' in repr(reference) and 'Coverage' in repr(reference)
    html = reference._repr_html_()
    assert html.count('<figure class="kept">') == 6 and html.count('data:image/jpeg') >= 12 and '<svg' in html
    assert 'http' not in html.replace('http://www.w3.org', '') and '<script' not in html
    assert reference.files == [str(folder / key) for key in reference.kept]
    plain = mmdel.select(vectors=reference.vectors, ratio=0.25, selector='random')
    assert '<img' not in plain._repr_html_() and '6 of 24 vectors' in repr(plain) and plain.files == []
    try:
        import pandas  # noqa: F401
    except ImportError:
        return
    assert reference.table.to_pandas()['keep'].sum() == 6


def test_report__is_one_page_or_the_folder_of_the_command(reference):
    assert reference.report('mine/report.html') == Path('mine/report.html')
    page = Path('mine/report.html').read_text()
    assert page.count('data:image/jpeg') >= 12 and '.csv' not in page and os.listdir('mine') == ['report.html']
    assert reference.report('folder') == Path('folder/index.html')
    assert {'index.html', 'retention.csv'} <= set(os.listdir('folder'))
    mmdel.select(PICTURES, ratio=0.25, encoder='pixels').report('arrays.html')
    assert Path('arrays.html').read_text().count('data:image/jpeg') >= 12


# --- what it leaves alone


def test_nothing__is_written_or_left_in_the_process(folder, tmp_path, monkeypatch):
    monkeypatch.setenv('TMPDIR', str(tmp_path / 'temporary'))
    monkeypatch.setattr(tempfile, 'tempdir', None)
    (tmp_path / 'temporary').mkdir()
    scopes, loggers = dict(DefaultScope._instance_dict), dict(MMLogger._instance_dict)
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    for images in (folder, files(folder), PICTURES):
        chosen = mmdel.select(images, ratio=0.25, encoder='pixels')
        chosen.why(0), chosen._repr_html_()
        assert os.listdir(tmp_path / 'temporary')
        del chosen  # nothing in it refers back, so that it need not wait for a collection
        assert not os.listdir(tmp_path / 'temporary')
    with pytest.raises(ConfigError):
        mmdel.select(folder, ratio=0.25, encoder='pixel')
    assert not os.listdir(tmp_path / 'temporary') and not os.listdir('.')
    assert list(DefaultScope._instance_dict) == list(scopes) and list(MMLogger._instance_dict) == list(loggers)


def test_threads__do_not_disturb_each_other(folder, reference, monkeypatch):
    monkeypatch.setattr(reader, 'MAX_WORKERS', 2)
    found, other = {}, PICTURES[::-1]

    def run(number, images):
        found[number] = mmdel.select(images, ratio=0.25, encoder='pixels').indices.tolist()

    threads = [threading.Thread(target=run, args=each) for each in enumerate([folder, other, folder])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same = reference.indices.tolist()
    assert found[0] == found[2] == same
    assert found[1] == mmdel.select(other, ratio=0.25, encoder='pixels').indices.tolist()


def test_daemonic_process__that_was_spawned_reads_the_images_itself(folder, reference, tmp_path):
    script = tmp_path / 'spawned.py'
    script.write_text(f"""
import multiprocessing, sys
import mmdel

def work(pipe):
    pipe.send(mmdel.select({str(folder)!r}, ratio=0.25, encoder='pixels').kept)

if __name__ == '__main__':
    assert not {{'torch', 'numpy', 'mmengine', 'pyarrow'}} & set(sys.modules), 'importing mmdel is slow'
    assert 'select' in dir(mmdel) and not hasattr(mmdel, 'nothing')
    context = multiprocessing.get_context('spawn')
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(theirs,), daemon=True)
    process.start()
    print(ours.recv())
    process.join()
    sys.exit(process.exitcode)
""")
    paths = os.pathsep.join([str(Path(mmdel.__file__).parents[1]), os.environ.get('PYTHONPATH', '')])
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': paths}, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert str(reference.kept) in done.stdout


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='this system has no fork')
def test_daemonic_process__that_was_forked_waits_for_no_thread_of_its_parent(folder, reference):
    vectors = np.random.default_rng(0).standard_normal((600, 64))
    chosen = mmdel.select(vectors=vectors, ratio=0.25, selector='meddel')  # so that all libraries have threads here
    context = multiprocessing.get_context('fork')
    ours, theirs = context.Pipe(duplex=False)

    def work():
        theirs.send(mmdel.select(folder, ratio=0.25, encoder='pixels').kept)
        theirs.send(mmdel.select(vectors=vectors, ratio=0.25, selector='meddel').kept)

    process = context.Process(target=work, daemon=True)
    process.start()
    for expected in (reference.kept, chosen.kept):
        assert ours.poll(60), 'the process hangs'
        assert ours.recv() == expected
    process.join()


def test_progress__in_a_notebook_is_one_line(monkeypatch):
    lines = []
    handle = SimpleNamespace(update=lambda data, raw: lines.append(data['text/plain']))

    def display(data, raw, display_id):
        lines.append(data['text/plain'])
        return handle

    monkeypatch.setitem(sys.modules, 'IPython', SimpleNamespace())
    monkeypatch.setitem(sys.modules, 'IPython.display', SimpleNamespace(display=display))
    console = Console(force_terminal=False)
    console.is_jupyter = True
    progress = Stages(console)
    for name in ('embed', 'choose'):
        with progress.stage(name, total=2) as tick:
            tick(1), tick(1)
    assert lines[-1].startswith('choose: 2 of 2 images') and any(line.startswith('embed: 2 of 2') for line in lines)


# --- what is wrong


FLOATS = [*PICTURES[:2], PICTURES[2].astype(np.float32) / 255]


@pytest.mark.parametrize(
    ('arguments', 'error', 'words'),
    [
        (lambda: dict(ratio=0.5), ConfigError, 'either images or vectors'),
        (lambda: dict(images='nowhere', ratio=0.5), ConfigError, 'is not there'),
        (lambda: dict(images=[], ratio=0.5), DatasetError, 'the list is empty'),
        (lambda: dict(images=3, ratio=0.5), DatasetError, 'cannot be taken from int'),
        (lambda: dict(images=iter(PICTURES), ratio=0.5), DatasetError, 'list_iterator'),
        (lambda: dict(images=np.ones((5, 3)), ratio=0.5), DatasetError, 'vectors='),
        (lambda: dict(images=PICTURES[0], ratio=0.5), DatasetError, 'one picture'),
        (lambda: dict(images=FLOATS, ratio=0.5), DatasetError, r'Image 2 is float32 \[40, 48, 3\]'),
        (lambda: dict(images=[PICTURES[0], PICTURES[1][:, :, :2]], ratio=0.5), DatasetError, r'Image 1 is uint8 \[40, 48, 2\]'),
        (lambda: dict(images=[PICTURES[0], 'a.jpg'], ratio=0.5), DatasetError, 'Image 1 is str'),
        (lambda: dict(images=['a.jpg', PICTURES[0]], ratio=0.5), DatasetError, 'Image 1 is uint8'),
        (lambda: dict(images=[Image.new('F', (8, 8))], ratio=0.5), DatasetError, 'Image 0 .* mode F'),
        (lambda: dict(images=Pairs([{'x': 1}]), ratio=0.5), DatasetError, 'Item 0 .* it has x'),
        (lambda: dict(images=pa.table({'a': [1]}), ratio=0.5), DatasetError, 'no column of paths'),
        (lambda: dict(images=pa.table({'path': [None]}), ratio=0.5), DatasetError, 'Row 0'),
        (lambda: dict(images=PICTURES), ConfigError, 'how many images to keep .* --ratio 0.05 is ratio=0.05'),
        (lambda: dict(images=PICTURES, ratio='5'), ConfigError, 'ratio is a number'),
        (lambda: dict(images=PICTURES, ratio=5), ConfigError, 'at most 1'),
        (lambda: dict(images=PICTURES, ratio=0.5, selector='coverige'), ConfigError, 'coverage'),
        (lambda: dict(images=PICTURES, ratio=0.5, selector=3), ConfigError, 'selector is a name'),
        (lambda: dict(images=PICTURES, ratio=0.5, videos='1fps'), ConfigError, 'no argument videos'),
        (lambda: dict(images='.', ratio=0.5, vidoes='1fps'), ConfigError, "Did you mean 'videos'"),
        (lambda: dict(images='.', ratio=0.5, encodr='pixels'), ConfigError, "Did you mean 'encoder'"),
        (lambda: dict(images=PICTURES, ratio=0.5, columns={'patient': ['a']}), ConfigError, '24 images, got 1 values'),
        (lambda: dict(images=PICTURES, ratio=0.5, columns={'age': [1] * 24}), ConfigError, "'age', which is none of"),
        (lambda: dict(images='.', ratio=0.5, columns={'patient': ['a']}), ConfigError, 'these are in none'),
        (lambda: dict(images=PICTURES, ratio=0.5, keys=['a']), ConfigError, 'keys name vectors'),
        (lambda: dict(vectors=np.ones(3), ratio=0.5), VectorError, r'float64 \[3\]'),
        (lambda: dict(vectors=np.array([[1.0, np.nan]]), ratio=0.5), VectorError, 'NaN'),
        (lambda: dict(vectors=np.eye(3), ratio=0.5, encoder='pixels'), ConfigError, 'encoder has no meaning'),
        (lambda: dict(vectors=np.eye(3), ratio=0.5, keys=['a', 'b']), ConfigError, 'one text for each of 3'),
        (lambda: dict(vectors=np.eye(3), ratio=0.5, keys=['a', 'b', 'a']), DatasetError, "'a' stands twice"),
    ],
)  # fmt: skip
def test_mistake__is_an_error_of_mmdel_that_says_what(arguments, error, words, monkeypatch):
    pixels = f"_base_ = [{find_config('select')!r}]\nembedder = dict(_delete_=True, type='mmdel.PixelEmbedder')\n"
    Path('default.py').write_text(pixels)
    monkeypatch.setattr(module, 'DEFAULT_CONFIG', 'default.py')
    with pytest.raises(error, match=words) as raised:
        mmdel.select(**arguments())
    assert isinstance(raised.value, MmdelError)
