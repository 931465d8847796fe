"""``mmdel.select``: the command as a function. Nothing is written unless it is asked for.

    chosen = mmdel.select('my/frames', ratio=0.05)
    chosen.kept

It asks a :class:`~mmdel.engine.dedup_runner.DedupRunner`, as the command does, and so keeps the same images.
"""

import copy
import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from mmengine.config import Config
from rich.console import Console

from mmdel.compute.progress import SILENT, Stages
from mmdel.config.config_check import nearest
from mmdel.config.config_file import SUFFIXES, read_config, read_part
from mmdel.config.shipped import DEFAULT_CONFIG, ENCODERS, SELECTORS, find_config
from mmdel.embedding.embed import Embedded
from mmdel.embedding.embedders.base_embedder import BaseEmbedder
from mmdel.embedding.given_vectors import named_vectors, read_given_vectors
from mmdel.embedding.vectors import as_source
from mmdel.engine.dedup_config import KEYS
from mmdel.engine.dedup_runner import DedupRunner
from mmdel.engine.given_images import GivenImages, given_images
from mmdel.engine.selected_images import VECTORS, SelectedImages
from mmdel.engine.surroundings import Scratch, surroundings
from mmdel.errors import ConfigError, MmdelError
from mmdel.selection.selector import BaseSelector
from mmdel.subset.columns import typed_columns

SELECTOR, ENCODER = 'coverage-groups', 'vit-base-p16_in1k'
"""Those of the command."""

LISTING = ('videos', 'labels', 'exclude', 'table', 'masks', 'sources', 'allow_downstream')
"""Arguments of ``mmdel.DataDEL`` that say which images are taken."""

IN_PYTHON = 'An option of the command is an argument of mmdel.select: --ratio 0.05 is ratio=0.05.'


