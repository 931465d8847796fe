"""A dataset that has grown: new images are decided beside old decisions that stay (``tools/dedup.py CONFIG --update OLD``).

    old = OldRun.open(request)
    changes = old.compare(images.table['image'].to_pylist(), ())     # which images are new, and which are gone
    table, vectors = merge(old, source, embedded)                    # of the old and the new readable images
    extended = extend(old, request, table, vectors, ...)             # the old rows as they are, and the new ones

Old rows keep every column. New images are put into the old clusters and compared with the old *kept* images and among themselves,
by the rule of the selector at the old eta (:meth:`~mmdel.selection.selector.BaseSelector.extend`). That needs what the old
decisions rest on: the same encoder and weights, the recorded mean, the centroids, and the very vectors, by their digest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

import mmdel
from mmdel.compute.files import file_digest
from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.embed import Embedded
from mmdel.embedding.vectors import ChosenRows, RowSource, StackedRows, Vectors
from mmdel.engine.finished_run import FinishedRun
from mmdel.engine.request import Request, difference
from mmdel.engine.work_dir import Changes
from mmdel.errors import ConfigError, DatasetError, StoreError, SubsetError
from mmdel.images.image_table import dataset_digest
from mmdel.selection.selector import BaseSelector, Decided, Ranking
from mmdel.subset import Subset, effective_eta
from mmdel.subset.columns import SEEN, conform

HINT = 'This subset was updated: old decisions stay, so it answers no other cut. Choose from all images anew, without --update.'

OF_NEW_IMAGES = ('guards', 'exclude_near')
"""What is asked of new images alone: of the old ones it was asked before."""


@dataclass(frozen=True)
class OldRun:
    """The run whose decisions stay.

    Args:
        run (FinishedRun): Its folder, subset and origin.
        digest (str): sha256 of its subset file.
        centroids (NDArray[np.float32]): [k, D], of its clusters.
        eta (float): The threshold of its cut, or what its ratio means.
    """

    run: FinishedRun
    digest: str
    centroids: NDArray[np.float32]
    eta: float

    @classmethod
    def open(cls, request: Request) -> 'OldRun':
        """Open it, and compare what it was asked with what is asked now.

        Args:
            request (Request): What is asked now; ``update`` is the old work dir, or the subset file in it.

        Raises:
            ConfigError: It was chosen in another way; the message says what differs.
            SubsetError: There is no subset, or no eta or centroids that new images could be held to.
        """
        path, asked = Path(request.update or ''), request.asked()
        reason = request.selector.refuses_to_extend()
        if reason:
            raise ConfigError(f'{reason} Choose from all images anew, without --update.')
        run = FinishedRun.open(path)
        subset = run.subset
        now = {name: asked[name] for name in ('selector', 'embedder_type', 'center')}
        refuse_other(run.folder, {name: subset.metadata.get(name) for name in now}, now)
        eta = effective_eta(subset)
        if eta is None:
            raise SubsetError(
                f'{run.folder} was cut at a ratio that no eta gives, so there is no similarity that new images could be held to. '
                'Choose the old subset again with an eta: --eta X'
            )
        file = run.folder / 'subset.parquet' if path.is_dir() else path
        return cls(run, file_digest(file), _read_centroids(run.folder), eta)

    @property
    def subset(self) -> Subset:
        """The old decisions."""
        return self.run.subset

    def refuse_other_encoder(self, fingerprint: dict[str, Any]) -> None:
        """Raise ConfigError where vectors would be others; the message says in what."""
        refuse_other(self.run.folder, {'embedder': self.subset.metadata.get('embedder')}, {'embedder': fingerprint})

    def compare(self, images: Sequence[str], unusable: Iterable[str]) -> Changes:
        """Which images are new and which are gone.

        Args:
            images (Sequence[str]): Keys of all images that are there.
            unusable (Iterable[str]): Keys of files that are there and can be seen to be unusable.

        Raises:
            DatasetError: Not one old image is there: the keys mean something else.
        """
        known, there = set(self.subset.images), {*images, *unusable}
        if known and not known & there:
            examples = f'{min(known)!r}, now {min(there)!r}' if there else f'{min(known)!r}'
            raise DatasetError(
                f'None of the {len(known):,} images of {self.run.folder} is among these images, so it is another dataset, '
                f'or keys are relative to another folder (or --embeddings has no --keys): for instance {examples}.'
            )
        return Changes(tuple(sorted(there - known)), tuple(sorted(known - there)))

    def lost(self, unusable: Iterable[str]) -> set[str]:
        """Images that could be read and whose files can now be seen to be unusable."""
        table = self.subset.table.filter(pc.not_equal(self.subset.table['reason'], 'unreadable'))
        return set(table['image'].to_pylist()) & set(unusable)

    def vectors_here(self, run: FinishedRun, progress: Stages = SILENT) -> RowSource:
        """The raw vectors of its readable images, which must be the ones that it was chosen by.

        Args:
            run (FinishedRun): The old subset with the image folder and cache of now.
            progress (Stages): Shows the reading. Defaults to ``SILENT``.

        Raises:
            StoreError: They are not at hand, or others.
        """
        try:
            return run.vectors(progress).source
        except StoreError as error:
            raise StoreError(
                f'New images can only be compared with the vectors that {self.run.folder} was chosen by, and these are not at '
                f'hand: images are gone or were changed since, or the cache or the machine is another. ({error}) '
                'Name the old cache with --cfg-options cache_dir=FOLDER, or choose from all images anew, without --update.'
            ) from error


@dataclass(frozen=True)
class Extended:
    """An updated subset.

    Args:
        subset (Subset): Old and new rows.
        ranking (Ranking): Of all readable rows, as far as a summary needs it.
    """

    subset: Subset
    ranking: Ranking


def merge(old: OldRun, source: RowSource, new: Embedded, progress: Stages = SILENT) -> tuple[pa.Table, Vectors]:
    """All readable images in one table and one set of vectors, sorted by key, under the recorded mean.

    Args:
        old (OldRun): The old run.
        source (RowSource): Raw vectors of its readable images.
        new (Embedded): The new images.
        progress (Stages): Shows the reading. Defaults to ``SILENT``.

    Returns:
        tuple[pa.Table, Vectors]: The table has the columns that a selector sees, and ``new``, a bool.
    """
    readable = old.subset.readable_rows
    table = pa.concat_tables([_seen(readable, False), _seen(new.table, True)]).sort_by('image').combine_chunks()
    second = table['new'].to_numpy()
    place = np.where(second, source.shape[0] + np.cumsum(second), np.cumsum(~second)) - 1
    merged = ChosenRows(StackedRows([source, new.source]), place) if second.any() else source
    keys = table['image'].to_pylist()
    return table, Vectors(merged, keys, bool(old.subset.metadata.get('center')), progress, old.run.mean)


def extend(
    old: OldRun,
    request: Request,
    table: pa.Table,
    vectors: Vectors,
    must: NDArray[np.bool_],
    set_aside: pa.Table,
    unreadable: tuple[tuple[str, str], ...],
    classes: tuple[str, ...],
    progress: Stages = SILENT,
) -> Extended:
    """Decide about the new images.

    Args:
        old (OldRun): The old run.
        request (Request): What is asked, with guards for new images.
        table (pa.Table): From :func:`merge`.
        vectors (Vectors): From :func:`merge`.
        must (NDArray[np.bool_]): [new images of the table], which of them stay whatever the method says.
        set_aside (pa.Table): New images that take no part, with their ``reason``.
        unreadable (tuple): ``(key, reason)`` of the new files that could not be used.
        classes (tuple[str, ...]): Label names as the dataset numbers them now.
        progress (Stages): Shows long stages. Defaults to ``SILENT``.

    Raises:
        SubsetError: The old subset and its centroids do not belong together.
    """
    second = table['new'].to_numpy()
    rows, readable = np.flatnonzero(second), old.subset.readable_rows
    ranking = request.selector.extend(vectors, table, _decided(old, np.flatnonzero(~second), readable), rows, progress)
    whole = _whole(ranking, second, readable, old.centroids)
    if not (len(rows) or len(set_aside) or unreadable):
        return Extended(old.subset, whole)
    new = table.filter(pa.array(second))
    after = len(readable)
    kept = 0 if ranking.kept is None else ranking.kept
    keep = (ranking.rank < kept) | must
    far = _far(request.selector, ranking)
    reason = np.where(keep, 'kept', np.where(far, 'far', 'duplicate'))
    by: NDArray[np.int64] = ranking.removed_by  # type: ignore[assignment]
    columns = ranking.columns(table['image'].combine_chunks())
    columns |= {'rank': pa.array(after + ranking.rank), 'reason': pa.array(reason.astype(object))}
    for name, column in columns.items():
        new = new.append_column(name, column)
    by_new = second[by] & (reason == 'duplicate')
    counts = {
        'after': after,
        'new': len(new) + len(set_aside) + len(unreadable),
        'kept': int(keep.sum()),
        'by_old': int((reason == 'duplicate').sum() - by_new.sum()),
        'by_new': int(by_new.sum()),
        'far': int((reason == 'far').sum()),
        'excluded': int(pc.sum(pc.equal(set_aside['reason'], 'excluded')).as_py() or 0),
        'leak': int(pc.sum(pc.equal(set_aside['reason'], 'leak')).as_py() or 0),
        'unreadable': len(unreadable),
    }
    asked = {name: value for name, value in request.asked().items() if name in OF_NEW_IMAGES and value is not None}
    update = {'of': old.digest, **counts, **asked}
    metadata = {
        'mmdel': mmdel.__version__,
        'vectors': vectors.digest,
        'dataset': dataset_digest(table),
        'classes': [*classes, *(name for name in old.subset.metadata.get('classes') or () if name not in classes)],
        'asked': {'eta': old.eta, 'ratio': None},
        'eta': old.eta,
        'recut_hint': HINT,
        'updates': [*(old.subset.metadata.get('updates') or ()), update],
    }
    return Extended(
        old.subset.extended(pa.concat_tables([new, set_aside], promote_options='default'), metadata, unreadable), whole
    )


def refuse_other(folder: Path, old: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise ConfigError where two descriptions differ, naming the first key that does."""
    found = difference(old, now)
    if found:
        name, before, after = found
        raise ConfigError(
            f'{folder} was chosen with {name} = {before!r}, now it is {after!r}: new images cannot be compared. '
            'Use the config and options of the old run, or choose from all images anew, without --update.'
        )


