"""The results table of a study: one row per cell, with the origin of its number.

    results = collect(plan)
    write_results(plan, results)         # results.parquet, results.csv, per_image.parquet

A row is made when its evaluation ends, and the table then knows it: work dirs and checkpoints may go. Every planned cell has
a row, also one that failed or was not run yet; such a row has no value, and says why. Nothing in the files depends on when or
where something ran, so that a study that was killed and started again ends with the same bytes.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet as pq

import mmdel
from mmdel.compute.files import atomic, file_digest
from mmdel.errors import DatasetError
from mmdel.evaluation.class_iou_metric import PER_IMAGE as PER_IMAGE_COLUMNS
from mmdel.study.outputs import DONE, FAILED, Record, encoder_file, read_record, record_path
from mmdel.study.plan import EVALUATE, FINETUNE, PER_IMAGE, PRETRAIN, SELECT, Cell, Plan

RESULTS, RESULTS_CSV, PER_IMAGE_TABLE = 'results.parquet', 'results.csv', 'per_image.parquet'
MISSING = 'missing'

SCHEMA = pa.schema(
    [
        ('cell', pa.string()),
        ('planned', pa.bool_()),
        ('status', pa.string()),
        ('group', pa.string()),
        ('kind', pa.string()),
        ('ratio_asked', pa.float64()),
        ('ratio', pa.float64()),
        ('seed', pa.int64()),
        ('share', pa.float64()),
        ('downstream', pa.string()),
        ('encoder', pa.string()),
        ('metric', pa.string()),
        ('value', pa.float64()),
        ('values', pa.string()),
        ('validations', pa.string()),
        ('selector', pa.string()),
        ('embedder', pa.string()),
        ('subset', pa.string()),
        ('images', pa.int64()),
        ('kept', pa.int64()),
        ('eta_low', pa.float64()),
        ('eta_high', pa.float64()),
        ('epochs', pa.int64()),
        ('checkpoint_epoch', pa.int64()),
        ('checkpoint', pa.string()),
        ('iterations', pa.int64()),
        ('model', pa.string()),
        ('per_image', pa.string()),
        ('configs', pa.string()),
        ('threads', pa.int64()),
        ('versions', pa.string()),
        ('message', pa.string()),
        ('log', pa.string()),
    ]
)
"""``cell`` is the digest of all inputs; ``planned`` is false for a cell that the config no longer asks for; ``status`` is
'done', 'failed' or 'missing'; ``ratio`` is exact, ``share`` how much of the pre-training was over. ``value`` is in percent,
``values`` all figures of the evaluation and ``validations`` those of the fine-tuning, [[iteration, value], ...]. ``subset`` and
``per_image`` are sha256 of files, ``checkpoint`` (the encoder) and ``model`` of weights. ``values``, ``validations``,
``selector``, ``embedder``, ``configs`` and ``versions`` are JSON; ``log`` is relative to the work dir."""

PER_IMAGE_SCHEMA = pa.schema(
    [
        ('cell', pa.string()),
        ('image', pa.string()),
        ('class', pa.string()),
        ('intersection', pa.int64()),
        ('union', pa.int64()),
    ]
)

_PACKAGES = ('torch', 'numpy', 'mmengine', 'mmcv', 'mmpretrain', 'mmsegmentation', 'faiss-cpu', 'faiss-gpu')


@dataclass(frozen=True)
class Results:
    """The table.

    Args:
        rows (tuple[dict]): Columns of :data:`SCHEMA`; planned cells first, in the order of the plan.
        per_image (pa.Table): Columns of :data:`PER_IMAGE_SCHEMA`, of the cells whose evaluation measures images one by one.
    """

    rows: tuple[dict[str, Any], ...]
    per_image: pa.Table

    @property
    def planned(self) -> list[dict[str, Any]]:
        """The rows that the config asks for."""
        return [row for row in self.rows if row['planned']]

    def count(self, status: str) -> int:
        """How many planned cells have that status."""
        return sum(row['status'] == status for row in self.planned)

    def images_of(self, cell: str) -> pa.Table:
        """The images of one cell, sorted by image and class."""
        return self.per_image.filter(pa.compute.equal(self.per_image['cell'], cell))


def finished_row(plan: Plan, cell: Cell, records: Mapping[str, Record]) -> dict[str, Any]:
    """The row of a cell whose evaluation has ended.

    Args:
        plan (Plan): The plan.
        cell (Cell): The cell.
        records (Mapping): Kind of run -> record, of all runs of the cell.

    Raises:
        DatasetError: The evaluation did not give the metric that the study asks for.
    """
    select, pretrain, evaluate = (records.get(kind) for kind in (SELECT, PRETRAIN, EVALUATE))
    model = records[FINETUNE].results
    metrics = evaluate.results['metrics'] if evaluate is not None else {}
    if cell.metric not in metrics:
        raise DatasetError(
            f'The evaluation of {cell.downstream!r} has no metric {cell.metric!r}. It has: {", ".join(metrics) or "none"}.'
        )
    row = {
        **_about(cell),
        'status': DONE,
        'value': metrics[cell.metric],
        'values': _json(metrics),
        'validations': _json(
            [[line['step'], line[cell.metric]] for line in model['validations'] if cell.metric in line]
        ),
        'iterations': model['iterations'],
        'model': model['weights'],
        'per_image': evaluate.files.get(PER_IMAGE) if evaluate is not None else None,
        'threads': plan.study.threads,
        'versions': _json(_versions()),
    }
    if pretrain is not None:
        epoch, name = encoder_file(pretrain.results, cell.share)
        weights = pretrain.results['weights'][name]
        row |= {'epochs': pretrain.results['epochs'], 'checkpoint_epoch': epoch, 'checkpoint': weights, 'ratio': 1.0}
    if select is not None:
        found = select.results
        row |= {name: found[name] for name in ('subset', 'images', 'kept', 'ratio')}
        row |= dict(zip(('eta_low', 'eta_high'), found['eta'] or (None, None), strict=True))
        row['embedder'] = _json(found['embedder'])
    return _complete(row)


def collect(plan: Plan) -> Results:
    """Every planned cell's row, from what its runs recorded or from the table that is there already.

    Raises:
        DatasetError: The table that is there cannot be read.
    """
    work_dir = plan.study.work_dir
    before = read_results(work_dir) if (work_dir / RESULTS).exists() else Results((), PER_IMAGE_SCHEMA.empty_table())
    known = {row['cell']: row for row in before.rows if row['status'] == DONE}
    rows = []
    for cell in plan.cells:
        row = _recorded(plan, cell) or known.get(cell.digest) or _unfinished(plan, cell)
        rows.append({**row, **_named(cell), 'planned': True})
    asked = {cell.digest for cell in plan.cells}
    rows += [{**row, 'planned': False} for digest, row in sorted(known.items()) if digest not in asked]
    return Results(tuple(rows), _per_image(plan, rows, before.per_image))


def write_results(plan: Plan, results: Results) -> None:
    """Write the three files, atomically; equal results give equal bytes."""
    folder = plan.study.work_dir
    table = pa.Table.from_pylist(list(results.rows), schema=SCHEMA)
    with atomic(folder / PER_IMAGE_TABLE) as temporary:
        pq.write_table(results.per_image, temporary, compression='zstd')
    with atomic(folder / RESULTS) as temporary:
        pq.write_table(table, temporary, compression='zstd')
    with atomic(folder / RESULTS_CSV) as temporary:
        pa.csv.write_csv(table, temporary)


def read_results(folder: str | os.PathLike[str]) -> Results:
    """Read the table of a study.

    Args:
        folder (str): A work dir of a study, or any folder with its ``results.parquet`` (and ``per_image.parquet``).

    Raises:
        DatasetError: A file is missing, damaged, or has other columns.
    """
    folder = Path(folder)
    rows = _read(folder / RESULTS, SCHEMA).to_pylist()
    images = folder / PER_IMAGE_TABLE
    per_image = _read(images, PER_IMAGE_SCHEMA) if images.exists() else PER_IMAGE_SCHEMA.empty_table()
    return Results(tuple(rows), per_image)


# --- rows


def _about(cell: Cell) -> dict[str, Any]:
    """What is known of a cell before it has run."""
    return {
        'cell': cell.digest,
        'planned': True,
        **_named(cell),
        'kind': cell.kind,
        'ratio_asked': cell.ratio,
        'seed': cell.seed,
        'share': cell.share,
        'encoder': cell.encoder,
        'metric': cell.metric,
        'selector': None if cell.selector is None else _json(cell.selector),
        'configs': _json(cell.configs),
    }


def _named(cell: Cell) -> dict[str, str]:
    """What a config may call otherwise without a run being another one."""
    return {'group': cell.group, 'downstream': cell.downstream}


def _recorded(plan: Plan, cell: Cell) -> dict[str, Any] | None:
    record = read_record(plan.study.work_dir, plan.runs[cell.runs[-1]])
    row = record.results.get('row') if record is not None and record.status == DONE else None
    return None if row is None else _complete(row)


def _unfinished(plan: Plan, cell: Cell) -> dict[str, Any]:
    for name in cell.runs:
        record = read_record(plan.study.work_dir, plan.runs[name])
        if record is not None and record.status == FAILED:
            log = record_path(plan.study.work_dir, plan.runs[name], '.log')
            place = log.relative_to(plan.study.work_dir).as_posix()
            return _complete({**_about(cell), 'status': FAILED, 'message': f'{name}: {record.message}', 'log': place})
    return _complete({**_about(cell), 'status': MISSING, 'message': 'not run yet'})


def _complete(row: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: row.get(field.name) for field in SCHEMA}


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@cache
def _versions() -> dict[str, str]:
    found = {'mmdel': mmdel.__version__}
    for name in _PACKAGES:
        for package in (name, f'onedl-{name}'):
            try:
                found[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                continue
    return found


# --- files


def _per_image(plan: Plan, rows: Iterable[Mapping[str, Any]], before: pa.Table) -> pa.Table:
    """The images of every finished cell: from its own file, or from the table that is there already."""
    folders = {cell.digest: plan.study.work_dir / cell.runs[-1] for cell in plan.cells}
    parts, kept = [], []
    for row in rows:
        file = folders.get(row['cell'], Path()) / PER_IMAGE
        if row['per_image'] is None:
            continue
        if row['cell'] in folders and file.is_file() and file_digest(file) == row['per_image']:
            types = dict(zip(PER_IMAGE_COLUMNS, PER_IMAGE_SCHEMA.types[1:], strict=True))
            options = pa.csv.ConvertOptions(column_types=types)
            images = pa.csv.read_csv(file, convert_options=options)
            parts.append(images.add_column(0, 'cell', pa.array([row['cell']] * len(images), pa.string())))
        else:
            kept.append(row['cell'])
    mask = pa.compute.is_in(before['cell'], pa.array(kept, pa.string()))
    table = pa.concat_tables([before.filter(mask), *(part.cast(PER_IMAGE_SCHEMA) for part in parts)])
    return table.sort_by([(name, 'ascending') for name in ('cell', 'image', 'class')]).combine_chunks()


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        table = pq.read_table(path, memory_map=False, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(
            f'{path} is no table of a study ({error}). Collect it again: mmdel study CONFIG --collect'
        ) from error
    if not table.schema.equals(schema):
        raise DatasetError(
            f'{path} has other columns than a table of this mmdel. Collect it again after moving it away.'
        )
    return table
