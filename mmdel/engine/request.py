"""What a run is asked, and how that lies in its work dir: a result is replaced only by the answer to the same question.

    request = Request.from_cfg(Config.fromfile('configs/meddel_eta08.py'), ratio=0.05)
    request.write(folder)                     # request.json
    request.differs(stated(folder))           # ('asked.eta', 0.8, 0.75), None where nothing does
    recorded_config(folder, 'embedder')       # what is needed to do a part of it again

The file describes the run on the machine that it ran on, paths included; ``subset.parquet``, which travels, carries none. Where
the file is missing, the subset's metadata tell what they know.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mmengine.config import Config

from mmdel.compute.files import file_state, write_text
from mmdel.embedding.embedders.base_embedder import BaseEmbedder
from mmdel.engine.dedup_config import KEYS, check_dedup_config
from mmdel.errors import ConfigError
from mmdel.leaks.leak_check import ExcludeNear
from mmdel.registry import CLUSTERERS, EMBEDDERS, SELECTORS
from mmdel.selection.guards import Guards
from mmdel.selection.selector import BaseSelector, build_selector
from mmdel.subset import Subset, check_eta, is_frame, size_at

REQUEST = 'request.json'

FORMAT = 1

SAMPLE = 1000
"""Images of an old result that are looked for at most."""

_NOT_WHICH_IMAGES = ('pipeline', 'lazy_init', 'serialize_data', 'max_refetch')
"""Keys of a dataset's config that do not decide which images it has."""

_PLACES = ('work_dir', 'cache_dir')
"""Keys of a config that do not belong to what is asked."""


