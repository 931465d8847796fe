"""One config, three tools: ours, mmpretrain's and mmseg's; two processes; and the lines that the README adds to stock configs."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from mmdel.subset import Subset

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / 'configs' / 'demo'


def installed(package):
    return Path(importlib.util.find_spec(package).submodule_search_locations[0], '.mim')


TOOLS = {
    'mmdel': ROOT / 'tools' / 'train.py',
    'mmpretrain': installed('mmpretrain') / 'tools' / 'train.py',
    'mmseg': installed('mmseg') / 'tools' / 'train.py',
}


def python(folder, *arguments):
    """Run Python in ``folder``: (exit status, what it printed)."""
    run = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'COLUMNS': '200'},
        capture_output=True,
        text=True,
        timeout=580,
    )
    return run.returncode, run.stdout + run.stderr


def train(folder, *arguments):
    status, output = python(folder, *arguments)
    assert status == 0, output[-4000:]
    return output


def logged(work_dir, key):
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [row[key] for row in rows if key in row]


def write_subset(path, kept, dropped=()):
    keys = [*kept, *dropped]
    table = pa.table({'image': keys, 'rank': range(len(keys))})
    metadata = {'images': len(keys), 'kept': len(kept), 'ratio': len(kept) / len(keys), 'eta': None, 'recut': 'ratio'}
    path.parent.mkdir(parents=True, exist_ok=True)
    Subset.from_ranking(table, metadata, (), len(kept)).write(path)
    return path


@pytest.fixture(scope='module')
def pool(demo_data):
    """The small synthetic pool, and a subset of 12 of its frames; everything else in it is unreadable for a training."""
    keys = sorted(path.relative_to(demo_data / 'pool').as_posix() for path in (demo_data / 'pool').rglob('*.jpg'))
    good = [key for key in keys if (demo_data / 'pool' / key).stat().st_size > 4000]
    kept = good[:: len(good) // 12][:12]
    subset = write_subset(demo_data / 'subsets' / 'subset.parquet', kept, [key for key in keys if key not in kept])
    return demo_data / 'pool', subset


@pytest.fixture(scope='module')
def mae_options(pool):
    folder, subset = pool
    return [
        '--cfg-options',
        f'train_dataloader.dataset.subset={subset}',
        f'train_dataloader.dataset.dataset.data_root={folder}',
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'train_dataloader.batch_size=4',
        'train_cfg.max_epochs=2',
        'default_hooks.logger.interval=1',
        'optim_wrapper.precision=float32',
    ]


@pytest.fixture(scope='module')
def encoder(tmp_path_factory, mae_options):
    """The work dir of a tiny pre-training with our tool."""
    folder = tmp_path_factory.mktemp('encoder')
    train(folder, TOOLS['mmdel'], DEMO / 'mae_tiny_subset.py', '--work-dir', 'mae', *mae_options)
    return folder / 'mae'


@pytest.mark.slow
@pytest.mark.parametrize('tool', ['mmpretrain', 'mmseg'])
def test_mae_config__trains_the_same_under_the_tools_of_both_libraries(tool, tmp_path, encoder, mae_options):
    output = train(tmp_path, TOOLS[tool], DEMO / 'mae_tiny_subset.py', '--work-dir', 'work', *mae_options)
    assert 'MedDELDataset: 12 of' in output
    losses = logged(tmp_path / 'work', 'loss')
    assert len(losses) == 6
    assert losses == logged(encoder, 'loss')


@pytest.mark.slow
def test_segmentation_config__trains_and_is_scored_the_same_under_all_three_tools(tmp_path, encoder, demo_data, pool):
    data = demo_data / 'segmentation' / 'kvasir-seg'
    options = ['--cfg-options', f'model.backbone.init_cfg.checkpoint={encoder / "epoch_2.pth"}']
    options += [f'{name}_dataloader.dataset.data_root={data}' for name in ('train', 'val', 'test')]
    options += [f'{name}_dataloader.num_workers=0' for name in ('train', 'val', 'test')]
    options += [f'{name}_dataloader.persistent_workers=False' for name in ('train', 'val', 'test')]
    options += [f'{name}_evaluator.retention={pool[1]}' for name in ('val', 'test')]
    options += ['train_dataloader.batch_size=2', 'train_cfg.max_iters=3', 'train_cfg.val_interval=3']
    options += ['default_hooks.logger.interval=1', 'optim_wrapper.precision=float32', 'randomness.seed=1']
    found = {}
    for name, tool in TOOLS.items():
        train(tmp_path, tool, DEMO / 'segmentation_tiny.py', '--work-dir', name, *options)
        found[name] = {key: logged(tmp_path / name, key) for key in ('loss', 'mIoU', 'IoU.background', 'NormDEL')}
    assert found['mmdel'] == found['mmpretrain'] == found['mmseg']
    assert len(found['mmdel']['loss']) == 3
    assert len(found['mmdel']['NormDEL']) == 1
    assert logged(tmp_path / 'mmdel', 'retention') == [Subset.read(pool[1]).ratio]

    test = [ROOT / 'tools' / 'test.py', DEMO / 'segmentation_tiny.py', tmp_path / 'mmdel' / 'iter_3.pth']
    test += [
        '--show-dir',
        'shown',
        '--out',
        'masks',
        '--metrics-out',
        'metrics.json',
        '--retention',
        '0.5',
        *options,
    ]
    train(tmp_path, *test)
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert metrics['mIoU'] == found['mmdel']['mIoU'][-1]
    assert metrics['retention'] == 0.5
    stems = (data / 'val.txt').read_text().split()
    pictures = {re.sub(r'^test_|\.jpg_\d+\.png$', '', path.name) for path in (tmp_path / 'shown').rglob('*.png')}
    assert pictures == set(stems) == {path.stem for path in (tmp_path / 'masks').iterdir()}
    mask = cv2.imread(str(tmp_path / 'masks' / f'{stems[0]}.png'), cv2.IMREAD_UNCHANGED)
    assert mask.shape == cv2.imread(str(data / 'masks' / f'{stems[0]}.png'), 0).shape
    assert mask.max() <= 1


@pytest.mark.slow
def test_two_processes__share_the_images_and_leave_one_model(tmp_path, mae_options):
    launch = ['-m', 'torch.distributed.run', '--nproc_per_node=2', '--master_port=29655']
    output = train(
        tmp_path,
        *launch,
        TOOLS['mmdel'],
        DEMO / 'mae_tiny_subset.py',
        '--launcher',
        'pytorch',
        '--work-dir',
        'work',
        *mae_options,
    )
    assert 'MMDistributedDataParallel' in output
    assert logged(tmp_path / 'work', 'step') == [1, 2, 3, 4]  # 12 images, 2 x 4 a step, 2 epochs
    assert (tmp_path / 'work' / 'epoch_2.pth').is_file()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['none.py'], 'error: The config none.py is not there'),
        ([DEMO / 'mae_tiny.py', '--equal-compute'], 'error: Equal compute needs a subset'),
        ([DEMO / 'mae_tiny.py', '--retention', '0.2'], 'error: --retention needs an mmdel.NormDELEvaluator'),
        (
            [DEMO / 'mae_tiny.py', '--auto-scale-lr', '--launcher', 'pytorch'],
            'error: --launcher pytorch is for processes that',
        ),
    ],
)
def test_mistakes__end_with_one_line_that_says_what_to_do(arguments, message, call_tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('RANK', raising=False)
    monkeypatch.setenv('LOCAL_RANK', '0')
    status, output = call_tool('train', *arguments)
    assert status == 2
    assert message in output.splitlines()[-1]


def readme_lines(package):
    """(config, added lines) of the README's diff of a stock config."""
    blocks = re.findall(r'```diff\n\+\+\+ (\S+)\n(.*?)```', (ROOT / 'README.md').read_text(), re.DOTALL)
    (found,) = [(path, text) for path, text in blocks if path.startswith(package + '/')]
    lines = found[1].splitlines()
    assert len(lines) <= 5
    assert all(line.startswith('+') for line in lines)
    return found[0].removeprefix(package + '/'), '\n'.join(line[1:] for line in lines) + '\n'


