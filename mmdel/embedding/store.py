"""Vectors on disk: shards that are whole or absent, and that a killed run continues after.

    store = EmbeddingStore('work_dirs/.embeddings', 'ViTEmbedder', embedder.fingerprint())
    with store.locked():
        store.load()
        store.append(rows, vectors)          # one shard
        source = store.source(store.latest(paths))

A store is a folder ``<name>-<digest of the fingerprint>``: what vectors depend on decides where they lie, so changed weights
never meet old vectors. A shard is two files: ``shard-000000.npy`` with the raw float32 vectors, and ``shard-000000.parquet``
with a row for each image, which is written last, carries the digest of the first, and so commits both. A row is found
by absolute path, and says by what the file is known to be as it was (:mod:`mmdel.compute.files`) and what it held. A later
row for a path replaces an earlier one. A vector belongs to contents (:mod:`.content_check`): a row can name them instead of a
vector (:data:`SHARED`), and then has that of a row that holds them, too. A damaged shard is dropped with a warning, and its
images are missing again.
"""

import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from mmengine.logging import MMLogger
from numpy.typing import NDArray

from mmdel.compute import storage
from mmdel.compute.files import TEMPORARY, FileState, atomic, write_text
from mmdel.embedding.stored_rows import StoredRows, array_path
from mmdel.errors import StorageError, StoreError
from mmdel.subset.columns import COLUMNS, NOTED

FORMAT = 2
"""Version of the shards, raised too when images are decoded or resized in another way; another one lies in another folder."""

ROWS = pa.schema(
    [
        ('path', pa.string()),
        ('size', pa.int64()),
        ('mtime_ns', pa.int64()),
        ('ctime_ns', pa.int64()),
        ('inode', pa.int64()),
        ('content', pa.binary(16)),
        ('reason', pa.string()),
        *NOTED,
        ('vector', pa.int32()),
    ]
)
"""``content`` tells what the file holds, see :func:`~mmdel.images.frames.content_of`; it is null where that is not
certain. ``reason`` is null for a readable image, ``vector`` is the row in the shard's array, -1 or :data:`SHARED`. A file that
could not even be opened has a state of -1: there is nothing that it could be recognised by."""

STATE = list(FileState._fields)

LATER = [column.name for column in COLUMNS if column.source == 'file' and column.since != '0.1']
"""Columns that came after this format: what was kept without them lies in another folder."""

SHARED = -2
"""In place of ``vector``: that of another row with this ``content``."""

SEARCHED = 1 << 22
"""Paths looked up at a time: what is made for it takes about 0.1 kB each."""

UNKNOWN = -1
"""Size of a file without a state."""


