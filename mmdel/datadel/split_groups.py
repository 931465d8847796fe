"""Which images of a dataset belong together, so that no split may separate them.

    groups = group_images(by_stem('data/datadel/cvc-clinicdb/images'), 'cvc-clinicdb')
    groups.of['305']     # 'sequence 15'
    groups.source        # 'sequences from the frame numbers of the release'

A group is a sequence, a video, a patient or a centre: from a ``groups.csv`` with the columns ``stem`` and ``group``, else from
the file names of a dataset whose release gives them a meaning, else every image is a group of its own. Files of equal
bytes are one group in any case.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mmdel.datadel.catalog import CATALOG
from mmdel.datadel.image_folder import stem_of
from mmdel.errors import DatasetError, counted, three
from mmdel.subset import plain_files


@dataclass(frozen=True)
class Groups:
    """The groups of a dataset.

    Args:
        of (dict[str, str]): The group of each image, by stem.
        source (str): What they rest on, for people.
        notes (tuple[str, ...]): What a person should know about them.
    """

    of: dict[str, str]
    source: str
    notes: tuple[str, ...] = ()


def group_images(images: Mapping[str, str], dataset: str, table: str | os.PathLike[str] | None = None) -> Groups:
    """The groups of a dataset's images.

    Args:
        images (Mapping[str, str]): Path of each image by stem.
        dataset (str): Which dataset, such as 'cvc-clinicdb'; any other name for images of your own.
        table (str, optional): A CSV file with the columns ``stem`` and ``group``. Defaults to None.

    Raises:
        DatasetError: The table cannot be read, or lacks images.
    """
    notes: list[str] = []
    if table is not None:
        found, source = _from_table(table, images, notes), os.path.basename(os.fspath(table))
    else:
        entry = CATALOG.get(dataset)
        found, source = (entry.grouping.of(images), entry.grouping.source) if entry and entry.grouping else ({}, '')
        if not found:
            source = 'none known: every image by itself'
            notes.append(
                'File names tell no sequence or patient: neighbouring frames of one recording may fall on both sides. '
                'Where you know better: --groups FILE.csv with the columns stem,group'
            )
        elif len(found) < len(images):
            lone = [stem for stem in images if stem not in found]
            notes.append(
                f'{counted(len(lone), "file name")} without a sequence or centre, each by itself: {three(lone)}'
            )
    groups = {stem: found.get(stem, stem) for stem in images}
    copies = _copies(images)
    if copies:
        notes.append(
            f'{counted(len(copies), "set")} of files with equal bytes stay together: {three(map(" = ".join, copies))}'
        )
    return Groups(_united(groups, copies), source, tuple(notes))


# --- private


def _from_table(path: str | os.PathLike[str], images: Mapping[str, str], notes: list[str]) -> dict[str, str]:
    header, *table_rows = plain_files.read_rows(path)
    if not {'stem', 'group'} <= set(header):
        raise DatasetError(f'{path} needs a first line with the columns stem,group.')
    stem_at, group_at = header.index('stem'), header.index('group')
    rows = [(row[stem_at], row[group_at].strip()) for row in table_rows]
    groups: dict[str, str] = {}
    others = 0
    for name, group in rows:
        stem = stem_of(name, images)
        if stem is None:
            others += 1
        elif not group or groups.setdefault(stem, group) != group:
            raise DatasetError(f'{path} gives {name} {"no group" if not group else "two groups"}.')
    missing = [stem for stem in images if stem not in groups]
    if missing:
        raise DatasetError(
            f'{path} has no group for {counted(len(missing), "image")} of {len(images)}: {three(missing)}. Give each one; '
            'an image that belongs to no other gets a group of its own.'
        )
    if others:
        notes.append(f'{counted(others, "row")} of {os.path.basename(os.fspath(path))} name no image of the folder')
    return groups


def _copies(images: Mapping[str, str]) -> list[list[str]]:
    """The stems of files with equal bytes; only files of equal size are read."""
    sizes: dict[int, list[str]] = defaultdict(list)
    for stem, path in images.items():
        sizes[os.path.getsize(path)].append(stem)
    digests: dict[bytes, list[str]] = defaultdict(list)
    for stems in sizes.values():
        for stem in stems if len(stems) > 1 else ():
            with open(images[stem], 'rb') as file:
                digests[hashlib.sha256(file.read()).digest()].append(stem)
    return sorted(stems for stems in digests.values() if len(stems) > 1)


def _united(groups: Mapping[str, str], together: Iterable[Iterable[str]]) -> dict[str, str]:
    """The groups, where those that share a set of equal files become one, under the smallest name."""
    parent = {group: group for group in groups.values()}

    def root(group: str) -> str:
        while parent[group] != group:
            group = parent[group]
        return group

    for stems in together:
        roots = sorted({root(groups[stem]) for stem in stems})
        for other in roots[1:]:
            parent[other] = roots[0]
    return {stem: root(group) for stem, group in groups.items()}
