"""Runs a model over the images of a dataset and keeps the vectors.

    embedder = EMBEDDERS.build(dict(type='mmdel.PixelEmbedder'))
    embedded = embed_images(image_table(dataset), embedder, 'work_dirs/.embeddings')
    embedded.table['image']              # keys of the readable images
    embedded.source.read(slice(0, 10))   # their raw vectors

Killed at any moment and started again, :func:`embed_images` continues after the last whole shard and ends with the same
bits: the images still missing are cut, in key order, into shards and batches of fixed size, every batch is filled up to
that size, and so the model sees each image in the same place of the same shape. The processes of a job take these shards one by
one, as each is ready for the next, and write them side by side; only rank 0 needs to know them all. Of files with the same
bytes the model sees one; the others get its vector, in the same shard. Vectors belong to contents: a file that was copied, moved
or only touched has the vector of what it holds, and one that was put in another's place never gets that one's.
"""

import itertools
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope, init_default_scope
from numpy.typing import NDArray

from mmdel.compute import sharing, storage
from mmdel.compute.blocks import give_back, values
from mmdel.compute.files import FileState
from mmdel.compute.progress import SILENT, Stages, Tick
from mmdel.embedding.content_check import contents_of, first_identical, unchanged
from mmdel.embedding.embedders.base_embedder import BaseEmbedder
from mmdel.embedding.reader import Batch, FileNote, file_state, read_batches
from mmdel.embedding.replicas import Made, embed_batches
from mmdel.embedding.store import ROWS, SHARED, STATE, UNKNOWN, EmbeddingStore
from mmdel.embedding.vectors import RowSource
from mmdel.errors import ConfigError, DatasetError, VectorError
from mmdel.images.image_table import ImageTable
from mmdel.subset.columns import NOTED

_NOTED = ('content', 'reason', *NOTED.names)

TOLD_CONTENTS = 64

ROW_BYTES = 100
"""What the cache notes of an image beside its vector, about."""


@dataclass(frozen=True)
class Embedded:
    """The readable images of a dataset and their vectors.

    Args:
        table (pa.Table): Sorted by key: ``path`` and :data:`~mmdel.subset.columns.SEEN`.
        source (RowSource): Raw vectors; row i belongs to row i of ``table``.
        unreadable (tuple): ``(key, reason)`` of the other images, sorted.
        fingerprint (dict): What the vectors depend on.
        contents (dict[str, str]): What some of the files hold, :data:`TOLD_CONTENTS` at most, by key: hexadecimal digits of
            :func:`~mmdel.images.frames.content_of`. Defaults to {}.
    """

    table: pa.Table
    source: RowSource
    unreadable: tuple[tuple[str, str], ...]
    fingerprint: dict[str, Any]
    contents: dict[str, str] = field(default_factory=dict)


