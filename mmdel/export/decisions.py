"""All decisions of a subset for other programs: every image, kept or not, and why.

    export_csv(subset, 'decisions.csv')              # read_csv() gives the table back, value for value
    export_coco(subset, 'decisions.json')            # images of COCO with the decision in them
    export_fiftyone(subset, 'decisions', paths)      # a folder that FiftyOne imports; neither needs the other installed

In COCO and FiftyOne each image also has a ``group``: the kept image at the end of the chain of what removed it, a kept image
itself. A frame of a video is known by its key, ``clip.avi#000123``; as a file it is what ``tools/export_subset.py`` writes,
``clip.avi/000123.jpg``.
"""

import csv
import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmdel.compute.files import csv_rows, csv_text, write_text
from mmdel.compute.progress import SILENT, Stages
from mmdel.errors import ConfigError, DatasetError
from mmdel.export.images import Exported, export_images, file_of
from mmdel.subset import COLUMNS, SCHEMA, Subset, is_frame, set_column

FORMULAS = ('=', '+', '-', '@', '\t', '\r', '\n', '\uff1d', '\uff0b', '\uff0d', '\uff20')
"""What begins a cell that a spreadsheet may execute; the last four are the first ones in full width."""

ESCAPE = "'"
"""Stands before such a text, before a text that begins with it, and for a text that is empty; no text is an empty cell."""

FRAMES = 'frames'
"""Folder of the frames of videos beside the samples of FiftyOne, which shows files."""

_SPECIAL = {False: 'false', True: 'true'}


