"""Runs a model over the images of a dataset and keeps the vectors.

    embedder = EMBEDDERS.build(dict(type='mmdel.PixelEmbedder'))
    embedded = embed_images(image_table(dataset), embedder, 'work_dirs/.embeddings')
    embedded.table['image']              # keys of the readable images
    embedded.source.read(slice(0, 10))   # their raw vectors

Killed at any moment and started again, :func:`embed_images` continues after the last whole shard and ends with the same
bits: the images still missing are cut, in key order, into shards and batches of fixed size, every batch is filled up to
that size, and so the model sees each image in the same place of the same shape. The processes of a job take these shards one by
one, as each is ready for the next, and write them side by side; only rank 0 needs to know them all. Of files with the same
bytes the model sees one; the others get its vector, in the same shard.
"""

import itertools
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope, init_default_scope
from numpy.typing import NDArray

from mmdel import disk_space, sharing, storage
from mmdel.blocks import give_back, values
from mmdel.datasets.image_table import ImageTable
from mmdel.embedding.base_embedder import BaseEmbedder
from mmdel.embedding.identical_files import first_identical
from mmdel.embedding.reader import Batch, FileNote, file_state, read_batches
from mmdel.embedding.side_by_side import Made, embed_batches
from mmdel.embedding.store import ROWS, UNKNOWN, EmbeddingStore
from mmdel.embedding.vectors import RowSource
from mmdel.errors import ConfigError, DatasetError, VectorError
from mmdel.progress import SILENT, Stages, Tick

_TOLD = ['width', 'height', 'bytes', 'sharpness']
_NOTED = [name for name in ROWS.names if name not in ('path', 'vector')]

ROW_BYTES = 100
"""What the cache notes of an image beside its vector, about."""


@dataclass(frozen=True)
class Embedded:
    """The readable images of a dataset and their vectors.

    Args:
        table (pa.Table): Sorted by key: image, path, source, label, video, frame, centre, width, height, bytes, sharpness.
        source (RowSource): Raw vectors; row i belongs to row i of ``table``.
        unreadable (tuple): ``(key, reason)`` of the other images, sorted.
        fingerprint (dict): What the vectors depend on.
    """

    table: pa.Table
    source: RowSource
    unreadable: tuple[tuple[str, str], ...]
    fingerprint: dict[str, Any]


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
        with progress.stage('cache', total=len(paths)) as tick:
            work = _missing(store, paths, tick)
            give_back()
        missing = len(paths) - len(work.known)
        MMLogger.get_current_instance().info(
            f'{len(work.known):,} of {len(paths):,} images have vectors in {store.folder}'
            + (f'; {missing:,} are embedded now' if missing else '')
            + (f', {work.copies:,} of them as exact copies of others.' if work.copies else '.')
        )
        if missing:
            with progress.stage('embed', total=missing) as tick:
                _copy(store, embedder, paths, work, tick)
                made_with = (store, embedder, fingerprint, images.table, num_workers, device)
                left = _share(_job(work, *made_with), tick)
                if left:
                    # rare: a file has changed since it was compared, and its former copies are embedded like any other
                    again = _Work(work.known, np.array(sorted(left)), np.empty(0, np.int64), {}, {}, work.state)
                    _share(_job(again, *made_with), tick)
        numbers = store.latest(paths)
        rows = store.rows(numbers, ['reason', *_TOLD])
        readable = np.flatnonzero(rows['reason'].is_null().to_numpy())
        source = store.source(numbers[readable])
        give_back()
    unreadable = _unreadable(images, rows)
    if some and not len(readable):
        first = ''.join(f'\n  {key}: {reason}' for key, reason in unreadable[:3])
        raise DatasetError(f'None of the {len(unreadable)} images found can be used.{first}')
    table = images.table
    for name in _TOLD:
        table = table.append_column(ROWS.field(name), rows[name])
    if len(readable) < len(table):
        table = table.take(pa.array(readable))
    return Embedded(table, source, unreadable, fingerprint)


@dataclass
class _Work:
    """What is to be done, by the number of the image.

    Args:
        known (NDArray[np.int64]): Images with a row for their file as it is now.
        new (NDArray[np.int64]): Images to embed.
        again (NDArray[np.int64]): Images whose file could not be opened before. They are cut into shards of their own: in a run
            that was killed they would shift the others' places.
        copies_of_known (dict[int, int]): Images with the bytes of a known one.
        copies_of_new (dict[int, list[int]]): For some of ``new``, the other images with the same bytes.
        state (NDArray[np.int64]): [N, 2], size and time of every file before it was compared.
    """

    known: NDArray[np.int64]
    new: NDArray[np.int64]
    again: NDArray[np.int64]
    copies_of_known: dict[int, int]
    copies_of_new: dict[int, list[int]]
    state: NDArray[np.int64]

    @property
    def copies(self) -> int:
        return len(self.copies_of_known) + sum(map(len, self.copies_of_new.values()))


