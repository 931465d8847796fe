"""What is typed counts: it is understood, or refused in one line that says what would do."""

import importlib.util
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmdel.cli import arguments

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / 'tools'
PIXELS = ROOT / 'configs' / 'demo' / 'meddel_pixels.py'
SEGMENTATION = ROOT / 'configs' / 'demo' / 'segmentation_tiny.py'
STUDY = ROOT / 'configs' / 'study' / 'demo.py'
PROGRAMS = sorted(str(path.relative_to(TOOLS)) for path in TOOLS.rglob('*.py'))
OWN = """
from mmdel.embedding import BaseEmbedder
from mmdel.registry import EMBEDDERS


@EMBEDDERS.register_module(force=True)
class Grey(BaseEmbedder):
    def __init__(self, levels, grid: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.levels, self.grid = levels, grid

    def build_model(self):
        from torch import nn

        return nn.Sequential(nn.AdaptiveAvgPool2d(self.grid), nn.Flatten())
"""


def load(program):
    spec = importlib.util.spec_from_file_location(Path(program).stem, TOOLS / program)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """``call('dedup.py', ...)`` from an empty folder: the exit status and what was printed; anything else raised is a failure."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('COLUMNS', '200')
    for name in ('a', 'b', 'pool'):  # folders that are there, so that what is wrong with the rest is told
        (tmp_path / name).mkdir(exist_ok=True)

    def run(program, *typed):
        monkeypatch.setattr(sys, 'argv', [Path(program).name, *map(str, typed)])
        status = 0
        try:
            load(program).main()
        except SystemExit as end:
            status = end.code or 0
        out = capsys.readouterr()
        return status, out.out + out.err

    return run


@pytest.fixture
def refused(call):
    """As ``call``, of what is a mistake: the line that says so."""

    def run(program, *typed):
        status, printed = call(program, *typed)
        lines = [line for line in printed.splitlines() if line.startswith('error: ')]
        assert (status, len(lines)) == (2, 1), printed
        return lines[0]

    return run


@pytest.fixture
def pool(tmp_path):
    folder = tmp_path / 'pool'
    folder.mkdir(exist_ok=True)
    for number in range(6):
        picture = np.random.default_rng(number).integers(0, 256, (24, 24, 3), np.uint8)
        cv2.imwrite(str(folder / f'{number}.png'), picture)
    return folder


def dedup_with(refused, option, config=PIXELS):
    return refused('dedup.py', config, '--images', 'pool', '--ratio', '0.5', '--cfg-options', option)


# --- keys and types


@pytest.mark.parametrize(
    ('option', 'nearest'),
    [
        ('exclude_neer.against=X', 'exclude_near.against'),
        ('centre=True', 'center'),
        ('datset.data_root=x', 'dataset.data_root'),
        ('dataset.data_rot=x', 'dataset.data_root'),
        ('embedder.batchsize=5', 'embedder.batch_size'),
        ('embedder.pipeline.0.reduce_too=64', 'embedder.pipeline.0.reduce_to'),
        ('selector.Epsilon=0.5', 'selector.epsilon'),
        ('guards.min_kep.label=5', 'guards.min_keep.label'),
        ('guards.min_keep.labell=5', 'guards.min_keep.label'),
        ('exclude_near.treshold=0.5', 'exclude_near.threshold'),
        ('custom_imports.import=[os]', 'custom_imports'),
    ],
)
def test_unknown_key(refused, option, nearest):
    line = dedup_with(refused, option)
    assert option.partition('=')[0] in line or 'custom_imports' in line
    assert nearest in line


def test_unknown_key__in_a_config_and_in_parts_below_parts(refused, tmp_path):
    own = tmp_path / 'own.py'
    own.write_text(
        f"_base_ = ['{PIXELS}']\n_mine = 1\nselector = dict(clusterer=dict(type='mmdel.FaissKMeans', num_iter=3))\n"
    )
    line = refused('dedup.py', own, '--images', 'pool')
    assert 'selector.clusterer.num_iter=3' in line and 'Did you mean selector.clusterer.num_iters?' in line


def test_unknown_key__of_another_library(refused):
    line = dedup_with(refused, 'embedder.backbone.arhc=b', ROOT / 'configs' / 'meddel_eta08.py')
    assert 'Did you mean embedder.backbone.arch?' in line


def test_unknown_key__of_a_coverage_curve(refused):
    line = refused('analysis_tools/coverage_curves.py', PIXELS, '--images', 'pool', '--cfg-options', 'centre=True')
    assert 'Did you mean center?' in line


@pytest.mark.parametrize(
    ('option', 'expected'),
    [
        ('center=no', "center is True or False, got 'no'. Write False."),
        ('center=1', 'center is True or False, got 1.'),
        ('conflict_threshold=high', "conflict_threshold is a number, got 'high'."),
        ('selector.epsilon=abc', "selector.epsilon is a number or None, got 'abc'."),
        ('selector.epsilon=none', "got 'none'. Write None."),
        ('selector.eta=none', "selector.eta is a number, got 'none'."),
        ('selector.eta=nan', 'selector.eta is a number, got nan.'),
        ('selector.eta=True', 'selector.eta is a number, got True.'),
        ('selector.max_iterations=2.0', 'selector.max_iterations is a whole number, got 2.0.'),
        ('selector=MedDEL', "selector is a dict, got 'MedDEL'."),
        ('embedder.pipeline=LoadFrame', "embedder.pipeline is a list of dicts or None, got 'LoadFrame'."),
        ('dataset.videos=2.5', 'dataset.videos is a whole number, text or None, got 2.5.'),
        (
            'dataset.sources=kvasir',
            "dataset.sources is a list of texts, got 'kvasir'. Of one: dataset.sources=[kvasir].",
        ),
        ('dataset.lazy_init=yes', "dataset.lazy_init is True or False, got 'yes'. Write True."),
        ('guards.min_keep.label=five', "guards.min_keep.label is a number or a dict, got 'five'."),
        ('exclude_near.against=5', 'exclude_near.against is text or a list of texts, got 5.'),
        ('cache_dir=[a]', "cache_dir is text, got ['a']."),
    ],
)
def test_wrong_type(refused, option, expected):
    assert expected in dedup_with(refused, option)


def test_wrong_type__numbers_in_quotes_in_a_config(refused, tmp_path):
    own = tmp_path / 'own.py'
    own.write_text(f"_base_ = ['{PIXELS}']\nselector = dict(eta='0.8')\n")
    assert "selector.eta is a number, got '0.8'. Leave the quotes out." in refused('dedup.py', own, '--images', 'pool')


def test_text_that_looks_like_a_number(call, refused, pool):
    pool.rename(pool.with_name('2024'))
    line = refused(
        'dedup.py', PIXELS, '--ratio', '0.5', '--cfg-options', 'dataset.data_root=2024', 'dataset.sources=[]'
    )
    advice = re.search(r'on the command line (\S+?)="(.*)"\.', line)
    typed = f'{advice[1]}={advice[2]}'
    status, printed = call(
        'dedup.py', PIXELS, '--ratio', '0.5', '--no-report', '--cfg-options', typed, 'dataset.sources=[]'
    )
    assert status == 0, printed


def test_key_of_another_selector(refused):
    line = refused('dedup.py', PIXELS, '--selector', 'coverage', '--cfg-options', 'selector.epsilon=0.5')
    assert 'selector.epsilon=0.5: mmdel.Coverage has no key' in line
    assert 'say how many to keep with --ratio' in refused('dedup.py', PIXELS, '--selector', 'random', '--eta', '0.8')


@pytest.mark.parametrize(
    ('option', 'nearest'),
    [
        ('selector.type=mmdel.MedDell', 'Did you mean mmdel.MedDEL?'),
        ('embedder.type=mmdel.PixelEmbeder', 'Did you mean mmdel.PixelEmbedder?'),
        ('dataset.type=mmpretrain.CustomDatset', 'Did you mean mmpretrain.CustomDataset?'),
        ('embedder.pipeline.0.type=LoadImageFromFil', 'Did you mean LoadImageFromFile?'),
        ('default_scope=mmpretrian', 'Did you mean mmpretrain?'),
    ],
)
def test_type_that_is_not_there(refused, option, nearest):
    assert nearest in dedup_with(refused, option)


def test_class_of_ones_own(call, refused, pool, tmp_path, monkeypatch):
    (tmp_path / 'grey_levels.py').write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    own = tmp_path / 'own.py'
    own.write_text(
        f"_base_ = ['{PIXELS}']\ncustom_imports = dict(imports=['grey_levels'])\n"
        "embedder = dict(_delete_=True, type='Grey', levels='any', input_size=16, precision='float32')\n"
    )
    run = ('dedup.py', own, '--images', pool, '--ratio', '0.5', '--no-report')
    status, printed = call(*run)
    assert status == 0, printed
    assert "embedder.grid is a whole number, got 'x'." in refused(*run, '--cfg-options', 'embedder.grid=x')
    assert "unexpected keyword argument 'gird'" in refused(*run, '--cfg-options', 'embedder.gird=3')


def test_modules_on_the_command_line(refused, tmp_path, monkeypatch):
    (tmp_path / 'grey_levels.py').write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    options = ('custom_imports.imports=[grey_levels]', 'embedder.type=Grey')
    line = refused('dedup.py', PIXELS, '--images', 'pool', '--cfg-options', *options)
    assert "embedder lacks 'levels', without which there is no Grey" in line
    assert 'custom_imports' in dedup_with(refused, 'custom_imports.imports=[no_such_module]')


@pytest.mark.parametrize('program', ['train.py', 'analysis_tools/browse_dataset.py'])
@pytest.mark.parametrize(
    ('option', 'nearest'),
    [
        ('train_dataloder.batch_size=4', 'train_dataloader.batch_size'),
        ('train_dataloader.batchsize=4', 'train_dataloader.batch_size'),
        ('train_dataloader.dataset.data_rot=x', 'train_dataloader.dataset.data_root'),
        ('model.backbone.arhc=b', 'model.backbone.arch'),
        ('optim_wrapper.optimizer.lrr=1', 'optim_wrapper.optimizer.lr'),
    ],
)
def test_unknown_key_of_a_training(refused, program, option, nearest):
    assert f'Did you mean {nearest}?' in refused(program, SEGMENTATION, '--cfg-options', option)


def test_unknown_key_of_a_training__what_mmengine_knows_passes():
    from mmdel.training.training_config import read_training_config

    options = ['resume=True', 'find_unused_parameters=True', 'train_dataloader.prefetch_factor=2', '_mine=1']
    options += ['optim_wrapper.paramwise_cfg.norm_decay_mult=0.0', 'train_dataloader.dataset.indices=4']
    options += ['model.backbone.type=mmpretrain.ResNet', 'model.backbone._delete_=True', 'model.backbone.depth=18']
    cfg = read_training_config(str(SEGMENTATION), options)
    assert dict(cfg.model.backbone) == dict(type='mmpretrain.ResNet', depth=18)
    assert cfg.train_dataloader.prefetch_factor == 2


@pytest.mark.parametrize(
    ('option', 'expected'),
    [
        ('ratioz=0.2', 'Did you mean ratios?'),
        ('ratios=0.2', 'ratios is a list of numbers, got 0.2.'),
        ('resume=no', "resume is True or False, got 'no'."),
        ('threads=x', "threads is a whole number or None, got 'x'."),
        ('downstream=5', 'downstream is a dict, got 5.'),
        ('rates.pretrian=5', 'Did you mean rates.pretrain?'),
        ('selection.options.centre=True', 'Did you mean center?'),
        ('selection.config=nope.py', 'nope.py is not there'),
    ],
)
def test_unknown_key_of_a_study(refused, option, expected):
    assert expected in refused('study.py', STUDY, '--dry-run', '--cfg-options', option)


@pytest.mark.parametrize(
    ('option', 'expected'),
    [
        ('center', 'write KEY=VALUE, such as center=True'),
        ('=5', 'write KEY=VALUE'),
        ('a..b=1', 'write KEY=VALUE'),
        ('center=', 'the value is empty'),
        ('selector.eta.x=1', 'selector.eta is 0.95, which has no keys'),
        ('embedder.pipeline.x=1', "embedder.pipeline is a list of 1 entries, counted from 0; 'x' is none of them"),
        ('embedder.pipeline.5.x=1', "'5' is none of them"),
        ('embedder.pipeline.0=LoadFrame', 'Write the list, embedder.pipeline=[...]'),
        ('dataset.sources=[a,(b', 'the brackets do not match'),
    ],
)
def test_option_that_is_no_key_and_value(refused, option, expected):
    assert expected in dedup_with(refused, option)


def test_option_that_is_no_key_and_value__twice(refused):
    line = refused('dedup.py', PIXELS, '--cfg-options', 'center=True', '--cfg-options', 'center=False')
    assert '--cfg-options gives center twice' in line


# --- options


class _Seen(Exception):
    """Holds the parser of a tool."""


@pytest.fixture
def parser_of(monkeypatch):
    def parser(program):
        def seen(self, *_):
            raise _Seen(self)

        module = load(program)
        with monkeypatch.context() as patch:
            patch.setattr(arguments.ArgumentParser, 'parse_args', seen)
            with pytest.raises(_Seen) as found:
                module.main()
        return found.value.args[0]

    return parser


@pytest.mark.parametrize('program', PROGRAMS)
@pytest.mark.parametrize('empty', ['', '  '])
def test_empty_option(parser_of, capsys, program, empty):
    takes_a_value = [action for action in parser_of(program)._actions if action.nargs != 0]
    before = []
    assert takes_a_value or program == 'demo.py'
    for action in takes_a_value:
        typed = [*action.option_strings[-1:], empty] if action.option_strings else [*before, empty]
        before += [] if action.option_strings else ['x']
        with pytest.raises(SystemExit) as end:
            parser_of(program).parse_args(typed)
        said = capsys.readouterr().err
        name = '/'.join(action.option_strings) or action.metavar or action.dest
        assert end.value.code == 2
        assert said.startswith(f'error: {name}: empty: is a shell variable not set?') and said.count('\n') == 1


def test_empty_option__does_not_take_the_images_of_the_config(refused):
    assert '--images: empty' in refused('dedup.py', PIXELS, '--images', '')
    assert '--images: empty' in refused('dedup.py', PIXELS, '--images=')


def test_option_given_twice(refused):
    assert "--images: given twice, as 'a' and 'b'" in refused('dedup.py', PIXELS, '--images', 'a', '--images', 'b')


def test_option_given_twice__lists_go_on(call, pool):
    options = ('--cfg-options', 'center=False', '--cfg-options', 'selector.eta=0.5')
    status, printed = call('dedup.py', PIXELS, '--images', pool, '--work-dir', 'out', '--no-report', *options)
    assert status == 0, printed
    written = Path('out/config.py').read_text()
    assert 'center = False' in written and 'eta=0.5' in written


def test_misspelt_option(refused):
    assert "there is no option '--raito'; did you mean --ratio?" in refused('dedup.py', PIXELS, '--raito', '0.5')


@pytest.mark.parametrize(
    ('typed', 'expected'),
    [
        ('--ratio 5', '5 % is 0.05'),
        ('--ratio 5%', '5 % is 0.05'),
        ('--ratio 0', 'above 0 and at most 1'),
        ('--ratio -1', 'above 0 and at most 1'),
        ('--ratio nan', "'nan' is no number"),
        ('--eta 80', 'did you mean 0.8?'),
        ('--eta x', "'x' is no number"),
        ('--images pool --videos 0', "videos='0' is not known"),
    ],
)
def test_number_out_of_range(refused, pool, typed, expected):
    assert expected in refused('dedup.py', PIXELS, *typed.split())


@pytest.mark.parametrize(
    ('program', 'typed'),
    [
        ('study.py', '--jobs 0'),
        ('export_subset.py', '--out x --quality 0'),
        ('analysis_tools/coverage_curves.py', '--seeds 0'),
        ('analysis_tools/make_report.py', '--epochs 0'),
        ('train.py', '--equal-compute 0'),
    ],
)
def test_number_out_of_range__of_other_tools(refused, program, typed):
    assert 'must be a whole number and at least 1, got 0' in refused(program, 'x', *typed.split())


@pytest.mark.parametrize('option', ['--encoder pixels', '--device cpu', '--videos all'])
def test_options_that_contradict(refused, option):
    line = refused('dedup.py', PIXELS, '--embeddings', 'v.npy', *option.split())
    assert f'{option.split()[0]} has no meaning with --embeddings' in line


def test_options_that_contradict__of_other_kinds(refused):
    assert '--keys names the rows of --embeddings' in refused('dedup.py', PIXELS, '--keys', 'k.txt', '--work-dir', 'w')
    assert 'not allowed with' in refused('dedup.py', PIXELS, '--images', 'a', '--embeddings', 'b')
    assert 'are the same' in refused('dedup.py', PIXELS, '--work-dir', 'a', '--cfg-options', 'work_dir=b')
    assert '--dataset-from' in refused('dedup.py', SEGMENTATION, '--images', 'a')


# --- configs, devices, names


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('a = 1\nb = (\n', "own.py, line 2: '(' was never closed: b = ("),
        ('a = 1\nb = undefined\n', "own.py, line 2: NameError: name 'undefined' is not defined"),
        ('a = 1\nb = int("{")\n', 'own.py, line 2: ValueError'),
        ('import sys\nsys.exit(0)\n', 'own.py, line 2: SystemExit'),
        ("_base_ = ['nowhere.py']\n", 'nowhere.py, a _base_ of own.py, is not there'),
        ("_base_ = ['own.py']\n", 'own.py inherits from itself'),
        ("_base_ = ['below.py']\n", "below.py, line 2: NameError: name 'y' is not defined"),
        ("custom_imports = dict(imports=['no_such_module'])\n", 'own.py: custom_imports cannot be imported'),
        ('import no_such_module\nx = no_such_module.y\n', 'no_such_module'),
        (b'a = "\xf6"\n', 'own.py is not UTF-8 text'),
        (b'\x00\x01\xff', 'own.py is not UTF-8 text'),
        ('', "own.py lacks the key 'selector'"),
    ],
)
def test_config_that_cannot_be_read(refused, tmp_path, text, expected):
    (tmp_path / 'below.py').write_text('x = 1\ny = y\n')
    (tmp_path / 'own.py').write_bytes(text if isinstance(text, bytes) else text.encode())
    assert expected in refused('dedup.py', 'own.py', '--images', 'pool')


@pytest.mark.parametrize(
    ('name', 'text', 'expected'),
    [
        ('x.json', '{"a": 1', 'x.json cannot be read'),
        ('x.yaml', 'a: [1', 'x.yaml cannot be read'),
        ('x.txt', '', 'x.txt is no config'),
    ],
)
def test_config_that_cannot_be_read__of_another_format(refused, tmp_path, name, text, expected):
    (tmp_path / name).write_text(text)
    assert expected in refused('dedup.py', name, '--images', 'pool')


def test_config_that_cannot_be_read__a_folder(refused, tmp_path):
    assert 'is a folder' in refused('dedup.py', tmp_path, '--images', 'pool')


@pytest.mark.parametrize('device', ['gpu', 'cuda:77', 'meta', 'cpu:x'])
def test_device_that_is_not_there(refused, pool, device):
    line = refused('dedup.py', PIXELS, '--images', pool, '--device', device)
    assert f"The device '{device}' cannot be used: torch sees cpu" in line
    assert ('cuda:0' in line) == torch.cuda.is_available()


def test_output_that_is_ascii(pool, tmp_path):
    pool.rename(tmp_path / 'pööl')
    (tmp_path / 'pööl' / 'ö.png').write_bytes(b'no picture')
    (tmp_path / os.fsdecode(b'p\xc3\xb6\xc3\xb6l/\xff.png')).write_bytes(b'no picture')
    done = subprocess.run(
        [
            sys.executable,
            TOOLS / 'dedup.py',
            PIXELS,
            '--images',
            'pööl',
            '--ratio',
            '0.5',
            '--work-dir',
            'ö',
            '--no-report',
        ],
        cwd=tmp_path,
        env=os.environ | {'PYTHONIOENCODING': 'ascii', 'COLUMNS': '0'},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert rb'\xf6/keep.txt' in done.stdout
    assert b'Traceback' not in done.stderr


def test_names_in_another_encoding(refused, monkeypatch):
    monkeypatch.setattr(sys, 'getfilesystemencoding', lambda: 'iso8859-1')
    assert 'Set PYTHONUTF8=1' in refused('dedup.py', PIXELS)


def test_home_folder(call, pool, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    options = ('--work-dir=~/out', '--no-report', '--cfg-options', 'dataset.data_root=~/frames', 'dataset.sources=[]')
    (tmp_path / 'home').mkdir()
    pool.rename(tmp_path / 'home' / 'frames')
    status, printed = call('dedup.py', PIXELS, '--ratio', '0.5', *options)
    assert status == 0, printed
    assert (tmp_path / 'home' / 'out' / 'keep.txt').is_file()
    assert not (tmp_path / '~').exists()


def test_option_that_is_no_text(refused):
    assert "'\\udcff' is not UTF-8" in refused('dedup.py', PIXELS, '--work-dir', os.fsdecode(b'\xff'))


# --- processes


def script(name, *typed, **environment):
    return subprocess.run(
        ['bash', TOOLS / name, *typed],
        capture_output=True,
        text=True,
        env=os.environ | {'PYTHON': 'true'} | environment,
    )


@pytest.mark.parametrize('name', ['dist_dedup.sh', 'dist_train.sh', 'dist_test.sh'])
@pytest.mark.parametrize('number', ['0', 'abc', '--ratio', '08', '-3', '1.5', ''])
def test_processes_that_are_no_number(name, number):
    before = ['config.py', 'checkpoint.pth'] if name == 'dist_test.sh' else ['config.py']
    done = script(name, *before, number)
    assert done.returncode == 2
    assert re.fullmatch(rf"error: \w+ is a whole number of at least 1, got '{re.escape(number)}'\. .*\n", done.stderr)
    assert script(name).returncode == 2
    assert script(name).stderr.startswith('usage: ')


@pytest.mark.parametrize('name', ['slurm_dedup.sh', 'slurm_train.sh', 'slurm_test.sh'])
def test_processes_that_are_no_number__of_a_cluster(name):
    done = script(name, 'partition', 'job', 'config.py', 'work', GPUS='eight')
    assert (done.returncode, "GPUS is a whole number of at least 1, got 'eight'" in done.stderr) == (2, True)


def test_port_in_use():
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = str(server.getsockname()[1])
        done = script('dist_dedup.sh', 'config.py', '2', PORT=port)
    assert (done.returncode, f'something else uses port {port}' in done.stderr) == (2, True)


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
def test_launcher_that_did_not_start_it(refused, monkeypatch, launcher):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    assert 'tools/dist_*.sh' in refused('dedup.py', PIXELS, '--launcher', launcher)


def test_launcher_that_did_not_start_it__but_something_else(refused, monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.setenv(name, 'one')
    assert "RANK='one' is no number" in refused('dedup.py', PIXELS, '--launcher', 'pytorch')


# --- other tools


@pytest.mark.parametrize('place', ['nowhere', 'file', 'folder', 'damaged'])
@pytest.mark.parametrize(
    'typed',
    [
        'analysis_tools/make_report.py {}',
        'analysis_tools/inspect_image.py {} 0.png',
        'analysis_tools/export_decisions.py {} --format csv --out out.csv',
        'check_leakage.py {} --against pool',
        'export_subset.py {} --root pool --out out',
        'analysis_tools/compare_runs.py {}',
        'dedup.py CONFIG --images pool --update {}',
        'dedup.py CONFIG --dataset-from {}',
        'dedup.py CONFIG --embeddings {} --ratio 0.5',
        'make_splits.py {}',
        'study.py {}',
        'train.py {}',
        'test.py SEGMENTATION {}',
        'demo_truth.py {} nowhere.csv',
        'analysis_tools/browse_dataset.py {}',
        'analysis_tools/coverage_curves.py {} --images pool',
    ],
)
def test_path_that_is_something_else(refused, pool, tmp_path, typed, place):
    (tmp_path / 'file').write_text('x')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'damaged').mkdir()
    (tmp_path / 'damaged' / 'subset.parquet').write_bytes(b'PAR1 and nothing else')
    program, *rest = typed.replace('CONFIG', str(PIXELS)).replace('SEGMENTATION', str(SEGMENTATION)).split()
    refused(program, *(each.format(place) for each in rest))


def test_advice_in_messages(parser_of):
    """Every tool, option and key that a message of ours names is there."""
    options = {option for program in PROGRAMS for option in parser_of(program)._option_string_actions}
    options.add('--version')  # of mmdel itself
    # of docker, pip, mim and Slurm
    options |= {
        '--force',
        '--force-reinstall',
        '--no-deps',
        '--shm-size',
        '--index-url',
        '--kill-on-bad-exit',
        '--output',
        '--wrap',
        '--job-name',
        '--parsable',
    }
    options |= {'--noheader', '--dependency', '--kill-on-invalid-dep'}
    for path in [*(ROOT / 'mmdel').rglob('*.py'), *TOOLS.rglob('*.py')]:
        if '.mim' in path.parts:
            continue
        text = path.read_text(encoding='utf-8')
        assert set(re.findall(r'(?<![\w-])--[a-z][a-z_-]+', text)) <= options, path
        for tool in re.findall(r'tools/[\w/]+\.(?:py|sh)', text):
            assert (ROOT / tool).is_file(), (path, tool)


def test_help_at_once():
    program = (
        'import runpy, sys, contextlib, io\n'
        'for path in sys.argv[1:]:\n'
        '    sys.argv = [path, "--help"]\n'
        '    said = io.StringIO()\n'
        '    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(said):\n'
        '        runpy.run_path(path, run_name="__main__")\n'
        '    assert "usage: " in said.getvalue(), path\n'
        '    heavy = {"torch", "mmengine", "pyarrow", "rich"} & set(sys.modules)\n'
        '    assert not heavy, (path, heavy)\n'
    )
    paths = [str(TOOLS / each) for each in PROGRAMS]
    done = subprocess.run([sys.executable, '-c', program, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