def embed_images(
    images: ImageTable,
    embedder: BaseEmbedder,
    cache_dir: str,
    num_workers: int | None = None,
    device: str | None = None,
    progress: Stages | None = None,
    some: bool = True,
) -> Embedded:
    """Embed the images that the cache does not hold yet, and return all.

    Args:
        images (ImageTable): Which images, sorted by key.
        embedder (BaseEmbedder): Makes the vectors.
        cache_dir (str): Where they are kept between runs; several runs may share it.
        num_workers (int, optional): Processes that decode; 0 decodes in this one. Defaults to None: as many as there are
            cores, at most 4.
        device (str, optional): Where the model runs. Defaults to None: CUDA where there is one, else the CPU.
        progress (Stages, optional): Shows the stages. Defaults to None (silent).
        some (bool): Whether it is an error that not one image can be read. Defaults to True.

    Raises:
        DatasetError: Not one image can be read, and ``some``.
        VectorError: The model gives NaN or infinity; the message names the images.
        StoreError: The cache cannot be written.
    """
    progress = progress or SILENT
    embedder.build_pipeline()  # what is wrong with it is told before the encoder is made
    fingerprint = embedder.to(device).fingerprint()
    store = EmbeddingStore(cache_dir, type(embedder).__name__, fingerprint)
    paths = images.table['path'].combine_chunks()
    with store.locked():
        with progress.stage('cache', total=store.shards, unit='shards') as tick:
            store.load(tick)
        work = _missing(store, paths, progress)
        give_back()
        missing = len(paths) - len(work.known)
        moved = f', {len(work.shared):,} of them known by their contents alone' if len(work.shared) else ''
        MMLogger.get_current_instance().info(
            f'{len(work.known) + len(work.shared):,} of {len(paths):,} images have vectors in {store.folder}{moved}'
            + (f'; {missing - len(work.shared):,} are embedded now' if missing > len(work.shared) else '')
            + (f', {work.copies:,} of them as exact copies of others.' if work.copies else '.')
        )
        if missing:
            with progress.stage('embed', total=missing) as tick:
                _share_vectors(store, embedder.shard_size, paths, work, tick)
                made_with = (store, embedder, fingerprint, images.table, num_workers, device)
                left = _share(_job(work, *made_with), tick)
                if left:
                    # rare: a file has changed since it was compared, and its former copies are embedded like any other
                    none = np.empty(0, np.int64)
                    again = _Work(work.known, np.array(sorted(left)), none, none, none, {}, work.state)
                    _share(_job(again, *made_with), tick)
        numbers = store.latest(paths)
        rows = store.rows(numbers, ['reason', *NOTED.names])
        contents = _some_contents(store, images.table, numbers, rows)
        readable = np.flatnonzero(rows['reason'].is_null().to_numpy())
        source = store.source(numbers[readable])
        give_back()
    unreadable = _unreadable(images, rows)
    if some and not len(readable):
        first = ''.join(f'\n  {key}: {reason}' for key, reason in unreadable[:3])
        raise DatasetError(f'None of the {len(unreadable)} images found can be used.{first}')
    table = images.table
    for field_ in NOTED:
        table = table.append_column(field_, rows[field_.name])
    if len(readable) < len(table):
        table = table.take(pa.array(readable))
    return Embedded(table, source, unreadable, fingerprint, contents)


@dataclass
class _Work:
    """What is to be done, by the number of the image.

    Args:
        known (NDArray[np.int64]): Images with a row for their file as it is now.
        new (NDArray[np.int64]): Images to embed.
        again (NDArray[np.int64]): Images whose file could not be opened before. They are cut into shards of their own: in a run
            that was killed they would shift the others' places.
        shared (NDArray[np.int64]): Images whose content some row of the store has.
        shares (NDArray[np.int64]): The numbers of these rows.
        copies_of_new (dict[int, list[int]]): For some of ``new``, the other images with the same bytes.
        state (NDArray[np.int64]): [N, 4], the state of every file before it was compared.
    """

    known: NDArray[np.int64]
    new: NDArray[np.int64]
    again: NDArray[np.int64]
    shared: NDArray[np.int64]
    shares: NDArray[np.int64]
    copies_of_new: dict[int, list[int]]
    state: NDArray[np.int64]

    @property
    def copies(self) -> int:
        return sum(map(len, self.copies_of_new.values()))


