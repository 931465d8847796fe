"""DataDEL: images and video frames of any folders as an OpenMMLab dataset, with what their names and folders tell."""

import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset

from mmdel.datasets import keys
from mmdel.datasets.catalog import CATALOG
from mmdel.datasets.listing import Listing, file_problem, list_images, select
from mmdel.datasets.video_listing import list_frames
from mmdel.datasets.videos import FrameStep, frame_path, is_video, read_index, split_frame
from mmdel.errors import DatasetError, UnreadableImage
from mmdel.registry import DATASETS

LAYOUTS = {
    'gastrovision': re.compile(r'(?P<label>[^/]+)/[^/]+'),
    'hyper-kvasir': re.compile(
        r'labeled-(?:images/(?:upper|lower)-gi-tract/[^/]+|videos/.+)/(?P<label>[^/]+)/[^/]+'  # a video: what it shows
    ),
    'kvasir-capsule': re.compile(
        r'labelled_images/(?P<label>[^/]+)/(?:(?P<video>[^/_]+)_(?P<frame>\d+)\.\w+|[^/]+)'
        r'|(?:un)?labelled_videos/(?P<film>[^/]+)\.\w+'
    ),
}
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

    Every item has ``img_path`` and ``source``, and where names or folders tell it ``gt_label``, ``video``, ``frame``
    and ``centre``. Items are sorted by key. Images are not opened; those that can be seen to be unusable are in
    ``ledger``. Of videos the packets are read, once, to count the frames; none is decoded or written.

    Args:
        data_root (str): The folder that all paths are relative to.
        sources (Sequence[str]): Where to take images from: folders below ``data_root``, and 'pretraining' (or 'downstream') for
            the datasets of the catalogue of this division that are there. Defaults to (), everything; the source of an image
            is then the first folder on its path ('' for files that lie directly in ``data_root``).
        videos (int | str, optional): Which frames of videos are items: 'all', a number n for every n-th, or a rate such as
            '2fps'. Defaults to None, videos are left out.
        allow_downstream (bool): Whether images of the downstream datasets of the catalogue may be among them: a model that is
            pre-trained on them is tested on what it has seen. Defaults to False.
        ann_file (str): A list of images instead of a scan, one path relative to ``data_root`` a line; a line may also name a
            frame, ``clip.avi#000123``, or a video. Defaults to ''.
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
        videos: int | str | None = None,
        allow_downstream: bool = False,
        pipeline: Sequence[dict | Callable] = (),
        metainfo: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.sources = tuple(keys.normalise(source) for source in sources)
        self.videos = videos
        self.allow_downstream = allow_downstream
        self._step = None if videos is None else FrameStep(videos)
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
            DatasetError: A folder or list is missing, holds no usable image or images of a downstream dataset, or a class that
            ``metainfo`` does not name.
        """
        self._check_root()
        listing = self._read_list() if self.ann_file else self._scan()
        self._refuse_downstream(listing)
        items = {key: self._describe(key, path) for key, path in zip(listing.keys, listing.paths, strict=True)}
        ledger, notes = [*listing.ledger], [*listing.notes]
        if self._step is not None:
            videos, unusable = list_frames(listing.videos, self._step)
            ledger += unusable
            for video in videos:
                told = self._describe(video.key, video.path)
                for number in video.frames.tolist():
                    frame = {**told, 'img_path': frame_path(video.path, number), 'frame': number}
                    items[frame_path(video.key, number)] = frame
        elif listing.videos:
            notes.append(
                f'{_count(len(listing.videos), "video")} left out. Take frames of them with videos=, for instance --videos 1fps'
            )
        self.ledger, self.notes = tuple(sorted(ledger)), tuple(notes)
        if not items:
            why = _examples(self.ledger) or self.notes[-1]
            raise DatasetError(f'None of the images of {self.data_root} can be used: {why}.')
        data_list = [items[key] for key in sorted(items)]
        self._number_labels(data_list)
        return data_list

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
                    'python tools/prepare_datadel.py --raw DOWNLOADS --out data/datadel'
                )
            yield from there

    def _refuse_downstream(self, listing: Listing) -> None:
        """A downstream dataset lies in ``<id>/images`` and ``<id>/masks``, wherever that is."""
        if self.allow_downstream:
            return
        folders = {key.rpartition('/')[0] for key in (*listing.keys, *(key for key, _ in listing.videos))}
        found = sorted({match[1].lower() for folder in folders if (match := _DOWNSTREAM.search(folder))})
        if found:
            raise DatasetError(
                f'{self.data_root} holds images of downstream datasets: {", ".join(found)}. A model that is pre-trained on them '
                "is tested on what it has seen. Name other sources, for instance sources=('pretraining',), or say that it is "
                'meant: allow_downstream=True.'
            )

    def _is_source(self, source: str) -> bool:
        return source.split('/')[0] not in ('', '..') and os.path.isdir(os.path.join(self.data_root, source))

    def _scan(self) -> Listing:
        listing = list_images(self.data_root, self.sources, with_videos=True)
        names = [*listing.keys, *(key for key, _ in listing.videos if self._step is not None)]
        empty = [source for source in self.sources if not any(name.startswith(source + '/') for name in names)]
        if empty and names:
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
        films: list[str] = []
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
            elif is_video(image):
                films.append(image)
            else:
                images.append(image)
        if not seen:
            raise DatasetError(f'The list {self.ann_file} names no image. Write one path relative to data_root a line.')
        videos, paths, refused = select(self.data_root, films, ())
        return Listing(*select(self.data_root, images, [*ledger, *refused]), (), tuple(zip(videos, paths, strict=True)))

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
        frame = split_frame(path)
        if frame:
            return self._problem(os.path.relpath(frame[0], self.data_root)) or _frame_problem(*frame)
        if image.split('/')[0] == '..':
            return f'listed in {self.ann_file} but not below {self.data_root}'
        if not keys.name_problem(image) and not os.path.lexists(path):
            return f'listed in {self.ann_file} but not there'
        return file_problem(path)

    def _describe(self, key: str, path: str) -> dict[str, Any]:
        frame = split_frame(key)
        file = frame[0] if frame else key
        within = [source for source in self.sources if key.startswith(source + '/')]
        source = max(within, key=len) if within else key.rpartition('/')[0].split('/')[0]
        item: dict[str, Any] = {'img_path': path, 'source': source}
        if is_video(file):
            item['video'] = file
        layout = LAYOUTS.get(posixpath.basename(source))
        told = layout.fullmatch(file[len(source) + 1 :]) if layout else None
        if told:
            item.update((_TOLD.get(name, name), value) for name, value in told.groupdict().items() if value is not None)
        if frame:
            item['frame'] = frame[1]
        elif 'frame' in item:
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


def _frame_problem(video: str, number: int) -> str | None:
    try:
        count = read_index(video).count
    except UnreadableImage as error:
        return error.reason
    return None if number < count else f'the video has {count:,} frames, counted from 0'


def _count(number: int, noun: str) -> str:
    return f'{number:,} {noun}' if number == 1 else f'{number:,} {noun}s'


def _examples(ledger: Sequence[tuple[str, str]]) -> str:
    return '; '.join(f'{key} ({reason})' for key, reason in ledger[:3]) + ('; ...' if len(ledger) > 3 else '')
