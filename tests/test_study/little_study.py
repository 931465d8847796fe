"""Not a test: a study whose tools are small scripts that leave what the real ones leave, in milliseconds and without a model.

Their figures follow from the names of the runs, so that a study of the same cells always has the same table. ``calls.txt`` notes
every start; where ``fail`` holds words, a run with such a word in its name fails; where ``kill`` holds a number, the script of
that call kills the study, in the middle of its work.
"""

import json
from pathlib import Path

import pyarrow as pa
import torch

from mmdel.subset import Subset

DEDUP = """
selector = dict(type='mmdel.MedDEL')
dataset = dict(type='mmdel.DataDEL', data_root='{pool}')
embedder = dict(type='mmdel.PixelEmbedder')
center = True
work_dir, cache_dir = 'work', 'cache'
"""

MAE = """
default_scope = 'mmpretrain'
train_dataloader = dict(batch_size=2, dataset=dict(type='mmdel.DataDEL', data_root='{pool}'))
train_cfg = dict(max_epochs=10)
param_scheduler = [dict(type='LinearLR', begin=0, end=1), dict(type='CosineAnnealingLR', begin=1)]
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
"""

SEGMENTATION = """
default_scope = 'mmseg'
_data = dict(type='mmdel.KvasirSEGDataset', data_root='{pairs}', data_prefix=dict(img_path='images', seg_map_path='masks'))
model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='x.pth', prefix='backbone.')))
train_dataloader = dict(batch_size=4, dataset=_data)
val_dataloader = test_dataloader = dict(batch_size=1, dataset=_data)
train_cfg = dict(max_iters=30, val_interval=10)
val_evaluator = test_evaluator = dict(
    type='mmdel.NormDELEvaluator', retention=0.2, metrics=[dict(type='mmdel.ClassIoUMetric', iou_metrics=['mIoU'])]
)
"""

STUDY = """
work_dir = '{root}/study'
selection = dict(config='dedup.py')
selectors = {{'near': dict(selector=dict(type='mmdel.MedDEL', keep='near'))}}
ratios = (0.5,)
seeds = (0, 1)
pretraining = dict(config='mae.py', full_epochs=10)
downstream = {{'Kvasir-SEG': dict(config='segmentation.py')}}
references = {{'random encoder': dict(kind='random')}}
threads = 1
"""

SINGLE = STUDY.replace('seeds = (0, 1)', 'seeds = (0,)')

LARGER = (
    STUDY
    + """
selectors['drawn'] = dict(
    selector=dict(type='mmdel.MedDEL', clusterer=dict(type='mmdel.FaissKMeans', seed='{{seed}}'))
)
references['all images'] = dict(kind='full')
baselines = ('drawn',)
"""
)

# what all three scripts begin with: argument words, the call's number, and the accidents that a test has ordered
_HEAD = """
import os, pathlib, re, shutil, signal, sys, time, json, zlib
HERE = pathlib.Path(__file__).parent
args = sys.argv[1:]
option = lambda name: args[args.index(name) + 1] if name in args else None
config = pathlib.Path(args[0])
name = re.sub(r'-[0-9a-f]{8}$', '', config.stem)
folder = pathlib.Path(option('--work-dir'))
with open(HERE / 'calls.txt', 'a') as calls:
    calls.write(config.parent.name + '/' + name + ' ' + ' '.join(args[1:]) + chr(10))
number = len((HERE / 'calls.txt').read_text().splitlines())
if any(word in config.parent.name + '/' + name for word in (HERE / 'fail').read_text().split()):
    print('all is well until')
    print('error: the disk is full')
    raise SystemExit(2)
scope = {}
exec(config.read_text(), scope)
if folder.exists() and any(folder.rglob('*')) and '--resume' not in args:
    print('error: left-overs'); raise SystemExit(2)
folder.mkdir(parents=True, exist_ok=True)
(folder / 'half').write_text('of a result')
if (HERE / 'kill').read_text() == str(number):
    (HERE / 'kill').write_text('')
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
value = 50 + zlib.crc32(name.encode()) % 1000 / 100
"""

