"""Nests of datasets: what is known about the wrappers of OpenMMLab, and how images are taken out below them.

A nest is a leaf (a ``BaseDataset``) inside any number of wrappers, which hold it in ``.dataset`` or ``.datasets``.
Wrappers remember the length and the metainfo that they saw when they were initialised, so after the leaves have
changed :func:`refresh` makes them look again. *Selections* (``KFoldDataset``, ``MedDELDataset``) are wrappers that
themselves take items out when they are initialised; they do so once.
"""

import copy
import os
import pickle
from collections.abc import Iterator
from typing import Any

from mmengine.dataset import BaseDataset
from torch.utils.data import Dataset

from mmdel.compute.blocks import blocks
from mmdel.errors import DatasetError
from mmdel.images import keys

_LAZY = ('RepeatDataset', 'ClassBalancedDataset', 'MedDELDataset')
_SELECTIONS = ('KFoldDataset', 'MedDELDataset')


def children(dataset: Any) -> list[Any]:
    """The datasets that a wrapper holds in ``.dataset`` or ``.datasets``; none for a leaf."""
    # vars, not getattr: a wrapper may pass attributes through from the dataset inside it
    held = getattr(dataset, '__dict__', {})
    members = held.get('datasets')
    inner = [*members] if isinstance(members, list | tuple) else [held.get('dataset')]
    # a leaf may keep a file or a table of another library under the same name
    return [each for each in inner if isinstance(each, Dataset) or hasattr(each, 'full_init')]


def leaf_datasets(dataset: Any) -> list[BaseDataset]:
    """The datasets at the bottom of any nest of wrappers, each once, in order.

    Raises:
        DatasetError: A wrapper or leaf is not made the OpenMMLab way, so it cannot be looked through.
    """
    leaves: dict[int, BaseDataset] = {}
    stack = [dataset]
    while stack:
        top = stack.pop()
        inner = children(top)
        if not inner and not isinstance(top, BaseDataset):
            raise DatasetError(
                f'{type(top).__name__} is not an mmengine BaseDataset, so its images cannot be listed by path. '
                'Give a dataset whose items have img_path, or a wrapper round one.'
            )
        if inner and not hasattr(top, 'full_init'):
            raise DatasetError(
                f'{type(top).__module__}.{type(top).__name__} keeps its own list of positions and has no full_init, so '
                'images cannot be removed below it. Use the wrappers of mmengine, or put the filter inside it.'
            )
        if not inner:
            leaves.setdefault(id(top), top)
        stack.extend(reversed(inner))
    return list(leaves.values())


def image_paths(leaf: BaseDataset) -> list[str]:
    """``img_path`` of every item of an initialised leaf, as the dataset spells it.

    Raises:
        DatasetError: An item has no ``img_path``, or several.
    """
    return [path for path, _ in items(leaf)]


class ImagePaths:
    """The absolute image paths of an initialised leaf; it can be gone through several times.

    Args:
        leaf (BaseDataset): The leaf.
    """

    def __init__(self, leaf: BaseDataset) -> None:
        self._leaf = leaf

    def __iter__(self) -> Iterator[str]:
        for block in blocks(path for path, _ in items(self._leaf)):
            yield from keys.absolute_paths(block)


def items(leaf: BaseDataset) -> Iterator[tuple[str, dict[str, Any]]]:
    """``img_path`` and all that is known of every item of an initialised leaf, for reading.

    Raises:
        DatasetError: As :func:`image_paths`.
    """
    for index, info in enumerate(_infos(leaf)):
        path = info.get('img_path')
        if not isinstance(path, str | os.PathLike):
            raise DatasetError(
                f'item {index} of {type(leaf).__name__} has img_path={path!r}. '
                'mmdel knows images by their path: every item needs one img_path.'
            )
        yield os.fspath(path), info


def wrappers(dataset: Any) -> list[Any]:
    """All wrappers of a nest, the inner ones before the outer ones."""
    inner = children(dataset)
    return [*(wrapper for child in inner for wrapper in wrappers(child)), *([dataset] if inner else [])]


def is_selection(dataset: Any) -> bool:
    """Whether a wrapper takes items out itself."""
    return any(parent.__name__ in _SELECTIONS for parent in type(dataset).__mro__)


def lazily(config: dict[str, Any]) -> dict[str, Any]:
    """The config of a nest whose wrappers wait for :func:`refresh` where they can.

    Only along a chain of single wrappers: a ConcatDataset compares its members' metainfo when it is built, which a
    dataset that finds its classes on disk does not have before it is initialised.
    """
    inner = config.get('dataset')
    if not isinstance(inner, dict):
        return config
    config = copy.copy(config)
    config['dataset'] = lazily(inner)
    name = _type_name(config)
    if name in _LAZY:
        config['lazy_init'] = True
    elif name == 'KFoldDataset':  # it waits where the dataset inside it does
        config['dataset'] = copy.copy(config['dataset'])
        config['dataset']['lazy_init'] = True
    return config


def shallow_copy(dataset: Any) -> Any:
    """The same nest of new objects that share all data, so that taking items out leaves the original as it is."""
    return _copy(dataset, {})


def initialise_selections(dataset: Any) -> None:
    """Let the selections of a nest take out their items."""
    for wrapper in wrappers(dataset):
        if is_selection(wrapper):
            wrapper.full_init()


def refresh(dataset: Any) -> None:
    """Make every wrapper look at its datasets again."""
    for wrapper in wrappers(dataset):
        if not is_selection(wrapper):
            wrapper._fully_initialized = False
            wrapper.full_init()
        if 'num_samples' in vars(wrapper):  # MultiImageMixDataset takes its length when it is built
            wrapper.num_samples = len(wrapper.dataset)
        if '_metainfo' in vars(wrapper):  # a dataset that waited may have found its classes since
            wrapper._metainfo = {**children(wrapper)[0].metainfo, **wrapper._metainfo}


# --- private


def _infos(leaf: BaseDataset) -> Iterator[dict[str, Any]]:
    """The items of a leaf; without the bookkeeping and copies of ``get_data_info``, four times faster."""
    if type(leaf).get_data_info is not BaseDataset.get_data_info:
        yield from (leaf.get_data_info(index) for index in range(len(leaf)))
    elif not leaf.serialize_data:
        yield from leaf.data_list
    else:  # bytes that this process pickled in full_init
        data, start = memoryview(leaf.data_bytes), 0
        for end in leaf.data_address.tolist():
            yield pickle.loads(data[start:end])
            start = end


def _copy(dataset: Any, copies: dict[int, Any]) -> Any:
    if id(dataset) not in copies:
        twin = copy.copy(dataset)
        inner = [_copy(child, copies) for child in children(dataset)]
        if 'datasets' in getattr(dataset, '__dict__', {}):
            twin.datasets = inner
        elif inner:
            twin.dataset = inner[0]
        copies[id(dataset)] = twin
    return copies[id(dataset)]


def _type_name(config: dict[str, Any]) -> str:
    kind = config.get('type', '')
    return kind.rpartition('.')[2] if isinstance(kind, str) else getattr(kind, '__name__', '')
