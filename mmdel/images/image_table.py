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

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mmengine.dataset import BaseDataset

from mmdel.compute.blocks import blocks, give_back, values
from mmdel.errors import DatasetError
from mmdel.images import keys, wrappers
from mmdel.subset import columns

SCHEMA = pa.schema(
    [
        ('image', pa.string()),
        ('path', pa.string()),
        *((name, columns.SCHEMA.field(name).type) for name in columns.METADATA),
    ]
)

_ITEM = SCHEMA.remove(0).append(pa.field('mask', pa.string()))
_ROWS = _ITEM.insert(0, SCHEMA.field('image'))
_KINDS = {name: int if pa.types.is_integer(SCHEMA.field(name).type) else str for name in columns.METADATA}


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
        skipped (tuple): ``(key, reason)`` of all other files, sorted; a folder ends in a slash. Defaults to ().
    """

    root: str
    table: pa.Table
    ledger: tuple[tuple[str, str], ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    masks: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()


def image_table(dataset: Any, root: str | None = None) -> ImageTable:
    """List the images of any built OpenMMLab dataset or wrapper; no pipeline is run and no image opened.

    Args:
        dataset: A built dataset.
        root (str, optional): The folder that keys are relative to. Defaults to None, the folder of the images: see
            :func:`mmdel.images.keys.table_base`.

    Raises:
        DatasetError: Items without ``img_path``, images outside ``root``, or two images with one key.
    """
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    leaves = wrappers.leaf_datasets(dataset)
    for leaf in leaves:
        leaf.full_init()
    items = [_Items.of(leaf) for leaf in leaves]
    base = keys.table_base(leaves, [part.examples for part in items]) if root is None else os.path.abspath(root)
    if base is None:
        raise DatasetError(
            'The images of the dataset share no folder, so they have no common keys. Give them one root.'
        )
    if not keys.is_utf8(base):
        raise DatasetError(f'The name of the folder {keys.escape(base)} is not UTF-8. Rename it, or link to it.')

    ledger: dict[str, str] = {}
    rows = _sorted(pa.Table.from_batches(_with_keys(items, base, ledger), _ROWS))
    for leaf in leaves:
        _add_ledger(leaf, base, ledger)
    named = rows.select(['image', 'mask']).filter(rows['mask'].is_valid()).rename_columns(['image', 'path'])
    table = rows.select(SCHEMA.names)
    used = set(table['image'].filter(pc.is_in(table['image'], pa.array(ledger, pa.string()))).to_pylist())
    lost = tuple(sorted((key, reason) for key, reason in ledger.items() if key not in used))
    notes = tuple(dict.fromkeys(note for leaf in leaves for note in getattr(leaf, 'notes', ())))
    labelled = table['label'].null_count < len(table)
    give_back()
    return ImageTable(
        base, table, lost, _classes(leaves) if labelled else (), notes, Files(named), _skipped(leaves, base)
    )


def dataset_digest(table: pa.Table) -> str:
    """sha256 of the lines "key<TAB>bytes" of readable images, hexadecimal.

    Args:
        table (pa.Table): ``image``, sorted, and ``bytes`` where it is known.
    """
    if 'bytes' not in table.column_names:
        table = table.append_column('bytes', pa.nulls(len(table), pa.int64()))
    digest = hashlib.sha256()
    for image, size in zip(values(table['image']), values(table['bytes']), strict=True):
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
    for key, path in zip(values(images.table['image']), values(images.table['path']), strict=True):
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


@dataclass
class _Items:
    """What a leaf tells of its images.

    Args:
        batches (list[pa.RecordBatch]): Of :data:`_ITEM`, in the order of the items.
        unwritable (list[str]): Absolute paths that are not UTF-8, of other items.
        examples (list[str]): Of the absolute paths one for each folder.
    """

    batches: list[pa.RecordBatch]
    unwritable: list[str]
    examples: list[str]

    @classmethod
    def of(cls, leaf: BaseDataset) -> '_Items':
        classes = leaf.metainfo.get('classes')
        found = cls([], [], [])
        folders: dict[str, str] = {}
        for block in blocks(wrappers.items(leaf)):
            rows = []
            for path, (_, info) in zip(keys.absolute_paths(path for path, _ in block), block, strict=True):
                folders.setdefault(keys.folder_of(path), path)
                if keys.is_utf8(path):
                    rows.append(_row(path, info, classes))
                else:
                    found.unwritable.append(path)
            found.batches.append(pa.RecordBatch.from_pylist(rows, schema=_ITEM))
        found.examples = list(folders.values())
        return found


def _row(path: str, info: Mapping[str, Any], classes: Sequence[str] | None) -> dict[str, Any]:
    told = {name: kind(info[name]) for name, kind in _KINDS.items() if info.get(name) is not None}
    mask = os.fspath(info['seg_map_path']) if info.get('seg_map_path') else None
    return {**told, 'path': path, 'label': _label(info.get('gt_label'), classes), 'mask': mask}


def _with_keys(items: Sequence[_Items], base: str, ledger: dict[str, str]) -> Iterator[pa.RecordBatch]:
    """All rows with their keys; those whose names cannot be used go to the ledger."""
    for part in items:
        while part.batches:  # each is let go as soon as its rows have keys
            batch = part.batches.pop(0)
            paths = batch['path'].to_pylist()
            images = _keys(base, paths)
            usable = _refuse_unusable(images, paths, ledger)
            yield pa.RecordBatch.from_arrays([pa.array(images, pa.string()), *batch.columns], schema=_ROWS).filter(
                usable
            )
        _refuse_unusable(_keys(base, part.unwritable), part.unwritable, ledger)


def _keys(base: str, paths: Sequence[str]) -> list[str]:
    found = []
    for key, path in zip(keys.keys_under(base, paths), paths, strict=True):
        if key is None:
            raise DatasetError(f'{keys.escape(path)} does not lie below the root {base}. Give a root above all images.')
        found.append(key)
    return found


def _refuse_unusable(images: Sequence[str], paths: Sequence[str], ledger: dict[str, str]) -> pa.BooleanArray:
    """Note names that cannot be used in the ledger; returns which can."""
    # only escaped keys hold a backslash
    problems = [keys.name_problem(path) if '\\' in key else None for key, path in zip(images, paths, strict=True)]
    ledger.update((key, problem) for key, problem in zip(images, problems, strict=True) if problem)
    return pa.array([problem is None for problem in problems], pa.bool_())


def _sorted(rows: pa.Table) -> pa.Table:
    """All rows sorted by key, one for each file.

    Raises:
        DatasetError: Two files have one key.
    """
    rows = _joined(rows)
    if _ascending(rows['image']):
        return rows
    numbered = rows.select(['image']).append_column('row', pa.array(np.arange(len(rows))))
    rows = _joined(rows.take(pc.sort_indices(numbered, [('image', 'ascending'), ('row', 'ascending')])))
    images, paths = (rows[name].chunk(0) for name in ('image', 'path'))
    again = pc.equal(images[1:], images[:-1])
    clashes = np.flatnonzero(pc.and_(again, pc.not_equal(paths[1:], paths[:-1]))).tolist()
    if clashes:
        one, other = (paths[row].as_py() for row in (clashes[0], clashes[0] + 1))
        raise DatasetError(
            f'Two images have the key {images[clashes[0]]}: {one} and {other}. Rename one of them, or leave it out.'
        )
    return rows.filter(pa.concat_arrays([pa.array([True]), pc.invert(again)]))


def _ascending(keys: pa.ChunkedArray) -> bool:
    one = keys.combine_chunks()
    return bool(pc.all(pc.less(one[:-1], one[1:]), min_count=0).as_py())


def _joined(table: pa.Table) -> pa.Table:
    """The table with one chunk in each column, joined one after another so that one column at most is there twice."""
    joined = {}
    for name in table.column_names:
        chunks = table[name].chunks
        table = table.drop_columns([name])
        joined[name] = (
            chunks[0] if len(chunks) == 1 else pa.chunked_array(chunks, _ROWS.field(name).type).combine_chunks()
        )
        del chunks
    return pa.table(joined)


def _add_ledger(leaf: BaseDataset, base: str, ledger: dict[str, str]) -> None:
    """What the leaf itself found unusable (DataDEL does), with keys relative to ``base``."""
    found = getattr(leaf, 'ledger', ())
    if found:
        prefix = keys.image_prefix(leaf)
        inside = keys.keys_under(base, [f'{prefix}/']) if prefix else [None]
        for key, reason in found:
            ledger[(inside[0] or '') + key] = reason


def _skipped(leaves: Sequence[BaseDataset], base: str) -> tuple[tuple[str, str], ...]:
    """What the leaves themselves left out (DataDEL does), with keys relative to ``base``."""
    found: dict[str, str] = {}
    for leaf in leaves:
        prefix = keys.image_prefix(leaf)
        inside = keys.keys_under(base, [f'{prefix}/'])[0] if prefix else None
        for reason, paths in getattr(leaf, 'skipped', {}).items():
            found.update(((inside or '') + path, reason) for path in paths)
    return tuple(sorted(found.items()))


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
