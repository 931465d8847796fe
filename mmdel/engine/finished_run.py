"""A finished work dir, opened again: its subset, its image files and its vectors, without listing or embedding anything.

    run = FinishedRun.open('work_dirs/meddel_eta08')     # or the subset.parquet in it
    run.subset, run.paths, run.vectors()

A run notes in ``origin.json`` where its images and vectors lie. Nothing is executed: the config beside it is text here. A file
may come from a stranger, so keys are only followed below the image folder, and vectors must have the digest that the
subset states.
"""

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmdel.compute.files import csv_rows
from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.content_check import unchanged
from mmdel.embedding.given_vectors import read_given_vectors
from mmdel.embedding.reader import file_state
from mmdel.embedding.store import STATE, UNKNOWN, EmbeddingStore
from mmdel.embedding.vectors import ChosenRows, RowSource, Vectors
from mmdel.engine.request import stated
from mmdel.engine.work_dir import CHANGES, ORIGIN, Origin
from mmdel.errors import StoreError, SubsetError, UnreadableImage
from mmdel.leaks.leak_record import read_leaks
from mmdel.report.pictures import file_below
from mmdel.selection.findings import LeakReport
from mmdel.subset import Subset


@dataclass(frozen=True)
class FinishedRun:
    """What a run left behind.

    Args:
        folder (Path): The work dir.
        subset (Subset): The decision.
        origin (Origin): Where images and vectors are.
    """

    folder: Path
    subset: Subset
    origin: Origin

    @classmethod
    def open(cls, path: str | os.PathLike[str], images: str | None = None) -> 'FinishedRun':
        """Open a work dir, or a subset file.

        Args:
            path (str): Either.
            images (str, optional): The image folder, where it is another one now. Defaults to None.

        Raises:
            SubsetError: There is no subset, or it is damaged.
        """
        file = Path(path)
        if file.is_dir():
            file = file / 'subset.parquet'
        origin = Origin.read(file.parent)
        if images is not None:
            origin = Origin(os.path.abspath(images), origin.spelled, origin.cache_dir, origin.embeddings, origin.keys)
        return cls(file.parent, Subset.read(file), origin)

    @property
    def paths(self) -> dict[str, str]:
        """Key to file, for every key that leads to a place below the image folder; {} where there is no such folder."""
        if not self.origin.images:
            return {}
        paths = {}
        for key in self.subset.images:
            try:
                paths[key] = file_below(self.origin.images, (self.origin.spelled or {}).get(key, key))
            except UnreadableImage:
                continue
        return paths

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        """The ledger: ``(key, reason)`` of the files that could not be used; the subset file itself knows no reasons."""
        keys = self.subset.table['image'].filter(self.subset.has_reason('unreadable')).to_pylist()
        try:
            reasons = dict(self._pairs('unreadable.csv', ('image', 'reason')))
        except (OSError, ValueError, csv.Error):
            reasons = {}
        return [(key, reasons.get(key) or 'not known: unreadable.csv is gone') for key in keys]

    @property
    def leaks(self) -> LeakReport | None:
        """What the last leak check found, None where there was none.

        Raises:
            SubsetError: ``leaks.json`` is damaged.
        """
        return read_leaks(self.folder)

    @property
    def changes(self) -> list[tuple[str, str]]:
        """``(key, change)`` of an update: what was new, gone or changed; [] where the subset is none, or this is not known."""
        try:
            return self._pairs(CHANGES, ('image', 'change'))
        except (OSError, ValueError, csv.Error):
            return []

    @property
    def conflict_threshold(self) -> float | None:
        """The key of the recorded config, None where it has none."""
        config = stated(self.folder).get('config')
        value = config.get('conflict_threshold') if isinstance(config, dict) else None
        return float(value) if isinstance(value, int | float) else None

    @property
    def config(self) -> str:
        """The resolved config as text, '' where it is gone."""
        try:
            return (self.folder / 'config.py').read_text(encoding='utf-8')
        except (OSError, UnicodeDecodeError):
            return ''

    @property
    def mean(self) -> NDArray[np.float64] | None:
        """What centring subtracted, [D]; None without it.

        Raises:
            SubsetError: The subset states no list of numbers.
        """
        mean = self.subset.metadata.get('mean')
        if mean is None:
            return None
        if not isinstance(mean, list) or not all(isinstance(value, float | int) for value in mean):
            raise SubsetError(f'The mean that the subset of {self.folder} states is no list of numbers.')
        return np.array(mean, np.float64)

    def since(self) -> tuple[list[str], list[str]]:
        """Readable images without a vector in the cache, and images whose file has changed since it was read.

        Changed is a file that holds something else, as the cache sees it; files that are gone are not among them.
        """
        table = self.subset.table
        readable = dict(zip(table['image'].to_pylist(), self.subset.readable.tolist(), strict=True))
        if self.origin.embeddings:
            return [], []
        paths = self.paths
        with self._opened() as store:
            if store is None:
                return [key for key, needed in readable.items() if needed], []
            keys = [key for key in readable if key in paths]
            numbers = store.latest(pa.array([paths[key] for key in keys], pa.string()))
            found = np.flatnonzero(numbers >= 0)
            rows = store.rows(numbers[found], [*STATE, 'content'])
        noted = {keys[i] for i in found.tolist()}
        files = [paths[keys[i]] for i in found.tolist()]
        now = np.array([file_state(file) for file in files], np.int64).reshape(-1, len(STATE))
        there = (now[:, 0] != UNKNOWN) & (rows['size'].to_numpy() != UNKNOWN)
        same = unchanged(pa.array(files, pa.string()), rows, now)
        changed = [keys[i] for i in found[there & ~same].tolist()]
        return [key for key, needed in readable.items() if needed and key not in noted], changed

    def vectors(self, progress: Stages = SILENT) -> Vectors:
        """The vectors that the subset was chosen by; row i belongs to its i-th readable row.

        Args:
            progress (Stages): Shows the stages. Defaults to ``SILENT``.

        Raises:
            StoreError: They are not there any more, or are others now.
        """
        keys = self.subset.readable_rows['image']
        source = self._given(keys) if self.origin.embeddings else self._stored(keys)
        center = bool(self.subset.metadata.get('center'))
        vectors = Vectors(source, keys, center, progress, self.mean, resident=False)  # each is read a few times only
        if vectors.digest != self.subset.metadata.get('vectors'):
            raise StoreError(
                f'The vectors of {self.folder} have changed since: they are not the ones that the subset was chosen by. '
                'Run mmdel select again with the same config; what is known already is not made again.'
            )
        return vectors

    def _pairs(self, name: str, columns: tuple[str, str]) -> list[tuple[str, str]]:
        header, *rows = csv_rows((self.folder / name).read_text(encoding='utf-8'))
        first, second = map(header.index, columns)
        if any(len(row) != len(header) for row in rows):
            raise ValueError(f'{name} is no table')
        return [(row[first], row[second]) for row in rows]

    def _given(self, keys: pa.ChunkedArray) -> RowSource:
        embedded = read_given_vectors(self.origin.embeddings, self.origin.keys or None)
        names = embedded.table['image']
        if names.equals(keys):
            return embedded.source
        place = pc.index_in(keys, names)
        if place.null_count:
            raise StoreError('The given vectors have other keys now than the subset. Run mmdel select again.')
        return ChosenRows(embedded.source, place.to_numpy().astype(np.int64))

    @contextmanager
    def _opened(self) -> Iterator[EmbeddingStore | None]:
        """The cache that the vectors were kept in, loaded and locked; None where it is gone."""
        name = str(self.subset.metadata.get('embedder_type')).rpartition('.')[2]
        fingerprint: Any = self.subset.metadata.get('embedder')
        if not self.origin.cache_dir or not name.isidentifier() or not isinstance(fingerprint, dict):
            yield None
            return
        store = EmbeddingStore(self.origin.cache_dir, name, fingerprint)
        if not store.folder.is_dir():
            yield None
            return
        with store.locked():
            store.load()
            yield store

    def _stored(self, keys: pa.ChunkedArray) -> RowSource:
        paths = self.paths
        with self._opened() as store:
            if store is not None:
                numbers = store.latest(pa.array([paths.get(key, '') for key in keys.to_pylist()], pa.string()))
                if not (numbers < 0).any() and store.rows(numbers)['reason'].null_count == len(numbers):
                    return store.source(numbers)
        raise StoreError(
            f'The vectors of {self.folder} are not at hand'
            + (f' (looked in {self.origin.cache_dir})' if self.origin.cache_dir else f' (there is no {ORIGIN})')
            + '. Run mmdel select again with the same config and work dir.'
        )
