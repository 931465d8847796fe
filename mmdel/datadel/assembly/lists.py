"""Official lists, groups and splits of an assembled segmentation dataset."""

import posixpath
from collections.abc import Sequence
from os.path import splitext
from pathlib import Path

from mmdel.compute.files import csv_rows, csv_text, write_text
from mmdel.datadel.assembly.manifest import Manifest
from mmdel.datadel.converters.converter import Plan
from mmdel.datadel.converters.raw import RawFile
from mmdel.datadel.splits import write_splits
from mmdel.errors import DatasetError, UnreadableImage
from mmdel.subset import plain_files

NAMES = {'train.txt': 'train', 'val.txt': 'val', 'valid.txt': 'val', 'test.txt': 'test'}
"""Lists as downloads call them, and as they are called here."""

_HEADER = 'stem,group,centre'


def name_of(path: str) -> str:
    """The list that a file below a dataset's root is, '' for none."""
    return NAMES.get(posixpath.basename(path).lower(), '')


def write(folder: Path, dataset: str, plan: Plan, manifest: Manifest) -> list[str]:
    """Write ``official/``, ``groups.csv`` and the splits of what is assembled.

    Args:
        folder (Path): The dataset's folder.
        dataset (str): Which one it is.
        plan (Plan): Lists and groups among the downloads.
        manifest (Manifest): What is assembled.

    Returns:
        list[str]: What a person should know.
    """
    stems = {splitext(target)[0].removeprefix('images/') for target in manifest.placed if target.startswith('images/')}
    notes = []
    for name, file in sorted(plan.lists.items()):
        notes += _official(folder / 'official' / f'{name}.txt', file, stems)
    _groups(folder / 'groups.csv', plan, stems)
    try:
        splits = write_splits(folder, dataset, overwrite=True)
    except DatasetError as error:
        return [*notes, f'no splits: {error}']
    sizes = ', '.join(f'{name} {len(names):,}' for name, names in splits.lists.items())
    return [*notes, f'splits: {sizes} ({splits.rules["train"]}; groups: {splits.groups.source})', *splits.notes]


# --- private


def _official(path: Path, file: RawFile, stems: set[str]) -> list[str]:
    try:
        data = file.local.read_bytes() if file.local else file.place.source.read(file.member)
        lines = plain_files.names_of(plain_files.lines_of(data, file.path), plain_files.trimmed)
    except (OSError, DatasetError, UnreadableImage) as error:
        return [f'{file.path} cannot be read as a list ({error})']
    named = [stem for line in lines if (stem := _stem(line, stems))]
    lost = len(lines) - len(named)
    notes = [f'{lost:,} images of the official list {file.path} are not in the result'] if lost else []
    there = path.read_text(encoding='utf-8').split('\n')[:-1] if path.is_file() else []
    if set(there) - set(named):
        return [*notes, f'{path} names other images than {file.path}, and is not touched']
    if named and there != named:
        write_text(path, ''.join(f'{stem}\n' for stem in dict.fromkeys(named)))
    return notes


def _stem(line: str, stems: set[str]) -> str:
    """The stem that a line names, with or without suffix and folder; '' for one that is not there."""
    name = line.replace('\\', '/').removeprefix('./').removeprefix('images/')
    return next((stem for stem in (name, splitext(name)[0]) if stem in stems), '')


def _groups(path: Path, plan: Plan, stems: set[str]) -> None:
    if not plan.groups:
        return
    rows = _rows(path)
    if rows is None:  # somebody's own table
        return
    rows |= {stem: group for stem, group in plan.groups.items() if stem in stems}
    text = csv_text([_HEADER.split(','), *((stem, *rows[stem]) for stem in sorted(rows))])
    if not path.is_file() or path.read_text(encoding='utf-8') != text:
        write_text(path, text)


def _rows(path: Path) -> dict[str, Sequence[str]] | None:
    if not path.is_file():
        return {}
    rows = csv_rows(path.read_text(encoding='utf-8'))
    if not rows or ','.join(rows[0]) != _HEADER:
        return None
    return {row[0]: row[1:] for row in rows[1:] if len(row) == 3}