def update_rows(subset: Subset, changes: Changes) -> tuple[tuple[str, str], ...]:
    """What the closing table says about an update."""
    last = (subset.metadata.get('updates') or [{}])[-1] if changes.new else {}
    rows = [('new images', f'{len(changes.new):,}')]
    for name, words in (
        ('kept', 'new, kept'),
        ('by_old', 'new, removed by old kept images'),
        ('by_new', 'new, removed by new ones'),
        ('far', 'new, far from their centroid'),
        ('excluded', 'new, excluded on request'),
        ('leak', 'new, copies of test images'),
        ('unreadable', 'new, unreadable'),
    ):
        if last.get(name) or name in ('kept', 'by_old', 'by_new'):
            rows.append((words, f'{last.get(name, 0):,}'))
    if changes.gone:
        rows.append(('old images that are gone, decisions stay', f'{len(changes.gone):,}'))
    if changes.changed:
        rows.append(('old files that have changed, decisions stay', f'{len(changes.changed):,}'))
    return tuple(rows)


# --- private


def _read_centroids(folder: Path) -> NDArray[np.float32]:
    path = folder / 'centroids.npy'
    try:
        centroids = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SubsetError(
            f'{path} cannot be read ({error}), so new images cannot be put into the old clusters. It lies beside the subset '
            'that a run writes; copy it from there.'
        ) from error
    if not isinstance(centroids, np.ndarray) or centroids.dtype != np.float32 or centroids.ndim != 2:
        raise SubsetError(f'{path} holds no float32 array [clusters, dimensions]; it is not what a run writes.')
    return centroids