def _missing(store: EmbeddingStore, paths: pa.Array, progress: Stages) -> _Work:
    """Find the images without a row for their file as it is now, and which of them hold what another one does."""
    numbers = store.latest(paths)
    with progress.stage('cache', total=len(paths)) as tick:
        state = _states(paths, tick)
    noted = store.rows(numbers[numbers >= 0], [*STATE, 'content'])
    listed = np.flatnonzero(numbers >= 0)
    unknown = noted['size'].to_numpy() == UNKNOWN
    again = listed[unknown]
    listed, noted = listed[~unknown], noted.filter(pa.array(~unknown))
    same = unchanged(paths.take(pa.array(listed)), noted, state[listed], progress)
    as_noted = (np.stack([noted[name].to_numpy() for name in STATE], axis=1) == state[listed]).all(axis=1)
    known, touched = listed[same & as_noted], listed[same & ~as_noted]
    rest = np.setdiff1d(np.arange(len(paths)), np.concatenate([known, again, touched]))
    # moved, copied, or in another's place: what it holds may be known under another name
    suspects = rest[np.isin(state[rest, 0], store.sizes)]
    with progress.stage('cache', total=len(suspects), unit='files') as tick:
        found = store.holding(contents_of(paths.take(pa.array(suspects)).to_pylist(), tick))
    shared = np.concatenate([touched, suspects[found >= 0]])
    new = np.setdiff1d(rest, shared)
    first = new[first_identical(paths.take(pa.array(new)), state[new, 0])]
    copies: dict[int, list[int]] = {}
    for i, original in zip(new.tolist(), first.tolist(), strict=True):
        if i != original:
            copies.setdefault(original, []).append(i)
    new = np.setdiff1d(new, [*itertools.chain(*copies.values())])
    shares = np.concatenate([numbers[touched], found[found >= 0]])
    return _Work(known, new, again, shared, shares, copies, state)


def _states(paths: pa.Array, tick: Tick) -> NDArray[np.int64]:
    state = np.empty((len(paths), len(STATE)), np.int64)
    losses = storage.Losses()
    for i, path in enumerate(values(paths)):
        state[i] = file_state(path, losses)
        tick(1)
    return state


def _share_vectors(store: EmbeddingStore, shard_size: int, paths: pa.Array, work: _Work, tick: Tick) -> None:
    """Write rows for the files whose contents the store has a vector for."""
    for start in range(0, len(work.shared), shard_size):
        part = slice(start, start + shard_size)
        images = work.shared[part]
        rows = store.rows(work.shares[part])
        readable = rows['reason'].is_null().to_numpy()
        columns: dict[str, Any] = {name: rows[name] for name in _NOTED}
        columns |= dict(zip(STATE, work.state[images].T, strict=True))
        columns |= {'path': paths.take(pa.array(images)), 'vector': np.where(readable, SHARED, -1)}
        store.append(_rows(columns), np.empty((0, 0), np.float32))
        tick(len(images))


@dataclass(frozen=True)
class _Copy:
    """A file with the bytes of another one.

    Args:
        image (int): Its number in the dataset.
        path (str): The file.
        state (FileState): Its state before it was compared.
    """

    image: int
    path: str
    state: FileState


@dataclass(frozen=True)
class _Job:
    """What a process needs to know in order to embed some of the missing images.

    Args:
        store (EmbeddingStore): Locked by rank 0.
        embedder (BaseEmbedder): Makes the vectors.
        fingerprint (dict): What rank 0's vectors depend on.
        keys (pa.Array): [N], of the missing images.
        paths (pa.Array): [N], their files.
        copies (dict[int, tuple[_Copy, ...]]): For some of these images, the other files with the same bytes.
        states (NDArray[np.int64]): [N, 4], of the files when they were compared.
        starts (NDArray[np.int64]): [shards + 1], the first image of each shard, and N.
        first_shard (int): Number of the first one in the store.
        num_workers, device: See :func:`embed_images`.
        scope (str, optional): In which transforms and models are looked up.
    """

    store: EmbeddingStore
    embedder: BaseEmbedder
    fingerprint: dict[str, Any]
    keys: pa.Array
    paths: pa.Array
    copies: dict[int, tuple[_Copy, ...]]
    states: NDArray[np.int64]
    starts: NDArray[np.int64]
    first_shard: int
    num_workers: int | None
    device: str | None
    scope: str | None

    @property
    def shards(self) -> int:
        return len(self.starts) - 1

    def batches(self, shard: int) -> list[NDArray[np.int64]]:
        """The images of a shard, as batches of numbers."""
        start, stop = self.starts[shard : shard + 2]
        return [
            np.arange(i, min(i + self.embedder.batch_size, stop)) for i in range(start, stop, self.embedder.batch_size)
        ]

    def ready(self) -> None:
        """Have the same encoder as rank 0, which may run on another machine.

        Raises:
            ConfigError: It is another one here.
        """
        if self.scope is not None:
            init_default_scope(self.scope)
        here = self.embedder.to(self.device).fingerprint()
        other = [name for name, value in self.fingerprint.items() if here.get(name) != value]
        if other:
            raise ConfigError(
                f'The encoder on {socket.gethostname()} is not that of rank 0: its {other[0]} is {here.get(other[0])}, not '
                f'{self.fingerprint[other[0]]}. All machines need the same weights and the same kind of device.'
            )