def select(
    images: Any = None,
    *,
    vectors: Any = None,
    ratio: float | None = None,
    eta: float | None = None,
    selector: str | Mapping[str, Any] | BaseSelector | None = None,
    encoder: str | Mapping[str, Any] | BaseEmbedder | None = None,
    center: bool | None = None,
    guards: Mapping[str, Any] | None = None,
    exclude_near: Mapping[str, Any] | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
    keys: Sequence[str] | None = None,
    device: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
    **listing: Any,
) -> SelectedImages:
    """Choose the images that are worth training on.

    No image is changed. Nothing is written but into a temporary folder that goes with the result, unless ``cache_dir`` is given.
    Calls from several threads wait for each other; in a daemonic process, which may have no children, images are read in it.

    Args:
        images: One of

            - the path of a folder, an archive, a list of paths, or a pattern: what ``--images`` takes;
            - a sequence of paths; or of pictures: uint8 arrays [H, W, 3] in **RGB** or [H, W] in grey, PIL images (the first
              frame of several, upright as EXIF says, without alpha), or uint8 tensors [3, H, W];
            - a table of pandas or pyarrow with a column ``path``; its columns ``label``, ``patient``, ``video``, ``frame``,
              ``source`` and ``centre`` count as ``columns``;
            - a dataset of mmengine, or any wrapper round one; or of torch, whose items are images, ``(image, label)``, or dicts
              with ``img_path``, ``img`` or ``image`` (RGB). Transforms that make floats have to be left out;
            - a config, as a path, ``Config`` or dict: one of mmdel, whose other keys then hold, too; one of a training, whose
              ``train_dataloader.dataset`` is meant; or one of a dataset.
        vectors: Your own vectors instead, floats [N, D]: an array, a tensor, or the path of a .npy file. Arrays are not copied.
        ratio (float, optional): Keep exactly floor(ratio * N + 0.5) of N readable images, in (0, 1]. Defaults to None.
        eta (float, optional): Keep by this cosine instead, in [-1, 1], for methods that have one (``selector='meddel'``).
            Defaults to None.
        selector (str | dict | BaseSelector, optional): A name in ``configs/_base_/selectors``, a config file with ``selector``, a
            config, or an object. Defaults to None: that of a given config, else 'coverage-groups'.
        encoder (str | dict | BaseEmbedder, optional): Likewise of ``configs/_base_/embedders``. 'pixels' and 'phash' need no
            weights. Defaults to None: that of a given config, else 'vit-base-p16_in1k'.
        center (bool, optional): Subtract the mean vector first. Defaults to None: as in a given config, else True.
        guards (dict, optional): What must stay and what must not, as in a config: ``dict(min_keep=dict(label=5))``. Defaults to
            None.
        exclude_near (dict, optional): Test images whose copies take no part: ``dict(against='configs/x.py')``. Defaults to None.
        columns (dict, optional): What else is known, for guards, methods and the report: ``label``, ``patient``, ``video``,
            ``frame``, ``source``, ``centre``, each with one value for every image or vector, in their order. Defaults to None.
        keys (Sequence[str], optional): Names of the vectors, [N]. Defaults to None: their numbers.
        device (str, optional): Where the encoder runs. Defaults to None: CUDA where there is one.
        cache_dir (str, optional): Where vectors and rankings are kept for the next call and for the command, whose default is
            'work_dirs/.embeddings'. Defaults to None: nowhere.
        progress (bool): Show it on a terminal or in a notebook. Defaults to True.
        **listing: Further arguments of ``mmdel.DataDEL`` where images are paths: ``videos='1fps'``, ``labels='folders'``,
            ``exclude=['old/']``, ``table='mine.csv'``, ``masks``, ``sources``, ``allow_downstream``.

    Returns:
        SelectedImages: What stays and why, see :class:`~mmdel.engine.selected_images.SelectedImages`.

    Raises:
        ConfigError: An argument is unknown, of a wrong type, or out of range.
        DatasetError: An image is none, or not one can be read.
        VectorError: Vectors are no floats [N, D], not finite, or zero.
        MmdelError: Something else that the caller can mend; the message says how.

    Examples:
        >>> chosen = mmdel.select('my/frames', ratio=0.05)
        >>> chosen.kept
        ['a/000012.jpg', ...]
    """
    for name in listing.keys() - set(LISTING):
        near = nearest(name, [*inspect.signature(select).parameters, *LISTING])
        raise ConfigError(f'select has no argument {name!r}.' + (f' Did you mean {near!r}?' if near else ''))
    if (images is None) == (vectors is None):
        raise ConfigError('Give either images or vectors=, and not both.')
    cfg = _config(images)
    scratch = Scratch()
    cache = Path(cache_dir) if cache_dir is not None else scratch.folder / 'cache'
    try:
        with surroundings(cfg.get('default_scope') or KEYS['default_scope'].default, cache / 'videos'):
            built = _set_parts(cfg, selector, encoder, eta, vectors is None)
            for name, value in (('center', center), ('guards', guards), ('exclude_near', exclude_near)):
                if value is not None:
                    cfg[name] = value
            cfg.cache_dir, cfg.work_dir = str(cache), str(scratch.folder / 'result')
            given, embedded = _data(cfg, images, vectors, keys, columns, listing, scratch.folder)
            runner = DedupRunner.from_cfg(
                cfg,
                ratio=_number('ratio', ratio),
                embeddings=_place(vectors, scratch.folder),
                device=device,
                report=False,
                progress=Stages(Console(stderr=True)) if progress else SILENT,
                given=embedded,
                **built,
            )
            chosen = runner.decide()
    except BaseException as error:
        scratch.remove()
        if isinstance(error, MmdelError) and '--' in str(error):
            error.args = (f'{error} ({IN_PYTHON})', *error.args[1:])
        raise
    return SelectedImages(runner, chosen, given, scratch)


# --- private


def _config(images: Any) -> Config:
    """A config of mmdel, with the images where ``images`` is a config; what nobody names is as in the command."""
    default = read_config(find_config(DEFAULT_CONFIG))
    path = os.fspath(images) if isinstance(images, str | os.PathLike) else ''
    if path.endswith(SUFFIXES) and os.path.isfile(path):
        images = read_config(path)
    if not isinstance(images, Config | Mapping):
        return default
    config = copy.deepcopy(images) if isinstance(images, Config) else Config(copy.deepcopy(dict(images)))
    if 'train_dataloader' in config:
        try:
            default.dataset = config.train_dataloader.dataset
        except AttributeError as error:
            raise ConfigError('The config has no train_dataloader.dataset.') from error
        default.default_scope = config.get('default_scope', 'mmengine')
        return default
    if 'type' in config:
        default.dataset = config._cfg_dict
        if '.' not in str(config.type):  # a name of the library that configs without a scope mean
            default.default_scope = KEYS['default_scope'].default
        return default
    for key in ('selector', 'embedder'):
        config.setdefault(key, default[key])
    return config


