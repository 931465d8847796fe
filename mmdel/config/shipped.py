"""What comes with the package, in a clone beside it and installed in its folder ``.mim``: configs, tools, the demo.

    find_config('meddel_eta08')                # the path of the config, from whatever folder
    find_config('mmseg::unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64.py')

Imports nothing that takes time: the help of every command names what is here.
"""

import os
from importlib.util import find_spec
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def shipped(name: str) -> Path:
    """The folder ``configs``, ``tools`` or ``demo``."""
    beside = (PACKAGE / '.mim' / name, PACKAGE.parent / name)
    return next((path.resolve() for path in beside if path.is_dir()), beside[0])


CONFIGS = shipped('configs')
ENCODERS = CONFIGS / '_base_' / 'embedders'
SELECTORS = CONFIGS / '_base_' / 'selectors'

LIBRARIES = {'timm': 'mmdel.TimmEmbedder', 'hf': 'mmdel.HFEmbedder', 'onnx': 'mmdel.OnnxEmbedder'}
"""Encoders of other libraries, named ``timm:NAME``, ``hf:NAME_OR_FOLDER`` and ``onnx:FILE``."""

DEFAULT_CONFIG = 'select'
"""The config of ``mmdel select``: a method and an encoder that need no choice first."""


def find_config(name: str) -> str:
    """The path of a config; a name that is none comes back as it is, for whoever reads it to refuse.

    Args:
        name (str): A path; or a config that comes with mmdel, by its name, with or without its folder and ``.py``; or
            ``PACKAGE::PATH`` of one that comes with mmdel or another OpenMMLab package.
    """
    package, found, rest = name.rpartition('::')
    if Path(name).is_file():
        return name
    if found and package != 'mmdel':
        folders = _folders(package)
        return next((str(path) for folder in folders if (path := folder / '.mim' / 'configs' / rest).is_file()), name)
    wanted = rest.removeprefix('configs/').removesuffix('.py')
    if Path(wanted).is_absolute() or '..' in Path(wanted).parts:
        return name
    path = CONFIGS / f'{wanted}.py'
    return str(path if path.is_file() else config_names().get(wanted, name))


def config_names() -> dict[str, Path]:
    """Every config that a command takes, by its name, sorted by folder; what they are made of in ``_base_`` is not among them."""
    found = sorted(CONFIGS.rglob('*.py'), key=lambda path: (path.parent, path.name))
    return {path.stem: path for path in found if '_base_' not in path.relative_to(CONFIGS).parts}


def part_names(folder: Path) -> list[str]:
    """The stems of the configs in a folder, sorted."""
    return sorted(path.stem for path in folder.glob('*.py'))


def part_label(name: str) -> str:
    """What an encoder or a method is called in names of files, such as 'timm-vit_base_patch14_dinov2.lvd142m'."""
    kind, _, rest = name.partition(':')
    if kind not in LIBRARIES or not rest:
        return Path(name).stem
    return f'{kind}-{Path(rest).resolve().name if os.path.exists(rest) else rest.replace("/", "_")}'


def _folders(package: str) -> list[Path]:
    try:
        spec = find_spec(package) if package.isidentifier() else None
    except (ImportError, ValueError):
        return []
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
