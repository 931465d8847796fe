"""What an installed mmdel carries: `.mim` with configs, tools and model index, in wheels, sdists and editable installs."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config
from modelindex.load_model_index import load

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
IN_MIM = ('configs/', 'demo/', 'tools/', 'model-index.yml')


def in_mim(name):
    return name.startswith(IN_MIM)


def visible_files():
    """What is committed, and what is about to be."""
    if not (ROOT / '.git').exists():
        pytest.skip('not a checkout: nobody knows which of the files here belong to mmdel')
    command = ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split('\0')
    return sorted({name for name in names if name and (ROOT / name).is_file()})


def build(source, hook, out, settings=None):
    """One hook of the build backend in a process of its own, as pip calls it; returns the path of what it made."""
    call = f'import sys, setuptools.build_meta as backend; print(backend.{hook}(sys.argv[1], {settings!r}))'
    out.mkdir(exist_ok=True)
    run = subprocess.run(
        [sys.executable, '-c', call, str(out)], cwd=source, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    # setuptools turns an error of ours in an editable install into this warning
    assert 'Customization incompatible' not in run.stderr, run.stderr
    return out / run.stdout.split()[-1]


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """A clean copy of the source tree, and beside the real files what a tree that people work in holds."""
    pytest.importorskip('setuptools', '77')
    folder = tmp_path_factory.mktemp('a copy')
    for name in visible_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    for rubbish in ('tools/__pycache__/train.cpython-311.pyc', 'configs/.ipynb_checkpoints/x.py', 'tools/dedup.py~'):
        (folder / rubbish).parent.mkdir(exist_ok=True)
        (folder / rubbish).write_text('rubbish')
    for left_over in ('build/lib/mmdel/.mim/configs/gone.py', 'mmdel/.mim/configs/copied.py'):
        (folder / left_over).parent.mkdir(parents=True)
        (folder / left_over).write_text('old')
    return folder


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory):
    out = tmp_path_factory.mktemp('wheel')
    command = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '--no-index']
    run = subprocess.run(
        [*command, '--wheel-dir', str(out), '.'], cwd=source, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return next(out.glob('*.whl'))


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: (archive.read(entry), entry.external_attr >> 16) for entry in archive.infolist()}


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    """The wheel unpacked as an installer does it, with the executable bits."""
    site = tmp_path_factory.mktemp('site')
    for name, (data, mode) in contents(wheel).items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(data)
        (site / name).chmod(mode & 0o777)
    return site


# --- wheel


def test_wheel__holds_every_config_and_tool_and_nothing_else_in_mim(wheel):
    found = {name: data for name, (data, _) in contents(wheel).items() if name.startswith('mmdel/.mim/')}
    expected = {f'mmdel/.mim/{name}': (ROOT / name).read_bytes() for name in visible_files() if in_mim(name)}
    assert found == expected
    assert len(expected) > 20


def test_wheel__holds_every_module_and_nothing_beside_the_package(wheel):
    names = contents(wheel)
    modules = {name for name in visible_files() if name.startswith('mmdel/')}
    assert {name for name in names if name.startswith('mmdel/') and '/.mim/' not in name} == modules
    assert {name.split('/')[0].split('-')[0] for name in names} == {'mmdel'}


def test_wheel__shell_scripts_stay_executable(wheel):
    scripts = {name: mode for name, (_, mode) in contents(wheel).items() if name.endswith('.sh')}
    assert scripts and all(mode & 0o111 == 0o111 for mode in scripts.values())


def test_wheel__tools_run_from_where_mim_looks_for_them(installed, tmp_path):
    # `mim run mmdel dedup` starts <installed path>/.mim/tools/dedup.py
    tool = installed / 'mmdel' / '.mim' / 'tools' / 'dedup.py'
    run = subprocess.run(
        [sys.executable, str(tool), '--help'], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert 'vit-base-p16_in1k' in run.stdout  # the encoders are found in the configs beside it


def test_wheel__command_finds_configs_and_demo_data_from_anywhere(installed, tmp_path):
    assert 'mmdel = mmdel.cli.main:main' in next(installed.glob('*.dist-info/entry_points.txt')).read_text()
    program = (
        'from mmdel.cli.demo_data import synthetic\nfrom mmdel.cli.main import main\n'
        'main(["configs", "show", "meddel_eta08"])\nprint(synthetic().__file__)\n'
    )
    run = subprocess.run(
        [sys.executable, '-c', program],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert 'eta=0.8' in run.stdout
    assert run.stdout.splitlines()[-1] == str(installed / 'mmdel' / '.mim' / 'demo' / 'synthetic' / '__init__.py')


def test_wheel__configs_find_their_bases(installed):
    configs = sorted((installed / 'mmdel' / '.mim' / 'configs').rglob('*.py'))
    selection = [path for path in configs if path.name.startswith('meddel_eta')]
    assert len(selection) == 5
    for path in selection:
        assert Config.fromfile(path).embedder.type == 'mmdel.ViTEmbedder'
    for path in configs:
        Config.fromfile(path)


# --- sdist


def test_sdist__holds_the_sources_and_builds_the_same_wheel(source, wheel, tmp_path):
    with tarfile.open(build(source, 'build_sdist', tmp_path / 'sdist')) as archive:
        archive.extractall(tmp_path, filter='data')
    unpacked = next(path for path in tmp_path.glob('mmdel-*') if path.is_dir())
    made = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob('*') if path.is_file()}
    assert {name for name in visible_files() if not name.startswith('.')} <= made
    assert not [name for name in made if 'rubbish' in (unpacked / name).read_text('utf-8', 'ignore').split()[:1]]
    again = build(unpacked, 'build_wheel', tmp_path / 'wheel')
    assert {name: data for name, (data, _) in contents(again).items() if 'RECORD' not in name} == {
        name: data for name, (data, _) in contents(wheel).items() if 'RECORD' not in name
    }


# --- editable


@pytest.fixture
def checkout(source, tmp_path):
    return Path(shutil.copytree(source, tmp_path / 'a checkout', ignore=shutil.ignore_patterns('build', '*.egg-info')))


def test_editable__mim_is_relative_links_to_the_live_files(checkout, tmp_path):
    for _ in range(2):  # over the copies of an older install, and over its own links
        build(checkout, 'build_editable', tmp_path / 'editable')
    mim = checkout / 'mmdel' / '.mim'
    assert {path.name: os.readlink(path) for path in mim.iterdir()} == {
        'configs': '../../configs',
        'demo': '../../demo',
        'tools': '../../tools',
        'model-index.yml': '../../model-index.yml',
    }
    moved = checkout.rename(tmp_path / 'moved')
    (moved / 'configs' / 'new.py').write_text('x = 1')
    assert Config.fromfile(moved / 'mmdel' / '.mim' / 'configs' / 'new.py').x == 1
    assert (moved / 'configs' / 'meddel_eta08.py').read_bytes() == (CONFIGS / 'meddel_eta08.py').read_bytes()


def test_editable__links_are_no_part_of_a_wheel_or_sdist_made_later(checkout, wheel, tmp_path):
    build(checkout, 'build_editable', tmp_path / 'editable')
    later = build(checkout, 'build_wheel', tmp_path / 'wheel')
    assert contents(later).keys() == contents(wheel).keys()
    with tarfile.open(build(checkout, 'build_sdist', tmp_path / 'sdist')) as archive:
        assert not [name for name in archive.getnames() if '.mim' in name]
    assert (checkout / 'mmdel' / '.mim' / 'tools').is_symlink()


def test_editable__copies_where_links_cannot_be(checkout, tmp_path):
    setup = checkout / 'setup.py'
    no_links = (
        'import os\nimport pathlib\n\n\ndef refuse(*_, **__):\n    raise OSError(1314)\n\n\n'
        'os.symlink = pathlib.Path.symlink_to = refuse\n'
    )
    setup.write_text(setup.read_text().replace('import os\n', no_links, 1))
    build(checkout, 'build_editable', tmp_path / 'editable')
    mim = checkout / 'mmdel' / '.mim'
    assert not [path for path in mim.rglob('*') if path.is_symlink()]
    for name in visible_files():
        if in_mim(name):
            assert (mim / name).read_bytes() == (ROOT / name).read_bytes()


def test_editable__strict_mode_links_file_by_file(checkout, tmp_path):
    build(checkout, 'build_editable', tmp_path / 'editable', {'editable_mode': 'strict'})
    (package,) = (checkout / 'build').glob('__editable__*/mmdel')
    linked = {path.relative_to(package / '.mim').as_posix() for path in (package / '.mim').rglob('*') if path.is_file()}
    assert linked == {name for name in visible_files() if in_mim(name)}
    assert Config.fromfile(package / '.mim' / 'configs' / 'meddel_eta08.py').selector.eta == 0.8


# --- model index


def config_files():
    return sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)


def test_model_index__loads_without_a_complaint():
    index = load(str(ROOT / 'model-index.yml'))
    index.check(silent=True)
    problems = [problem for part in (index, *index.models, *index.collections) for problem in part.check_errors]
    # it looks for README files from the metafile on; OpenMMLab writes all paths as seen from model-index.yml
    assert [problem for problem in problems if not problem.startswith('Path to README')] == []
    for collection in index.collections:
        assert (ROOT / collection.readme).is_file(), collection.readme
    assert all(model.in_collection for model in index.models)


def test_model_index__imports_every_metafile():
    imported = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    assert sorted(imported) == sorted(path.relative_to(ROOT).as_posix() for path in CONFIGS.rglob('metafile.yml'))


def test_model_index__names_every_config_once():
    models = [
        model
        for path in CONFIGS.rglob('metafile.yml')
        for model in yaml.safe_load(path.read_text(encoding='utf-8'))['Models']
    ]
    assert sorted(model['Config'] for model in models) == [path.relative_to(ROOT).as_posix() for path in config_files()]
    for model in models:
        assert model['Name'] == Path(model['Config']).stem


def test_readmes__every_folder_of_configs_has_one_that_names_its_configs():
    for path in config_files():
        readme = path.parent / 'README.md'
        assert readme.is_file(), f'{path.parent} has no README.md'
        assert path.stem in readme.read_text(encoding='utf-8') or path.name in expand(readme), f'{readme}: {path.name}'


def expand(readme):
    """Names that a README states as a pattern, such as `meddel_eta{07,08}.py` or `..._<dataset>-512x512.py`."""
    text = readme.read_text(encoding='utf-8')
    names = set()
    for pattern in re.findall(r'`([^`\s]*[{<][^`\s]*)`', text):
        pattern = pattern if pattern.endswith('.py') else pattern + '.py'
        regex = re.escape(pattern).replace(r'\{', '(').replace(r'\}', ')').replace(',', '|')
        regex = re.sub(r'<[^>]*>', '[a-z0-9-]+', regex)
        names.update(path.name for path in readme.parent.glob('*.py') if re.fullmatch(regex, path.name))
    return names


@pytest.mark.parametrize('readme', sorted(CONFIGS.rglob('README.md')), ids=lambda path: str(path.relative_to(ROOT)))
def test_readmes__every_link_leads_somewhere(readme):
    targets = re.findall(r'\]\(([^)#\s]+)[^)]*\)', readme.read_text(encoding='utf-8'))
    gone = [target for target in targets if '://' not in target and not (readme.parent / target).exists()]
    assert gone == []