def _job(
    work: _Work,
    store: EmbeddingStore,
    embedder: BaseEmbedder,
    fingerprint: dict[str, Any],
    images: pa.Table,
    num_workers: int | None,
    device: str | None,
) -> _Job:
    numbers = np.concatenate([work.new, work.again])
    table = images.take(pa.array(numbers)).select(['image', 'path'])
    copies = {
        i: tuple(
            _Copy(copy, images['path'][copy].as_py(), FileState(*work.state[copy].tolist()))
            for copy in work.copies_of_new[image]
        )
        for i, image in enumerate(numbers.tolist())
        if image in work.copies_of_new
    }
    size, new = embedder.shard_size, len(work.new)
    scope = DefaultScope.get_current_instance()
    return _Job(
        store,
        embedder,
        fingerprint,
        table['image'].combine_chunks(),
        table['path'].combine_chunks(),
        copies,
        work.state[numbers],
        np.array([0, *_ends(0, new, size), *_ends(new, len(numbers), size)]),
        store.next_shard,
        num_workers,
        device,
        scope and scope.scope_name,
    )


def _ends(start: int, stop: int, size: int) -> list[int]:
    """Where shards of images ``start`` to ``stop`` end."""
    return [min(end, stop) for end in range(start + size, stop + size, size)]


def _share(job: _Job, tick: Tick) -> list[int]:
    """Have all processes embed; returns the copies of files that have changed since they were compared."""
    if not job.shards:
        return []
    made = sharing.share(_embed, job, tick, worth=job.shards > 1)
    job.store.adopt([index for _, indices, _ in made[1:] for index in indices])
    if len(made) > 1:
        counts = ', '.join(f'{taken:,}' for taken, _, _ in made)
        MMLogger.get_current_instance().info(f'Shards embedded by each of {len(made)} processes: {counts}.')
    return [image for _, _, left in made for image in left]


def _embed(job: _Job, claim: sharing.Claim, tick: Tick) -> tuple[int, list[int], list[int]]:
    """Embed the shards that this process may claim.

    Returns:
        tuple: How many they were; the numbers in the store of those that were written; and the copies of files that have
            changed since they were compared.
    """
    shards = claim(job.shards)
    first = next(shards, None)
    if first is None:
        return 0, [], []
    job.ready()
    mine, ahead = itertools.tee(itertools.chain([first], shards))
    groups: Iterator[list[pa.Array]] = (
        [job.paths.take(pa.array(batch)) for batch in job.batches(shard)] for shard in ahead
    )
    if sharing.get_world_size() == 1:
        groups = iter([list(itertools.chain.from_iterable(groups))])  # a run of frames need not end with a shard
    embedder = job.embedder
    stream = read_batches(groups, embedder.build_pipeline(), embedder.batch_size, embedder.input_size, job.num_workers)
    taken, written, left = 0, [], []
    with closing(stream), closing(embed_batches(embedder, stream)) as made:
        for shard in mine:
            rows, vectors, changed = _embedded(job, job.batches(shard), made, tick)
            taken += 1
            left += changed
            if job.store.append(rows, vectors, job.first_shard + shard):
                written.append(job.first_shard + shard)
            if taken == 1 and sharing.is_main_process() and len(rows):
                # only now the encoder has shown how long its vectors are
                each = vectors.nbytes // len(rows) + ROW_BYTES
                storage.require_space(job.store.folder, len(job.keys) * each, 'vectors of new images')
    return taken, written, left


