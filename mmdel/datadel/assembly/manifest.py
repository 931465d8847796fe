"""What has been assembled: a line for each file, so that a second run has nothing to do and a killed one goes on.

The manifest is written when a dataset is finished, and is the sign of that. Until then each file placed is a line of a journal.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from mmdel.compute.files import FileState, file_state, write_text
from mmdel.errors import DatasetError

FORMAT = 1


@dataclass(frozen=True)
class Placed:
    """One file of the result.

    Args:
        target (str): Below the dataset's folder.
        part (str): What it is counted as, '' for a mask.
        kind (str): 'image', 'video', 'binary' or 'index'.
        how (str): 'link', 'copy', or 'written' from an archive or made.
        size (int): Bytes.
        mtime (int): When it was changed, nanoseconds.
        sources (str): What it comes from, for people.
        signature (str): Of the sources.
        ctime (int): When anything of it was changed, nanoseconds. Defaults to -1, not noted.
        inode (int): Its number on the disk. Defaults to -1, not noted.
    """

    target: str
    part: str
    kind: str
    how: str
    size: int
    mtime: int
    sources: str
    signature: str
    ctime: int = -1
    inode: int = -1

    def is_there(self, folder: Path) -> bool:
        """Whether a file of that size and time lies there: this one, or a copy in a folder that has moved."""
        return self._state(folder)[:2] == (self.size, self.mtime)

    def is_certain(self, folder: Path) -> bool:
        """Whether it is this very file, and nobody has written to it; a link gives what its source holds, whatever that is."""
        state = self._state(folder)
        return state == (self.size, self.mtime, self.ctime, self.inode) and (self.how == 'link' or state.tells)

    def _state(self, folder: Path) -> FileState:
        return file_state(str(folder / self.target))


@dataclass
class Manifest:
    """The files of one assembled dataset.

    Args:
        path (Path): Where it is kept.
        form (str): The native form it came from. Defaults to ''.
        left_out (dict[str, int]): What was left out on purpose.
        placed (dict[str, Placed]): By target.
        finished (bool): Whether the last run came to its end. Defaults to False.
    """

    path: Path
    form: str = ''
    left_out: dict[str, int] = field(default_factory=dict)
    placed: dict[str, Placed] = field(default_factory=dict)
    finished: bool = False

    @classmethod
    def read(cls, path: Path) -> 'Manifest':
        """Read a manifest and the journal beside it; an empty one where there is none.

        Raises:
            DatasetError: It is damaged or of a later version.
        """
        manifest = cls(path)
        journal = manifest.journal
        if path.is_file():
            manifest._take(path.read_text(encoding='utf-8').splitlines(), strict=True)
            manifest.finished = not journal.is_file()
        if journal.is_file():
            manifest._take(journal.read_text(encoding='utf-8', errors='replace').splitlines(), strict=False)
        return manifest

    @property
    def journal(self) -> Path:
        """The journal beside it."""
        return self.path.with_suffix('.journal')

    def write(self) -> None:
        """Write it where it differs from what is there, and end the journal."""
        lines = [self._header(), *(_line(self.placed[target]) for target in sorted(self.placed))]
        text = ''.join(f'{line}\n' for line in lines)
        if not self.path.is_file() or self.path.read_text(encoding='utf-8') != text:
            write_text(self.path, text)
        self.journal.unlink(missing_ok=True)
        self.finished = True

    def _header(self) -> str:
        return json.dumps({'format': FORMAT, 'form': self.form, 'left_out': self.left_out}, ensure_ascii=False)

    def _take(self, lines: Sequence[str], strict: bool) -> None:
        for number, line in enumerate(lines):
            try:
                value = json.loads(line)
                if isinstance(value, dict):
                    if value['format'] != FORMAT:
                        raise ValueError(f'format {value["format"]} instead of {FORMAT}')
                    self.form, self.left_out = value['form'], value['left_out']
                else:
                    placed = Placed(*value)
                    self.placed[placed.target] = placed
            except (ValueError, KeyError, TypeError) as error:
                if not strict:  # the last line of a run that was killed
                    continue
                raise DatasetError(
                    f'{self.path} is damaged in line {number + 1} ({error}). Remove it: what is '
                    'assembled is then looked at again.'
                ) from error


class Journal:
    """Appends to a manifest while a dataset is assembled; nothing is written before the first file.

    Args:
        manifest (Manifest): What it belongs to.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.changed = False
        self._file: IO[str] | None = None

    def add(self, placed: Placed) -> None:
        """Note one file that lies in its place."""
        self._write(_line(placed))
        self.manifest.placed[placed.target] = placed

    def __enter__(self) -> 'Journal':
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def _write(self, line: str) -> None:
        if self._file is None:
            self.manifest.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.manifest.journal, 'a', encoding='utf-8')  # noqa: SIM115
            self._file.write('\n' + self.manifest._header() + '\n')  # a torn line of a killed run ends here
            self.changed = True
        self._file.write(line + '\n')
        self._file.flush()


def _line(placed: Placed) -> str:
    values = [getattr(placed, name) for name in Placed.__dataclass_fields__]
    return json.dumps(values, ensure_ascii=False)