def export_csv(subset: Subset, out: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Write the table of a subset for spreadsheets: UTF-8 with a mark by which they know it, one line a row.

    Args:
        subset (Subset): The subset.
        out (str): The file.
        overwrite (bool): Replace a file that is there. Defaults to False.

    Raises:
        ConfigError: ``out`` is there.
    """
    out = _free(out, overwrite)
    table = _exportable(subset)
    columns = [[_cell(value, field.type) for value in _values(table[field.name])] for field in table.schema]
    write_text(out, '\ufeff' + csv_text([table.column_names, *zip(*columns, strict=True)], '\r\n'))
    return out


def read_csv(path: str | os.PathLike[str]) -> pa.Table:
    """The table that :func:`export_csv` wrote, with the columns of :data:`mmdel.subset.SCHEMA`; others are text behind them.

    Optional columns that it lacks, because an earlier version wrote it, are null.

    Raises:
        DatasetError: It is not there, or another program has changed its form.
    """
    try:
        header, *rows = csv_rows(Path(path).read_bytes().decode('utf-8-sig'))
        if not {column.name for column in COLUMNS if column.required} <= set(header):
            raise ValueError(f'its columns are {", ".join(header)}')
        cells = dict(zip(header, list(zip(*rows, strict=True)) or [()] * len(header), strict=True))
        fields = [*SCHEMA, *(pa.field(name, pa.string()) for name in header if name not in SCHEMA.names)]
        arrays = [
            pa.array([_value(cell, field.type) for cell in cells.get(field.name, [''] * len(rows))], field.type)
            for field in fields
        ]
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise DatasetError(f'{path} is no table of decisions as tools write it ({error}). Export it again.') from error
    return pa.table(arrays, schema=pa.schema(fields))


def export_coco(
    subset: Subset,
    out: str | os.PathLike[str],
    overwrite: bool = False,
    spelled: Mapping[str, str] | None = None,
) -> Path:
    """Write JSON in the form of COCO: ``images`` with ``id`` (from 1, in the order of the keys), ``file_name`` and size.

    Each image has the other columns of the table too, ``image`` as ``key``; NaN and what is not known are null. ``categories``
    are the classes, numbered as ``gt_label`` is; there are no annotations.

    Args:
        subset (Subset): The subset.
        out (str): The file.
        overwrite (bool): Replace a file that is there. Defaults to False.
        spelled (Mapping[str, str], optional): Keys whose file is spelled otherwise on disk, to that spelling, which is then the
            ``file_name``. Defaults to None.

    Raises:
        ConfigError: ``out`` is there.
    """
    out = _free(out, overwrite)
    groups = group_of(subset)
    images = []
    for number, row in enumerate(_rows(subset), 1):
        key = row.pop('image')
        first = {
            'id': number,
            'file_name': (spelled or {}).get(key) or file_of(key, 'jpg'),
            'width': row.pop('width'),
            'height': row.pop('height'),
        }
        images.append({**first, 'key': key, **row, 'group': groups.get(key)})
    classes = subset.metadata.get('classes') or ()
    document = {
        'info': {'description': 'decisions of mmdel', **_about(subset)},
        'licenses': [],
        'images': images,
        'annotations': [],
        'categories': [{'id': number, 'name': name} for number, name in enumerate(classes)],
    }
    write_text(out, json.dumps(document, ensure_ascii=False, allow_nan=False) + '\n')
    return out


def export_fiftyone(
    subset: Subset,
    out: str | os.PathLike[str],
    paths: Mapping[str, str],
    root: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Stages = SILENT,
) -> Exported | None:
    """Write a folder that ``fiftyone.Dataset.from_dir(out, fiftyone.types.LegacyFiftyOneDataset)`` imports.

    Tags say ``kept`` or ``removed``, and why. Fields are the columns of the table (``image`` as ``key``, ``label`` as a
    classification) and ``group``.

    Args:
        subset (Subset): The subset.
        out (str): The folder.
        paths (Mapping[str, str]): Key to file; images that it lacks are left out.
        root (str, optional): The folder that keys are relative to: frames of videos, kept or not, are then written once, as JPEG
            below ``frames``. Defaults to None: they are left out.
        overwrite (bool): Replace the samples that are there. Defaults to False.
        progress (Stages): Shows the writing of frames. Defaults to ``SILENT``.

    Returns:
        Exported | None: The frames.

    Raises:
        ConfigError: There are samples in ``out``.
        DatasetError: No image has a file.
    """
    out = Path(out)
    _free(out / 'samples.json', overwrite)
    exported, files = None, {key: os.path.abspath(path) for key, path in paths.items() if not is_frame(key)}
    frames = subset.frames & subset.readable
    if root is not None and frames.any():
        table = set_column(subset.table, 'keep', pa.array(frames))
        exported = export_images(replace(subset, table=table), root, out / FRAMES, progress=progress)
        files |= {row.key: f'{FRAMES}/{row.file}' for row in exported.rows}
    groups, samples = group_of(subset), []
    for row in _rows(subset):
        key, label = row.pop('image'), row.pop('label')
        if key in files:
            fields = {'key': key, **row, 'group': groups.get(key)}
            if label is not None:
                fields['label'] = {'_cls': 'Classification', 'tags': [], 'label': label}
            tags = ['kept'] if row['keep'] else ['removed', row['reason']]
            samples.append({'filepath': files[key], 'tags': tags, **{n: v for n, v in fields.items() if v is not None}})
    if not samples:
        raise DatasetError('No image of the subset has a file. Name the image folder with --images DIR.')
    # what the library cannot tell from the values: a column may be null in every sample
    schema = {
        _FIELD_NAMES.get(field.name, field.name): _FIELDS[field.type]
        for field in _exportable(subset).schema
        if field.name != 'label'
    }
    schema |= {'group': _FIELDS[pa.string()]}
    metadata = {
        'name': 'mmdel',
        'media_type': 'image',
        'sample_fields': _FIXED | schema | _LABEL,
        'info': _about(subset),
    }
    write_text(out / 'metadata.json', json.dumps(metadata, ensure_ascii=False, allow_nan=False, indent=1) + '\n')
    write_text(out / 'samples.json', json.dumps({'samples': samples}, ensure_ascii=False, allow_nan=False) + '\n')
    return exported


def group_of(subset: Subset) -> dict[str, str]:
    """For each image the kept image that stands for it, the end of the chain of what removed it; others are left out."""
    table = subset.table
    by = dict(zip(table['image'].to_pylist(), table['removed_by'].to_pylist(), strict=True))
    group = {key: key for key in subset.kept}
    duplicates = {row['image'] for row in table.select(['image', 'reason']).to_pylist() if row['reason'] == 'duplicate'}
    for key in duplicates:
        chain = []
        while key in duplicates and key not in group and key not in chain:  # a foreign file may go in circles
            chain.append(key)
            key = by[key]
        if key in group:
            group |= dict.fromkeys(chain, group[key])
    return group


# --- private

_FIELDS = {
    pa.string(): 'fiftyone.core.fields.StringField',
    pa.int64(): 'fiftyone.core.fields.IntField',
    pa.int32(): 'fiftyone.core.fields.IntField',
    pa.float32(): 'fiftyone.core.fields.FloatField',
    pa.float64(): 'fiftyone.core.fields.FloatField',
    pa.bool_(): 'fiftyone.core.fields.BooleanField',
}
_FIELD_NAMES = {'image': 'key'}
_LABEL = {'label': 'fiftyone.core.fields.EmbeddedDocumentField(fiftyone.core.labels.Classification)'}
_FIXED = {
    'filepath': 'fiftyone.core.fields.StringField',
    'tags': 'fiftyone.core.fields.ListField(fiftyone.core.fields.StringField)',
}


def _free(out: str | os.PathLike[str], overwrite: bool) -> Path:
    if os.path.lexists(out) and not overwrite:
        raise ConfigError(f'{out} is there already. Choose another --out, or replace it with --overwrite.')
    return Path(out)


def _about(subset: Subset) -> dict[str, Any]:
    return {
        name: subset.metadata.get(name) for name in ('mmdel', 'images', 'kept', 'ratio', 'eta', 'selector', 'asked')
    }


def _rows(subset: Subset) -> list[dict[str, Any]]:
    """Rows for JSON, which knows no NaN."""
    rows = _exportable(subset).to_pylist()
    for row in rows:
        row |= {name: None for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)}
    return rows


def _exportable(subset: Subset) -> pa.Table:
    """The columns that other forms can hold; a column that is not known may be anything."""
    table = subset.table
    return table.select([field.name for field in table.schema if field.type in _FIELDS])


def _values(column: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_floating(column.type):  # the shortest text that is this number
        kind = np.float32 if column.type == pa.float32() else np.float64
        return [None if value is None else str(kind(value)) for value in column.to_pylist()]
    return column.to_pylist()


def _cell(value: Any, kind: pa.DataType) -> str:
    if value is None:
        return ''
    if pa.types.is_string(kind):
        return ESCAPE + value if not value or value.startswith((*FORMULAS, ESCAPE)) else value
    return _SPECIAL[value] if isinstance(value, bool) else str(value)


def _value(cell: str, kind: pa.DataType) -> Any:
    if not cell:
        return None
    if pa.types.is_string(kind):
        return cell.removeprefix(ESCAPE)
    if pa.types.is_boolean(kind):
        # spreadsheets write it in capitals
        return {'true': True, 'false': False}[cell.lower()]
    return float(cell) if pa.types.is_floating(kind) else int(cell)