def stock_config(package, folder):
    """A copy of a library's configs in which the README's lines stand at the end of one."""
    name, lines = readme_lines(package)
    shutil.copytree(installed(package) / 'configs', folder / 'configs', ignore=shutil.ignore_patterns('__pycache__'))
    with open(folder / name, 'a') as config:
        config.write(lines)
    return name


def test_readme__its_lines_put_a_subset_into_a_stock_mmpretrain_config(tmp_path):
    config = stock_config('mmpretrain', tmp_path)
    kept, dropped = ['train/a/0.jpg', 'train/b/1.jpg'], ['train/a/2.jpg']
    for level, key in enumerate(kept):
        (tmp_path / 'data/imagenet' / key).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / 'data/imagenet' / key), np.full((240, 240, 3), level, np.uint8))
    (tmp_path / 'data/imagenet' / dropped[0]).write_bytes(b'a dropped image that is served ends the training')
    (tmp_path / 'data/imagenet/list.txt').write_text('a/0.jpg 0\nb/1.jpg 1\na/2.jpg 0\n')
    write_subset(tmp_path / 'work_dirs/meddel_eta08/subset.parquet', kept, dropped)
    options = ['model.backbone.arch=deit-tiny', 'model.neck.embed_dim=192', 'model.neck.decoder_depth=1']
    options += ['optim_wrapper.type=mmdel.AutoAmpOptimWrapper', 'train_dataloader.dataset.dataset.ann_file=list.txt']
    options += ['train_dataloader.batch_size=2', 'train_dataloader.num_workers=0', 'train_cfg.max_epochs=1']
    options += ['train_dataloader.persistent_workers=False', 'default_hooks.logger.interval=1']
    output = train(tmp_path, TOOLS['mmpretrain'], config, '--cfg-options', *options)
    assert 'MedDELDataset: 2 of 3 images kept' in output
    assert len(logged(tmp_path / 'work_dirs' / Path(config).stem, 'loss')) == 1


