"""The command that matters, as people type it."""

import csv
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from filelock import FileLock
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdel.errors import SubsetError
from mmdel.subset import Subset

ROOT = Path(__file__).resolve().parents[2]
PIXELS = ('--encoder', 'pixels', '--no-report')


def vectors_file(folder, size=60, seed=0):
    rng = np.random.default_rng(seed)
    scenes = rng.standard_normal((size // 6, 16))
    vectors = scenes[rng.integers(0, len(scenes), size)] + 0.3 * rng.standard_normal((size, 16))
    np.save(folder / 'vectors.npy', vectors.astype(np.float32))
    return folder / 'vectors.npy'


# --- people's own vectors


def test_embeddings__ratio_is_exact_and_the_eta_it_means_is_printed(dedup, tmp_path):
    status, out = dedup('--embeddings', vectors_file(tmp_path), '--ratio', '0.5', '--work-dir', 'out')
    assert status == 0, out
    subset = Subset.read('out/subset.parquet')
    assert len(subset.kept) == 30 and subset.images[0] == '00'
    assert str(subset.eta_interval()) in out
    assert {'keep.txt', 'unreadable.csv', 'centroids.npy', 'config.py', 'report'} <= set(os.listdir('out'))


def test_embeddings__another_cut_reuses_the_ranking_and_equals_a_fresh_run(dedup, tmp_path):
    file = vectors_file(tmp_path)
    assert dedup('--embeddings', file, '--work-dir', 'one')[0] == 0
    status, out = dedup('--embeddings', file, '--eta', '0.7', '--work-dir', 'two')
    assert status == 0 and 'compare' not in out
    options = ('--cfg-options', 'cache_dir=elsewhere')
    assert dedup('--embeddings', file, '--eta', '0.7', '--work-dir', 'three', *options)[0] == 0
    assert Path('two/subset.parquet').read_bytes() == Path('three/subset.parquet').read_bytes()
    first = Subset.read('one/subset.parquet')
    assert first.at(eta=0.7).kept == Subset.read('two/subset.parquet').kept


def test_embeddings__order_of_the_rows_does_not_matter(dedup, tmp_path):
    vectors = np.load(vectors_file(tmp_path))
    names = [f'img {i:02d}.jpg' for i in range(60)]
    for run, order in enumerate((np.arange(60), np.random.default_rng(1).permutation(60))):
        np.save('v.npy', vectors[order])
        Path('k.txt').write_text('\n'.join(names[i] for i in order))
        assert dedup('--embeddings', 'v.npy', '--keys', 'k.txt', '--work-dir', f'out{run}')[0] == 0
    assert Path('out0/subset.parquet').read_bytes() == Path('out1/subset.parquet').read_bytes()


def test_greedy__ratio_is_solved_and_filled(dedup, tmp_path):
    file = vectors_file(tmp_path)
    options = ('--cfg-options', 'selector.rule=greedy')
    status, out = dedup('--embeddings', file, '--ratio', '0.5', '--work-dir', 'out', *options)
    assert status == 0 and 'greedy reaches' in out
    assert len(Subset.read('out/subset.parquet').kept) == 30


def test_summary__an_eta_without_meaning_is_said_and_a_ratio_offered(dedup, tmp_path):
    np.save('v.npy', np.random.default_rng(0).standard_normal((300, 64)).astype(np.float32))
    status, out = dedup('--embeddings', 'v.npy', '--work-dir', 'out', '--cfg-options', 'selector.epsilon=None')
    assert status == 0 and 'has no meaning for this encoder' in out and '--ratio' in out


@pytest.mark.parametrize(
    ('make', 'words'),
    [
        (lambda: np.save('v.npy', np.ones(5)), 'shape (5,)'),
        (lambda: np.save('v.npy', np.ones((5, 2), int)), 'int64'),
        (lambda: np.save('v.npy', np.array([{}, {}], object), allow_pickle=True), 'numpy.save'),
        (lambda: Path('v.npy').write_text('hello'), 'numpy.save'),
        (lambda: np.save('v.npy', np.array([[1, 2], [np.nan, 1]])), "'1'"),
        (lambda: np.save('v.npy', np.array([[1, 2], [0.0, 0]])), 'zero'),
        (lambda: None, 'v.npy'),
    ],
)
def test_embeddings__unusable_file_is_an_error(dedup, make, words):
    make()
    status, out = dedup('--embeddings', 'v.npy', '--work-dir', 'out')
    assert status == 2 and words in out and 'Traceback' not in out


@pytest.mark.parametrize(('keys', 'words'), [('a\nb', '2 lines'), ('a\nb\na\n', "'a' stands twice")])
def test_keys__one_for_each_row(dedup, keys, words):
    np.save('v.npy', np.random.default_rng(0).standard_normal((3, 4)))
    Path('k.txt').write_text(keys)
    status, out = dedup('--embeddings', 'v.npy', '--keys', 'k.txt', '--work-dir', 'out')
    assert status == 2 and words in out


# --- images


def test_images__of_byte_identical_files_exactly_one_is_kept(dedup, pool):
    for brighter in pool.rglob('frame 2.jpg'):
        brighter.unlink()  # which might stand for both
    status, out = dedup('--images', pool, *PIXELS, '--eta', '0.99', '--work-dir', 'out', '--cfg-options',
                        'center=True', 'selector.scope=global', 'selector.epsilon=None')  # fmt: skip
    assert status == 0, out
    kept = set(Subset.read('out/subset.parquet').kept)
    assert len(kept) == 10
    for image in pool.rglob('frame 1.png'):
        pair = {str(p.relative_to(pool)) for p in (image, image.with_name('copy.PNG'))}
        assert len(pair & kept) == 1


def test_images__lists_are_read_by_unmodified_datasets(dedup, pool):
    import mmpretrain.datasets  # noqa: F401
    from mmpretrain.datasets import CustomDataset
    from mmseg.datasets import BaseSegDataset

    assert dedup('--images', pool, *PIXELS, '--ratio', '0.5', '--work-dir', 'out')[0] == 0
    kept = Subset.read('out/subset.parquet').kept
    plain = CustomDataset(data_root=str(pool), ann_file=os.path.abspath('out/keep.txt'), with_label=False, pipeline=[])
    assert sorted(plain.get_data_info(i)['img_path'] for i in range(len(plain))) == sorted(str(pool / k) for k in kept)
    found = []
    for suffix in ('png', 'PNG', 'jpg'):
        path = Path(f'out/keep_stems.{suffix}.txt')
        if path.exists():
            init_default_scope('mmseg')
            seg = BaseSegDataset(
                data_root=str(pool), ann_file=os.path.abspath(path), img_suffix=f'.{suffix}', pipeline=[],
                metainfo=dict(classes=('a',), palette=[[0, 0, 0]]),
            )  # fmt: skip
            found += [seg.get_data_info(i)['img_path'] for i in range(len(seg))]
    assert sorted(found) == sorted(str(pool / key) for key in kept)


def test_images__broken_files_are_rows_and_never_stop_the_run(dedup, pool):
    (pool / 'empty.jpg').write_bytes(b'')
    (pool / 'text.jpg').write_text('hello')
    data = next(pool.rglob('*.jpg')).read_bytes()
    (pool / 'cut.jpg').write_bytes(data[: len(data) // 2])
    (pool / 'dangling.png').symlink_to('nowhere.png')
    (pool / 'loop.png').symlink_to('loop.png')
    (pool / 'new\nline.png').write_bytes(b'x')
    open(os.path.join(os.fsencode(pool), b'latin-\xe9.png'), 'wb').close()
    (pool / 'back').symlink_to(pool, target_is_directory=True)
    (pool / 'folder.jpg').mkdir()
    status, out = dedup('--images', pool, *PIXELS, '--work-dir', 'out')
    assert status == 0, out
    with open('out/unreadable.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7 and all(row['reason'] for row in rows)
    assert {'empty.jpg', 'text.jpg', 'cut.jpg', 'dangling.png', 'loop.png'} <= {row['image'] for row in rows}
    subset = Subset.read('out/subset.parquet')
    assert subset.count('unreadable') == 7 and len(subset.images) == 37
    assert '7 files could not be used' in out


def test_images__all_unusable_is_an_error(dedup, tmp_path):
    (tmp_path / 'bad').mkdir()
    (tmp_path / 'bad' / 'a.jpg').write_bytes(b'')
    status, out = dedup('--images', 'bad', *PIXELS, '--work-dir', 'out')
    assert status == 2 and 'a.jpg' in out


def test_images__are_never_touched(dedup, pool):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in pool.rglob('*') if path.is_file()}
    assert dedup('--images', pool, *PIXELS, '--work-dir', 'out')[0] == 0
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in pool.rglob('*') if path.is_file()}


@pytest.mark.parametrize('option', ['--work-dir {}/out', '--work-dir out --cfg-options cache_dir={}/cache'])
def test_images__results_do_not_go_into_the_image_folder(dedup, pool, option):
    status, out = dedup('--images', pool, *PIXELS, *option.format(pool).split())
    assert status == 2 and 'inside the image folder' in out


def test_report__is_one_page_with_pictures_inside(dedup, pool):
    status, out = dedup('--images', pool, '--encoder', 'pixels', '--ratio', '0.3', '--work-dir', 'out')
    assert status == 0, out
    assert 'out/report/index.html' in out
    page = Path('out/report/index.html').read_text()
    assert page.count('data:image/jpeg;base64,') > 10 and 'http://' not in page.replace('http://www.w3.org', '')


def test_dataset_from__keys_match_the_same_config_by_construction(dedup, pool):
    from mmengine.registry import DATASETS

    dataset = dict(type='CustomDataset', data_root=str(pool.parent), data_prefix='img', with_label=False, pipeline=[])
    Path('other.py').write_text(f"default_scope = 'mmpretrain'\ntrain_dataloader = dict(dataset={dataset!r})\n")
    status, out = dedup('--dataset-from', 'other.py', *PIXELS, '--ratio', '0.4', '--work-dir', 'out')
    assert status == 0, out
    init_default_scope('mmpretrain')
    wrapped = DATASETS.build(dict(type='mmdel.MedDELDataset', subset='out/subset.parquet', dataset=dataset))
    assert len(wrapped) == 12


def test_guards__all_images_with_a_mask_stay(dedup, tmp_path):
    for number in range(12):
        for folder in ('images', 'masks')[: 2 - number % 2]:
            draw_into(tmp_path / 'set' / folder / f'{number:02d}.png', number)
    options = ('--images', tmp_path / 'set' / 'images', *PIXELS, '--ratio', '0.5')
    status, out = dedup(*options, '--work-dir', 'out', '--cfg-options', 'guards.always_keep=masked')
    assert status == 0, out
    assert Subset.read('out/subset.parquet').kept == [f'{number:02d}.png' for number in range(0, 12, 2)]


def test_update__from_the_command_line_names_its_work_dir_and_counts(dedup, pool):
    options = ('--images', pool, *PIXELS, '--cfg-options', 'center=True')
    hidden = sorted(pool.rglob('frame 2.jpg'))
    aside = [path.rename(pool.parent / f'{number}.jpg') for number, path in enumerate(hidden)]
    assert dedup(*options, '--work-dir', 'work_dirs/RUN')[0] == 0
    for path, old in zip(hidden, aside, strict=True):
        old.rename(path)
    status, out = dedup(*options, '--update', 'work_dirs/RUN')
    assert status == 0 and 'new images' in out and 'removed by old kept images' in out
    assert '10' in out and Path('work_dirs/RUN-update1/update.csv').read_text().count(',new\n') == 10
    status, out = dedup(*options, '--update', 'work_dirs/RUN-update1')
    assert status == 0
    one, two = (Path(f'work_dirs/RUN-update{n}/subset.parquet').read_bytes() for n in (1, 2))
    assert one == two
    status, out = dedup(*options, '--update', 'work_dirs/RUN', '--ratio', '0.5')
    assert status == 2 and 'Leave --ratio out' in out


def draw_into(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(small, (48, 40)))


# --- errors that people meet


def test_datadel__not_there(dedup):
    status, out = dedup()
    assert status == 2 and 'data/datadel' in out and 'mmdel select' in out and 'mmdel demo' in out


def test_weights__cannot_be_downloaded(dedup, pool, monkeypatch, tmp_path):
    for name in ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'):
        monkeypatch.setenv(name, 'http://127.0.0.1:9')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    status, out = dedup('--images', pool, '--work-dir', 'out')
    assert status == 2 and 'embedder.checkpoint' in out and '--encoder pixels' in out and '--embeddings' in out


def test_config__not_there(dedup):
    status, out = dedup(config='configs/none.py')
    assert status == 2 and 'meddel_eta08.py' in out


def test_encoder__unknown_names_those_that_exist(dedup):
    status, out = dedup('--encoder', 'clip')
    assert status == 2 and 'pixels' in out and 'vit-base-p16_in1k' in out


@pytest.mark.parametrize(('option', 'words'), [('--ratio 0', 'ratio'), ('--ratio 1.5', 'ratio'), ('--eta 2', 'eta')])
def test_cut__out_of_range(dedup, tmp_path, option, words):
    status, out = dedup('--embeddings', vectors_file(tmp_path), '--work-dir', 'out', *option.split())
    assert status == 2 and words in out


def test_work_dir__result_of_another_question_is_not_replaced_unasked(dedup, tmp_path):
    file = vectors_file(tmp_path)
    assert dedup('--embeddings', file, '--work-dir', 'out')[0] == 0
    before = Path('out/subset.parquet').read_bytes()
    status, out = dedup('--embeddings', file, '--work-dir', 'out', '--eta', '0.5')
    assert status == 2 and '--overwrite' in out and Path('out/subset.parquet').read_bytes() == before
    assert dedup('--embeddings', file, '--work-dir', 'out')[0] == 0
    assert Path('out/subset.parquet').read_bytes() == before
    assert dedup('--embeddings', file, '--work-dir', 'out', '--eta', '0.5', '--overwrite')[0] == 0
    assert Path('out/subset.parquet').read_bytes() != before


def test_work_dir__in_use_by_another_run(dedup, tmp_path):
    file = vectors_file(tmp_path)
    Path('out').mkdir()
    with FileLock('out/.lock'):
        status, out = dedup('--embeddings', file, '--work-dir', 'out')
    assert status == 2 and 'Another run' in out
    assert dedup('--embeddings', file, '--work-dir', 'out')[0] == 0


def test_work_dir__damaged_result_is_replaced(dedup, tmp_path):
    file = vectors_file(tmp_path)
    assert dedup('--embeddings', file, '--work-dir', 'out')[0] == 0
    good = Path('out/subset.parquet').read_bytes()
    Path('out/subset.parquet').write_bytes(good[:100])
    assert dedup('--embeddings', file, '--work-dir', 'out')[0] == 0
    assert Path('out/subset.parquet').read_bytes() == good


# --- configs


def test_configs__the_five_of_the_paper_differ_in_eta_alone():
    configs = {
        name: Config.fromfile(ROOT / 'configs' / f'meddel_eta{name}.py') for name in ('07', '075', '08', '085', '09')
    }
    etas = [configs[name].selector.pop('eta') for name in configs]
    assert etas == [0.7, 0.75, 0.8, 0.85, 0.9]
    assert len({config.pretty_text for config in configs.values()}) == 1
    assert configs['08'].center is False and configs['08'].selector.epsilon == 0.9
    lines = [(ROOT / 'configs' / f'meddel_eta{name}.py').read_text().splitlines() for name in configs]
    assert all(sum(a != b for a, b in zip(lines[0], other, strict=True)) == 1 for other in lines[1:])


# --- methods other than MedDEL

SELECTORS = sorted(path.stem for path in (ROOT / 'configs' / '_base_' / 'selectors').glob('*.py'))


@pytest.mark.parametrize('name', [name for name in SELECTORS if name != 'from-file'])
def test_selector__of_every_name_runs_and_keeps_exactly_the_ratio(dedup, tmp_path, name):
    options = ('--embeddings', vectors_file(tmp_path), '--selector', name, '--ratio', '0.35', '--no-report')
    status, out = dedup(*options, '--work-dir', 'out')
    assert status == 0, out
    subset = Subset.read('out/subset.parquet')
    assert len(subset.kept) == 21 and len(Path('out/keep.txt').read_text().splitlines()) == 21
    before = Path('out/subset.parquet').read_bytes()
    assert dedup(*options, '--work-dir', 'out')[0] == 0
    assert Path('out/subset.parquet').read_bytes() == before
    if not name.startswith(('meddel', 'semdedup')):
        assert 'similarity to the nearest kept image' in out and 'duplicates' not in out and 'not chosen' in out
        assert set(subset.table['reason'].to_pylist()) == {'kept', 'unselected'}
        with pytest.raises(SubsetError, match='Cut it at a ratio'):
            subset.at(eta=0.5)


def test_coverage__prints_its_objective_on_the_graph_and_over_all_pairs(dedup, tmp_path):
    status, out = dedup(
        '--embeddings', vectors_file(tmp_path), '--selector', 'coverage', '--ratio', '0.5', '--work-dir', 'out'
    )
    assert status == 0, out
    # 60 images all lie within the graph's 64 neighbours, so both are the same number
    values = [line.split('│')[1].split() for line in out.splitlines() if 'objective' in line]
    assert values[0] == values[1][:1] and values[1][1:] == ['of', '60']


def test_from_file__keeps_the_list_and_a_ratio_cuts_it(dedup, tmp_path):
    file = vectors_file(tmp_path)
    Path('mine.txt').write_text('\n'.join(['07', '03', '40', '11']))
    options = ('--embeddings', file, '--selector', 'from-file', '--cfg-options', 'selector.file=mine.txt')
    assert dedup(*options, '--work-dir', 'all')[0] == 0
    assert Subset.read('all/subset.parquet').kept == ['03', '07', '11', '40']
    assert dedup('--ratio', '0.03', *options, '--work-dir', 'some')[0] == 0
    assert Subset.read('some/subset.parquet').kept == ['03', '07']


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ('--selector best', 'coverage'),
        ('--selector coverage', '--ratio'),
        ('--selector coverage --eta 0.8', '--ratio'),
        ('--selector coverage --ratio 0.5 --cfg-options selector.neighbors=3', 'neighbours, time'),
        ('--selector from-file', 'FILE.txt'),
        ('--ratio 0.5 --cfg-options selector.type=Nothing', 'custom_imports'),
    ],
)
def test_selector__that_cannot_be_used(dedup, tmp_path, options, words):
    status, out = dedup('--embeddings', vectors_file(tmp_path), '--work-dir', 'out', *options.split())
    assert status == 2 and words in out and 'Traceback' not in out, out


def test_report__of_a_method_without_redundancy_shows_what_left_beside_the_nearest_kept(dedup, pool):
    status, out = dedup(
        '--images', pool, '--encoder', 'pixels', '--selector', 'every-nth', '--ratio', '0.5', '--work-dir', 'out'
    )
    assert status == 0, out
    page = Path('out/report/index.html').read_text()
    assert 'data:image/jpeg' in page and 'mmdel.EveryNth' in page


# --- guards


def test_guards__floors_hold_excluded_images_are_set_aside_and_the_ratio_is_exact(dedup, call_tool, pool):
    plain = ('--images', pool, '--encoder', 'pixels', '--ratio', '0.2')
    assert dedup(*plain, '--no-report', '--work-dir', 'plain')[0] == 0
    gone = Subset.read('plain/subset.parquet').kept[0]
    Path('bad.txt').write_text(f'{gone}\n')
    options = ('--cfg-options', 'guards.min_keep.source=0.15', 'guards.exclude=bad.txt')
    status, out = dedup(*plain, '--work-dir', 'guarded', *options)
    assert status == 0, out
    assert 'excluded on request' in out
    subset = Subset.read('guarded/subset.parquet')
    rows = {row['image']: row for row in subset.table.to_pylist()}
    assert rows[gone]['reason'] == 'excluded' and rows[gone]['rank'] is None
    assert gone not in {row['removed_by'] for row in rows.values()}
    assert len(subset.kept) == round(0.2 * 29) and subset.metadata['images'] == 29
    sources = [row['source'] for row in rows.values() if row['reason'] != 'excluded']
    for source in set(sources):
        kept = sum(rows[key]['source'] == source for key in subset.kept)
        assert kept >= 0.15 * sources.count(source) - 1e-9
    # the run opens again although its vectors are a part of the cache only
    assert call_tool('analysis_tools/make_report', 'guarded')[0] == 0
    assert 'excluded 1' in Path('guarded/report/index.html').read_text()
    status, out = call_tool('analysis_tools/inspect_image', 'guarded', gone, '--no-picture')
    assert status == 0 and 'excluded on request' in out


def test_guards__impossible_ratio_or_another_question_is_an_error(dedup, pool):
    plain = ('--images', pool, *PIXELS, '--work-dir', 'out', '--ratio', '0.2')
    status, out = dedup(*plain, '--cfg-options', 'guards.min_keep.source=10')
    assert status == 2 and 'at least' in out and 'min_keep' in out
    assert dedup(*plain)[0] == 0
    status, out = dedup(*plain, '--cfg-options', 'guards.min_keep.source=1')
    assert status == 2 and '--overwrite' in out and 'guards' in out


def test_summary__a_class_that_nearly_vanishes_is_warned_of(dedup, tmp_path, pool):
    folder = tmp_path / 'data' / 'gastrovision'
    for index, image in enumerate(sorted(pool.rglob('frame 1.png'))):
        for copy in range(25 if index == 0 else 1):
            target = folder / ('polyp' if index == 0 else 'normal') / f'{index}-{copy}.png'
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(image.read_bytes())
    options = (
        '--cfg-options',
        f'dataset.data_root={folder.parent}',
        "dataset.sources=('gastrovision',)",
        'center=True',
        'selector.scope=global',
        'selector.epsilon=None',
    )
    status, out = dedup('--encoder', 'pixels', '--no-report', '--eta', '0.99', '--work-dir', 'out', *options)
    assert status == 0, out
    assert 'warning: 1 of 2 classes lose over 95%' in out and 'polyp (1 of 25)' in out


@pytest.mark.parametrize(('rows', 'hint'), [(3, True), (1, False)])
def test_summary__groups_that_vanish_though_there_is_room_are_told_how_to_stay(dedup, pool, rows, hint):
    images = sorted(str(path.relative_to(pool)) for path in pool.rglob('*.*'))
    Path('table.csv').write_text('image,patient\n' + ''.join(f'{name},{i > 1}\n' for i, name in enumerate(images)))
    Path('list.txt').write_text('\n'.join(images[2 : 2 + rows]))
    options = ('--selector', 'from-file', '--cfg-options', 'selector.file=list.txt', '--ratio', rows / 30)
    status, out = dedup(
        *('--images', pool, '--table', 'table.csv', '--encoder', 'pixels', '--no-report', '--work-dir', 'out', *options)
    )
    assert status == 0, out
    assert 'False (0 of 2)' in out
    assert ('--selector video-quota --cfg-options selector.group=patient' in out) is hint
