"""The images of a dataset as one table: what the stages after it know about an image without opening it.

    images = image_table(DATASETS.build(config.train_dataloader.dataset))
    images.table['image']     # keys, sorted

The keys are the ones that :class:`mmdel.datasets.meddel_dataset.MedDELDataset` finds again round the same dataset.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from mmengine.dataset import BaseDataset

from mmdel.datasets import keys, wrappers
from mmdel.errors import DatasetError

SCHEMA = pa.schema(
    [
        ('image', pa.string()),
        ('path', pa.string()),
        ('source', pa.string()),
        ('label', pa.string()),
        ('video', pa.string()),
        ('frame', pa.int64()),
        ('centre', pa.string()),
    ]
)

ROWS = 65_536
"""Rows that are Python objects at a time."""


class Files(Mapping[str, str]):
    """The file of each key, looked up in a table.

    Args:
        table (pa.Table): ``image``, sorted, and ``path``, the file of each.
    """

    def __init__(self, table: pa.Table) -> None:
        self._keys, self._files = (table[name].combine_chunks() for name in ('image', 'path'))

    def __getitem__(self, key: str) -> str:
        row = keys.row_of(self._keys, key)
        if row is None:
            raise KeyError(key)
        return self._files[row].as_py()

    def __iter__(self) -> Iterator[str]:
        return (key.as_py() for key in self._keys)

    def __len__(self) -> int:
        return len(self._keys)


@dataclass(frozen=True)
class ImageTable:
    """The images of a dataset, sorted by key.

    Args:
        root (str): Absolute folder that keys are relative to, '' where there is none.
        table (pa.Table): Columns of :data:`SCHEMA`: key, absolute path, and what the dataset tells (null where it
            does not).
        ledger (tuple): ``(key, reason)`` of files known to be unusable without opening them, sorted.
        classes (tuple[str, ...]): Label names in the order of ``gt_label``, () where not known.
        notes (tuple[str, ...]): Lines for people, such as how many other files were ignored.
        masks (Mapping[str, str]): Key to the mask file that the dataset names, whether it is there or not. Defaults to {}.
    """

    root: str
    table: pa.Table
    ledger: tuple[tuple[str, str], ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    masks: Mapping[str, str] = field(default_factory=dict)


def image_table(dataset: Any, root: str | None = None) -> ImageTable:
    """List the images of any built OpenMMLab dataset or wrapper; no pipeline is run and no image opened.

    Args:
        dataset: A built dataset.
        root (str, optional): The folder that keys are relative to. Defaults to None, the folder of the images: see
            :func:`mmdel.datasets.keys.table_base`.

    Raises:
        DatasetError: Items without ``img_path``, images outside ``root``, or two images with one key.
    """
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    leaves = wrappers.leaf_datasets(dataset)
    for leaf in leaves:
        leaf.full_init()
    paths = [keys.absolute_paths(wrappers.image_paths(leaf)) for leaf in leaves]
    base = keys.table_base(leaves, paths) if root is None else os.path.abspath(root)
    if base is None:
        raise DatasetError(
            'The images of the dataset share no folder, so they have no common keys. Give them one root.'
        )
    if not keys.is_utf8(base):
        raise DatasetError(f'The name of the folder {keys.escape(base)} is not UTF-8. Rename it, or link to it.')

    rows: dict[str, dict[str, Any]] = {}
    ledger: dict[str, str] = {}
    masks: dict[str, str] = {}
    for leaf, leaf_paths in zip(leaves, paths, strict=True):
        _add_rows(leaf, leaf_paths, base, rows, ledger, masks)
        _add_ledger(leaf, base, ledger)
    table = pa.Table.from_pylist([rows[key] for key in sorted(rows)], schema=SCHEMA)
    lost = tuple(sorted((key, reason) for key, reason in ledger.items() if key not in rows))
    notes = tuple(dict.fromkeys(note for leaf in leaves for note in getattr(leaf, 'notes', ())))
    labelled = table['label'].null_count < len(table)
    return ImageTable(base, table, lost, _classes(leaves) if labelled else (), notes, masks)


def dataset_digest(table: pa.Table) -> str:
    """sha256 of the lines "key<TAB>bytes" of readable images, hexadecimal.

    Args:
        table (pa.Table): ``image``, sorted, and ``bytes`` where it is known.
    """
    if 'bytes' not in table.column_names:
        table = table.append_column('bytes', pa.nulls(len(table), pa.int64()))
    digest = hashlib.sha256()
    for batch in table.select(['image', 'bytes']).to_batches(ROWS):
        for image, size in zip(batch['image'].to_pylist(), batch['bytes'].to_pylist(), strict=True):
            digest.update(f'{image}\t{"" if size is None else size}\n'.encode())
    return digest.hexdigest()


def masked_images(images: ImageTable) -> frozenset[str]:
    """Keys of the images that have a mask.

    That is the file that the dataset names as ``seg_map_path``; where it names none, one of the same name up to the suffix in the
    folder ``masks`` beside the last folder ``images`` on the path.

    Args:
        images (ImageTable): The images.
    """
    found = []
    stems: dict[str, set[str]] = {}
    for key, path in zip(images.table['image'].to_pylist(), images.table['path'].to_pylist(), strict=True):
        named = images.masks.get(key)
        if named is not None:
            if os.path.isfile(named):
                found.append(key)
            continue
        before, images_folder, after = os.path.dirname(path).rpartition(f'{os.sep}images')
        if not images_folder or after[:1] not in ('', os.sep):
            continue
        folder = f'{before}{os.sep}masks{after}'
        if folder not in stems:
            stems[folder] = (
                {os.path.splitext(name)[0] for name in os.listdir(folder)} if os.path.isdir(folder) else set()
            )
        if os.path.splitext(os.path.basename(path))[0] in stems[folder]:
            found.append(key)
    return frozenset(found)


def _add_rows(
    leaf: BaseDataset,
    paths: Sequence[str],
    base: str,
    rows: dict[str, dict[str, Any]],
    ledger: dict[str, str],
    masks: dict[str, str],
) -> None:
    classes = leaf.metainfo.get('classes')
    for index, (key, path) in enumerate(zip(keys.keys_under(base, paths), paths, strict=True)):
        if key is None:
            raise DatasetError(f'{path} does not lie below the root {base}. Give a root above all images.')
        problem = keys.name_problem(path) if '\\' in key else None  # only escaped keys hold a backslash
        if problem:
            ledger[key] = problem
            continue
        if key in rows:
            if rows[key]['path'] != path:
                raise DatasetError(
                    f'Two images have the key {key}: {rows[key]["path"]} and {path}. '
                    'Rename one of them, or leave it out.'
                )
            continue
        info = leaf.get_data_info(index)
        if info.get('seg_map_path'):
            masks[key] = os.fspath(info['seg_map_path'])
        rows[key] = {
            'image': key,
            'path': path,
            'source': _text(info.get('source')),
            'label': _label(info.get('gt_label'), classes),
            'video': _text(info.get('video')),
            'frame': None if info.get('frame') is None else int(info['frame']),
            'centre': _text(info.get('centre')),
        }


def _add_ledger(leaf: BaseDataset, base: str, ledger: dict[str, str]) -> None:
    """What the leaf itself found unusable (DataDEL does), with keys relative to ``base``."""
    found = getattr(leaf, 'ledger', ())
    if found:
        prefix = keys.image_prefix(leaf)
        inside = keys.keys_under(base, [f'{prefix}/']) if prefix else [None]
        for key, reason in found:
            ledger[(inside[0] or '') + key] = reason


def _label(label: Any, classes: Sequence[str] | None) -> str | None:
    if label is None:
        return None
    if hasattr(label, 'tolist'):
        label = label.tolist()
    if isinstance(label, list | tuple):
        return ','.join(str(_label(each, classes)) for each in label)
    if classes is not None and isinstance(label, int) and 0 <= label < len(classes):
        return str(classes[label])
    return str(label)


def _classes(leaves: Sequence[BaseDataset]) -> tuple[str, ...]:
    """The classes that all leaves share, () where they differ: one number would have two names."""
    known = {tuple(leaf.metainfo.get('classes') or ()) for leaf in leaves}
    return tuple(map(str, known.pop())) if len(known) == 1 else ()


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