class EmbeddingStore:
    """The vectors of one embedder, for any number of datasets.

    Args:
        cache_dir (str): Folder of all stores.
        name (str): Begins the folder's name, for people.
        fingerprint (dict): What vectors depend on, JSON-able.
    """

    def __init__(self, cache_dir: str, name: str, fingerprint: dict[str, Any]) -> None:
        version = {'format': FORMAT, **({'columns': LATER} if LATER else {})}
        text = json.dumps({**version, **fingerprint}, sort_keys=True, indent=1)
        self.folder = Path(cache_dir) / f'{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}'
        self._description = text + '\n'
        self._next = 0
        self._rows = _empty()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out; where one is in, say which and wait.

        Raises:
            StoreError: The folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / 'lock')
            try:
                lock.acquire(timeout=0)
            except Timeout:
                MMLogger.get_current_instance().warning(
                    f'Process {self._owner()} is embedding into {self.folder}; waiting for it, as its vectors are ours too.'
                )
                lock.acquire()
        except (OSError, NotImplementedError) as error:
            raise StoreError(
                f'The embedding cache {self.folder} cannot be written or locked ({error}). Choose another place with '
                '--cfg-options cache_dir=FOLDER'
            ) from error
        try:
            with _writing(self.folder):
                (self.folder / 'owner').write_text(f'{os.getpid()}\n')
            yield
        finally:
            lock.release()

    def load(self, tick: Callable[[int], None] = lambda done: None) -> None:
        """Check every shard and take what is whole. Call it under the lock: it removes leftovers and damaged shards.

        Args:
            tick (Callable): Called with 1 after each shard. Defaults to a function that does nothing.
        """
        with _writing(self.folder):
            for leftover in self.folder.glob(f'.*{TEMPORARY}'):
                leftover.unlink()
            about = self.folder / 'store.json'
            if not about.is_file() or about.read_bytes() != self._description.encode():
                write_text(about, self._description)
        committed = {index for index in map(_shard_index, self.folder.glob('shard-*.parquet')) if index is not None}
        for path in self.folder.glob('shard-*.npy'):
            if _shard_index(path) not in committed:
                path.unlink()
        tables = [_empty()]
        for index in sorted(committed):
            try:
                tables.append(storage.patiently(_rows_path(self.folder, index), partial(_checked, self.folder, index)))
            except (StorageError, PermissionError) as error:
                raise StoreError(f'The embedding cache {self.folder} cannot be read: {error}') from error
            except Exception as error:  # whatever a reader makes of damaged bytes, the shard is no use
                MMLogger.get_current_instance().warning(
                    f'{_rows_path(self.folder, index)} is damaged ({error}); its images are embedded again.'
                )
                for path in (_rows_path(self.folder, index), array_path(self.folder, index)):
                    path.unlink(missing_ok=True)
            tick(1)
        self._rows = _joined(tables)
        self._next = max(committed, default=-1) + 1

    @property
    def shards(self) -> int:
        """Shards in the folder, checked or not."""
        return len(list(self.folder.glob('shard-*.parquet')))

    def latest(self, paths: pa.Array) -> NDArray[np.int64]:
        """The row number of each path, -1 where there is none, int64 [n]."""
        return _last_rows(_column(self._rows, 'path'), paths)

    def holding(self, contents: pa.Array) -> NDArray[np.int64]:
        """A row number for each content, -1 where no row holds it, int64 [n].

        Args:
            contents (pa.Array): [n], as in :data:`ROWS`; null is held by none.
        """
        found = _last_rows(_column(self._rows, 'content'), contents)
        found[contents.is_null().to_numpy(zero_copy_only=False)] = -1
        return found

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Sizes of the files whose contents are known, each once, ascending."""
        return np.unique(_column(self._rows, 'size').filter(_column(self._rows, 'content').is_valid()).to_numpy())

    def rows(self, numbers: NDArray[np.int64], columns: Sequence[str] = tuple(ROWS.names)) -> pa.Table:
        """Rows by number, with these columns of :data:`ROWS`."""
        return self._rows.select(list(columns)).take(pa.array(numbers))

    @property
    def next_shard(self) -> int:
        """The number of the next shard."""
        return self._next

    def append(self, rows: pa.Table, vectors: NDArray[np.float32], index: int | None = None) -> bool:
        """Write one shard: both files, flushed, or nothing. What is known already of a file without a state is not written again.

        Args:
            rows (pa.Table): Columns of :data:`ROWS`.
            vectors (NDArray[np.float32]): [k, D], finite; row ``vector`` of it belongs to the row of the table.
            index (int, optional): The shard's number, at least :attr:`next_shard`. Defaults to None, which is that one.

        Returns:
            bool: Whether there was something to write.

        Raises:
            StoreError: The disk is full or the folder cannot be written.
        """
        rows = self._news(rows)
        if not len(rows):
            return False
        index = self._next if index is None else index
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(vectors, dtype=np.float32), allow_pickle=False)
        data = buffer.getvalue()
        rows = rows.cast(ROWS).replace_schema_metadata(
            {'array': hashlib.sha256(data).hexdigest(), 'rows': _digest(rows)}
        )
        with _writing(self.folder):
            with atomic(array_path(self.folder, index)) as temporary:
                temporary.write_bytes(data)
            with atomic(_rows_path(self.folder, index)) as temporary:
                pq.write_table(rows, temporary)
        self._next = max(self._next, index + 1)
        new = _with_shard(rows, index, vectors.shape[1])
        self._rows = pa.concat_tables([self._rows, _with_vectors(new, self._rows)])
        return True

    def adopt(self, shards: Sequence[int]) -> None:
        """Take the shards that other processes have appended under this one's lock.

        Args:
            shards (Sequence[int]): Their numbers.

        Raises:
            StoreError: One of them is not there as it was written.
        """
        tables = [self._rows]
        for index in shards:
            try:
                tables.append(_checked(self.folder, index))
            except Exception as error:  # as when loading
                raise StoreError(
                    f'{_rows_path(self.folder, index)}, which another process of this job has written, cannot be read here: '
                    f'{error}. All processes need the same cache_dir, on a file system that they share.'
                ) from error
            self._next = max(self._next, index + 1)
        self._rows = _joined(tables)

    def __getstate__(self) -> dict[str, Any]:
        # another process only appends, and for that needs to know the files without a state
        numbers = np.flatnonzero(_column(self._rows, 'size').to_numpy() == UNKNOWN)
        rows = self._rows.take(pa.array(numbers))
        last = self.latest(_column(rows, 'path')) == numbers
        return {**vars(self), '_rows': rows.filter(pa.array(last))}

    def source(self, numbers: NDArray[np.int64]) -> StoredRows:
        """The vectors of rows by number; all of them must be readable images.

        Raises:
            StoreError: The rows have vectors of several lengths.
        """
        shard, vector, dim = (_column(self._rows, name).to_numpy()[numbers] for name in ('shard', 'vector', 'dim'))
        if len(dims := np.unique(dim)) > 1:
            raise StoreError(
                f'{self.folder} holds vectors of {" and ".join(map(str, dims))} dimensions: the embedder changed in a way that '
                'its fingerprint does not tell. Remove the folder and run again.'
            )
        return StoredRows(self.folder, shard, vector, int(dims[0]) if len(dims) else 0)

    def _news(self, rows: pa.Table) -> pa.Table:
        without_state = _column(rows, 'size').to_numpy() == UNKNOWN
        if not without_state.any():
            return rows
        known = self.latest(_column(rows, 'path'))
        told = np.zeros(len(rows), bool)
        for i in np.flatnonzero(without_state & (known >= 0)).tolist():
            told[i] = self._rows['reason'][int(known[i])].as_py() == rows['reason'][i].as_py()
        return rows.filter(pa.array(~told))

    def _owner(self) -> str:
        try:
            return (self.folder / 'owner').read_text().strip() or 'of another run'
        except OSError:
            return 'of another run'


def _checked(folder: Path, index: int) -> pa.Table:
    """The rows of a shard if all of it is as it was written; raises whatever tells otherwise."""
    # read as a whole: pyarrow has errors of its own for a disk that fails
    with open(_rows_path(folder, index), 'rb') as file:
        rows = pq.ParquetFile(pa.BufferReader(file.read())).read()
    noted = rows.schema.metadata or {}
    if rows.schema.remove_metadata() != ROWS or noted.get(b'rows') != _digest(rows).encode():
        raise ValueError('the rows differ from what was written')
    path = array_path(folder, index)
    with open(path, 'rb') as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 22):
            digest.update(block)
    if noted.get(b'array') != digest.hexdigest().encode():
        raise ValueError('the vectors differ from what was written')
    array = np.load(path, mmap_mode='r', allow_pickle=False)
    places = _column(rows, 'vector').to_numpy()
    if array.ndim != 2 or array.dtype != np.float32 or places.max(initial=-1) >= len(array):
        raise ValueError(f'the array is {array.dtype} {array.shape}')
    return _with_shard(rows, index, array.shape[1])


def _with_shard(rows: pa.Table, index: int, dim: int) -> pa.Table:
    """Rows as they are kept in memory, with the columns that their place on disk gives."""
    for name, value in (('shard', index), ('dim', dim)):
        rows = rows.append_column(name, pa.array(np.full(len(rows), value, np.int32)))
    return rows.replace_schema_metadata(None)


def _empty() -> pa.Table:
    return _with_shard(ROWS.empty_table(), 0, 0)


def _digest(rows: pa.Table) -> str:
    text = json.dumps([rows[name].to_pylist() for name in ROWS.names], separators=(',', ':'), default=bytes.hex)
    return hashlib.sha256(text.encode()).hexdigest()


def _joined(tables: list[pa.Table]) -> pa.Table:
    """The rows of tables in one piece. The list is emptied: column by column, so that never all of them are in memory twice."""
    schema = tables[0].schema
    columns = {name: [table[name] for table in tables] for name in schema.names}
    tables.clear()
    joined = []
    for field in schema:
        chunks = [chunk for column in columns.pop(field.name) for chunk in column.chunks]
        joined.append(pa.chunked_array(chunks, field.type).combine_chunks())
    rows = pa.table(joined, schema)
    return _with_vectors(rows, rows)


def _with_vectors(rows: pa.Table, among: pa.Table) -> pa.Table:
    """Rows with the place of the vector that others have; without those whose contents no row of ``among`` has a vector for."""
    shares = _column(rows, 'vector').to_numpy() == SHARED
    if not shares.any():
        return rows
    own = among.filter(pc.greater_equal(among['vector'], 0))
    found = _last_rows(_column(own, 'content'), _column(rows, 'content').filter(pa.array(shares)))
    for name in ('shard', 'vector', 'dim'):
        values = _column(rows, name).to_numpy().copy()
        values[shares] = np.append(_column(own, name).to_numpy(), SHARED)[found]
        rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), pa.array(values, pa.int32()))
    return rows.filter(pc.not_equal(rows['vector'], SHARED)).combine_chunks()


def _last_rows(stored: pa.Array, wanted: pa.Array) -> NDArray[np.int64]:
    """The last place in ``stored`` of each value, -1 where there is none, int64 [n]."""
    found = np.full(len(wanted), -1, np.int64)
    for start in range(0, len(wanted), SEARCHED):
        part = wanted[start : start + SEARCHED]
        # what is stored is looked up among these, not the other way round: the table of what is searched takes the memory
        place = pc.index_in(stored, value_set=part)
        rows = np.flatnonzero(place.is_valid())
        here = np.full(len(part), -1, np.int64)
        np.maximum.at(here, place.drop_null().to_numpy(), rows)
        # of equal values the first is found
        found[start : start + len(part)] = here[pc.index_in(part, value_set=part).to_numpy()]
    return found


def _column(table: pa.Table, name: str) -> Any:
    """A column in one piece; no copy where it is that."""
    chunks = table[name].chunks
    if len(chunks) == 1:
        return chunks[0]
    return pa.concat_arrays(chunks) if chunks else pa.array([], table.schema.field(name).type)


def _shard_index(path: Path) -> int | None:
    match = re.fullmatch(r'shard-(\d{6,})', path.stem)
    return int(match[1]) if match else None


def _rows_path(folder: Path, index: int) -> Path:
    return folder / f'shard-{index:06d}.parquet'


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f'Cannot write into the embedding cache {folder} ({error.strerror or error}). Make room or choose another place with '
            '--cfg-options cache_dir=FOLDER; what is there already is kept and need not be made again.'
        ) from error
