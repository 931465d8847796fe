"""Images as a program holds them: paths, arrays, a table, a dataset. They become what a command is asked for, a dataset config.

    given = given_images([frame for frame in film], {'patient': patients}, folder)
    given.dataset      # {'type': 'mmdel.DataDEL', 'data_root': ...}
    given.keys         # ['000', '001', ...], the key of each

There is one way from a file to a vector, and pictures in memory take it, too: each is written as a PNG, which loses nothing, into
a folder that goes with the result.
"""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch.utils.data import Dataset

from mmdel.compute.cores import usable_cores
from mmdel.compute.files import write_text
from mmdel.embedding.given_vectors import row_keys
from mmdel.engine.asked_images import Kept, asked_images
from mmdel.errors import ConfigError, DatasetError, StoreError, UnreadableImage
from mmdel.images import keys as spelling
from mmdel.images.formats import split_frame
from mmdel.images.formats.raster import pixels_of
from mmdel.images.image_table import image_table
from mmdel.subset.columns import METADATA, typed_columns

PATH_COLUMNS = ('path', 'img_path', 'image', 'file', 'filename', 'file_name', 'filepath', 'key')
"""Names of the column of a table that names files; the first of them that is there counts."""

LIST, TABLE = 'images.txt', 'columns.parquet'
"""What is written of a list or table."""

_PICTURES = ('img', 'image')
_AT_A_TIME = 32
"""Pictures in memory at once, where a dataset makes them."""

_WANTED = 'Give uint8 arrays, [H, W, 3] in RGB or [H, W] in grey, or PIL images'


@dataclass(frozen=True)
class GivenImages:
    """Images that were given.

    Args:
        dataset (dict): Config of their dataset.
        keys (Sequence[str | None], optional): The key of each, in the order in which they were given. Defaults to None: in no
            order, such as a folder.
        lasting (bool): Whether the files are the caller's own; else they lie in a temporary folder. Defaults to True.
        listed (bool): Whether further arguments of ``mmdel.DataDEL`` may say what is taken. Defaults to True.
    """

    dataset: dict[str, Any]
    keys: Sequence[str | None] | None = None
    lasting: bool = True
    listed: bool = True


def given_images(images: Any, columns: Mapping[str, Sequence[Any]] | None, folder: Path) -> GivenImages:
    """Find out what was given, and write what has to be.

    Args:
        images: A path of anything that ``--images`` takes; or a sequence of paths, of arrays or of PIL images; a pandas or
            pyarrow table; a dataset of OpenMMLab or torch.
        columns (Mapping[str, Sequence], optional): Of :data:`~mmdel.subset.columns.METADATA`, one value an image.
        folder (Path): A temporary one.

    Raises:
        DatasetError: It is none of these, or an image cannot be used; the message says which.
        ConfigError: A path leads to nothing that can be used, or ``columns`` do not fit.
    """
    if isinstance(images, str | os.PathLike):
        return _of_paths(os.fspath(images), columns, folder)
    if (table := _as_table(images)) is not None:
        return _of_table(table, columns, folder)
    if hasattr(images, 'full_init'):
        return _of_mm_dataset(images, columns, folder)
    if isinstance(images, Dataset) and not hasattr(images, '__iter__'):
        return _of_torch_dataset(images, columns, folder)
    shape = list(getattr(images, 'shape', ()))
    if len(shape) == 3 and (shape[2] == 3 or (shape[0] == 3 and isinstance(images, torch.Tensor))):
        raise DatasetError(
            f'The images are one picture, {_what(images)}. Give a list of them, or an array [N, H, W, 3].'
        )
    if shape and len(shape) < 3 and getattr(images.dtype, 'kind', 'f') in 'fiubc':
        raise DatasetError(f'The images are {_what(images)}. Vectors are given as vectors=. {_WANTED}.')
    if not hasattr(images, '__len__') or not hasattr(images, '__iter__') or isinstance(images, Mapping | bytes):
        raise DatasetError(
            f'Images cannot be taken from {type(images).__name__}. Give a folder, a list of paths, arrays or PIL images, a '
            'table with a column of paths, or a dataset.'
        )
    if not len(images):
        raise DatasetError('There are no images: the list is empty.')
    return _of_items(iter(images), len(images), columns, folder)


# --- paths


def _of_paths(paths: str | Sequence[str], columns: Mapping[str, Sequence[Any]] | None, folder: Path) -> GivenImages:
    asked = asked_images(paths, Kept(folder / 'archives', folder))
    dataset, root = asked.dataset, os.path.abspath(asked.dataset['data_root'])
    lasting = not Path(root).is_relative_to(folder)
    names = None
    # others are folders, patterns or lists, which stand for any number of images
    if not isinstance(paths, str) and len(paths) > 1 and all(map(os.path.isfile, paths)):
        names = spelling.keys_under(root, spelling.absolute_paths(paths))
    _add_columns(dataset, names, columns, folder)
    if str(dataset.get('ann_file', '')).startswith(str(folder)):
        os.replace(dataset['ann_file'], folder / LIST)
        dataset['ann_file'] = str(folder / LIST)
    return GivenImages(dataset, names, lasting)