_DEDUP = """
shutil.copy(HERE / 'subset.parquet', folder / 'subset.parquet')
"""

_TRAIN = """
if config.parent.name == 'pretrain':
    epochs = 20 if '--equal-compute' in args else scope['train_cfg']['max_epochs']
    for epoch in range(epochs // 10, epochs + 1, epochs // 10):
        shutil.copy(HERE / 'weights.pth', folder / f'epoch_{epoch}.pth')
    shutil.copy(HERE / 'weights.pth', folder / 'iter_7.pth')
else:
    random = scope['model']['backbone']['init_cfg'] is None
    assert ('--pretrained' in args) == (not random) == ('--retention' in args)
    logs = folder / '20240101_000000' / 'vis_data'
    logs.mkdir(parents=True)
    lines = []
    for step in (10, 20, 30):
        lines.append({'iter': step, 'step': step, 'time': time.time() % 1, 'loss': 1.0})
        lines.append({'step': step, 'mIoU': round(value - 30 + step, 2), 'time': time.time() % 1})
    (logs / 'scalars.json').write_text(''.join(json.dumps(line) + chr(10) for line in lines))
    shutil.copy(HERE / 'weights.pth', folder / 'iter_30.pth')
"""

_TEST = """
assert pathlib.Path(args[1]).is_file()
rows = ['image,class,intersection,union']
for image in range(4):
    for name in ('background', 'polyp'):
        rows.append(f'{image}.jpg,{name},{int(value) + 5 * image},{100 + image}')
evaluator = scope['test_evaluator']
(metric,) = evaluator['metrics'] if isinstance(evaluator, dict) else evaluator
assert pathlib.Path(metric['per_image']).parent == folder
(folder / 'per_image.csv').write_text(chr(10).join(rows) + chr(10))
pathlib.Path(option('--metrics-out')).write_text(json.dumps({'mIoU': value, 'IoU.polyp': value - 5, 'time': time.time()}))
"""


def write_little_study(root: Path, study: str = STUDY) -> Path:
    """Write configs, data and tools below ``root``; returns the config of the study."""
    pool, pairs, tools = root / 'pool', root / 'pairs', root / 'tools'
    for number in range(4):
        for folder in (pool, pairs / 'images', pairs / 'masks'):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f'{number}.jpg').write_bytes(b'x' * (10 + number))
    for name, text in (('dedup', DEDUP), ('mae', MAE), ('segmentation', SEGMENTATION)):
        (root / f'{name}.py').write_text(text.format(pool=pool, pairs=pairs))
    tools.mkdir(exist_ok=True)
    for name, text in (('dedup', _DEDUP), ('train', _TRAIN), ('test', _TEST)):
        (tools / f'{name}.py').write_text(_HEAD + text)
    for name in ('fail', 'kill', 'calls.txt'):
        (tools / name).write_text('')
    torch.save({'state_dict': {'backbone.weight': torch.arange(6.0)}}, tools / 'weights.pth')
    table = pa.table({'image': [f'{n}.jpg' for n in range(4)], 'rank': range(4), 'redundancy': [None, 0.2, 0.4, 0.6]})
    Subset.from_ranking(table, {}, kept=2).write(tools / 'subset.parquet')
    (root / 'study.py').write_text(study.format(root=root))
    return root / 'study.py'


def calls(root: Path) -> list[str]:
    """Names of the runs that were started, '<kind>/<words>'."""
    return [line.split()[0] for line in (root / 'tools' / 'calls.txt').read_text().splitlines()]


def order(root: Path, what: str, text: str) -> None:
    """Order an accident: 'fail' or 'kill'."""
    (root / 'tools' / what).write_text(text)


def tables(root: Path) -> dict[str, bytes]:
    """The files that must not depend on how often a study was killed."""
    names = ('results.parquet', 'results.csv', 'per_image.parquet')
    return {name: (root / 'study' / name).read_bytes() for name in names}


def records(root: Path) -> dict[str, dict]:
    """Name of the run -> its record."""
    folder = root / 'study' / 'records'
    return {
        path.relative_to(folder).with_suffix('').as_posix(): json.loads(path.read_text())
        for path in folder.rglob('*.json')
    }
