"""What ``mmdel.select`` gives: a decision that one can look at, ask, and save.

chosen = mmdel.select('my/frames', ratio=0.05)
chosen.kept, chosen.indices, chosen.table
print(chosen.why('a.jpg'))
chosen.report('report.html')
chosen.save('work_dirs/mine')
"""

import copy
import os
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from mmdel.compute.files import atomic, write_text
from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import RowSource, Vectors
from mmdel.engine import inspection, summary
from mmdel.engine.dedup_runner import DedupRunner
from mmdel.engine.given_images import LIST, TABLE, GivenImages, places_of
from mmdel.engine.inspection import Inspection
from mmdel.engine.request import Request
from mmdel.engine.surroundings import Scratch, surroundings
from mmdel.engine.work_dir import (
    SUBSET,
    Chosen,
    Origin,
    locked,
    refuse_another,
    refuse_inside,
    refuse_other_images,
    write_results,
    write_skipped,
)
from mmdel.errors import DatasetError, StoreError
from mmdel.report.notebook import notebook_html
from mmdel.selection.findings import LeakReport
from mmdel.selection.selector import Ranking
from mmdel.subset import Subset

VECTORS, KEYS, CACHE = 'vectors.npy', 'keys.txt', '.embeddings'
"""What is saved beside a result where the vectors that it rests on would be lost."""

BLOCK = 4096
"""Vectors written at a time."""


