"""Known conflicts between installed packages, and the command that fixes each.

    report = examine()
    report.versions       # {'torch': '2.1.2', 'mmcv': '2.1.0', ...}
    report.findings       # (Finding(problem='mmcv and mmcv-lite both own ...', mend='pip uninstall ...'),)

Two stacks own the same files (``mmengine``, ``mmcv``, ...), wheels are compiled for one version of others, and pip notices
neither. Nothing of them is imported in this process: each is tried in one of its own, since what clashes may also crash.
"""

import re
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

from packaging.version import Version

OWNERS: Mapping[str, Sequence[str]] = {
    'mmengine': ('mmengine', 'mmengine-lite', 'onedl-mmengine'),
    'mmcv': ('mmcv', 'mmcv-lite', 'mmcv-full', 'onedl-mmcv'),
    'mmpretrain': ('mmpretrain', 'onedl-mmpretrain'),
    'mmseg': ('mmsegmentation', 'onedl-mmsegmentation'),
    'cv2': ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python', 'opencv-contrib-python-headless'),
    'faiss': ('faiss-cpu', 'faiss-gpu', 'faiss-gpu-cu12'),
}
"""Imported name to the packages that bring it; of each one may be installed."""

OTHERS = (
    'mmdel',
    'torch',
    'torchvision',
    'numpy',
    'pillow',
    'pyarrow',
    'av',
    'setuptools',
    'ftfy',
    'regex',
    'transformers',
)

TRIED = ('numpy', 'torch', 'torchvision', 'cv2', 'mmengine', 'mmcv', 'mmcv.ops', 'mmpretrain', 'mmseg', 'faiss')
"""Modules that are imported, each in a process of its own."""

_SECONDS = 120

_OTHER_NUMPY = re.compile(
    r'_ARRAY_API|compiled using NumPy 1|numpy\.core\.multiarray failed|Numpy is not available|dtype size changed'
)


@dataclass(frozen=True)
class Finding:
    """Something that does not work.

    Args:
        problem (str): What, in one line.
        mend (str): A command that mends it.
    """

    problem: str
    mend: str

    def __str__(self) -> str:
        return f'{self.problem}. Mend it: {self.mend}'


@dataclass(frozen=True)
class Report:
    """What was found.

    Args:
        versions (dict[str, str]): Installed packages that matter here, by name.
        findings (tuple[Finding, ...]): What does not work.
    """

    versions: Mapping[str, str]
    findings: tuple[Finding, ...]


def examine(imports: bool = True) -> Report:
    """Look at this environment.

    Args:
        imports (bool): Whether modules are tried, which takes some seconds. Defaults to True; without it only what versions tell
            is found.
    """
    versions = installed()
    failed = {}
    if imports:
        failed = {name: error for name in TRIED if (error := import_error(name)) is not None}
    return Report(versions, findings(versions, failed))


def explain(error: BaseException) -> tuple[Finding, ...]:
    """What of the installation an error of a command comes from; empty where it comes from something else.

    Args:
        error (BaseException): What was raised; of interest is what libraries raise while they are imported, and what torch and
            NumPy say when they were built for each other's other versions.
    """
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    importing = any(frame.f_code.co_name == '<module>' for frame, _ in traceback.walk_tb(error.__traceback__))
    by_import = isinstance(error, ImportError) and error.name is not None  # mmdel's own say by themselves what to do
    if not (importing or by_import or any(_OTHER_NUMPY.search(str(each)) for each in chain)):
        return ()
    absent = [(each.name or '').partition('.')[0] for each in chain if isinstance(each, ModuleNotFoundError)]
    found = examine(imports=False).findings
    return found if found or not set(absent) <= set(TRIED) else examine().findings


def installed() -> dict[str, str]:
    """Versions of the packages that matter here, by name; only those that are installed."""
    found = {}
    for name in (*OTHERS, *(owner for owners in OWNERS.values() for owner in owners)):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def import_error(name: str) -> str | None:
    """The last line that importing a module ends with, None where it can be imported."""
    code = f'import {name}'
    if name == 'torch':
        code += '; torch.ones(1).numpy()'  # built for another NumPy, torch is imported and cannot do this
    try:
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f'importing it takes more than {_SECONDS} seconds'
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f'the interpreter ended with status {done.returncode}'


def findings(versions: Mapping[str, str], failed: Mapping[str, str]) -> tuple[Finding, ...]:
    """What does not work, the causes before what follows from them.

    Args:
        versions (Mapping[str, str]): From :func:`installed`.
        failed (Mapping[str, str]): Module to the error that importing it ends with.
    """
    found = [*_two_owners(versions), *_versions_that_clash(versions)]
    explained = bool(found)
    for name, error in failed.items():
        missing = re.search(r"No module named '([\w.]+)'", error)
        if missing and missing[1] == name.partition('.')[0]:
            if name == 'faiss':
                found.append(Finding('faiss is not installed, which k-means needs', 'pip install faiss-cpu'))
            elif name == 'mmengine':
                mend = "pip install 'mmdel[onedl]'; or 'mmdel[openmmlab]' for the upstream packages"
                found.append(Finding('no OpenMMLab stack is installed', mend))
            # without mmpretrain or mmseg, or without compiled operators, what does not need them works
        elif name == 'mmcv.ops' and not _is_compiled(versions):
            continue
        elif not explained:
            found.append(_at_import(name, error, missing[1] if missing else '', versions))
    return tuple(dict.fromkeys(found))