def _as_table(images: Any) -> dict[str, list[Any]] | None:
    """The columns of a table of pandas, polars or pyarrow by their names, None where it is none."""
    if isinstance(images, pa.Table | pa.RecordBatch):
        return images.to_pydict()
    if isinstance(images, Mapping) or not hasattr(images, 'columns') or not hasattr(images, '__getitem__'):
        return None
    return {str(name): list(images[name]) for name in images.columns}


def _of_table(table: Mapping[str, list[Any]], columns: Mapping[str, Sequence[Any]] | None, folder: Path) -> GivenImages:
    name = next((name for name in PATH_COLUMNS if name in table), None)
    if name is None:
        raise DatasetError(
            f'The table has no column of paths: one of {", ".join(PATH_COLUMNS)}. It has {", ".join(table) or "none"}.'
        )
    for row, path in enumerate(table[name]):
        if not isinstance(path, str | os.PathLike):
            raise DatasetError(f'Row {row:,} of the table has no path in the column {name}, but {path!r}.')
    told = {name: table[name] for name in METADATA if name in table}
    return _of_paths(list(map(os.fspath, table[name])), {**told, **(columns or {})}, folder)


# --- datasets


def _of_mm_dataset(dataset: Any, columns: Mapping[str, Sequence[Any]] | None, folder: Path) -> GivenImages:
    images = image_table(dataset)
    files = images.table['path'].to_pylist()
    unusable = [key for key, _ in images.ledger]
    lines = [*(os.path.relpath(file, images.root).replace(os.sep, '/') for file in files), *unusable]
    (folder / LIST).write_bytes(''.join(f'{line}\n' for line in lines).encode('utf-8', 'surrogateescape'))
    # who gives the dataset itself means all of its images
    config = dict(
        type='mmdel.DataDEL', data_root=images.root, ann_file=str(folder / LIST), allow_downstream=True, masks='keep'
    )
    names: Sequence[str | None] | None = None
    if hasattr(dataset, 'get_data_info'):
        paths = (dataset.get_data_info(number)['img_path'] for number in range(len(dataset)))
        names = spelling.keys_under(images.root, spelling.absolute_paths(paths))
    told = images.table.select([name for name in METADATA if images.table[name].null_count < len(images.table)])
    if names is None and not columns:
        _add_columns(config, images.table['image'].to_pylist(), told.to_pydict(), folder)
    else:
        place = pc.index_in(pa.array(names or [], pa.string()), value_set=images.table['image'].combine_chunks())
        _add_columns(config, names, {**told.take(place).to_pydict(), **(columns or {})}, folder)
    return GivenImages(config, names, listed=False)


def _of_torch_dataset(dataset: Any, columns: Mapping[str, Sequence[Any]] | None, folder: Path) -> GivenImages:
    """Items ``(image, label)``, or dicts; of torchvision's folders the files, which are not decoded here."""
    classes = getattr(dataset, 'classes', None)
    samples = getattr(dataset, 'samples', None)
    if isinstance(samples, list) and samples and all(isinstance(sample[0], str | os.PathLike) for sample in samples):
        return _of_items(iter(samples), len(samples), columns, folder, classes)
    if not hasattr(dataset, '__len__') or not len(dataset):
        raise DatasetError(f'{type(dataset).__name__} has no length, or no items. Give a dataset with both, or a list.')
    return _of_items((dataset[number] for number in range(len(dataset))), len(dataset), columns, folder, classes)


def _of_items(
    items: Iterator[Any],
    count: int,
    columns: Mapping[str, Sequence[Any]] | None,
    folder: Path,
    classes: Sequence[str] | None = None,
) -> GivenImages:
    told: dict[str, list[Any]] = {name: [None] * count for name in METADATA}

    def picture(number: int, item: Any) -> Any:
        image, about = _taken_apart(item, number)
        for name, value in about.items():
            told[name][number] = _named(value, classes) if name == 'label' else value
        return image

    found = (picture(number, item) for number, item in enumerate(itertools.islice(items, count)))
    first = next(found)
    images = itertools.chain([first], found)
    if isinstance(first, str | os.PathLike):
        paths = [_path(image, number) for number, image in enumerate(images)]
        return _of_paths(paths, _with_told(told, columns), folder)
    names = row_keys(count).to_pylist()
    _write_pictures(images, [folder / 'images' / name for name in names])
    write_text(folder / LIST, ''.join(f'{name}\n' for name in names))
    config = dict(type='mmdel.DataDEL', data_root=str(folder / 'images'), ann_file=str(folder / LIST), masks='keep')
    _add_columns(config, names, _with_told(told, columns), folder)
    return GivenImages(config, names, lasting=False, listed=False)


