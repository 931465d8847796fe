"""Collects what a machine with Python and torch, but without a network, lacks for benchmarks/gpu.sh.

    python benchmarks/gpu_packages.py OUT --python-version 3.12

``OUT/pure.zip`` gets the pure Python packages that mmdel, mmpretrain and the tests need, from the environment that runs this,
without byte code, tests and the configs in ``.mim``. What is compiled and rarely there already is downloaded as
wheels of the same versions for the other machine's Python. NumPy, OpenCV, pyarrow, pytest and what else is printed have to be
there.
"""

import argparse
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOTS = ('mmdel', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmpretrain')
WHEELS = ('av', 'faiss-cpu')
THERE = ('jinja2', 'matplotlib', 'numpy', 'opencv-python', 'pillow', 'pyarrow', 'pytest', 'pyyaml', 'regex', 'rich', 'scipy',
         'hypothesis', 'torch', 'torchvision')  # fmt: skip
"""With what they require."""
LEFT_OUT = {'__pycache__', '.mim', 'tests', 'yapftests', '..'}
PLATFORMS = ('manylinux_2_28_x86_64', 'manylinux_2_27_x86_64', 'manylinux_2_17_x86_64', 'manylinux2014_x86_64')
MOST_BYTES = 60_000_000


def needed(names: tuple[str, ...]) -> list[str]:
    """These packages and all that they require, by name."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace('_', '-')
        if name in found or name in THERE:
            continue
        found[name] = None
        for line in distribution(name).requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({'extra': ''}):
                waiting.append(requirement.name)
    return sorted(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='a folder that is made, or whose archives are replaced')
    parser.add_argument('--python-version', default='3.12', help='of the other machine (default: 3.12)')
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for old in (*args.out.glob('*.whl'), args.out / 'pure.zip'):
        old.unlink(missing_ok=True)
    compiled = []
    with zipfile.ZipFile(args.out / 'pure.zip', 'w', zipfile.ZIP_LZMA) as archive:
        for name in needed(ROOTS):
            files = distribution(name).files or []
            if any(file.suffix in ('.so', '.pyd') for file in files):
                compiled.append(name)
            elif name not in ('mmdel', *WHEELS):
                for file in files:
                    if not LEFT_OUT & set(file.parts):
                        archive.write(file.locate(), str(file))
    wheels = [f'{name}=={distribution(name).version}' for name in WHEELS]
    command = [
        sys.executable,
        '-m',
        'pip',
        'download',
        '--quiet',
        '--no-deps',
        '--only-binary=:all:',
        '--implementation=cp',
    ]
    command += [f'--python-version={args.python_version}', *(f'--platform={name}' for name in PLATFORMS)]
    subprocess.run([*command, f'--dest={args.out}', *wheels], check=True)
    sizes = {path.name: path.stat().st_size for path in sorted(args.out.iterdir())}
    for name, size in sizes.items():
        print(f'{size / 1e6:6.1f} MB  {name}')
    total = sum(sizes.values())
    print(f'{total / 1e6:6.1f} MB  in all; has to be there: {", ".join(sorted({*compiled, *THERE} - {*WHEELS}))}')
    if total > MOST_BYTES:
        raise SystemExit(f'That is more than {MOST_BYTES / 1e6:.0f} MB.')


if __name__ == '__main__':
    main()