def _embedded(
    job: _Job,
    batches: Sequence[NDArray[np.int64]],
    stream: Iterator[tuple[Batch, Made]],
    tick: Callable[[int], None],
) -> tuple[pa.Table, NDArray[np.float32], list[int]]:
    """The rows of a shard with their copies', its vectors, float32 [k, D], and copies of what has changed."""
    notes: list[FileNote] = []
    vectors: list[NDArray[np.float32]] = []
    for numbers, (batch, (readable, made)) in zip(batches, stream, strict=False):
        if made is not None:
            _refuse_not_finite(made, job.keys.take(pa.array(numbers[readable])))
            vectors.append(made)
        notes += batch.notes
        tick(len(numbers))
    listed = np.concatenate(batches)
    paths = job.paths.take(pa.array(listed)).to_pylist()
    places = _places(np.array([note.reason is None for note in notes])).tolist()
    left: list[int] = []
    for number, note, place in list(zip(listed.tolist(), notes, places, strict=True)):
        copies = job.copies.get(number, ())
        if list(note.state) != job.states[number].tolist():
            left += [copy.image for copy in copies]
            continue
        for copy in copies:
            paths.append(copy.path)
            notes.append(replace(note, state=copy.state))
            places.append(place)
        tick(len(copies))
    columns: dict[str, Any] = {name: [getattr(note, name) for note in notes] for name in _NOTED}
    columns |= {name: [getattr(note.state, name) for note in notes] for name in STATE}
    rows = _rows({**columns, 'path': paths, 'vector': places})
    return rows, np.concatenate(vectors) if vectors else np.empty((0, 0), np.float32), left


def _places(readable: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The places of vectors in the array of a shard, -1 where there is none."""
    return np.where(readable, np.cumsum(readable) - 1, -1)


def _rows(columns: dict[str, Any]) -> pa.Table:
    arrays = []
    for name, kind in zip(ROWS.names, ROWS.types, strict=True):
        column = columns[name]
        arrays.append(column if isinstance(column, pa.ChunkedArray) else pa.array(column, kind))
    return pa.table(arrays, ROWS)


def _refuse_not_finite(vectors: NDArray[np.float32], keys: pa.Array) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        names = ', '.join(repr(keys[int(i)].as_py()) for i in bad[:3])
        raise VectorError(
            f'The model gives NaN or infinity for {len(bad)} of {len(vectors)} images of a batch, first {names}. Try '
            "--cfg-options embedder.precision=float32; if that does not help, check the encoder's weights."
        )


def _some_contents(
    store: EmbeddingStore, images: pa.Table, numbers: NDArray[np.int64], rows: pa.Table
) -> dict[str, str]:
    """What some of the readable image files hold, by key."""
    files = np.flatnonzero(
        pc.and_(rows['reason'].is_null(), pc.invert(pc.match_substring(images['path'], '#'))).to_numpy()
    )
    files = files[:: max(1, -(-len(files) // TOLD_CONTENTS))]
    held = store.rows(numbers[files], ['content'])['content'].to_pylist()
    names = images['image'].take(pa.array(files)).to_pylist()
    return {name: content.hex() for name, content in zip(names, held, strict=True) if content is not None}


def _unreadable(images: ImageTable, rows: pa.Table) -> tuple[tuple[str, str], ...]:
    bad = rows['reason'].is_valid()
    found = zip(images.table['image'].filter(bad).to_pylist(), rows['reason'].filter(bad).to_pylist(), strict=True)
    return tuple(sorted([*images.ledger, *found]))
