"""What the catalogue says about one dataset."""

from dataclasses import dataclass


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


@dataclass(frozen=True)
class Entry:
    """One row of Table 1, and what a person needs to get the dataset and to recognise it.

    Args:
        id (str): Its folder below ``data/datadel``.
        name (str): As Table 1 prints it.
        division (str): 'pretraining' or 'downstream'.
        task (str): As Table 1 prints it.
        centres (int, optional): Medical centres in Table 1; None for "Not mentioned".
        videos (int): Videos in Table 1.
        frames (int): Frames in Table 1.
        disease (str): As Table 1 prints it.
        citation (str): The publication, short.
        licence (str): The meaning of the terms, short. The page is what counts.
        page (str): The official page.
        archives (tuple[str, ...]): Names of the files that people download.
        layout (tuple[str, ...]): What is in them, one native form a line.
        expected (dict[str, int]): How many of each part the source itself holds, by the name of the part.
        dataset (str): The class that reads it, for configs. Defaults to 'mmdel.DataDEL'.
        links (tuple[Link, ...]): Official direct links. Defaults to ().
        notes (tuple[str, ...]): Where the source and Table 1 disagree, what an entry rests on, what is not known. Defaults to ().
    """

    id: str
    name: str
    division: str
    task: str
    centres: int | None
    videos: int
    frames: int
    disease: str
    citation: str
    licence: str
    page: str
    archives: tuple[str, ...]
    layout: tuple[str, ...]
    expected: dict[str, int]
    dataset: str = 'mmdel.DataDEL'
    links: tuple[Link, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def how_to_get(self) -> str:
        """One sentence for a person who does not have it yet."""
        how = f'{self.page}: {", ".join(self.archives)} ({self.licence})'
        return f'{how}; or --download {self.id}' if self.links else how
