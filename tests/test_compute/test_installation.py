"""What is known to clash is found from versions and errors, and each finding names the line that mends it."""

import subprocess
import sys
from pathlib import Path

import pytest

from mmdel.compute.installation import Finding, explain, findings, import_error, installed

UPSTREAM = {
    'torch': '2.1.2',
    'numpy': '1.26.4',
    'mmengine': '0.10.7',
    'mmcv': '2.1.0',
    'mmpretrain': '1.2.0',
    'mmsegmentation': '1.2.2',
    'setuptools': '65.5.0',
    'ftfy': '6.3.1',
    'regex': '2024.5.15',
}
ONEDL = {
    'torch': '2.14.1',
    'numpy': '2.4.6',
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'setuptools': '84.0.0',
}


def one(versions: dict[str, str], failed: dict[str, str] | None = None) -> Finding:
    found = findings(versions, failed or {})
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize('versions', [UPSTREAM, ONEDL, {**UPSTREAM, 'torch': '2.1.2+cu121'}])
def test_stacks_that_work__nothing_is_found(versions: dict[str, str]) -> None:
    assert findings(versions, {}) == ()


@pytest.mark.parametrize(
    ('pair', 'module'),
    [
        (('mmcv', 'mmcv-lite'), 'mmcv'),
        (('mmcv', 'onedl-mmcv'), 'mmcv'),
        (('mmengine', 'onedl-mmengine'), 'mmengine'),
        (('opencv-python', 'opencv-python-headless'), 'cv2'),
        (('faiss-cpu', 'faiss-gpu'), 'faiss'),
    ],
)
def test_two_owners_of_the_same_files__both_are_named_and_one_is_put_back(pair: tuple[str, str], module: str) -> None:
    found = one({'numpy': '1.26.4', **dict.fromkeys(pair, '0.10.1')})
    assert f'{pair[0]} and {pair[1]}' in found.problem and module in found.problem
    assert found.mend.startswith(f'pip uninstall -y {pair[0]} {pair[1]} && pip install {pair[0]}==0.10.1')


@pytest.mark.parametrize(
    ('change', 'problem', 'mend'),
    [
        ({'numpy': '2.1.0'}, 'torch 2.1.2 is built for NumPy 1', "pip install 'numpy<2'"),
        ({'mmcv': '2.2.0'}, 'refuses mmcv 2.2.0', "'mmcv<2.2'"),
        ({'setuptools': '82.0.0'}, 'pkg_resources', "pip install 'setuptools<82'"),
        ({'torch': '2.6.0'}, 'cannot load its own checkpoints', 'torch below 2.6'),
        ({'transformers': '5.1.0'}, 'cannot be imported beside transformers 5.1.0', "'transformers<5'"),
    ],
)
def test_versions_that_clash__the_line_that_mends_it(change: dict[str, str], problem: str, mend: str) -> None:
    found = one({**UPSTREAM, **change})
    assert problem in found.problem and mend in found.mend


@pytest.mark.parametrize('name', ['ftfy', 'regex'])
def test_what_mmsegmentation_does_not_ask_for__is_asked_for(name: str) -> None:
    assert one({key: version for key, version in UPSTREAM.items() if key != name}).mend == f'pip install {name}'


def test_mixed_stacks__said() -> None:
    assert 'two stacks are mixed' in one({**ONEDL, 'mmpretrain': '1.2.0'}).problem


@pytest.mark.parametrize(
    ('module', 'error', 'problem', 'mend'),
    [
        (
            'mmcv.ops',
            'ImportError: _ext.so: undefined symbol: _ZNK5torch8autograd4Node4nameEv',
            'another torch than 2.1.2',
            'mim',
        ),
        ('faiss', "ModuleNotFoundError: No module named 'faiss'", 'k-means needs', 'pip install faiss-cpu'),
        ('faiss', 'ImportError: numpy.core.multiarray failed to import', 'another NumPy than 1.26.4', 'numpy<2'),
        (
            'faiss',
            'ImportError: libopenblas.so: cannot open',
            'cannot be imported',
            '--force-reinstall --no-deps faiss-cpu',
        ),
        ('mmseg', "ModuleNotFoundError: No module named 'prettytable'", 'needs prettytable', 'pip install prettytable'),
        ('mmseg', 'AssertionError: MMCV==2.3 is used but incompatible', 'AssertionError', 'import mmseg'),
    ],
)
def test_errors_at_import__explained(module: str, error: str, problem: str, mend: str) -> None:
    found = one(UPSTREAM, {module: error})
    assert problem in found.problem and mend in found.mend


def test_no_stack__named() -> None:
    found = one({'numpy': '2.0.0', 'torch': '2.5.0'}, {'mmengine': "ModuleNotFoundError: No module named 'mmengine'"})
    assert "pip install 'mmdel[onedl]'" in found.mend


def test_parts_that_are_not_installed__are_no_fault() -> None:
    missing = {name: f"ModuleNotFoundError: No module named '{name}'" for name in ('mmpretrain', 'mmseg')}
    operators = {'mmcv.ops': "ModuleNotFoundError: No module named 'mmcv._ext'"}
    assert findings(ONEDL, missing | operators) == ()


def test_what_follows_from_a_clash__is_not_listed_beside_it() -> None:
    found = findings({**UPSTREAM, 'numpy': '2.1.0'}, {'torch': 'RuntimeError: Numpy is not available'})
    assert [each.mend for each in found] == ["pip install 'numpy<2'"]


def test_this_environment__is_seen_as_it_is() -> None:
    versions = installed()
    assert {'torch', 'numpy', 'pyarrow'} <= versions.keys()
    assert import_error('json') is None
    assert import_error('no_such_module') == "ModuleNotFoundError: No module named 'no_such_module'"
    assert import_error('os; os._exit(3)') == 'the interpreter ended with status 3'


@pytest.mark.parametrize(
    'raised',
    ["ImportError('_ext.so: undefined symbol: _ZN3c10')", "AttributeError('_ARRAY_API not found')", 'AssertionError()'],
)
@pytest.mark.parametrize('tool', ['dedup.py', 'train.py', 'analysis_tools/make_report.py'])
def test_command_in_a_stack_that_clashes__ends_in_the_advice(tool: str, raised: str, tmp_path: Path) -> None:
    (tmp_path / 'mmengine').mkdir()
    (tmp_path / 'mmengine' / '__init__.py').write_text(f'raise {raised}')
    for owner in ('mmcv', 'mmcv-lite'):
        info = tmp_path / f'{owner.replace("-", "_")}-2.1.0.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {owner}\nVersion: 2.1.0\n')
    root = Path(__file__).parents[2]
    command = [sys.executable, str(root / 'tools' / tool), str(root / 'configs' / 'meddel_eta08.py')]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={'PYTHONPATH': f'{tmp_path}:{root}'}, cwd=tmp_path
    )
    assert run.returncode == 2
    assert 'Traceback' not in run.stderr
    assert 'Mend it: pip uninstall -y mmcv mmcv-lite' in run.stderr


def test_mistake_that_has_nothing_to_do_with_it__is_not_explained() -> None:
    for raised in (ValueError('no'), ImportError('k-means needs faiss')):
        with pytest.raises(type(raised)) as caught:
            raise raised
        assert explain(caught.value) == ()