def _taken_apart(item: Any, number: int) -> tuple[Any, dict[str, Any]]:
    """The image of an item, or its path, and what the item tells of it."""
    if isinstance(item, Mapping):
        image = next((item[name] for name in ('img_path', *_PICTURES) if item.get(name) is not None), None)
        if image is None:
            raise DatasetError(f'Item {number:,} has none of the keys img_path, img, image; it has {", ".join(item)}.')
        told = {name: item[name] for name in METADATA if item.get(name) is not None}
        return image, {'label': item['gt_label'], **told} if item.get('gt_label') is not None else told
    if isinstance(item, tuple | list) and item:
        scalar = len(item) > 1 and (isinstance(item[1], str | int) or getattr(item[1], 'ndim', None) == 0)
        return item[0], {'label': item[1]} if scalar else {}
    return item, {}


def _named(label: Any, classes: Sequence[str] | None) -> str:
    value = label.item() if hasattr(label, 'item') else label
    known = classes is not None and isinstance(value, int) and 0 <= value < len(classes)
    return str(classes[value]) if known and classes is not None else str(value)


def _path(image: Any, number: int) -> str:
    if not isinstance(image, str | os.PathLike):
        raise DatasetError(f'Image {number:,} is {_what(image)}, and those before are paths. Give images of one kind.')
    return os.fspath(image)


def _with_told(told: Mapping[str, list[Any]], columns: Mapping[str, Sequence[Any]] | None) -> dict[str, Sequence[Any]]:
    known = {name: values for name, values in told.items() if any(value is not None for value in values)}
    return {**known, **(columns or {})}


# --- pictures


def _write_pictures(images: Iterable[Any], paths: Sequence[Path]) -> None:
    paths[0].parent.mkdir(parents=True)
    numbered = enumerate(images)
    with ThreadPoolExecutor(usable_cores()) as pool:
        while block := list(itertools.islice(numbered, _AT_A_TIME)):
            list(pool.map(lambda each: _write(each[1], each[0], paths[each[0]]), block))


def _write(image: Any, number: int, path: Path) -> None:
    pixels = _pixels(image, number)
    try:
        path.write_bytes(cv2.imencode('.png', pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())
    except OSError as error:
        raise StoreError(
            f'The pictures cannot be written into the temporary folder {path.parent} ({error.strerror or error}). Make room, '
            'name another one with the environment variable TMPDIR, or give the paths of files.'
        ) from error


def _pixels(image: Any, number: int) -> NDArray[np.uint8]:
    """What a file of it would hold: [H, W, 3], BGR, or [H, W].

    Raises:
        DatasetError: It is no picture of 8 bits.
    """
    if isinstance(image, Image.Image):
        try:
            found = pixels_of(ImageOps.exif_transpose(image))
        except (OSError, UnreadableImage) as error:
            raise DatasetError(f'Image {number:,} cannot be decoded: {error}. Leave it out.') from error
        if isinstance(found, np.ndarray):
            return found
        raise DatasetError(
            f'Image {number:,} is a PIL image of mode {image.mode}, whose range is not known. Convert it to 8 bits.'
        )
    array = image
    if isinstance(image, torch.Tensor):  # [3, H, W], as torchvision has it
        array = (image.permute(1, 2, 0) if image.ndim == 3 and len(image) in (1, 3) else image).detach().cpu().numpy()
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
        hint = ' Is it what a transform has made for a model? Leave that out.' if hasattr(array, 'dtype') else ''
        raise DatasetError(f'Image {number:,} is {_what(image)}. {_WANTED}.{hint}')
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not array.size or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise DatasetError(f'Image {number:,} is {_what(image)}. {_WANTED}.')
    return np.ascontiguousarray(array[:, :, ::-1] if array.ndim == 3 else array)


def _what(image: Any) -> str:
    if hasattr(image, 'dtype') and hasattr(image, 'shape'):
        return f'{str(image.dtype).removeprefix("torch.")} {list(image.shape)}'
    return f'{type(image).__name__}'


# --- columns


def _add_columns(
    dataset: dict[str, Any],
    names: Sequence[str | None] | None,
    columns: Mapping[str, Sequence[Any]] | None,
    folder: Path,
) -> None:
    """Write a table of the images, and name it in the config of their dataset."""
    if not columns:
        return
    if names is None:
        raise ConfigError(
            'columns has values in the order of the images, and these are in none. Give a list of paths; or table=FILE, a CSV '
            'with a column key beside label, patient, video, frame, source or centre.'
        )
    table = typed_columns(columns, len(names))
    pq.write_table(table.add_column(0, 'key', pa.array(names, pa.string())), folder / TABLE)
    dataset['table'] = str(folder / TABLE)


def places_of(kept: Sequence[str], names: Sequence[str | None]) -> NDArray[np.int64]:
    """Where kept images were among those given, ascending, each once; a frame is where its file was."""
    place: dict[str | None, int] = {}
    for number, name in enumerate(names):
        place.setdefault(name, number)
    found = set()
    for key in kept:
        frame = split_frame(key)
        found.add(place[key] if key in place or frame is None else place[frame[0]])
    return np.array(sorted(found), np.int64)
