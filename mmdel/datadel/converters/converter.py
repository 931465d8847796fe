"""From the native form of one dataset to the canonical one: what a converter is.

A converter looks at keys only (see :mod:`mmdel.datadel.converters.raw`): it claims the files of its dataset and plans which
file goes where. Opening, checking and writing is done for all alike by :mod:`mmdel.datadel.assembly`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmdel.datadel.converters.raw import RawFile

Make = Callable[[Sequence[Path]], bytes]
"""Makes the bytes of a file from files on disk; raises UnreadableImage."""


@dataclass(frozen=True)
class Claim:
    """What a converter says about a key.

    Args:
        role (str): 'file' (goes where ``name`` says), 'image', 'mask', or 'rest' (belongs to the download, is not needed).
        name (str): The path below the dataset's folder, or the stem of an image or mask, or the name of a list.
        root (str): The outer folders, up to where the dataset begins.
        part (str): What it is counted as. Defaults to ''.
        form (str): Which native form it is of. Defaults to ''.
        label (str): The class of a mask. Defaults to ''.
    """

    role: str
    name: str
    root: str
    part: str = ''
    form: str = ''
    label: str = ''


@dataclass(frozen=True)
class Claimed:
    """A file and what a converter says about it."""

    file: RawFile
    claim: Claim


@dataclass(frozen=True)
class Put:
    """One file of the result.

    Args:
        target (str): Its path below the dataset's folder.
        sources (tuple[RawFile, ...]): What it comes from.
        make (Make, optional): How its bytes come about. Defaults to None: it is the first source as it is.
        kind (str): How it is checked: 'image', 'video', 'binary' or 'index'. Defaults to 'image'.
    """

    target: str
    sources: tuple[RawFile, ...]
    make: Make | None = None
    kind: str = 'image'


@dataclass(frozen=True)
class Task:
    """Files that are placed together or not at all: a file, or an image with its mask.

    Args:
        part (str): What it is counted as.
        puts (tuple[Put, ...]): The files; those of two have one size in pixels.
    """

    part: str
    puts: tuple[Put, ...]


@dataclass(frozen=True)
class Row:
    """One line of a ledger.

    Args:
        path (str): The file, as people know it.
        kind (str): 'unreadable', 'missing' or 'extra'.
        reason (str): Why it is not in the result.
    """

    path: str
    kind: str
    reason: str


@dataclass
class Plan:
    """What to do with the files of one dataset.

    Args:
        tasks (list[Task]): What to place.
        rows (list[Row]): What is left out.
        roots (tuple[str, ...]): Where the dataset lies; unknown files below are extra.
        form (str): The native form that is taken.
        lists (dict[str, RawFile]): Official lists by name.
        groups (dict[str, tuple[str, str]]): Sequence and centre by stem, where names tell them.
        left_out (dict[str, int]): What is known and left out on purpose, by what it is.
        notes (list[str]): For people.
    """

    tasks: list[Task] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    roots: tuple[str, ...] = ()
    form: str = ''
    lists: dict[str, RawFile] = field(default_factory=dict)
    groups: dict[str, tuple[str, str]] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Converter(ABC):
    """Brings one dataset from its native forms into the canonical one."""

    @abstractmethod
    def claim(self, key: str) -> Claim | None:
        """What a file is to this dataset, by its key alone; None for nothing."""

    def is_rest(self, path: str) -> bool:
        """Whether a file below the dataset's root belongs to the download and is not needed."""
        return False

    @abstractmethod
    def plan(self, claimed: Sequence[Claimed], form: str = '', classes: Sequence[str] = ()) -> Plan:
        """What to do with the files it has claimed.

        Args:
            claimed (Sequence[Claimed]): Files on disk first.
            form (str): The native form that is in the result already, and is to be kept. Defaults to ''.
            classes (Sequence[str]): Of the masks, the background first. Defaults to (), there are none.
        """
