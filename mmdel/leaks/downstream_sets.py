"""The images that models are tested on: of mmseg and mmpretrain configs, and of plain folders.

found = list_downstream_set('configs/segmentation/vit-base-p16_mae-pre_mlp_1xb16-20k_kvasir-seg-512x512.py')
found.name, found.part, found.images.table['path']
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmengine.registry import DATASETS, DefaultScope

from mmdel.config.config_file import read_config
from mmdel.config.shipped import find_config
from mmdel.errors import ConfigError, DatasetError, MmdelError
from mmdel.images.image_table import ImageTable, image_table

PARTS = ('test_dataloader', 'val_dataloader')
"""Where a config says what it is tested on, the first that is there."""


@dataclass(frozen=True)
class DownstreamSet:
    """Images that models are tested on.

    Args:
        name (str): For people: the stem of the config, or the last two names of the folder.
        part (str): Where the config names them ('test_dataloader' or 'val_dataloader'), or 'folder'.
        images (ImageTable): The images.
    """

    name: str
    part: str
    images: ImageTable


def list_downstream_sets(against: Sequence[str]) -> list[DownstreamSet]:
    """The images of several configs or folders, each under a name of its own.

    Raises:
        ConfigError: There is no such config or folder, or it does not say what it is tested on.
        DatasetError: The images are not there.
    """
    sets: list[DownstreamSet] = []
    for path in against:
        found = list_downstream_set(path)
        namesakes = sum(each.name.partition(' #')[0] == found.name for each in sets)
        sets.append(replace(found, name=f'{found.name} #{namesakes + 1}') if namesakes else found)
    return sets


def list_downstream_set(path: str) -> DownstreamSet:
    """The images of one config or folder.

    Raises:
        ConfigError: There is no such config or folder, or it does not say what it is tested on.
        DatasetError: The images are not there.
    """
    name = set_name(path)
    if os.path.isdir(path):
        # a person who names a downstream folder here means it
        dataset = dict(type='mmdel.DataDEL', data_root=path, allow_downstream=True)
        return DownstreamSet(name, 'folder', image_table(DATASETS.build(dataset)))
    path = find_config(path)
    if not os.path.exists(path):
        raise ConfigError(f'{path} is not there: a config or a folder of test images is needed.')
    cfg = read_config(path)
    part = next((part for part in PARTS if (cfg.get(part) or {}).get('dataset')), None)
    if part is None:
        raise ConfigError(f'{path} has neither test_dataloader.dataset nor val_dataloader.dataset: what is tested on?')
    try:
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
            images = image_table(DATASETS.build(cfg[part].dataset))
    except OSError as error:
        raise DatasetError(f'The images of {part} in {path} are not there: {error}') from error
    except MmdelError as error:
        raise type(error)(f'{part} of {path}: {error}') from error
    return DownstreamSet(name, part, images)


def set_name(path: str) -> str:
    """What a set is called, the same on every machine."""
    name = Path(os.path.abspath(path))
    # many folders are called images; the one above tells of what
    return '/'.join(name.parts[-2:]).lstrip('/') if os.path.isdir(path) else Path(find_config(path)).stem
