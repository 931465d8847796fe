"""The result of a leak check on disk: ``leaks.json`` for mmdel, ``leaks.csv`` for people and other programs.

Both lie beside ``subset.parquet``. They name the files of test images, so they belong to the machine that wrote them.
"""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from mmdel.compute.files import csv_text, write_text
from mmdel.errors import ConfigError, SubsetError
from mmdel.selection.findings import CheckedSet, Leak, LeakReport, LeakRule
from mmdel.subset import Subset

RECORD, TABLE = 'leaks.json', 'leaks.csv'


def write_leaks(folder: Path, report: LeakReport, subset: Subset) -> None:
    """Write both files.

    Args:
        folder (Path): The work dir.
        report (LeakReport): What was found.
        subset (Subset): Says what became of the images.
    """
    write_text(folder / RECORD, json.dumps(asdict(report), indent=1, sort_keys=True) + '\n')
    reason = subset.reasons(pair.image for pair in report.pairs)
    names = [field.name for field in fields(Leak)]
    rows: list[list[Any]] = [[*names, 'reason']]
    for pair in report.pairs:
        values = {**asdict(pair), 'cosine': f'{pair.cosine:.6f}', 'agreement': f'{pair.agreement:.6f}'}
        rows.append([*(values[name] for name in names), reason.get(pair.image, '')])
    write_text(folder / TABLE, csv_text(rows))


def read_leaks(folder: Path) -> LeakReport | None:
    """Read ``leaks.json``; None where there is none.

    Raises:
        SubsetError: The file is damaged.
    """
    path = folder / RECORD
    try:
        values = json.loads(path.read_bytes())
        report = LeakReport(
            LeakRule(**values['rule']),
            _checked(values['pool'], int),
            tuple(_build(CheckedSet, each) for each in values['sets']),
            tuple(_build(Leak, each) for each in values['pairs']),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError, ConfigError) as error:
        raise SubsetError(f'{path} is damaged ({error}). Run mmdel leaks again, or remove it.') from error
    return report


def remove_leaks(folder: Path) -> None:
    """Remove what an earlier check of another pool left."""
    for name in (RECORD, TABLE):
        (folder / name).unlink(missing_ok=True)


def _build(kind: Any, values: dict[str, Any]) -> Any:
    """The dataclass, every field of the type that it says."""
    return kind(**{field.name: _checked(values[field.name], field.type) for field in fields(kind)})


def _checked(value: Any, kind: Any) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f'{value!r} is no {kind.__name__}')
    return value