@dataclass(frozen=True)
class Request:
    """The question of a run. What is None of the last three is not known yet.

    Args:
        config (Config): The config; ``request[name]`` is a key of it, or its default.
        selector (BaseSelector): The method.
        guards (Guards): What must stay and what must not.
        exclude_near (ExcludeNear, optional): The test images whose copies take no part.
        eta (float, optional): The threshold of the cut; None where a ratio was asked for, or the method knows its own size.
        ratio (float, optional): The share of the readable images to keep instead.
        embeddings (str, optional): A .npy file with ready vectors instead of a dataset.
        keys (str, optional): The keys of ``embeddings``, one a line; None for row numbers.
        update (str, optional): An old subset whose decisions stay: only images that it does not list are decided, see
            :mod:`mmdel.engine.update`.
        updated (str, optional): sha256 of that subset. Defaults to None.
        root (str, optional): The folder that keys are relative to, '' where there is none. Defaults to None.
        fingerprint (dict, optional): What the vectors depend on. Defaults to None.
    """

    config: Config
    selector: BaseSelector
    guards: Guards
    exclude_near: ExcludeNear | None
    eta: float | None
    ratio: float | None
    embeddings: str | None
    keys: str | None
    update: str | None
    updated: str | None = None
    root: str | None = None
    fingerprint: dict[str, Any] | None = None

    @classmethod
    def from_cfg(
        cls,
        cfg: Config,
        ratio: float | None = None,
        embeddings: str | None = None,
        keys: str | None = None,
        update: str | None = None,
        selector: BaseSelector | None = None,
        embedder: BaseEmbedder | None = None,
    ) -> 'Request':
        """The question of a dedup config, whose keys are those of :data:`mmdel.engine.dedup_config.KEYS`, and of options.

        Args:
            cfg (Config): The config.
            ratio (float, optional): Keep this fraction of the readable images, in (0, 1], instead of cutting at an eta.
                Defaults to None; a method without an eta needs it, unless it knows its own size.
            embeddings (str, optional): A .npy file with ready vectors instead of a dataset. Defaults to None.
            keys (str, optional): The keys of ``embeddings``, one a line. Defaults to None (row numbers).
            update (str, optional): An old subset whose decisions stay. Defaults to None.
            selector (BaseSelector, optional): The method as an object; what the config says of it is only noted. Defaults to
                None: it is built from the config.
            embedder (BaseEmbedder, optional): Likewise the encoder. Defaults to None.

        Raises:
            ConfigError: A key is missing or unknown, a value is of a wrong type or out of range, or two contradict each other.
        """
        built = [name for name, each in (('selector', selector), ('embedder', embedder)) if each is not None]
        check_dedup_config(cfg, uses_images=embeddings is None, built=built)
        if keys is not None and embeddings is None:
            raise ConfigError('--keys names the rows of --embeddings; give both, or neither.')
        if embeddings is None and (cfg.get('dataset') is None or cfg.get('embedder') is None):
            raise ConfigError("The config needs the keys 'dataset' and 'embedder' (or give --embeddings FILE.npy).")
        if ratio is not None:
            size_at(ratio, 1_000_000_000)
            if update is not None:
                raise ConfigError(
                    'With --update old decisions stay and new images are held to the old eta, so a share to keep cannot be asked '
                    'for. Leave --ratio out, or choose from all images anew, without --update.'
                )
        selector = build_selector(cfg.selector) if selector is None else selector
        eta = cfg.selector.get('eta', getattr(selector, 'eta', None))
        if ratio is None and not selector.own_size:
            if eta is None:
                raise ConfigError(
                    f'{cfg.selector.type} has no eta; say how many images to keep with --ratio, e.g. --ratio 0.05.'
                )
            check_eta(eta)
        guards, exclude_near = Guards.from_cfg(cfg.get('guards')), ExcludeNear.from_cfg(cfg.get('exclude_near'))
        if exclude_near is not None and embeddings is not None:
            raise ConfigError('exclude_near needs the images and their encoder, and cannot go with --embeddings.')
        eta = None if ratio is not None else eta
        request = cls(cfg, selector, guards, exclude_near, eta, ratio, embeddings, keys, update)
        if not -1 <= request['conflict_threshold'] <= 1:
            raise ConfigError(
                f'conflict_threshold is a cosine between -1 and 1, got {request["conflict_threshold"]!r}.'
            )
        return request

    def __getitem__(self, name: str) -> Any:
        value = self.config.get(name)
        return KEYS[name].default if value is None else value

    @property
    def embedder_type(self) -> str:
        """The type of the embedder."""
        return 'given vectors' if self.embeddings is not None else self.config.embedder['type']

    def asked(self) -> dict[str, Any]:
        """What the metadata of a subset say, too, JSON-able and without paths."""
        return {
            'selector': self.selector.config(),
            'embedder_type': self.embedder_type,
            'center': self['center'],
            'asked': {'eta': self.eta, 'ratio': self.ratio},
            'guards': self.guards.config(),
            'exclude_near': None if self.exclude_near is None else self.exclude_near.config(),
        }

    @property
    def dataset(self) -> dict[str, Any] | None:
        """From :func:`dataset_of`, or the paths of given vectors; None where it is not known yet."""
        if self.embeddings is not None:
            paths = {'embeddings': self.embeddings, 'keys': self.keys}
            return {name: os.path.realpath(path) if path else '' for name, path in paths.items()}
        return None if self.root is None else dataset_of(self.config.dataset, self.root)

    def values(self) -> dict[str, Any]:
        """What decides the result, JSON-able."""
        against = () if self.exclude_near is None else self.exclude_near.against
        return {
            **self.asked(),
            'against': [os.path.abspath(each) for each in against],
            'update': self.updated,
            'dataset': self.dataset,
            'embedder': self.fingerprint,
        }

    def write(self, folder: Path) -> None:
        """Write ``request.json``: :meth:`values`, and ``config`` to do it again, null where that is more than plain values."""
        names = [name for name in KEYS if name not in _PLACES and self.config.get(name) is not None]
        config = {name: self.config[name] for name in names}
        values = {'format': FORMAT, **self.values(), 'config': _data(config)}
        write_text(folder / REQUEST, json.dumps(values, sort_keys=True, indent=1, ensure_ascii=False) + '\n')

    def differs(self, stated: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
        """The first thing that was asked otherwise, and both values; None where nothing was. Where the images lie is not one.

        Args:
            stated (Mapping): What is known of another request, by the names of :meth:`values`.
        """
        now = json.loads(json.dumps(self.values()))
        unknown = {name for name in ('dataset', 'embedder') if now[name] is None or stated.get(name) is None}
        names = [name for name in now if name in stated and name not in unknown]
        before, after = ({name: _without_root(name, each[name]) for name in names} for each in (stated, now))
        return difference(before, after)


def stated(folder: Path) -> dict[str, Any]:
    """What ``request.json`` says, {} where there is none that can be read."""
    try:
        values = json.loads((folder / REQUEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) and values.get('format') == FORMAT else {}


def recorded_config(folder: Path, *parts: str) -> Config:
    """The config of a finished run, as ``request.json`` holds it.

    A work dir may come from anybody, so these parts of it are only given out where they consist of what mmdel ships. Whoever
    trusts it may execute the config that lies beside it.

    Args:
        folder (Path): The work dir.
        *parts (str): The keys that are going to be built.

    Raises:
        ConfigError: The run is not recorded, or a part of it is not mmdel's; the message asks for ``--config``.
    """
    where, config = folder / REQUEST, stated(folder).get('config')
    if not isinstance(config, dict):
        raise ConfigError(
            f'{where} does not hold the config of the run: it is gone, of an earlier version, or the config had more than plain '
            f'values. Name the config with --config {folder / "config.py"}'
        )
    # what else the run would execute: modules of its own, and the configs that name its test sets
    others = ['custom_imports', *(['exclude_near'] if 'dataset' in parts else [])]
    foreign = [name for name in others if config.get(name)]
    foreign += [found for name in parts if (found := _foreign(config.get(name), name))]
    if foreign:
        raise ConfigError(
            f'{where} uses {foreign[0]}, and a file beside a subset may come from anybody, so it is not run unasked. '
            f'If you made this run yourself, add --config {folder / "config.py"}'
        )
    return Config(config)


def metadata(file: Path) -> dict[str, Any]:
    """What a subset file says of itself, {} where it cannot be read; the table is not read."""
    try:
        found = json.loads((pq.read_schema(file).metadata or {})[b'mmdel'])
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return {}
    return found if isinstance(found, dict) else {}


def difference(old: Any, now: Any, name: str = '') -> tuple[str, Any, Any] | None:
    """The first place at which two JSON values differ, by dotted name, and both values there; None where they are equal."""
    if isinstance(old, dict) and isinstance(now, dict):
        for key in sorted({*old, *now}):
            found = difference(old.get(key), now.get(key), f'{name}.{key}' if name else key)
            if found:
                return found
        return None
    return None if old == now else (name, old, now)


def dataset_of(config: Mapping[str, Any], root: str) -> dict[str, Any]:
    """Which images are meant: the folder, and the config without what decides nothing, its roots relative to that folder.

    Args:
        config (Mapping): Of the dataset.
        root (str): The folder that keys are relative to, '' where there is none.
    """
    root = os.path.realpath(root) if root else ''
    return {'config': _plain(config, root), 'root': root}


def still_there(previous: Subset, images: pa.Table) -> tuple[int, int]:
    """How many images of an old result are among these, of how many that were looked for (:data:`SAMPLE` at most).

    Args:
        previous (Subset): The old result.
        images (pa.Table): ``image``, and ``path`` where there are files, which then must have the size that the result states.
    """
    table = previous.readable_rows.select(['image', 'bytes'])
    table = table.take(pa.array(np.arange(0, len(table), max(1, -(-len(table) // SAMPLE)))))
    place = pc.index_in(table['image'], value_set=images['image'].combine_chunks())
    files = images['path'].take(place).to_pylist() if 'path' in images.column_names else [None] * len(table)
    found = 0
    for key, size, row, file in zip(
        table['image'].to_pylist(), table['bytes'].to_pylist(), place.to_pylist(), files, strict=True
    ):
        sized = file is not None and size is not None and not is_frame(key)
        found += row is not None and (not sized or file_state(file).size == size)
    return found, len(table)


def _foreign(part: Any, name: str) -> str:
    """What of a part of a config mmdel does not ship, '' where it ships all of it."""
    if not isinstance(part, dict) or 'type' not in part:
        return f'no {name}'
    ours = {f'mmdel.{each}' for registry in (EMBEDDERS, SELECTORS, CLUSTERERS) for each in registry.module_dict}
    ours |= {'mmdel.DataDEL', 'mmdel.LoadFrame'}
    for each in _dicts(part):
        # the backbone of the shipped encoders, with plain arguments only: texts inside dicts may name classes by any key
        inner = [value for other in _dicts(each) if other is not each for value in other.values()]
        numbers = all(isinstance(value, int | float) for value in inner)
        backbone = each.get('type') == 'mmpretrain.VisionTransformer' and numbers
        if 'type' in each and not backbone and str(each['type']) not in ours:
            return f'the type {each["type"]!r} in its {name}'
    return ''


def _dicts(value: Any) -> list[dict[str, Any]]:
    """All dicts in a value of JSON, itself included."""
    found, rest = [], [value]
    while rest:
        each = rest.pop()
        if isinstance(each, dict):
            found.append(each)
        rest += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
    return found


def _data(value: Any) -> Any:
    """A config as JSON gives it back; None where it cannot hold it."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return None


def _without_root(name: str, value: Any) -> Any:
    if name == 'dataset' and isinstance(value, dict):
        return {key: each for key, each in value.items() if key != 'root'}
    return value


def _plain(value: Any, root: str) -> Any:
    if isinstance(value, Mapping):
        plain = {str(name): _plain(each, root) for name, each in value.items() if name not in _NOT_WHICH_IMAGES}
        if root and isinstance(value.get('data_root'), str | os.PathLike):
            plain['data_root'] = os.path.relpath(os.path.realpath(value['data_root']), root)
        return plain
    if isinstance(value, list | tuple):
        return [_plain(each, root) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
