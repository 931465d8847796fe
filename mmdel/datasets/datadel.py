"""DataDEL: images, video frames and pages of any folders as an OpenMMLab dataset, with what their names and folders tell."""

import os
import pickle
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, groupby
from typing import Any, Literal

import numpy as np
from mmengine.dataset import BaseDataset
from numpy.typing import NDArray

from mmdel.compute import storage
from mmdel.datadel.catalog import CATALOG
from mmdel.datasets import metadata_table
from mmdel.datasets.video_frames import FrameStep, list_frames
from mmdel.errors import ConfigError, DatasetError, UnreadableImage, counted
from mmdel.images import formats, keys
from mmdel.images.formats import frame_path, is_video, split_frame
from mmdel.images.frame_files import read_index
from mmdel.images.left_out import Exclusion
from mmdel.images.listing import (
    EXCLUDED,
    MASK,
    Listing,
    by_folder,
    file_problem,
    list_images,
    masks_among,
    select,
)
from mmdel.registry import DATASETS
from mmdel.subset import plain_files

LAYOUTS = {entry.id: entry.tells for entry in CATALOG.values() if entry.tells is not None}
"""What a path inside a source tells, by the name of the source's folder; paths that do not match tell nothing."""

_TOLD = {'film': 'video'}
_DOWNSTREAM = re.compile(
    rf'(?:^|/)({"|".join(re.escape(entry.id) for entry in CATALOG.values() if entry.division == "downstream")})'
    '/(?:images|masks)(?:/|$)',
    re.IGNORECASE,
)