def _seen(table: pa.Table, new: bool) -> pa.Table:
    """The columns that a selector sees; those that are not known are null."""
    return conform(table, SEEN).append_column('new', pa.array(np.full(len(table), new)))


def _decided(old: OldRun, place: NDArray[np.int64], readable: pa.Table) -> Decided:
    """The old kept images among all rows.

    Args:
        old (OldRun): The old run.
        place (NDArray[np.int64]): The row of each readable old image.
        readable (pa.Table): Their rows of the old subset.
    """
    kept = np.flatnonzero(readable['keep'].to_numpy(zero_copy_only=False))
    kept = kept[np.argsort(readable['rank'].to_numpy()[kept])]
    rows = readable.take(pa.array(kept))
    if rows['cluster'].null_count or rows['distance'].null_count or pc.any(pc.is_nan(rows['distance'])).as_py():
        raise SubsetError(f'{old.run.folder} states no cluster and distance for its kept images.')
    return Decided(place[kept], rows['cluster'].to_numpy(), rows['distance'].to_numpy(), old.centroids, old.eta)


def _whole(ranking: Ranking, second: NDArray[np.bool_], readable: pa.Table, centroids: NDArray[np.float32]) -> Ranking:
    """Old and new rows together."""
    whole = {}
    for name, dtype in (('rank', np.int64), ('cluster', np.int32), ('redundancy', np.float32)):
        values = np.empty(len(second), dtype)
        values[~second] = readable[name].combine_chunks().fill_null(-1).to_numpy(zero_copy_only=False)
        values[second] = getattr(ranking, name) + (len(readable) if name == 'rank' else 0)
        whole[name] = values
    return Ranking(**whole, centroids=centroids, notes=ranking.notes)  # type: ignore[arg-type]


def _far(selector: BaseSelector, ranking: Ranking) -> NDArray[np.bool_]:
    epsilon = selector.config().get('epsilon')
    distance: NDArray[np.float32] = ranking.distance  # type: ignore[assignment]
    return np.zeros(len(distance), bool) if epsilon is None else distance > np.float32(epsilon)