# --- private


def _two_owners(versions: Mapping[str, str]) -> list[Finding]:
    found = []
    for module, owners in OWNERS.items():
        here = [owner for owner in owners if owner in versions]
        if len(here) > 1:
            kept = here[0]
            found.append(
                Finding(
                    f'{" and ".join(here)} are installed together and own the same files of {module}, so that none is whole',
                    f'pip uninstall -y {" ".join(here)} && pip install {kept}=={versions[kept].partition("+")[0]}'
                    ' (or the one that you want)',
                )
            )
    stacks = [{'onedl' if name.startswith('onedl') else 'upstream' for name in OWNERS[module] if name in versions}
              for module in ('mmengine', 'mmcv', 'mmpretrain', 'mmseg')]  # fmt: skip
    if not found and len(set().union(*stacks)) > 1:
        found.append(
            Finding(
                'packages of two stacks are mixed: onedl-... and those without that prefix',
                "keep one: pip uninstall -y the others, then pip install 'mmdel[onedl]' or 'mmdel[openmmlab]'",
            )
        )
    return found


def _versions_that_clash(versions: Mapping[str, str]) -> list[Finding]:
    """What is known to clash by its version alone."""
    known = {name: Version(version) for name, version in versions.items()}
    found = []
    torch, numpy = known.get('torch'), known.get('numpy')
    if torch and numpy and torch < Version('2.3') and numpy >= Version('2'):
        found.append(
            Finding(f'torch {torch} is built for NumPy 1, and NumPy {numpy} is installed', "pip install 'numpy<2'")
        )
    mmcv = known.get('mmcv') or known.get('mmcv-lite')
    if mmcv and 'mmsegmentation' in known and mmcv >= Version('2.2'):
        found.append(
            Finding(
                f'mmsegmentation {known["mmsegmentation"]} refuses mmcv {mmcv}, 2.2 or newer',
                "mim install 'mmcv<2.2', or without compiled operators pip install 'mmcv-lite<2.2'",
            )
        )
    upstream = known.get('mmengine')
    if upstream and known.get('setuptools', Version('0')) >= Version('82'):
        found.append(
            Finding(
                f'mmengine {upstream} imports pkg_resources, which setuptools 82 dropped', "pip install 'setuptools<82'"
            )
        )
    if upstream and torch and upstream <= Version('0.10.7') and torch >= Version('2.6'):
        found.append(
            Finding(
                f'mmengine {upstream} cannot load its own checkpoints with torch {torch}: it was written for torch below 2.6',
                "keep torch below 2.6, or take the maintained stack: pip install 'mmdel[onedl]'",
            )
        )
    mmpretrain = next((name for name in OWNERS['mmpretrain'] if name in known), None)
    if mmpretrain and known.get('transformers', Version('0')) >= Version('5'):
        found.append(
            Finding(
                f'{mmpretrain} {known[mmpretrain]} cannot be imported beside transformers {known["transformers"]}',
                "pip install 'transformers<5'",
            )
        )
    for name in ('ftfy', 'regex'):
        if 'mmsegmentation' in known and name not in known:
            found.append(Finding(f'mmsegmentation needs {name} and does not ask for it', f'pip install {name}'))
    return found


def _is_compiled(versions: Mapping[str, str]) -> bool:
    return 'mmcv' in versions or 'mmcv-full' in versions


def _at_import(name: str, error: str, missing: str, versions: Mapping[str, str]) -> Finding:
    """What an error at import means."""
    torch = versions.get('torch', '')
    if name.startswith('mmcv') and re.search(r'undefined symbol|cannot open shared object|DLL load failed', error):
        return Finding(
            f'mmcv {versions.get("mmcv", "")} was compiled for another torch than {torch} ({error})',
            f'go back to the torch that it was compiled for, or compile it again for this one: mim install --force mmcv=='
            f'{versions.get("mmcv", "")}',
        )
    if _OTHER_NUMPY.search(error):
        return Finding(
            f'{name} is built for another NumPy than {versions.get("numpy", "")} ({error})',
            f"pip install 'numpy<2', or a {name} that is built for it",
        )
    if name == 'faiss':
        return Finding(
            f'faiss is installed and cannot be imported ({error})', 'pip install --force-reinstall --no-deps faiss-cpu'
        )
    if missing:
        return Finding(f'{name} needs {missing}, which is not installed', f'pip install {missing.partition(".")[0]}')
    return Finding(f'{name} cannot be imported ({error})', f'python -c "import {name}" shows where')