def test_readme__its_lines_put_normdel_into_a_stock_mmseg_config(tmp_path):
    config = stock_config('mmseg', tmp_path)
    write_subset(tmp_path / 'work_dirs/meddel_eta08/subset.parquet', ['a', 'b'], ['c', 'd', 'e', 'f'])
    random = np.random.default_rng(0)
    for side in ('training', 'validation'):
        for folder, suffix in (('images', '.png'), ('annotations', '_manual1.png')):
            (tmp_path / 'data/DRIVE' / folder / side).mkdir(parents=True)
            picture = random.integers(0, 2, (80, 80) if folder == 'annotations' else (80, 80, 3), np.uint8)
            cv2.imwrite(str(tmp_path / 'data/DRIVE' / folder / side / f'21{suffix}'), picture)
    options = ['train_dataloader.batch_size=2', 'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0']
    options += ['train_dataloader.persistent_workers=False', 'val_dataloader.persistent_workers=False']
    options += ['train_dataloader.dataset.times=4', 'train_cfg.max_iters=1', 'train_cfg.val_interval=1']
    options += [
        'default_hooks.checkpoint.save_last=False',
        'test_dataloader.num_workers=0',
        'model.backbone.base_channels=4',
    ]
    options += ['model.decode_head.in_channels=4', 'model.auxiliary_head.in_channels=8']
    train(tmp_path, TOOLS['mmseg'], config, '--cfg-options', *options)
    work_dir = tmp_path / 'work_dirs' / Path(config).stem
    (dice,), (normdel,), (retention,) = (logged(work_dir, key) for key in ('mDice', 'NormDEL', 'retention'))
    assert retention == 2 / 6
    assert normdel == pytest.approx(100 / (1 + np.exp(-dice / 100 * np.exp(-retention))), abs=1e-9)
