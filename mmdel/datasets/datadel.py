"""DataDEL: images of any folders as an OpenMMLab dataset, with what their names and folders tell about them."""

import os
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset

from mmdel.datasets import keys
from mmdel.datasets.listing import Listing, file_problem, list_images, select
from mmdel.errors import DatasetError
from mmdel.registry import DATASETS

LAYOUTS = {
    'gastrovision': re.compile(r'(?P<label>[^/]+)/[^/]+'),
    'hyper-kvasir': re.compile(r'labeled-images/(?:upper|lower)-gi-tract/[^/]+/(?P<label>[^/]+)/[^/]+'),
    'kvasir-capsule': re.compile(r'labelled_images/(?P<label>[^/]+)/(?:(?P<video>[^/_]+)_(?P<frame>\d+)\.\w+|[^/]+)'),
}
"""What a path inside a source tells, by the name of the source's folder; paths that do not match tell nothing."""


@DATASETS.register_module()
class DataDEL(BaseDataset):
    """The images below a folder: all of them, those of some sources, or those of a list.

    Every item has ``img_path`` and ``source``, and where names or folders tell it ``gt_label``, ``video``, ``frame``
    and ``centre``. Items are sorted by key. Images are not opened; those that can be seen to be unusable are in
    ``ledger``.

    Args:
        data_root (str): The folder that all paths are relative to.
        sources (Sequence[str]): Folders below ``data_root`` to take the images from. Defaults to (), all images there;
            the source of an image is then the first folder on its path ('' for files that lie directly in
            ``data_root``).
        ann_file (str): A list of images instead of a scan, one path relative to ``data_root`` a line. Defaults to ''.
        pipeline (Sequence): Processing pipeline. Defaults to ().
        metainfo (Mapping, optional): Meta information; ``classes`` fixes the order of labels. Defaults to None, the
            classes found, sorted.
        **kwargs: ``indices``, ``serialize_data``, ``test_mode``, ``lazy_init``, ``max_refetch`` of
            :class:`mmengine.dataset.BaseDataset`.

    Attributes:
        ledger (tuple[tuple[str, str], ...]): ``(key, reason)`` of files that cannot be used, once the items are loaded.
        notes (tuple[str, ...]): What else was seen, for people.

    Examples:
        >>> dataset = DataDEL('data/datadel', sources=('gastrovision', 'kvasir-capsule'))
        >>> dataset.get_data_info(0)
        {'img_path': 'data/datadel/gastrovision/Cecum/0a.jpg', 'source': 'gastrovision', 'gt_label': 3, 'sample_idx': 0}
    """

    def __init__(
        self,
        data_root: str,
        sources: Sequence[str] = (),
        ann_file: str = '',
        pipeline: Sequence[dict | Callable] = (),
        metainfo: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.sources = tuple(keys.normalise(source) for source in sources)
        self.ledger: tuple[tuple[str, str], ...] = ()
        self.notes: tuple[str, ...] = ()
        super().__init__(
            ann_file=ann_file,
            metainfo=metainfo,
            data_root=os.fspath(data_root),
            data_prefix={'img_path': ''},
            pipeline=list(pipeline),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """List the images and read what their paths tell.

        Raises:
            DatasetError: A folder or list is missing, holds no usable image, or a class that ``metainfo`` does not
            name.
        """
        self._check_root()
        listing = self._read_list() if self.ann_file else self._scan()
        self.ledger, self.notes = listing.ledger, listing.notes
        if not listing.keys:
            raise DatasetError(f'None of the images of {self.data_root} can be used: {_examples(self.ledger)}.')
        items = [self._describe(key, path) for key, path in zip(listing.keys, listing.paths, strict=True)]
        self._number_labels(items)
        return items

    def get_cat_ids(self, idx: int) -> list[int]:
        """The label of an item as a list, empty where it has none."""
        info = self.get_data_info(idx)
        return [info['gt_label']] if 'gt_label' in info else []

    # --- private

    def _check_root(self) -> None:
        if not os.path.isdir(self.data_root):
            raise DatasetError(
                f'{self.data_root} is not there. Put the images in it, run on a folder of your own: '
                'python tools/dedup.py CONFIG --images DIR, or try the embedded data: make demo'
            )
        missing = [source for source in self.sources if not self._is_source(source)]
        if missing and not self.ann_file:
            present = sorted(keys.normalise(entry.name) for entry in os.scandir(self.data_root) if entry.is_dir())
            raise DatasetError(
                f'{self.data_root} has no folder {", ".join(missing)}. It has: {", ".join(present) or "none"}. '
                'Add what is missing, or name only folders that are there in sources=(...).'
            )

    def _is_source(self, source: str) -> bool:
        return source.split('/')[0] not in ('', '..') and os.path.isdir(os.path.join(self.data_root, source))

    def _scan(self) -> Listing:
        listing = list_images(self.data_root, self.sources)
        found = {source for source in self.sources for key in listing.keys if key.startswith(source + '/')}
        empty = [source for source in self.sources if source not in found]
        if empty and listing.keys:
            raise DatasetError(
                f'There is no usable image below {", ".join(empty)} in {self.data_root}. '
                'Put the images there, or leave the folder out of sources=(...).'
            )
        return listing

    def _read_list(self) -> Listing:
        try:
            text = Path(self.ann_file).read_bytes().removeprefix(b'\xef\xbb\xbf').decode('utf-8', 'surrogateescape')
        except OSError as error:
            raise DatasetError(
                f'The list {self.ann_file} cannot be read ({error.strerror}). ann_file is relative to data_root.'
            ) from error
        images: list[str] = []
        ledger: list[tuple[str, str]] = []
        seen: set[str] = set()
        for line in text.split('\n'):  # not splitlines, which also cuts at characters that names may hold
            image = self._relative(line.rstrip('\r'))
            if image is None or image in seen:
                continue
            seen.add(image)
            problem = self._problem(image)
            if problem:
                ledger.append((image, problem))
            else:
                images.append(image)
        if not seen:
            raise DatasetError(f'The list {self.ann_file} names no image. Write one path relative to data_root a line.')
        return Listing(*select(self.data_root, images, ledger), ())

    def _relative(self, line: str) -> str | None:
        """The path of a line relative to the root, None for a blank line."""
        if not line.strip():
            return None
        if '\\' in line and not os.path.lexists(os.path.join(self.data_root, line)):
            line = line.replace('\\', '/')  # a list written on Windows
        if os.path.isabs(line):
            line = os.path.relpath(line, os.path.abspath(self.data_root))
        return posixpath.normpath(line)

    def _problem(self, image: str) -> str | None:
        path = os.path.join(self.data_root, image)
        if image.split('/')[0] == '..':
            return f'listed in {self.ann_file} but not below {self.data_root}'
        if not keys.name_problem(image) and not os.path.lexists(path):
            return f'listed in {self.ann_file} but not there'
        return file_problem(path)

    def _describe(self, key: str, path: str) -> dict[str, Any]:
        within = [source for source in self.sources if key.startswith(source + '/')]
        source = max(within, key=len) if within else key.rpartition('/')[0].split('/')[0]
        item: dict[str, Any] = {'img_path': path, 'source': source}
        layout = LAYOUTS.get(posixpath.basename(source))
        told = layout.fullmatch(key[len(source) + 1 :]) if layout else None
        if told:
            item.update((name, value) for name, value in told.groupdict().items() if value is not None)
            if 'frame' in item:
                item['frame'] = int(item['frame'])
        return item

    def _number_labels(self, items: list[dict[str, Any]]) -> None:
        """Turn the label names of items into ``gt_label``."""
        found = {item['label'] for item in items if 'label' in item}
        classes = self._metainfo.setdefault('classes', tuple(sorted(found))) if found else ()
        unknown = sorted(found - set(classes))
        if unknown:
            raise DatasetError(
                f'{self.data_root} holds the classes {", ".join(unknown)}, which metainfo["classes"] does not name.'
            )
        numbers = {name: number for number, name in enumerate(classes)}
        for item in items:
            if 'label' in item:
                item['gt_label'] = numbers[item.pop('label')]


def _examples(ledger: Sequence[tuple[str, str]]) -> str:
    return '; '.join(f'{key} ({reason})' for key, reason in ledger[:3]) + ('; ...' if len(ledger) > 3 else '')
