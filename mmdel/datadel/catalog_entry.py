"""What the catalogue says about one dataset."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from mmdel.datadel.converters.converter import Converter
from mmdel.datadel.groupings import Grouping

Colour: TypeAlias = tuple[int, int, int]
"""Red, green, blue in [0, 255]."""

BLACK, GREEN, CYAN, YELLOW, MAGENTA, BLUE = COLOURS = (
    *((0, 0, 0), (0, 255, 0), (0, 255, 255)),
    *((255, 255, 0), (255, 0, 255), (0, 0, 255)),
)
"""Mucosa is red, so none of these is."""


@dataclass(frozen=True)
class Link:
    """A direct link that the publisher of a dataset gives.

    Args:
        archive (str): The name of the file.
        url (str): Where it lies.
        size (int, optional): Bytes. Defaults to None, not published; the server tells.
        sha256 (str, optional): Checksum in hexadecimal digits. Defaults to None, not published.
        contents (str): What is in it, for people. Defaults to '', all of the dataset.
    """

    archive: str
    url: str
    size: int | None = None
    sha256: str | None = None
    contents: str = ''


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of Table 1, what a person needs to get the dataset, and what its class, converter and configs are made from.

    Args:
        id (str): Its folder below ``data/datadel``.
        name (str): As Table 1 prints it.
        division (str): 'pretraining' or 'downstream'. Defaults to 'downstream'.
        task (str): As Table 1 prints it.
        centres (int, optional): Medical centres in Table 1; None for "Not mentioned".
        videos (int): Videos in Table 1. Defaults to 0.
        frames (int): Frames in Table 1.
        disease (str): As Table 1 prints it.
        citation (str): The publication, short.
        licence (str): The meaning of the terms, short. The page is what counts.
        page (str): The official page.
        archives (tuple[str, ...]): Names of the files that people download.
        layout (tuple[str, ...]): What is in them, one native form a line.
        tells (re.Pattern, optional): What a path inside its folder tells of an image; a path that does not match tells nothing.
            Defaults to None.
        expected (dict[str, int]): How many of each part the source itself holds, by the name of the part.
        converter (Converter): What recognises it among downloads, and says what goes where.
        dataset (str): The class that reads it, for configs. Defaults to 'mmdel.DataDEL'.
        about (str): The docstring of that class. Defaults to ''.
        classes (Mapping[str, Colour]): The classes of its masks by their numbers, the background first, with colours to show
            them in. Defaults to {}, there are no masks.
        grouping (Grouping, optional): Which images belong together, where file names tell it. Defaults to None.
        links (tuple[Link, ...]): Official direct links. Defaults to ().
        notes (tuple[str, ...]): Where the source and Table 1 disagree, what an entry rests on, what is not known. Defaults to ().
    """

    id: str
    name: str
    division: str = 'downstream'
    task: str
    centres: int | None
    videos: int = 0
    frames: int
    disease: str
    citation: str
    licence: str
    page: str
    archives: tuple[str, ...]
    layout: tuple[str, ...]
    expected: dict[str, int]
    converter: Converter
    dataset: str = 'mmdel.DataDEL'
    about: str = ''
    classes: Mapping[str, Colour] = field(default_factory=dict)
    grouping: Grouping | None = None
    links: tuple[Link, ...] = ()
    notes: tuple[str, ...] = ()
    tells: re.Pattern[str] | None = None

    @property
    def how_to_get(self) -> str:
        """One sentence for a person who does not have it yet."""
        how = f'{self.page}: {", ".join(self.archives)} ({self.licence})'
        return f'{how}; or --download {self.id}' if self.links else how