class SelectedImages:
    """Which images stay, and why each of the others left. Made by :func:`mmdel.select`.

    It holds a temporary folder, with vectors and with pictures that came as arrays, which is removed with it. In a notebook it
    shows itself.

    Attributes:
        kept (list[str]): Keys of the images that stay, sorted: paths relative to the folder of the images, or numbers.
        indices (NDArray[np.int64]): [kept], their places in what was given, ascending; of a folder or config, rows of ``table``.
        table (pa.Table): One row an image, sorted by key: the columns of ``subset.parquet``, see docs/columns.md.
        subset (Subset): Table and metadata.
        files (list[str]): The files of ``kept``; [] where images were no files.
        vectors (NDArray): [rows that take part, D], raw, as the encoder made them; read when they are asked for.
        ranking (Ranking): The order that the subset is a cut of, by row of ``table`` without those that take no part.
        unreadable (tuple): ``(key, reason)`` of the files that could not be used.
        notes (tuple[str, ...]): What a person should know.
    """

    def __init__(self, runner: DedupRunner, chosen: Chosen, given: GivenImages, scratch: Scratch) -> None:
        self.subset = chosen.subset
        self.ranking: Ranking = chosen.ranking
        self.unreadable = chosen.unreadable
        self._runner = runner
        self._chosen = chosen
        self._given = given
        self._scratch = scratch
        self._summary: summary.Summary | None = None

    @property
    def table(self) -> pa.Table:
        return self.subset.table

    @property
    def kept(self) -> list[str]:
        return self.subset.kept

    @property
    def indices(self) -> NDArray[np.int64]:
        names = self._given.keys
        return np.flatnonzero(self.subset.keep) if names is None else places_of(self.kept, names)

    @property
    def files(self) -> list[str]:
        return [self._chosen.paths[key] for key in self.kept] if self._lasting else []

    @property
    def vectors(self) -> NDArray[Any]:
        return self._chosen.vectors.source.read(slice(None))

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self._runner.notes, *self.summary.hints)

    @property
    def summary(self) -> summary.Summary:
        """The closing table of the command, made when it is first asked for."""
        with self._alone():
            chosen, request = self._chosen, self._runner.request
            self._summary = self._summary or summary.summarise(
                chosen.subset, chosen.vectors, request.selector, chosen.ranking
            )
            return self._summary

    def why(self, image: str | os.PathLike[str] | int) -> Inspection:
        """Why an image went or stayed; printed, it is a text for people.

        Args:
            image (str | int): Its key, its path, the end of its key where no other ends so, or its place in what was given.

        Returns:
            Inspection: Among others ``kept``, ``reason``, ``removed_by``, ``similarity``, ``rank``, ``neighbours``.

        Raises:
            DatasetError: There is no such image, or several.
        """
        name = self._name(int(image)) if isinstance(image, int | np.integer) else os.fspath(image)
        runner = self._runner
        origin = runner.origin if self._lasting else Origin()
        with self._alone():
            run = _InMemory(self.subset, origin, self.unreadable, runner.leaks, self._chosen.vectors)
            return inspection.inspect(run, name)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Draw the report.

        Args:
            path (str): A page, whose name ends in .html and which holds all that it shows; or a folder, for ``index.html`` and
                the tables beside it that the command writes: retention.csv, and conflicts.csv where images have labels.

        Returns:
            Path: The page.

        Raises:
            ReportError: It cannot be written.
        """
        with self._alone():
            return self._report(Path(path), self._runner.request)

    def save(self, folder: str | os.PathLike[str], report: bool = True, overwrite: bool = False) -> Path:
        """Write what a run of the command leaves in its work dir: every tool then works on it.

        Where no ``cache_dir`` was given, the vectors are saved, too: of images that are files as a cache in ``.embeddings``, of
        other images and vectors as ``vectors.npy``.

        Args:
            folder (str): The work dir.
            report (bool): Draw the report in it. Defaults to True.
            overwrite (bool): Replace the result of another question. Defaults to False.

        Returns:
            Path: The folder.

        Raises:
            ConfigError: It holds the result of another question, or lies among the images.
            StoreError: There is no room.
        """
        folder = Path(folder)
        with self._alone():
            request, origin = self._moved_to(folder)
            refuse_inside(origin.images, request['dataset'], work_dir=folder)
            if (folder / SUBSET).exists() and not overwrite:
                refuse_another(folder, request)
                refuse_other_images(folder, request.dataset, self._listed())
            with locked(folder):
                try:
                    self._save_what_it_rests_on(folder, origin)
                except OSError as error:
                    raise StoreError(
                        f'{folder} cannot be written ({error.strerror or error}). Make room there.'
                    ) from error
                write_results(folder, self._chosen, origin, request, self._runner.leaks)
                write_skipped(folder, self._runner.skipped)
                if report:
                    self._report(folder / 'report', request)
        return folder

    def __repr__(self) -> str:
        counts = self.subset.metadata
        what = 'images' if self._runner.given is None else 'vectors'
        return (
            f'<{counts["kept"]:,} of {counts["images"]:,} {what} kept, ratio {self.subset.ratio:.4g}, by '
            f'{counts["selector"]["type"]}; see .kept, .table, .why(image), .report(page), .save(folder)>'
        )

    def _repr_html_(self) -> str:
        with self._alone():
            found = self.summary
            return notebook_html(self.subset, found.rows, found.nearest, self._chosen.paths, self.ranking.gains)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            'A selection holds a temporary folder of this process. Send .kept, .indices or .table to another one, or save it.'
        )

    # --- private

    def _alone(self) -> AbstractContextManager[None]:
        request = self._runner.request
        return surroundings(request['default_scope'], self._runner.cache_dir / 'videos')

    @property
    def _lasting(self) -> bool:
        """Whether the images are files that stay."""
        return self._given.lasting

    def _name(self, place: int) -> str:
        names = self.subset.images if self._given.keys is None else self._given.keys
        if not -len(names) <= place < len(names):
            raise DatasetError(f'There is no image {place:,}: {len(names):,} were given, counted from 0.')
        return names[place] or ''

    def _report(self, path: Path, request: Request) -> Path:
        chosen = self._chosen
        return summary.report(
            path,
            self.subset,
            chosen.vectors,
            self.summary.nearest,
            request['conflict_threshold'],
            paths=chosen.paths,
            unreadable=self.unreadable,
            leaks=self._runner.leaks,
            config=request.config.pretty_text,
        )

    def _listed(self) -> pa.Table:
        """The images that take part, and their files."""
        images = self.subset.readable_rows.select(['image'])
        if not self._lasting:
            return images
        return images.append_column('path', pa.array([self._chosen.paths[key] for key in images['image'].to_pylist()]))

    def _moved_to(self, folder: Path) -> tuple[Request, Origin]:
        """Question and origin as they stand in a work dir: what lies in the temporary folder will lie there."""
        request, origin = self._runner.request, self._runner.origin
        cfg = copy.deepcopy(request.config)
        cfg.work_dir = str(folder)
        here = folder.absolute()
        if self._lasting:
            for name, file in (('ann_file', LIST), ('table', TABLE)):
                if self._in_scratch(cfg.dataset.get(name)):
                    cfg.dataset[name] = str(here / file)
            if self._in_scratch(cfg.cache_dir):
                cfg.cache_dir = str(folder / CACHE)
                origin = replace(origin, cache_dir=str(here / CACHE))
            return replace(request, config=cfg), origin
        for name in ('cache_dir', 'dataset') if self._in_scratch(cfg.cache_dir) else ('dataset',):
            cfg.pop(name, None)
        given = self._runner.given
        if given is None:  # pictures: their files go with this object, and their vectors stay
            origin = Origin(embeddings=str(here / VECTORS), keys=str(here / KEYS))
            return replace(request, config=cfg, root=None), origin
        vectors = (
            str(here / VECTORS) if self._in_scratch(request.embeddings) else os.path.abspath(request.embeddings or '')
        )
        keys = None if self._given.keys is None else str(here / KEYS)
        return replace(request, config=cfg, embeddings=vectors, keys=keys), Origin(embeddings=vectors, keys=keys or '')

    def _save_what_it_rests_on(self, folder: Path, origin: Origin) -> None:
        scratch = self._scratch.folder
        if self._lasting:
            for name in (LIST, TABLE):
                if (scratch / name).exists():
                    shutil.copyfile(scratch / name, folder / name)
            if self._in_scratch(self._runner.request['cache_dir']):
                shutil.copytree(scratch / 'cache', folder / CACHE, dirs_exist_ok=True)
            return
        given = self._runner.given
        source: RowSource = self._chosen.vectors.source if given is None else given.source
        images = (self.subset.readable_rows if given is None else given.table)['image']
        if given is None or self._in_scratch(self._runner.request.embeddings):
            with atomic(folder / VECTORS) as temporary:
                array = open_memmap(temporary, 'w+', source.dtype, source.shape)
                for start in range(0, len(images), BLOCK):
                    array[start : start + BLOCK] = source.read(slice(start, start + BLOCK))
                array.flush()
                del array
        if origin.keys:
            write_text(folder / KEYS, ''.join(f'{key}\n' for key in images.to_pylist()))

    def _in_scratch(self, path: Any) -> bool:
        return bool(path) and Path(path).absolute().is_relative_to(self._scratch.folder)


@dataclass(frozen=True)
class _InMemory:
    """A :class:`~mmdel.engine.inspection.Run`."""

    subset: Subset
    origin: Origin
    unreadable: Sequence[tuple[str, str]]
    leaks: LeakReport | None
    held: Vectors

    def vectors(self, progress: Stages = SILENT) -> Vectors:
        return self.held
