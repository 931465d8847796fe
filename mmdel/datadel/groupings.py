"""Datasets whose file names tell which images are of one sequence, centre or recording."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Grouping:
    """A rule for the groups of a dataset.

    Args:
        of (Callable): The group of each stem that tells it.
        source (str): What it rests on, for people.
    """

    of: Callable[[Iterable[str]], dict[str, str]]
    source: str


CLINICDB_FIRST_FRAMES = (
    *(1, 26, 51, 68, 79, 104, 127, 152, 178, 200, 206, 228, 253, 278, 298),
    *(318, 343, 364, 384, 409, 429, 448, 467, 479, 504, 529, 547, 572, 592),
)
"""First frame of each of the 29 sequences of CVC-ClinicDB, frames 1 to 612, as the description of the release tabulates them."""

CLINICDB_FRAMES = 612

_POLYPGEN_SEQUENCE = re.compile(r'(?<![a-z])seq\d+(_neg)?(_C[1-6](?!\d))?', re.IGNORECASE)
_POLYPGEN_CENTRE = re.compile(r'(?<![A-Za-z0-9])C[1-6](?![A-Za-z0-9])')
_EAD_RECORDING = re.compile(r'(\d+_[A-Z]_[A-Z]\d+)_\d{5}')


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


def polypgen_folder(stem: str) -> tuple[str, str]:
    """Group and centre of an assembled image: the folder is the group; the centre stands in it or in the name."""
    centre = _POLYPGEN_CENTRE.search(stem.replace('_', ' '))
    return stem.split('/')[0], centre[0] if centre else ''


CVC_CLINICDB = Grouping(_clinicdb, 'sequences from the frame numbers of the release')
POLYPGEN = Grouping(_polypgen, 'sequences, else centres, from the file names of the release')
EAD2019 = Grouping(_ead, 'recordings from the file names of the release')
