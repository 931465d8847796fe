"""The downstream segmentation datasets of the benchmark, in one canonical layout.

    data/datadel/kvasir-seg/
        images/   any mix of jpg, png, bmp, tif
        masks/    one for each image, of the same name up to the suffix
        train.txt, val.txt, test.txt   one name a line, relative to images/, without suffix

    python tools/make_splits.py data/datadel/kvasir-seg   # writes the lists

Pipelines load the masks with ``mmdel.LoadMask``. The classes are plain mmengine datasets, so that they are there without
mmseg, whose transforms, metrics and wrappers take them as they are. Where a docstring says that no official split exists,
the lists are cut 80/10/10 by :mod:`mmdel.datadel.splits`.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmdel.datadel.catalog import CATALOG, Entry
from mmdel.datadel.catalog_entry import COLOURS
from mmdel.datadel.image_folder import by_stem, read_list, unmatched
from mmdel.errors import ConfigError, DatasetError, counted, three
from mmdel.registry import DATASETS


@DATASETS.register_module()
class EndoscopySegDataset(BaseDataset):
    """Images and masks in the canonical layout; with ``metainfo=dict(classes=[...])`` a folder of your own.

    Two classes mean binary masks in whatever grey levels, more classes mean class numbers; ``mmdel.LoadMask`` is told.

    Args:
        data_root (str, optional): The folder. Defaults to None.
        ann_file (str): The list, relative to it. Defaults to '' (every image).
        data_prefix (dict): Folders of images and masks, relative to it. Defaults to
            ``dict(img_path='images', seg_map_path='masks')``.
        metainfo (dict, optional): ``classes`` in another order or fewer of them: pixels of the others are ignored; a ``palette``.
            Defaults to None.
        test_mode (bool): Whether masks may be absent, if all of them are. Defaults to False.
        lazy_init (bool): Whether to look at the folder later, in ``full_init``. Defaults to False.
        **kwargs: As in ``mmengine.dataset.BaseDataset``.

    Raises:
        DatasetError: The list, or listed images or masks, are not there.

    Example:
        >>> dict(type='mmdel.EndoscopySegDataset', data_root='my/ulcers', ann_file='train.txt',
        ...      metainfo=dict(classes=('background', 'ulcer')), pipeline=train_pipeline)
    """

    METAINFO: ClassVar[dict] = {}

    def __init__(
        self,
        data_root: str | None = None,
        ann_file: str = '',
        data_prefix: Mapping[str, str] | None = None,
        metainfo: Mapping[str, Any] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            ann_file=ann_file,
            metainfo=metainfo,
            data_root=data_root or '',
            data_prefix=dict(data_prefix or dict(img_path='images', seg_map_path='masks')),
            test_mode=test_mode,
            lazy_init=True,
            **kwargs,
        )
        if not self._metainfo.get('classes'):
            raise ConfigError(
                f"{type(self).__name__} needs the names of its classes: metainfo=dict(classes=('background', ...))."
            )
        self.label_map = self._label_map(self._metainfo['classes'])
        self._metainfo.update(label_map=self.label_map, reduce_zero_label=False, palette=self._palette())
        if not lazy_init:
            self.full_init()

    def load_data_list(self) -> list[dict]:
        """One item for each listed image."""
        images = by_stem(self.data_prefix['img_path'])
        if self.ann_file and not os.path.isfile(self.ann_file):
            raise DatasetError(
                f'The list {self.ann_file} is not there. Write the lists: mmdel splits {self.data_root or "FOLDER"}'
            )
        stems = read_list(self.ann_file, images) if self.ann_file else list(images)
        masks = self._masks(stems)
        labels = len(self.METAINFO.get('classes', self._metainfo['classes']))
        return [
            dict(
                img_path=images[stem],
                seg_map_path=masks.get(stem),
                mask_kind='binary' if labels == 2 else 'index',
                num_labels=labels,
                label_map=self.label_map,
                reduce_zero_label=False,
                seg_fields=[],
            )
            for stem in stems
        ]

    # --- private

    def _masks(self, stems: Sequence[str]) -> Mapping[str, str]:
        folder = self.data_prefix.get('seg_map_path', '')
        if self.test_mode and not os.path.isdir(folder):
            print_log(
                f'{type(self).__name__}: no masks at {folder}, so there is nothing to evaluate.', logger='current'
            )
            return {}
        masks = by_stem(folder)
        missing = unmatched(stems, masks)
        if missing:
            raise DatasetError(
                f'{counted(len(missing), "image")} of {len(stems)} have no mask below {folder}: {three(missing)}. '
                'A mask has the name of its image, with any suffix.'
            )
        return masks

    def _label_map(self, classes: Sequence[str]) -> dict[int, int] | None:
        """Class number in the files to class number of this dataset; None where they are the same."""
        stored = list(self.METAINFO.get('classes', classes))
        unknown = [name for name in classes if name not in stored]
        if unknown:
            raise ConfigError(f'{type(self).__name__} has no class {", ".join(unknown)}; it has {", ".join(stored)}.')
        if list(classes) == stored:
            return None
        wanted = list(classes)
        return {number: wanted.index(name) if name in wanted else 255 for number, name in enumerate(stored)}

    def _palette(self) -> list[list[int]]:
        """One colour for each class."""
        classes, palette = self._metainfo['classes'], self._metainfo.get('palette')
        if palette is None:
            return [list(COLOURS[number % len(COLOURS)]) for number in range(len(classes))]
        if len(palette) != len(classes) and self.label_map is not None:
            stored = list(self.METAINFO['classes'])
            palette = [self.METAINFO['palette'][stored.index(name)] for name in classes]
        if len(palette) != len(classes):
            raise ConfigError(f'{len(palette)} colours in the palette for {len(classes)} classes.')
        return [list(colour) for colour in palette]


def dataset_class(entry: Entry) -> type[EndoscopySegDataset]:
    """The class of a dataset of the catalogue, registered as ``entry.dataset`` says."""
    metainfo = dict(classes=tuple(entry.classes), palette=[list(colour) for colour in entry.classes.values()])
    contents = dict(__doc__=entry.about, __module__=__name__, METAINFO=metainfo)
    made = type(entry.dataset.removeprefix('mmdel.'), (EndoscopySegDataset,), contents)
    return DATASETS.register_module()(made)


DOWNSTREAM = {
    made.__name__: made for made in map(dataset_class, (entry for entry in CATALOG.values() if entry.classes))
}
"""``KvasirSEGDataset`` and the ten others, by their names; each is an attribute of this module too."""
globals().update(DOWNSTREAM)
