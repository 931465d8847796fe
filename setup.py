"""Packaging of mmdel: ranges that it accepts; `constraints.txt` pins what the tests ran with."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

# No mm* package here: the maintained and the upstream stack own the same files, and pip would let one overwrite the
# other. No faiss either: its CPU and GPU builds share a name too. And opencv-python, because mmcv asks for it: the
# headless build beside it would own its files.
REQUIREMENTS = [
    'filelock>=3.12',
    'matplotlib>=3.7',
    'numpy>=1.26,<3',
    'opencv-python>=4.8',
    'pillow>=10.1',
    'pyarrow>=15',
    'rich>=13',
    'threadpoolctl>=3.2',
    'torch>=2.5',
]

EXTRAS = {
    # The maintained forks, imported as mmengine, mmcv, mmpretrain, mmseg.
    'onedl': [
        'onedl-mmengine>=0.10.12,<0.11',
        'onedl-mmcv>=2.3.6,<3',
        'onedl-mmpretrain>=1.3.6,<2',
        'onedl-mmsegmentation>=1.4.2,<2',
        'torchvision>=0.20',
    ],
    # Upstream, without compiled operators: selection and MAE pre-training run, segmentation needs the full mmcv.
    # mmsegmentation refuses mmcv 2.2 and does not name ftfy; the stack still imports pkg_resources.
    'openmmlab': [
        'mmengine>=0.10.7,<0.11',
        'mmcv-lite>=2.1,<2.2',
        'mmpretrain>=1.2,<2',
        'mmsegmentation>=1.2.2,<2',
        'ftfy',
        'setuptools<82',
        'torchvision>=0.20',
    ],
    'cpu': ['faiss-cpu>=1.8'],
    # Meta's own wheels; what stood under this name before 1.14 was abandoned.
    'gpu': ['faiss-gpu>=1.14.3'],
    'dev': ['hypothesis>=6.100', 'mypy>=1.10', 'pytest>=8', 'pytest-timeout>=2.3', 'ruff>=0.6'],
}


def version() -> str:
    """Read, not imported: importing mmdel needs what this file is about to install."""
    text = (ROOT / 'mmdel' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE).group(1)


setup(
    name='mmdel',
    version=version(),
    description='Which of my medical images are worth training on? Data-effective learning for OpenMMLab.',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license_expression='Apache-2.0',
    keywords=['data selection', 'deduplication', 'endoscopy', 'self-supervised learning', 'segmentation', 'OpenMMLab'],
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Topic :: Scientific/Engineering :: Medical Science Apps.',
    ],
    packages=find_packages(include=['mmdel', 'mmdel.*']),
    python_requires='>=3.10',
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
)
