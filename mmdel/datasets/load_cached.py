"""A loader that decodes each file once; later epochs read the decoded pixels from disk.

    train_pipeline = [
        dict(type='mmdel.LoadCached', load=dict(type='LoadImageFromFile'), limit='20GB'),
        dict(type='RandomResizedCrop', scale=224), ...

What the transforms behind it get is the same, bit for bit, as from the loader itself.
"""

import copy
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import av
import cv2
import mmcv
import numpy as np
import PIL
from mmcv.transforms import BaseTransform

from mmdel.compute.files import NO_FILE, file_state
from mmdel.datasets.decoded_store import FORMAT, DecodedStore
from mmdel.errors import ConfigError
from mmdel.images import frames
from mmdel.images.frames import content_of
from mmdel.registry import TRANSFORMS

READS = (
    'img_path',
    'seg_map_path',
    'seg_fields',
    'label_map',
    'reduce_zero_label',
    'mask_kind',
    'num_labels',
    'img_shape',
    'ori_shape',
)
"""What the loaders of images and masks in mmcv, mmpretrain, mmseg and mmdel read of an item."""

_UNITS = {'': 1, 'kB': 10**3, 'MB': 10**6, 'GB': 10**9, 'TB': 10**12}
_DECODERS = {'cv2': cv2.__version__, 'PIL': PIL.__version__, 'av': av.__version__, 'mmcv': mmcv.__version__}


@TRANSFORMS.register_module()
class LoadCached(BaseTransform):
    """Loads through another loader the first time, and from a cache of decoded pixels afterwards.

    All workers, ranks and runs may share a cache. An image is known by path and state of its file (where the file system has
    none that tells, by what the file holds, which is read then), the loader by its config and the versions of the decoding
    libraries; another one of these is decoded anew. What is on no local file (a remote
    backend), cannot be decoded or no longer fits is left to the loader every time, with the loader's own outcome.

    A loader gets those keys of an item that are named in ``reads`` and no others, so that nothing unseen can decide what it
    gives. It must give the same every time: random transforms belong behind this one.

    Args:
        load (dict | Sequence[dict]): The loader; or several, image and mask for instance, that are kept together.
        cache_dir (str): Where pixels are kept, best on a local disk; the system keeps in memory what fits. A folder that is in
            memory altogether, ``/dev/shm/...``, serves machines with a slow disk. Defaults to 'work_dirs/.decoded'.
        limit (int | str): Bytes in all, or with a unit: '500MB', '8GB', '1.5TB'. 640 x 640 pixels take 1.2 MB. When it is
            reached, further images are decoded each time. Defaults to '8GB'.
        reads (Sequence[str]): What the loader reads of an item; names that end in ``path`` are files. Defaults to :data:`READS`.

    Raises:
        ConfigError: An argument cannot be used; or, when an image is loaded, the loader reads a key that is not in ``reads``
            or gives something that cannot be kept.

    Example:
        >>> load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
        >>> train_pipeline = [dict(type='mmdel.LoadCached', load=load), dict(type='RandomFlip', prob=0.5), ...]
    """

    def __init__(
        self,
        load: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        cache_dir: str = 'work_dirs/.decoded',
        limit: int | str = '8GB',
        reads: Sequence[str] = READS,
    ) -> None:
        configs = [load] if isinstance(load, Mapping) else list(load)
        if not configs:
            raise ConfigError(
                "load of mmdel.LoadCached is empty; name a loader, dict(type='LoadImageFromFile') for one."
            )
        self.loaders = [TRANSFORMS.build(dict(config)) for config in configs]
        self.reads = tuple(reads)
        self.store = DecodedStore(os.path.abspath(cache_dir), _bytes(limit))
        self._about = json.dumps(
            [
                FORMAT,
                _DECODERS,
                *({**config, 'type': _name(loader)} for config, loader in zip(configs, self.loaders, strict=True)),
            ],
            sort_keys=True,
            default=str,
        )

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Add what the loader adds; None where the loader gives None."""
        given = {key: results[key] for key in self.reads if key in results}
        name, state = self._key(given)
        values = self.store.get(name, state) if state else None
        if values is None:
            values = self._load(given, results)
            if values is None:
                return None
            if state:
                self.store.put(name, state, values)
        results.update(values)
        return results

    def _key(self, given: dict[str, Any]) -> tuple[str, list[Any] | None]:
        """The name of an item in the cache and what its files are known by, None where one is not on a local disk."""
        inputs = dict(given)
        states = []
        for key, value in given.items():
            if key.endswith('path') and isinstance(value, str):
                inputs[key] = os.path.abspath(value)
                states.append(_known_by(value))
        text = json.dumps([self._about, inputs], sort_keys=True, default=_plain)
        name = hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:40]
        return name, None if None in states else [state for state in states if state]

    def _load(self, given: dict[str, Any], results: dict[str, Any]) -> dict[str, Any] | None:
        """What the loader adds to an item or changes in it."""
        # a copy, because mmseg's loaders append to the item's own list of fields
        loaded: dict[str, Any] = _Item(copy.deepcopy(given), results.keys() - given.keys(), self)
        for loader in self.loaders:
            loaded = loader(loaded)
            if loaded is None:
                return None
        return {key: value for key, value in loaded.items() if key not in given or value != given[key]}

    def __repr__(self) -> str:
        loaders = ', '.join(map(repr, self.loaders))
        return (
            f'{type(self).__name__}(load=[{loaders}], cache_dir={str(self.store.folder)!r}, limit={self.store.limit})'
        )


class _Item(dict[str, Any]):
    """What a loader may read; the other keys of the item are an error rather than absent."""

    def __init__(self, given: dict[str, Any], others: set[str], owner: LoadCached) -> None:
        super().__init__(given)
        self._others = others
        self._owner = owner

    def __missing__(self, key: str) -> Any:
        self._refuse(key)
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        found = super().__contains__(key)
        if not found:
            self._refuse(key)
        return found

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, default) if key in self else default

    def _refuse(self, key: object) -> None:
        if key in self._others:
            loaders = ', '.join(type(loader).__name__ for loader in self._owner.loaders)
            raise ConfigError(
                f'{loaders} in mmdel.LoadCached reads {key!r}, which is not among the keys that its outcome is known to depend '
                f'on. If it may, add it: reads={(*self._owner.reads, str(key))}'
            )


def _known_by(path: str) -> Any:
    state = file_state(frames.file_of(path))
    if state == NO_FILE or state.tells:
        return None if state == NO_FILE else state
    content = content_of(path)
    return content and content.hex()


def _name(loader: Any) -> str:
    return f'{type(loader).__module__}.{type(loader).__qualname__}'


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise ConfigError(
        f'mmdel.LoadCached is to depend on a {type(value).__name__}; leave in reads only keys of text and numbers.'
    )


def _bytes(limit: int | str) -> int:
    match = re.fullmatch(r'(\d+(?:\.\d+)?) ?([kMGT]?B?)', str(limit))
    unit = match[2] if match else None
    if not match or unit not in _UNITS or float(match[1]) <= 0:
        raise ConfigError(f"limit={limit!r} of mmdel.LoadCached is not a size; write bytes, or '500MB', '8GB', '1TB'.")
    return int(float(match[1]) * _UNITS[unit])