def _set_parts(
    cfg: Config, selector: Any, encoder: Any, eta: float | None, uses_images: bool
) -> dict[str, BaseSelector | BaseEmbedder]:
    """Put method and encoder into the config; returns those that are objects, of which it holds a description."""
    built: dict[str, BaseSelector | BaseEmbedder] = {}
    selector = selector if selector is not None else cfg.selector
    if isinstance(selector, BaseSelector):
        built['selector'], cfg.selector = selector, selector.config()
    else:
        cfg.selector = _part('selector', selector, SELECTORS, 'selector')
    if not uses_images:
        if encoder is not None:
            raise ConfigError('encoder has no meaning with vectors, which are ready.')
    elif isinstance(encoder := encoder if encoder is not None else cfg.embedder, BaseEmbedder):
        built['embedder'], cfg.embedder = encoder, encoder.config()
    else:
        cfg.embedder = _part('encoder', encoder, ENCODERS, 'embedder')
    if eta is not None:
        if 'selector' in built:
            raise ConfigError('eta belongs to the selector, which is an object here: make it with another eta.')
        cfg.selector.eta = _number('eta', eta)
    return built


def _part(name: str, given: Any, folder: Path, key: str) -> dict[str, Any]:
    if isinstance(given, str | os.PathLike):
        return read_part(os.fspath(given), folder, key)
    if not isinstance(given, Mapping):
        raise ConfigError(f'{name} is a name, a config such as dict(type=...), or an object; got {given!r}.')
    return copy.deepcopy(dict(given))


def _data(
    cfg: Config,
    images: Any,
    vectors: Any,
    keys: Sequence[str] | None,
    columns: Mapping[str, Sequence[Any]] | None,
    listing: Mapping[str, Any],
    folder: Path,
) -> tuple[GivenImages, Embedded | None]:
    """What there is to choose from: images, whose dataset is put into the config, or vectors."""
    if keys is not None and vectors is None:
        raise ConfigError('keys name vectors; images are named by their paths.')
    given = None
    if vectors is not None:
        if listing:
            raise ConfigError(f'{", ".join(listing)} say which images are taken, and these are vectors.')
        return GivenImages({}, keys, lasting=False), _embedded(vectors, keys, columns)
    if cfg.get('dataset') is None:
        given = given_images(images, columns, folder)
        cfg.dataset = given.dataset
    elif columns:
        raise ConfigError(
            'columns has one value for each image, and a config has its images in no order. Use table=FILE.'
        )
    if listing and (cfg.dataset.get('type') != 'mmdel.DataDEL' or (given is not None and not given.listed)):
        raise ConfigError(
            f'select has no argument {", ".join(listing)} for these images; arguments of mmdel.DataDEL are for paths.'
        )
    cfg.dataset.update(copy.deepcopy(dict(listing)))
    return given or GivenImages(cfg.dataset), None


def _embedded(vectors: Any, keys: Sequence[str] | None, columns: Mapping[str, Sequence[Any]] | None) -> Embedded:
    on_disk = isinstance(vectors, str | os.PathLike)
    source = read_given_vectors(os.fspath(vectors), None).source if on_disk else as_source(vectors)
    count = source.shape[0]
    names = None
    if keys is not None:
        if isinstance(keys, str) or len(keys) != count or not all(isinstance(key, str) for key in keys):
            raise ConfigError(f'keys needs one text for each of {count:,} vectors.')
        names = pa.chunked_array([pa.array(keys, pa.string())])
    return named_vectors(source, names, columns=typed_columns(columns, count) if columns else None)


def _place(vectors: Any, folder: Path) -> str | None:
    """Where vectors lie, or would: the name of a file alone says that a run is of vectors."""
    if vectors is None:
        return None
    return os.fspath(vectors) if isinstance(vectors, str | os.PathLike) else str(folder / VECTORS)


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        raise ConfigError(f'{name} is a number, got {value!r}.')
    return float(value)