def _missing(store: EmbeddingStore, paths: pa.Array, tick: Callable[[int], None]) -> _Work:
    """Find the images without a row for their file as it is now, and which of them are copies."""
    numbers = store.latest(paths)
    state = np.empty((len(paths), 2), np.int64)
    losses = storage.Losses()
    for i, path in enumerate(values(paths)):
        state[i] = file_state(path, losses)
        tick(1)
    found, again = np.zeros((2, len(paths)), bool)
    if numbers.max(initial=-1) >= 0:
        rows = store.rows(np.maximum(numbers, 0), ['size', 'mtime_ns'])
        stored = np.stack([rows[name].to_numpy() for name in rows.column_names], axis=1)
        again = (numbers >= 0) & (stored[:, 0] == UNKNOWN)
        found = (numbers >= 0) & ~again & (stored == state).all(axis=1)
    known, new = np.flatnonzero(found), np.flatnonzero(~found & ~again)
    # what is known comes first, so that new files with the same bytes find it
    compared = np.concatenate([known[np.isin(state[known, 0], state[new, 0])], new])
    first = compared[first_identical(paths.take(pa.array(compared)), state[compared, 0])]
    work = _Work(known, new, np.flatnonzero(again), {}, {}, state)
    for i, original in zip(compared.tolist(), first.tolist(), strict=True):
        if found[original] and not found[i]:
            work.copies_of_known[i] = original
        elif i != original and not found[i]:
            work.copies_of_new.setdefault(original, []).append(i)
    work.new = np.setdiff1d(new, [*work.copies_of_known, *itertools.chain(*work.copies_of_new.values())])
    return work


def _copy(
    store: EmbeddingStore, embedder: BaseEmbedder, paths: pa.Array, work: _Work, tick: Callable[[int], None]
) -> None:
    """Write rows and vectors of known images once more, for the files that are copies of them."""
    copies = np.array(list(work.copies_of_known.items()), np.int64).reshape(-1, 2)
    found = store.latest(paths.take(pa.array(copies[:, 1])))
    for start in range(0, len(copies), embedder.shard_size):
        part = slice(start, start + embedder.shard_size)
        images, numbers = copies[part, 0], found[part]
        rows = store.rows(numbers)
        readable = rows['reason'].is_null().to_numpy()
        made = store.source(numbers[readable]).read(slice(0, int(readable.sum())))
        columns = {name: rows[name].to_pylist() for name in ROWS.names}
        columns['path'] = paths.take(pa.array(images))
        columns['size'], columns['mtime_ns'] = work.state[images].T
        columns['vector'] = _places(readable)
        store.append(_rows(columns), made)
        tick(len(images))


@dataclass(frozen=True)
class _Copy:
    """A file with the bytes of another one.

    Args:
        image (int): Its number in the dataset.
        path (str): The file.
        size, mtime_ns: Its state before it was compared.
    """

    image: int
    path: str
    size: int
    mtime_ns: int


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
        states (NDArray[np.int64]): [N, 2], size and time of the files when they were compared.
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
            _Copy(copy, images['path'][copy].as_py(), *work.state[copy].tolist()) for copy in work.copies_of_new[image]
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
    if sharing.processes() == 1:
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
            if taken == 1 and sharing.is_leader() and len(rows):
                # only now the encoder has shown how long its vectors are
                each = vectors.nbytes // len(rows) + ROW_BYTES
                disk_space.require(job.store.folder, len(job.keys) * each, 'vectors of new images')
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
        if [note.size, note.mtime_ns] != job.states[number].tolist():
            left += [copy.image for copy in copies]
            continue
        for copy in copies:
            paths.append(copy.path)
            notes.append(replace(note, size=copy.size, mtime_ns=copy.mtime_ns))
            places.append(place)
        tick(len(copies))
    columns: dict[str, Any] = {name: [getattr(note, name) for note in notes] for name in _NOTED}
    rows = _rows({**columns, 'path': paths, 'vector': places})
    return rows, np.concatenate(vectors) if vectors else np.empty((0, 0), np.float32), left


def _places(readable: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The places of vectors in the array of a shard, -1 where there is none."""
    return np.where(readable, np.cumsum(readable) - 1, -1)


def _rows(columns: dict[str, Any]) -> pa.Table:
    return pa.table([pa.array(columns[field.name], field.type) for field in ROWS], ROWS)


def _refuse_not_finite(vectors: NDArray[np.float32], keys: pa.Array) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        names = ', '.join(repr(keys[int(i)].as_py()) for i in bad[:3])
        raise VectorError(
            f'The model gives NaN or infinity for {len(bad)} of {len(vectors)} images of a batch, first {names}. Try '
            "--cfg-options embedder.precision=float32; if that does not help, check the encoder's weights."
        )


def _unreadable(images: ImageTable, rows: pa.Table) -> tuple[tuple[str, str], ...]:
    bad = rows['reason'].is_valid()
    found = zip(images.table['image'].filter(bad).to_pylist(), rows['reason'].filter(bad).to_pylist(), strict=True)
    return tuple(sorted([*images.ledger, *found]))
