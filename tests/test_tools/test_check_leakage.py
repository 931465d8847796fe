"""Planted copies of test images are found, and nothing else; a subset without them keeps exactly what was asked for."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmdel.subset import Subset

ROOT = Path(__file__).resolve().parents[2]
KINDS = {
    'exact': lambda image: (image, 100),
    'quality 40': lambda image: (image, 40),
    'half': lambda image: (cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), 90),
    'mirrored': lambda image: (np.ascontiguousarray(image[:, ::-1]), 90),
    'cropped [b]&<i>': lambda image: (image[8:-8, 8:-8], 90),
}


@pytest.fixture(scope='module')
def laid_out(real_data, tmp_path_factory):
    """``pool`` with 16 colonoscopy stills and 5 copies of each of 4 others, ``tests`` with these, and configs that name them."""
    base = tmp_path_factory.mktemp('leaks')
    stills = sorted((real_data / 'kvasir_seg' / 'train' / 'images').glob('*.jpg'))[:16]
    tests = sorted((real_data / 'kvasir_seg' / 'val' / 'images').glob('*.jpg'))[3:60:15]
    for folder in ('pool/stills', 'seg/images', 'seg/masks'):
        (base / folder).mkdir(parents=True)
    for path in stills:
        (base / 'pool' / 'stills' / path.name).symlink_to(path)
    for path in tests:
        shutil.copy(path, base / 'seg' / 'images' / f'tést {path.name}')
        cv2.imwrite(str(base / 'seg' / 'masks' / f'tést {path.stem}.png'), np.zeros((4, 4), np.uint8))
        for kind, change in KINDS.items():
            image, quality = change(cv2.imread(str(path)))
            (base / 'pool' / kind).mkdir(exist_ok=True)
            cv2.imwrite(str(base / 'pool' / kind / path.name), image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    (base / 'seg' / 'test.txt').write_text(''.join(f'tést {path.stem}\n' for path in tests))
    for part in ('test', 'val'):
        (base / f'{part}_config.py').write_text(
            f'{part}_dataloader = dict(dataset=dict(type="mmdel.KvasirSEGDataset", data_root={str(base / "seg")!r},'
            ' ann_file="test.txt", pipeline=[dict(type="LoadImageFromFile"), dict(type="PackSegInputs")]))\n'
            'default_scope = "mmseg"\n'
        )
    return base


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp('cache')


@pytest.fixture
def run(dedup, laid_out, cache):
    """``run(work_dir, *options)`` chooses half of the pool by its thumbnails."""

    def choose(work_dir, *options, page=False):
        common = ('--encoder', 'pixels', '--ratio', '0.5', '--work-dir', work_dir)
        own = any(option.startswith('cache_dir=') for option in options)
        more = ('center=True', *([] if own else [f'cache_dir={cache}']), *options)
        status, out = dedup(
            '--images', laid_out / 'pool', *common, *([] if page else ['--no-report']), '--cfg-options', *more
        )
        assert status == 0, out
        return out

    return choose


def pairs(folder):
    with open(Path(folder) / 'leaks.csv', newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def planted(laid_out):
    return {str(path.relative_to(laid_out / 'pool')) for path in (laid_out / 'pool').rglob('*.jpg')} - {
        f'stills/{path.name}' for path in (laid_out / 'pool' / 'stills').iterdir()
    }


@pytest.mark.real
def test_check_leakage__finds_every_planted_copy_and_nothing_else(run, call_tool, laid_out):
    run('out')
    before = {
        path.name: path.read_bytes() for path in Path('out').iterdir() if path.suffix in ('.parquet', '.txt', '.py')
    }
    status, out = call_tool('check_leakage', 'out', '--against', laid_out / 'test_config.py')
    assert status == 0, out
    found = pairs('out')
    assert {row['image'] for row in found if row['leak'] == 'True'} == planted(laid_out)
    for row in found:
        assert row['test_image'] == 'tést ' + row['image'].rpartition('/')[2] and row['test_set'] == 'test_config'
        assert (row['mirrored'] == 'True') is row['image'].startswith('mirrored')
    assert '4 of 4 test images are in the pool, as 20 images' in out and 'test_dataloader' in out
    assert 'cropped [b]&<i>' in out  # markup in a name is a name
    assert Path('out/leaks.png').read_bytes().startswith(b'\x89PNG')
    assert {name: Path('out', name).read_bytes() for name in before} == before  # the run is as it was

    # shown on the page when it is made again, and by inspect_image
    assert call_tool('analysis_tools/make_report', 'out')[0] == 0
    page = Path('out/report/index.html').read_text()
    assert 'kept images are copies of images that models are tested on' in page and 'cropped [b]&amp;&lt;i&gt;' in page
    status, out = call_tool('analysis_tools/inspect_image', 'out', found[0]['image'], '--no-picture')
    assert status == 0 and 'a copy of the test image tést' in out


@pytest.mark.real
def test_exclude__chooses_again_and_keeps_the_ratio_of_the_others(run, call_tool, laid_out):
    run('out')
    before = Path('out/subset.parquet').read_bytes()
    status, out = call_tool('check_leakage', 'out', '--against', laid_out / 'test_config.py', '--exclude')
    assert status == 0, out
    subset = Subset.read('out-without-leaks/subset.parquet')
    leaks = {row['image'] for row in subset.table.to_pylist() if row['reason'] == 'leak'}
    assert leaks == planted(laid_out) and subset.metadata['images'] == 16 and len(subset.kept) == 8
    assert not leaks & set(subset.kept) and not leaks & {row['removed_by'] for row in subset.table.to_pylist()}
    assert Path('out/subset.parquet').read_bytes() == before
    assert set(Path('out-without-leaks/keep.txt').read_text().splitlines()) == set(subset.kept)
    # the same as the config key, and nothing is left to be found
    run('key', f'exclude_near.against={laid_out / "test_config.py"}', page=True)
    assert Path('key/subset.parquet').read_bytes() == Path('out-without-leaks/subset.parquet').read_bytes()
    page = Path('key/report/index.html').read_bytes()
    assert call_tool('analysis_tools/make_report', 'key')[0] == 0 and Path('key/report/index.html').read_bytes() == page
    status, out = call_tool('check_leakage', 'key', '--against', laid_out / 'seg' / 'images')
    assert status == 0 and pairs('key') == [] and '0 of 4 test images are in the pool' in out and 'folder' in out
    # it is never written where it came from, nor over something else
    for where, words in (('out', 'stays as it is'), ('key', 'another run')):
        status, out = call_tool('check_leakage', 'out', '--against', laid_out / 'seg' / 'images', '--exclude', where)
        assert status == 2 and words in out
    assert Path('out/subset.parquet').read_bytes() == before


@pytest.mark.slow
@pytest.mark.real
def test_exclude_near__other_cuts_and_caches_give_the_same_pairs(run, laid_out, tmp_path):
    against = f'exclude_near.against={laid_out / "val_config.py"}'
    out = run('one', against)
    assert 'val_dataloader' in out  # it says which images were taken
    run('two', against, f'cache_dir={tmp_path / "fresh"}')
    assert Path('one/leaks.json').read_bytes() == Path('two/leaks.json').read_bytes()
    assert Path('one/subset.parquet').read_bytes() == Path('two/subset.parquet').read_bytes()


@pytest.mark.real
def test_config__beside_a_subset_is_never_run(run, call_tool, laid_out):
    run('out')
    config, request = Path('out/config.py'), Path('out/request.json')
    text, asked = config.read_text(), json.loads(request.read_text())
    tests = laid_out / 'seg' / 'images'
    config.write_text("import os\nos.mkdir('executed')\n" + text)
    status, out = call_tool('check_leakage', 'out', '--against', tests)
    assert status == 0 and len(pairs('out')) == 20 and not Path('executed').exists()
    # what it does is recorded as data, of which only classes of mmdel are built
    for strange in (
        {'embedder': {**asked['config']['embedder'], 'type': 'os.mkdir', 'path': 'executed'}},
        {'embedder': {**asked['config']['embedder'], 'pipeline': [{'type': 'os.mkdir', 'path': 'executed'}]}},
        {'embedder': {'type': 'mmdel.ViTEmbedder', 'backbone': {'type': 'os.mkdir', 'path': 'executed'}}},
        {'custom_imports': {'imports': ['mine']}},
        {'embedder': 3},
    ):
        request.write_text(json.dumps({**asked, 'config': {**asked['config'], **strange}}))
        status, out = call_tool('check_leakage', 'out', '--against', tests)
        assert status == 2 and '--config' in out and not Path('executed').exists(), strange
    request.unlink()
    status, out = call_tool('check_leakage', 'out', '--against', tests)
    assert status == 2 and '--config' in out
    Path('mine.py').write_text(text)
    status, out = call_tool('check_leakage', 'out', '--against', tests, '--config', 'mine.py')
    assert status == 0 and len(pairs('out')) == 20


def test_against__what_is_no_test_set_is_an_error(dedup, call_tool, pool):
    assert dedup('--images', pool, '--encoder', 'pixels', '--ratio', '0.4', '--no-report', '--work-dir', 'out')[0] == 0
    Path('train_only.py').write_text('train_dataloader = dict(dataset=dict(type="mmdel.DataDEL", data_root="x"))\n')
    Path('gone.py').write_text('test_dataloader = dict(dataset=dict(type="mmdel.DataDEL", data_root="not here"))\n')
    for against, words in (
        ('nowhere.py', 'nowhere.py'),
        ('train_only.py', 'neither test_dataloader.dataset nor val_dataloader.dataset'),
        ('gone.py', 'test_dataloader of gone.py'),
    ):
        status, out = call_tool('check_leakage', 'out', '--against', against)
        assert status == 2 and words in out and out.splitlines()[-1].startswith('error: ')
    for options, words in ((('--threshold', '2'), 'at most 1'), (('--neighbours', '0'), 'at least 1')):
        status, out = call_tool('check_leakage', 'out', '--against', pool, *options)
        assert status == 2 and words in out
    # images too small for keypoints are still found as they are
    status, out = call_tool('check_leakage', 'out', '--against', pool / 'a b')
    assert status == 0
    assert {row['image'] for row in pairs('out') if row['leak'] == 'True'} == {
        str(path.relative_to(pool)) for path in (pool / 'a b').rglob('*.*')
    }
    Path('out/leaks.json').write_text(json.dumps({'rule': {}, 'pool': 'x', 'sets': [], 'pairs': []}))
    status, out = call_tool('analysis_tools/make_report', 'out')
    assert status == 2 and 'leaks.json' in out


@pytest.mark.parametrize('value', ['against=[]', 'against=3', 'other=1', 'threshold=0.9'])
def test_exclude_near__refuses_what_is_none(dedup, pool, value):
    options = ('--encoder', 'pixels', '--ratio', '0.4', '--no-report', '--work-dir', 'out')
    status, out = dedup('--images', pool, *options, '--cfg-options', f'exclude_near.{value}')
    assert status == 2 and 'exclude_near' in out and 'Traceback' not in out


def test_given_vectors__have_no_encoder_to_check_with(dedup, call_tool, tmp_path):
    np.save('v.npy', np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32))
    assert dedup('--embeddings', 'v.npy', '--ratio', '0.5', '--no-report', '--work-dir', 'out')[0] == 0
    status, out = call_tool('check_leakage', 'out', '--against', tmp_path)
    assert status == 2 and '--embeddings' in out
    status, out = dedup('--embeddings', 'v.npy', '--ratio', '0.5', '--cfg-options', 'exclude_near.against=x')
    assert status == 2 and 'exclude_near' in out
