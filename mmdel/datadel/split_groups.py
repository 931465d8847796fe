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
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mmdel.errors import DatasetError
from mmdel.images.image_folder import counted, stem_of, three
from mmdel.subset import plain_tables

CLINICDB_FIRST_FRAMES = (
    *(1, 26, 51, 68, 79, 104, 127, 152, 178, 200, 206, 228, 253, 278, 298),
    *(318, 343, 364, 384, 409, 429, 448, 467, 479, 504, 529, 547, 572, 592),
)
"""First frame of each of the 29 sequences of CVC-ClinicDB, frames 1 to 612, as the description of the release tabulates them."""

CLINICDB_FRAMES = 612

_POLYPGEN_SEQUENCE = re.compile(r'(?<![a-z])seq\d+(_neg)?(_C[1-6](?!\d))?', re.IGNORECASE)
_POLYPGEN_CENTRE = re.compile(r'(?<![A-Za-z0-9])C[1-6](?![A-Za-z0-9])')
_EAD_RECORDING = re.compile(r'(\d+_[A-Z]_[A-Z]\d+)_\d{5}')


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
        rule, source = _RULES.get(dataset, (lambda stems: {}, ''))
        found = rule(images)
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


def _clinicdb(stems: Iterable[str]) -> dict[str, str]:
    frames = {stem: int(name) for stem in stems if (name := stem.rpartition('/')[2]).isdecimal()}
    stems = list(stems)
    # numbers of another kind would be given wrong sequences
    if len(frames) < len(stems) or not all(1 <= frame <= CLINICDB_FRAMES for frame in frames.values()):
        return {}
    return {stem: f'sequence {bisect_right(CLINICDB_FIRST_FRAMES, frame)}' for stem, frame in frames.items()}


def _polypgen(stems: Iterable[str]) -> dict[str, str]:
    groups = {}
    for stem in stems:
        match = _POLYPGEN_SEQUENCE.search(stem) or _POLYPGEN_CENTRE.search(stem)
        if match:
            groups[stem] = match[0]
    return groups


def _ead(stems: Iterable[str]) -> dict[str, str]:
    matches = {stem: _EAD_RECORDING.fullmatch(stem.rpartition('/')[2]) for stem in stems}
    return {stem: match[1] for stem, match in matches.items() if match}


_RULES: dict[str, tuple[Callable[[Iterable[str]], dict[str, str]], str]] = {
    'cvc-clinicdb': (_clinicdb, 'sequences from the frame numbers of the release'),
    'polypgen': (_polypgen, 'sequences, else centres, from the file names of the release'),
    'ead2019': (_ead, 'recordings from the file names of the release'),
}


def _from_table(path: str | os.PathLike[str], images: Mapping[str, str], notes: list[str]) -> dict[str, str]:
    header, *table_rows = plain_tables.read_rows(path)
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