@DATASETS.register_module()
class DataDEL(BaseDataset):
    """The images below a folder: all of them, those of some sources, or those of a list; and frames of the videos there.

    Every item has ``img_path`` and ``source``, and where names, folders or a table tell it ``gt_label``, ``patient``, ``video``,
    ``frame`` and ``centre``. Items are sorted by key. Images are not opened; those that can be seen to be unusable are in
    ``ledger``. Of videos the packets are read, once, to count the frames; none is decoded or written.

    Args:
        data_root (str): The folder that all paths are relative to.
        sources (Sequence[str]): Where to take images from: folders below ``data_root``, and 'pretraining' (or 'downstream') for
            the datasets of the catalogue of this division that are there. Defaults to (), everything; the source of an image
            is then the first folder on its path ('' for files that lie directly in ``data_root``).
        videos (int | str, optional): Which frames of videos, and of image files with several pages or frames, are items: 'all', a
            number n for every n-th, or a rate such as '2fps'. Defaults to None: videos are left out, and a file of several pages
            cannot be used.
        allow_downstream (bool): Whether images of the downstream datasets of the catalogue may be among them: a model that is
            pre-trained on them is tested on what it has seen. Defaults to False.
        ann_file (str): A list of images instead of a scan, one path relative to ``data_root`` a line; a line may also name a
            frame, ``clip.avi#000123``, or a video. Defaults to ''.
        labels (str, optional): 'folders' where folders are named after classes: the label is the first folder below ``data_root``
            (below the source, where sources are named), as in ``torchvision.datasets.ImageFolder`` and
            ``mmpretrain.CustomDataset``. Defaults to None: only the datasets of the catalogue tell labels.
        table (str, optional): CSV, TSV or Parquet with a header: ``key``, and some of ``label, patient, video, frame, source,
            centre``. What it says counts before what names and folders tell. Defaults to None.
        exclude (Sequence[str]): Patterns of files and folders to leave out, relative to ``data_root``, as in .gitignore.
            Defaults to ().
        masks (str): 'auto' leaves out masks and drawn labels of images that lie beside them, as
            :func:`~mmdel.images.left_out.find_masks` finds them; 'keep' takes every image file for an image. Folders
            that ``sources`` names hold images. Defaults to 'auto'.
        pipeline (Sequence): Processing pipeline. Defaults to ().
        metainfo (Mapping, optional): Meta information; ``classes`` fixes the order of labels. Defaults to None, the
            classes found, sorted; labels of a table that are whole numbers are class numbers themselves.
        **kwargs: ``indices``, ``serialize_data``, ``test_mode``, ``lazy_init``, ``max_refetch`` of
            :class:`mmengine.dataset.BaseDataset`.

    Attributes:
        ledger (tuple[tuple[str, str], ...]): ``(key, reason)`` of files that cannot be used, once the items are loaded.
        skipped (Mapping[str, tuple[str, ...]]): Keys of all other files by the reason why they are no items, see
            :class:`~mmdel.images.listing.Listing`.
        notes (tuple[str, ...]): What else was seen, for people.

    Examples:
        >>> dataset = DataDEL('data/datadel', sources=('gastrovision', 'kvasir-capsule'))
        >>> dataset.get_data_info(0)
        {'img_path': 'data/datadel/gastrovision/Cecum/0a.jpg', 'source': 'gastrovision', 'gt_label': 3, 'sample_idx': 0}
    """

    data_list: Sequence[dict]

    def __init__(
        self,
        data_root: str,
        sources: Sequence[str] = (),
        ann_file: str = '',
        videos: int | str | None = None,
        allow_downstream: bool = False,
        labels: str | None = None,
        table: str | None = None,
        exclude: Sequence[str] = (),
        masks: Literal['auto', 'keep'] = 'auto',
        pipeline: Sequence[dict | Callable] = (),
        metainfo: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.sources = tuple(keys.normalise(source) for source in sources)
        self.videos = videos
        self.allow_downstream = allow_downstream
        if labels not in (None, 'folders'):
            raise ConfigError(f"labels is 'folders' (the first folder on a path is the class) or None, got {labels!r}.")
        self.labels = labels
        self.table = table
        self._metadata: metadata_table.MetadataTable | None = None
        self._step = None if videos is None else FrameStep(videos)
        if masks not in ('auto', 'keep'):
            raise ConfigError(f"masks is 'auto' or 'keep', got {masks!r}.")
        self.masks = masks
        self.exclude = (exclude,) if isinstance(exclude, str) else tuple(exclude)
        Exclusion(self.exclude)
        self.ledger: tuple[tuple[str, str], ...] = ()
        self.skipped: Mapping[str, tuple[str, ...]] = {}
        self.notes: tuple[str, ...] = ()
        super().__init__(
            ann_file=ann_file,
            metainfo=metainfo,
            data_root=os.fspath(data_root),
            data_prefix={'img_path': ''},
            pipeline=list(pipeline),
            **kwargs,
        )

    def load_data_list(self) -> Sequence[dict]:
        """List the images and read what their paths tell.

        Returns:
            Sequence[dict]: The items; with ``serialize_data`` each is made when it is asked for, so that millions of them need
            not be there at once.

        Raises:
            DatasetError: A folder or list is missing, holds no usable image or images of a downstream dataset, or a class that
            ``metainfo`` does not name.
        """
        self._check_root()
        listing = self._read_list() if self.ann_file else self._scan()
        self._refuse_downstream(listing)
        names, ledger, notes = listing.keys, [*listing.ledger], [*listing.notes]
        if self._step is not None:
            files = chain(listing.videos, filter(formats.may_have_pages, names))
            chosen, unusable = list_frames([(key, listing.path(key)) for key in files], self._step)
            ledger += unusable
            no_images = {*chosen, *(key for key, _ in unusable)}
            names = tuple(name for name in names if name not in no_images) if no_images else names
            frames = (frame_path(key, number) for key, numbers in chosen.items() for number in numbers.tolist())
            names = tuple(name for name, _ in groupby(sorted(chain(names, frames))))
        elif listing.videos:
            listing = replace(
                listing, skipped={**listing.skipped, 'video, of which no frames are taken': listing.videos}
            )
            notes.append(
                f'{counted(len(listing.videos), "video")} left out. Take frames of them with videos=, for instance --videos 1fps'
            )
        self.ledger, self.notes, self.skipped = tuple(sorted(ledger)), tuple(notes), listing.skipped
        if not names:
            why = _examples(self.ledger) or self.notes[-1]
            raise DatasetError(f'None of the images of {self.data_root} can be used: {why}.')
        if self.table is not None:
            others = (*listing.videos, *(key for key, _ in ledger))
            self._metadata = metadata_table.read_metadata(self.table, self.data_root, names, others)
            self.notes += self._metadata.notes
        labels = self._labels(names)
        items = _Items(names, partial(self._item, listing=listing, labels=labels))
        if self.serialize_data:
            return items
        plain, self._metadata = list(items), None
        return plain

    def get_cat_ids(self, idx: int) -> list[int]:
        """The label of an item as a list, empty where it has none."""
        info = self.get_data_info(idx)
        return [info['gt_label']] if 'gt_label' in info else []

    # --- private

    def _serialize_data(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """As in ``BaseDataset``, item by item: there, all items and the bytes of each are in memory together."""
        data, ends = bytearray(), np.empty(len(self.data_list), np.int64)
        for place, item in enumerate(self.data_list):
            data += pickle.dumps(item, protocol=4)
            ends[place] = len(data)
        self.data_list = []
        self._metadata = None  # nor is it sent to workers
        return np.frombuffer(data, np.uint8), ends

    def _check_root(self) -> None:
        if not storage.is_dir(self.data_root):
            raise DatasetError(
                f'{self.data_root} is not there. Put the images in it, run on a folder of your own: '
                'mmdel select DIR, or try the synthetic demo data: mmdel demo'
            )
        self.sources = tuple(self._expanded())
        missing = [source for source in self.sources if not self._is_source(source)]
        if missing and not self.ann_file:
            present = sorted(keys.normalise(entry.name) for entry in os.scandir(self.data_root) if entry.is_dir())
            raise DatasetError(
                f'{self.data_root} has no folder {", ".join(missing)}. It has: {", ".join(present) or "none"}. '
                'Add what is missing, or name only folders that are there in sources=(...).'
            )

    def _expanded(self) -> Iterator[str]:
        """The sources, with the datasets that are there in place of a division."""
        for source in self.sources:
            members = [entry.id for entry in CATALOG.values() if entry.division == source]
            if not members or self._is_source(source):
                yield source
                continue
            there = [member for member in members if self._is_source(member)]
            if not there:
                raise DatasetError(
                    f'{self.data_root} holds none of the {source} datasets {", ".join(members)}. Assemble them: '
                    'mmdel prepare --raw DOWNLOADS --out data/datadel'
                )
            yield from there

    def _refuse_downstream(self, listing: Listing) -> None:
        """A downstream dataset lies in ``<id>/images`` and ``<id>/masks``, wherever that is."""
        if self.allow_downstream:
            return
        folders = {key.rpartition('/')[0] for key in chain(listing.keys, listing.videos)}
        found = sorted({match[1].lower() for folder in folders if (match := _DOWNSTREAM.search(folder))})
        if found:
            raise DatasetError(
                f'{self.data_root} holds images of downstream datasets: {", ".join(found)}. A model that is pre-trained on them '
                "is tested on what it has seen. Name other sources, for instance sources=('pretraining',), or say that it is "
                'meant: allow_downstream=True.'
            )

    def _is_source(self, source: str) -> bool:
        return source.split('/')[0] not in ('', '..') and storage.is_dir(os.path.join(self.data_root, source))

    def _scan(self) -> Listing:
        listing = list_images(self.data_root, self.sources, True, self.exclude, with_masks=self.masks == 'keep')
        names = (listing.keys, listing.videos if self._step is not None else ())
        empty = [source for source in self.sources if not any(name.startswith(source + '/') for name in chain(*names))]
        if empty and any(names):
            raise DatasetError(
                f'There is no usable image below {", ".join(empty)} in {self.data_root}. '
                'Put the images there, or leave the folder out of sources=(...).'
            )
        return listing

    def _read_list(self) -> Listing:
        images: list[str] = []
        films: list[str] = []
        ledger: dict[str, str] = {}
        exclude = Exclusion(self.exclude)
        excluded: dict[str, set[str]] = {}
        for line in self._lines():
            image = self._relative(line)
            if image is None:
                continue
            if exclude and (pattern := exclude.pattern(image)):
                excluded.setdefault(EXCLUDED + pattern, set()).add(keys.normalise(image))
                continue
            problem = self._problem(image)
            if problem:
                ledger[image] = problem
            else:
                (films if is_video(image) else images).append(image)
        if not (images or films or ledger):
            but = ' that --exclude does not leave out' if excluded else ''
            raise DatasetError(
                f'The list {self.ann_file} names no image{but}. Write one path relative to data_root a line.'
            )
        notes: list[str] = []
        if excluded:
            notes.append(f'{counted(sum(map(len, excluded.values())), "file")} of the list left out by --exclude')
        if self.masks == 'auto':
            masks, of_masks = masks_among(by_folder(images), self.data_root, [*chain(*excluded.values())])
            notes += of_masks
            if masks:
                images = [image for image in images if image not in masks]
                excluded[MASK] = set(map(keys.normalise, masks))
        videos = select(self.data_root, films, ())
        listing = select(self.data_root, images, chain(ledger.items(), videos.ledger))
        return replace(
            listing,
            spelled={**listing.spelled, **videos.spelled},
            videos=videos.keys,
            notes=tuple(notes),
            skipped={reason: tuple(sorted(paths)) for reason, paths in sorted(excluded.items())},
        )

    def _lines(self) -> Iterator[str]:
        try:
            for text in plain_files.text_blocks(self.ann_file, 'surrogateescape'):
                yield from text.split('\n')
        except DatasetError as error:
            raise DatasetError(f'ann_file is a list, relative to data_root. {error}') from error

    def _relative(self, line: str) -> str | None:
        """The path of a line relative to the root, None for a blank line."""
        if not plain_files.trimmed(line):
            return None
        if not os.path.lexists(os.path.join(self.data_root, line)):
            line = plain_files.trimmed(line)
        if '\\' in line and not os.path.lexists(os.path.join(self.data_root, line)):
            line = line.replace('\\', '/')  # a list written on Windows
        if os.path.isabs(line):
            line = os.path.relpath(line, os.path.abspath(self.data_root))
        return posixpath.normpath(line)

    def _problem(self, image: str) -> str | None:
        path = os.path.join(self.data_root, image)
        frame = split_frame(path)
        if frame:
            return self._problem(os.path.relpath(frame[0], self.data_root)) or _frame_problem(*frame)
        if image.split('/')[0] == '..':
            return f'listed in {self.ann_file} but not below {self.data_root}'
        if not keys.name_problem(image) and not os.path.lexists(path):
            return f'listed in {self.ann_file} but not there'
        return file_problem(path)

    def _item(self, key: str, listing: Listing, labels: Mapping[str, int]) -> dict[str, Any]:
        path = listing.path(key)
        item = {'img_path': path, **formats.metadata(path), **self._told(key)}
        if 'label' in item:
            item['gt_label'] = labels[item.pop('label')]
        return item

    def _source(self, key: str) -> str:
        within = [source for source in self.sources if key.startswith(source + '/')]
        return max(within, key=len) if within else key.rpartition('/')[0].split('/')[0]

    def _told(self, key: str) -> dict[str, Any]:
        """What the key of an image tells of it."""
        frame = split_frame(key)
        file = frame[0] if frame else key
        source = self._source(key)
        item: dict[str, Any] = {'source': source}
        if frame:
            item['video'] = file
        layout = LAYOUTS.get(posixpath.basename(source))
        told = layout.fullmatch(file[len(source) + 1 :]) if layout else None
        if told:
            item.update((_TOLD.get(name, name), value) for name, value in told.groupdict().items() if value is not None)
        if self.labels and layout is None:
            inside = file[len(source) + 1 :] if source in self.sources else file
            if (label := metadata_table.folder_label(inside)) is not None:
                item['label'] = label
        if self._metadata is not None:
            item.update(self._metadata.of(key))
        if frame:
            item['frame'] = frame[1]
        elif 'frame' in item:
            item['frame'] = int(item['frame'])
        return item

    def _labels(self, names: Sequence[str]) -> dict[str, int]:
        """The numbers of the labels that keys tell."""
        in_table = self._metadata is not None and 'label' in self._metadata.columns
        everywhere = in_table or self.labels is not None
        counts: Counter[str] = Counter(
            told['label']
            for key in names
            if (everywhere or posixpath.basename(self._source(key)) in LAYOUTS) and 'label' in (told := self._told(key))
        )
        found = set(counts)
        if self.labels and not in_table and found <= metadata_table.SPLITS:
            first = f'those are {", ".join(sorted(found))}' if found else 'no image lies in one'
            raise DatasetError(
                f"labels='folders' takes the first folder below {self.data_root} as the class, and {first}. Give the folder that "
                'holds a folder for each class as --images DIR, or say it in a table: --table FILE.csv'
            )
        if everywhere:
            self.notes += (_about_labels(counts, len(names)),)
        order = metadata_table.ordered(found) if in_table else tuple(sorted(found))
        classes = self._metainfo.setdefault('classes', order) if found else ()
        unknown = sorted(found - set(classes))
        if unknown:
            raise DatasetError(
                f'{self.data_root} holds the classes {", ".join(unknown)}, which metainfo["classes"] does not name.'
            )
        return {name: number for number, name in enumerate(classes)}


class _Items(Sequence[dict]):
    """Items that are made when they are asked for.

    Args:
        names (Sequence[str]): Their keys.
        make (Callable): The item of a key.
    """

    def __init__(self, names: Sequence[str], make: Callable[[str], dict[str, Any]]) -> None:
        self._names = names
        self._make = make

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return list(map(self._make, self._names[place]))
        return self._make(self._names[place])


def _frame_problem(video: str, number: int) -> str | None:
    try:
        count = read_index(video).count
    except UnreadableImage as error:
        return error.reason
    if count == 1 and not is_video(video):
        return 'the file holds a single picture; name it without # and a number'
    what = 'video' if is_video(video) else 'file'
    return None if number < count else f'the {what} has {count:,} frames, counted from 0'


def _about_labels(counts: Counter[str], images: int) -> str:
    """Which labels there are, because a folder may be named after something else."""
    most = ', '.join(f'{name} {count:,}' for name, count in counts.most_common(5)) + ', ...' * (len(counts) > 5)
    lone = images - counts.total()
    return (
        f'{counted(counts.total(), "image")} with a label, {len(counts):,} different ones'
        + (f' ({most})' if counts else '')
        + (f'; {counted(lone, "image")} without' if lone else '')
    )


def _examples(ledger: Sequence[tuple[str, str]]) -> str:
    return '; '.join(f'{key} ({reason})' for key, reason in ledger[:3]) + ('; ...' if len(ledger) > 3 else '')
