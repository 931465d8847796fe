"""One file comes to its place: linked, copied, or written from an archive; never in part, and never over somebody's file."""

import filecmp
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from mmdel.compute.files import FileState
from mmdel.datadel.assembly import checks
from mmdel.datadel.assembly.manifest import Journal, Placed
from mmdel.datadel.converters.converter import Put, Row, Task
from mmdel.datadel.converters.raw import RawFile
from mmdel.errors import DatasetError, UnreadableImage


@dataclass
class Placer:
    """Places the files of a dataset.

    Args:
        folder (Path): The dataset's folder.
        staging (Path): A folder on the same disk, where files lie until they are whole and checked. (Not the atomic writer of
            ``mmdel.compute.files``: it looks through the target's folder each time, which may hold 100,000 files.)
        copy (bool): Whether files on disk are copied; else linked.
        labels (int): Classes of the masks.
    """

    folder: Path
    staging: Path
    copy: bool
    labels: int

    def is_done(self, task: Task, journal: Journal) -> bool:
        """Whether the files of a task lie in their places already, made of the same sources in the same way."""
        for put in task.puts:
            placed = journal.manifest.placed.get(put.target)
            if placed is None or placed.how != self._how(put) or not placed.is_certain(self.folder):
                return False
            if placed.signature != _signature(put) or not all(source.signature for source in put.sources):
                return False
        return True

    def place(self, task: Task, journal: Journal) -> list[Row]:
        """Check the files of a task and place them all, or none and say why."""
        ready: list[tuple[Put, Path]] = []
        sizes: list[tuple[int, int] | None] = []
        try:
            for number, put in enumerate(task.puts):
                blamed = put.sources[0]
                try:
                    path = self._prepare(put, number)
                    sizes.append(checks.check(path, put.kind, self.labels if put.kind == 'index' else None))
                except _Blame as error:
                    return [Row(error.source.path, 'unreadable', error.reason)]
                except UnreadableImage as error:
                    return [Row(blamed.path, 'unreadable', error.reason)]
                except OSError as error:
                    return [Row(blamed.path, 'unreadable', f'cannot be read: {(error.strerror or str(error)).lower()}')]
                ready.append((put, path))
            if len(set(sizes)) > 1 and None not in sizes:
                (width, height), (wide, high) = sizes[0] or (0, 0), sizes[1] or (0, 0)
                reason = f'has {wide} x {high} px, its image {task.puts[0].sources[0].path} has {width} x {height}'
                return [Row(task.puts[1].sources[0].path, 'unreadable', reason)]
            for put, path in ready:
                if not self._is_free(put, path, journal):
                    reason = f'another file lies at {self.folder.name}/{put.target} already, and is not touched'
                    return [Row(put.sources[0].path, 'missing', reason)]
            for number, (put, path) in enumerate(ready):
                journal.add(self._move(put, path, task.part if number == 0 else ''))
        finally:
            clean(self.staging)
        return []

    # --- private

    def _how(self, put: Put) -> str:
        if put.make or put.sources[0].local is None:
            return 'written'
        return 'copy' if self.copy else 'link'

    def _prepare(self, put: Put, number: int) -> Path:
        """The path where the bytes of a file lie: the download itself, or a file in staging."""
        if put.make is None:
            return put.sources[0].local or self._unpack(put.sources[0], f'{number}')
        paths = [source.local or self._unpack(source, f'{number}-{part}') for part, source in enumerate(put.sources)]
        made = self.staging / f'incoming-{number}-made.png'
        made.write_bytes(put.make(paths))
        return made

    def _unpack(self, source: RawFile, name: str) -> Path:
        path = self.staging / f'incoming-{name}{os.path.splitext(source.path)[1]}'
        try:
            with open(path, 'wb') as file:
                for block in source.place.source.blocks(source.member):
                    file.write(block)
        except UnreadableImage as error:
            raise _Blame(source, error.reason) from error
        return path

    def _is_free(self, put: Put, path: Path, journal: Journal) -> bool:
        """Whether nothing is in the way but what was placed here before."""
        target = self.folder / put.target
        if not os.path.lexists(target):
            return True
        placed = journal.manifest.placed.get(put.target)
        if placed is not None and (placed.is_there(self.folder) or target.is_symlink()):
            return True
        # the run was killed between the file and its line, or somebody has put the very file there
        return target.is_file() and filecmp.cmp(target, path, shallow=False)

    def _move(self, put: Put, path: Path, part: str) -> Placed:
        target = self.folder / put.target
        target.parent.mkdir(parents=True, exist_ok=True)
        how = self._how(put)
        incoming = self.staging / 'incoming'
        if how == 'link':
            _link(path, incoming, target.parent)
            os.replace(incoming, target)
        elif not (target.is_file() and not target.is_symlink() and filecmp.cmp(target, path, shallow=False)):
            if how == 'copy':
                shutil.copy2(path, incoming)
            os.replace(incoming if how == 'copy' else path, target)
        state = FileState.of(os.stat(target))
        sources = '; '.join(source.path for source in put.sources)
        stamps = state.size, state.mtime_ns, sources, _signature(put), state.ctime_ns, state.inode
        return Placed(put.target, part, put.kind, how, *stamps)


class _Blame(Exception):
    def __init__(self, source: RawFile, reason: str) -> None:
        super().__init__(reason)
        self.source = source
        self.reason = reason


def _link(path: Path, link: Path, folder: Path) -> None:
    """A symbolic link, relative, so that both may move together; a hard link where a system has no other."""
    source = os.path.realpath(path)
    try:
        os.symlink(os.path.relpath(source, os.path.realpath(folder)), link)
    except (OSError, NotImplementedError, ValueError):
        try:
            os.link(source, link)
        except OSError as error:
            raise DatasetError(
                f'{path} cannot be linked below {folder} ({error.strerror}). Copy instead: --copy'
            ) from error


def _signature(put: Put) -> str:
    return '; '.join(source.signature for source in put.sources)


def clean(staging: Path) -> None:
    """Remove what a task, or a run that was killed, left in staging."""
    for path in staging.glob('incoming*'):
        path.unlink(missing_ok=True)
