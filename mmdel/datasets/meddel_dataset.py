"""MedDELDataset: any dataset, with only the images that a subset keeps.

    train_dataloader = dict(dataset=dict(
        type='mmdel.MedDELDataset', subset='work_dirs/meddel_eta08/subset.parquet',
        dataset=dict(type='CustomDataset', data_root='data/pool', ...)))

The images are taken out of the datasets at the bottom of the nest, not skipped on the way: ``BaseDataset`` replaces a
sample whose pipeline returned None by a random one *of its own*, so an image that is merely skipped would come back.
"""

import copy
import os
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, compress
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from numpy.typing import NDArray

from mmdel.datasets.matching import candidate_bases, examples, match, refuse_other_files
from mmdel.errors import ConfigError, DatasetError, three
from mmdel.images import keys, wrappers
from mmdel.registry import DATASETS
from mmdel.subset import Subset

UNLISTED = ('error', 'drop', 'keep')
"""What may happen to images of the dataset that the subset does not list."""


@DATASETS.register_module()
class MedDELDataset(BaseDataset):
    """Leaves only the images of a subset in any dataset whose items have ``img_path``.

    It works in mmpretrain, mmseg and plain mmengine, inside and round their wrappers. What it does not do itself
    (metainfo, annotations, labels, pipelines) it passes on to the dataset. A dataset that is handed over built stays
    as it is: the images are removed from a copy that shares its data.

    Round a ``KFoldDataset`` the folds are those of the whole dataset, and the subset then thins them out, so that a
    validation fold without a subset stays disjoint from it.

    Args:
        dataset (dict or a dataset): The dataset, or its config.
        subset (str): The subset file.
        eta (float, optional): Cut the subset at this similarity instead. Defaults to None.
        ratio (float, optional): Cut the subset at this share of the readable images instead. Defaults to None.
        root (str, optional): The folder that the subset's keys are relative to, where that is neither the image
            prefix nor the ``data_root`` of the dataset. Defaults to None.
        unlisted (str): What happens to images that the subset does not list: 'error', 'drop' or 'keep'. Defaults to
            'error'.
        check_files (bool): Whether files must have the sizes that the subset states. False is for pictures that were saved in
            another way, resized for training for instance. Defaults to True.
        lazy_init (bool): Whether to read the subset later, in :meth:`full_init`. Defaults to False.

    Raises:
        DatasetError: The subset belongs to other images; the message shows three keys beside three paths.
        SubsetError: The file is damaged, or cannot be cut like this.
    """

    # BaseDataset is the base class because the wrappers of mmengine accept built datasets of that type only; its
    # constructor is not called, and every method that looks at items is overridden.

    def __init__(
        self,
        dataset: Any,
        subset: str,
        eta: float | None = None,
        ratio: float | None = None,
        root: str | None = None,
        unlisted: str = 'error',
        check_files: bool = True,
        lazy_init: bool = False,
    ) -> None:
        if unlisted not in UNLISTED:
            raise ConfigError(f'unlisted must be one of {", ".join(UNLISTED)}, got {unlisted!r}.')
        if eta is not None and ratio is not None:
            raise ConfigError('Give either eta or ratio, and not both.')
        self.dataset = (
            DATASETS.build(wrappers.lazily(dataset)) if isinstance(dataset, dict) else wrappers.shallow_copy(dataset)
        )
        self.subset = os.fspath(subset)
        self.eta = eta
        self.ratio = ratio
        self.root = root
        self.unlisted = unlisted
        self.check_files = check_files
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Read the subset and remove from the dataset what it does not keep."""
        if self._fully_initialized:
            return
        subset = Subset.read(self.subset)
        if self.eta is not None or self.ratio is not None:
            subset = subset.at(self.eta, self.ratio)
        keep = self._kept(subset)
        kept: set[str] = set()
        if any(map(wrappers.is_selection, wrappers.wrappers(self.dataset))):
            # it may put other leaves in the place of these, or shorten them: what stays is then known by its path
            kept = {path for leaf in keep for path in compress(wrappers.image_paths(leaf), keep[leaf])}
            wrappers.initialise_selections(self.dataset)
        leaves = wrappers.leaf_datasets(self.dataset)
        before = sum(len(leaf) for leaf in leaves)
        for leaf in leaves:
            stays = keep.get(leaf, ())
            if len(stays) != len(leaf):
                stays = np.array([path in kept for path in wrappers.image_paths(leaf)], bool)
            leaf.get_subset_(np.flatnonzero(stays).tolist())
        after = sum(len(leaf) for leaf in leaves)
        if not after:
            raise DatasetError(f'{self.subset} keeps none of the {before} images of the dataset.')
        wrappers.refresh(self.dataset)
        self._fully_initialized = True
        cut = f'ratio {subset.ratio:.4g}' if subset.eta is None else f'eta {subset.eta:g}'
        self._counts = f'{after} of {before} images kept ({os.path.basename(self.subset)}, {cut})'
        print_log(f'{type(self).__name__}: {self._counts}', logger='current')

    @property
    def metainfo(self) -> dict:
        """Meta information of the dataset."""
        return self.dataset.metainfo

    @property
    def CLASSES(self) -> Sequence[str] | None:  # noqa: N802, the name that mmpretrain asks for
        """The names of all categories."""
        return self.metainfo.get('classes')

    @property
    def pipeline(self) -> Callable:
        """The pipeline of the dataset; it can be replaced, as browsing tools do."""
        return self.dataset.pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Callable) -> None:
        self.dataset.pipeline = pipeline

    def __len__(self) -> int:
        self.full_init()
        return len(self.dataset)

    def __getitem__(self, idx: int) -> Any:
        self.full_init()
        return self.dataset[idx]

    def prepare_data(self, idx: int) -> Any:
        """One item after the pipeline; None where the pipeline gives none."""
        self.full_init()
        return self.dataset.prepare_data(idx)

    def get_data_info(self, idx: int) -> dict:
        """The annotation of one item."""
        self.full_init()
        return self.dataset.get_data_info(idx)

    def get_cat_ids(self, idx: int) -> list[int]:
        """The categories of one item."""
        self.full_init()
        if hasattr(self.dataset, 'get_cat_ids'):
            return self.dataset.get_cat_ids(idx)
        return np.ravel(self.get_data_info(idx)['gt_label']).tolist()

    def get_gt_labels(self) -> NDArray[np.int64]:
        """The labels of all items."""
        self.full_init()
        if hasattr(self.dataset, 'get_gt_labels'):
            return self.dataset.get_gt_labels()
        return np.array([self.get_data_info(index)['gt_label'] for index in range(len(self))])

    def get_subset_(self, indices: Sequence[int] | int) -> None:
        """Keep only these of the remaining items; as in mmengine, only where the dataset is no wrapper."""
        self.full_init()
        self.dataset.get_subset_(indices)

    def get_subset(self, indices: Sequence[int] | int) -> 'MedDELDataset':
        """A copy with only these of the remaining items; as in mmengine, only where the dataset is no wrapper."""
        self.full_init()
        part = copy.copy(self)
        # not by its own get_subset: in mmengine 0.10 all calls of that share one memo of copies, by the address of what
        # was copied, so that a later object at the same address may be taken for the copy of another
        annotations = [vars(self.dataset).get(name) for name in ('data_list', 'data_bytes', 'data_address')]
        part.dataset = copy.deepcopy(self.dataset, {id(shared): shared for shared in annotations})
        part.dataset.get_subset_(indices)
        return part

    def __getattr__(self, name: str) -> Any:
        # only what this class lacks, and no private names: copying and pickling look for those on half-made objects
        if name.startswith('_') or 'dataset' not in self.__dict__:
            raise AttributeError(f'{type(self).__name__} has no attribute {name}')
        self.full_init()
        return getattr(self.dataset, name)

    def __repr__(self) -> str:
        state = self._counts if self._fully_initialized else f'not read yet: {self.subset}'
        return f'{type(self).__name__}({type(self.dataset).__name__}, {state})'

    # --- private

    def _kept(self, subset: Subset) -> dict[BaseDataset, NDArray[np.bool_]]:
        """For each leaf which of its images stay, bool [images]."""
        leaves = wrappers.leaf_datasets(self.dataset)
        partly = any(
            wrappers.is_selection(each) and each._fully_initialized for each in wrappers.wrappers(self.dataset)
        )
        for leaf in leaves:
            leaf.full_init()
        paths = list(map(wrappers.ImagePaths, leaves))
        matched = match(leaves, paths, subset.table['image'].combine_chunks(), subset.keep, self.root)
        if matched.conflict:
            key, one, other = matched.conflict
            raise DatasetError(
                f'Two images of the dataset match the key {key} of {self.subset}: {one} and {other}. '
                'Say which folder the keys are relative to: root=...'
            )
        # a fold that was drawn before the subset came holds some of the images only
        kept = int(subset.keep.sum())
        if matched.missing and (not partly or len(matched.missing) == kept):
            raise DatasetError(self._mismatch(matched.missing, kept, leaves, paths))
        unlisted = sum(int((rows < 0).sum()) for rows in matched.rows)
        if unlisted and self.unlisted == 'error':
            strangers = (
                leaf.get_data_info(index)['img_path']
                for leaf, rows in zip(leaves, matched.rows, strict=True)
                for index in np.flatnonzero(rows < 0).tolist()
            )
            raise DatasetError(
                f'{unlisted} images of the dataset are not listed in {self.subset}: {three(strangers)}. '
                "Say what becomes of such images, unlisted='drop' or unlisted='keep', or make the subset of all images."
            )
        if self.check_files:
            refuse_other_files(subset, np.concatenate(matched.rows), _path_of(leaves), self.subset)
        stays = np.append(subset.keep, self.unlisted == 'keep')  # the last one is where rows of -1 lead
        return {leaf: stays[rows] for leaf, rows in zip(leaves, matched.rows, strict=True)}

    def _mismatch(
        self, missing: Sequence[str], kept: int, leaves: Sequence[BaseDataset], paths: Sequence[Iterable[str]]
    ) -> str:
        tried = candidate_bases(leaves, examples(paths), self.root)
        bases = dict.fromkeys(base for row in tried for base in row if base)
        return (
            f'{len(missing)} of the {kept} images that {self.subset} keeps are not in the dataset.\n'
            f'  keys of the subset:    {three(missing)}\n'
            f'  images of the dataset: {three(chain(*paths))}\n'
            f'  folders that the keys could be relative to: {", ".join(bases) or "none known"}\n'
            'If the images are there under another folder, name it: root=... If the dataset is only a part of the '
            'images, make a subset of that part: mmdel select --dataset-from ...'
        )


def _path_of(leaves: Sequence[BaseDataset]) -> Callable[[int], str]:
    """The absolute path of an image, counted through all leaves."""
    ends = np.cumsum([len(leaf) for leaf in leaves])

    def path_of(image: int) -> str:
        place = int(np.searchsorted(ends, image, side='right'))
        leaf = leaves[place]
        info = leaf.get_data_info(image - int(ends[place]) + len(leaf))
        return keys.absolute_paths([info['img_path']])[0]

    return path_of
