"""The subset: one table, one row per image, saying whether it stays and why.

This is the contract between choosing images and training on them: the stages before it only write it, the stages after
it only read it. A subset is a *cut* through a ranking, so the same file answers other cuts without its vectors:

    subset = Subset.read('work_dirs/meddel_eta08/subset.parquet')
    subset.kept                       # keys of the images that stay
    subset.at(ratio=0.05).kept        # exactly 5 % of the readable images
    subset.at(eta=0.75).eta           # another similarity threshold

The file is Parquet with the columns of :mod:`mmdel.subset.columns` and one JSON object in its metadata. It carries no time, host
name or absolute path: the same decision gives the same bytes. Columns of a later version or of somebody's own are kept and passed
on.
"""

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmdel.compute import storage
from mmdel.compute.files import atomic
from mmdel.errors import ConfigError, SubsetError
from mmdel.subset import plain_files
from mmdel.subset.columns import COLUMNS, SCHEMA, conform

FORMAT = 1
"""Version of the file format, raised only when a meaning changes; a file with another one is refused."""


REASONS = ('kept', 'duplicate', 'far', 'unselected', 'excluded', 'leak', 'unreadable')

RECUTS = ('any', 'ratio', 'none')
"""Which other cuts a ranking allows: an eta or a ratio, only a ratio, or none (each eta is a run of its own)."""

UPDATE = ('after', 'new', 'kept', 'by_old', 'by_new', 'far', 'excluded', 'leak', 'unreadable')
"""What is counted of each update: the readable images before; the new images; of these the kept ones, those removed by an old
kept image, those removed by a new one, and those that are far, excluded, copies of test images or unreadable."""

VIDEO_FRAME = re.compile(r'(?P<video>.+\.\w+)#(?P<frame>\d{6,})', re.DOTALL)
"""The key of a video frame, ``clip.avi#000123``."""

_METADATA_KEY = b'mmdel'
_REASON = {name: place for place, name in enumerate(REASONS)}


@dataclass(frozen=True)
class EtaInterval:
    """The cuts ``lower <= eta < upper`` (``<=`` where ``closed``) give one and the same subset."""

    lower: float
    upper: float
    closed: bool

    def __str__(self) -> str:
        return f'{self.lower:.6f} <= eta {"<=" if self.closed else "<"} {self.upper:.6f}'


@dataclass(frozen=True)
class Subset:
    """Which images stay, and why each of the others left.

    Args:
        table (pa.Table): Columns of :data:`SCHEMA`, behind them those that this version does not know; sorted by ``image``.
        metadata (dict): JSON object: ``format``; ``mmdel``, the version; what was asked for (``selector``, ``embedder_type``,
            ``center``, ``asked``); what it rests on (``embedder``, the fingerprint with weight digest and precision;
            ``vectors`` and ``dataset``, sha256 of the raw vectors and of the lines "key<TAB>bytes"; ``contents``, what some of
            the files hold; ``mean``, what centring subtracted; ``classes``); which other cuts it allows (``recut``,
            ``recut_hint``); the cut (``images``, the readable ones N; ``kept``; ``ratio``; ``eta``); and where images came later
            ``updates``, for each time what they were.
    """

    table: pa.Table
    metadata: dict[str, Any]

    @classmethod
    def from_ranking(
        cls,
        table: pa.Table,
        metadata: dict[str, Any],
        unreadable: tuple[tuple[str, str], ...] = (),
        kept: int | None = None,
        eta: float | None = None,
        set_aside: pa.Table | None = None,
    ) -> 'Subset':
        """Build the table from a ranking, cut after the first ``kept`` images.

        Args:
            table (pa.Table): The readable images: any columns of :data:`SCHEMA` (``image`` and ``rank`` at least), in any order.
            metadata (dict): What the subset rests on; ``selector.epsilon`` bounds ``distance`` where it is there, ``recut``
                (one of :data:`RECUTS`, 'any' if absent) says which cuts :meth:`at` may make.
            unreadable (tuple): ``(key, reason)`` of the files that could not be used. Defaults to ().
            kept (int, optional): How many images of the ranking stay. Defaults to None (all).
            eta (float, optional): The eta of that cut. Defaults to None.
            set_aside (pa.Table, optional): Readable images that take no part: any columns of :data:`SCHEMA`, among them
                ``reason`` ('excluded' or 'leak'). Defaults to None.

        Raises:
            SubsetError: Keys are repeated, or ``rank`` is not an order of the rows.
        """
        parts = [_rows(table, 'kept'), _unreadable_rows(unreadable)]
        if set_aside is not None:
            parts.append(_rows(set_aside))
        subset = cls(_sorted_rows(parts), {'format': FORMAT, 'recut': 'any', **metadata})
        subset._check()
        rank = subset._column('rank', -1)
        return subset._with(rank < (len(rank) if kept is None else kept), eta)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> 'Subset':
        """Read and verify a subset file.

        A column may stand anywhere and be of any type that says the same values; optional ones may be missing.

        Raises:
            SubsetError: The file is missing, damaged, not a subset, or of another format version.
        """
        try:
            table = pq.read_table(pa.BufferReader(storage.read(path)))
        except FileNotFoundError as error:
            raise SubsetError(f'{path} is not there. Make it with: mmdel select FOLDER') from error
        except (pa.ArrowException, OSError) as error:
            raise SubsetError(
                f'{path} is not a readable Parquet file ({error}). Make it again with mmdel select.'
            ) from error
        try:
            metadata = json.loads((table.schema.metadata or {})[_METADATA_KEY])
            version = metadata['format']
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise SubsetError(f'{path} is a Parquet file but not a subset: it has no mmdel metadata.') from error
        if version != FORMAT:
            raise SubsetError(
                f'{path} has format {version}, this mmdel reads format {FORMAT}. Make it again with mmdel select.'
            )
        try:
            table.validate(full=True)  # text that is not UTF-8, above all
            subset = cls(_conformed(table).combine_chunks(), metadata)
            subset._check()
            subset._check_metadata()
        except (SubsetError, pa.ArrowException) as error:
            raise SubsetError(f'{path}: {error}') from error
        return subset

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file under a temporary name and rename it; equal subsets give equal bytes."""
        text = json.dumps(self.metadata, sort_keys=True, ensure_ascii=False, allow_nan=False)
        with atomic(path) as temporary:
            pq.write_table(
                self.table.replace_schema_metadata({_METADATA_KEY: text.encode()}), temporary, compression='zstd'
            )

    # --- what it says

    @property
    def images(self) -> list[str]:
        """All keys, unreadable files included, sorted."""
        return self.table['image'].to_pylist()

    @property
    def kept(self) -> list[str]:
        """Keys of the images that stay, sorted."""
        return self.table.filter(self.table['keep'])['image'].to_pylist()

    @property
    def keep(self) -> NDArray[np.bool_]:
        """Bool [rows], whether each row stays."""
        return self._column('keep')

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Bool [rows], which rows take part in the ranking."""
        return ~self.has_reason('excluded', 'leak', 'unreadable')

    @property
    def readable_rows(self) -> pa.Table:
        """The rows that take part in the ranking; the table itself where those are all."""
        readable = self.readable
        return self.table if readable.all() else self.table.filter(pa.array(readable)).combine_chunks()

    @property
    def frames(self) -> NDArray[np.bool_]:
        """Bool [rows], which rows are frames of videos, and no files."""
        images = self.table['image']
        found = pc.match_substring(images, '#').to_numpy()
        for row in np.flatnonzero(found).tolist():
            found[row] = is_frame(images[row].as_py())
        return found

    @property
    def far(self) -> NDArray[np.bool_]:
        """Bool [rows], which rows lie farther than epsilon from their centroid."""
        epsilon = (self.metadata.get('selector') or {}).get('epsilon')
        distance = self._column('distance')
        if epsilon is None:
            return np.zeros(len(distance), bool)
        return distance > np.float32(epsilon)

    @property
    def ratio(self) -> float:
        """Kept images as a fraction of the readable ones (the paper's R, exact)."""
        return float(self.metadata['ratio'])

    @property
    def eta(self) -> float | None:
        """The threshold of this cut, None where a ratio was asked for."""
        return self.metadata['eta']

    def count(self, reason: str) -> int:
        """How many rows carry ``reason`` (one of :data:`REASONS`)."""
        return int(self.has_reason(reason).sum())

    def has_reason(self, *reasons: str) -> NDArray[np.bool_]:
        """Bool [rows], which rows carry one of these :data:`REASONS`."""
        return np.isin(self._reasons(), [_REASON[reason] for reason in reasons])

    def reasons(self, images: Iterable[str]) -> dict[str, str]:
        """The reasons of some keys; those that have no row are left out."""
        rows = self.table.select(['image', 'reason'])
        rows = rows.filter(pc.is_in(rows['image'], pa.array(list(images), pa.string())))
        return dict(zip(rows['image'].to_pylist(), rows['reason'].to_pylist(), strict=True))

    # --- other cuts

    def at(self, eta: float | None = None, ratio: float | None = None) -> 'Subset':
        """Cut the same ranking elsewhere; exactly one of the two must be given.

        Args:
            eta (float, optional): Keep images whose redundancy is at most this cosine, in [-1, 1]. Defaults to None.
            ratio (float, optional): Keep the first floor(ratio * N + 0.5) of N readable images, in (0, 1]. Defaults to None.

        Raises:
            ConfigError: Both or none given, or out of range, or the ratio keeps no image.
            SubsetError: This ranking belongs to its eta; the message names the command that makes another.
        """
        if (eta is None) == (ratio is None):
            raise ConfigError('Give either eta or ratio, and not both.')
        recut = self.metadata['recut']
        if ratio is not None:
            if recut == 'none':
                raise SubsetError(self._hint(f'--ratio {ratio:g}'))
            size = self.size_at(ratio)
            least, most = self.metadata.get('bounds') or (0, size)
            if not least <= size <= most:
                raise SubsetError(
                    f'The guards of this subset keep at least {least:,} and at most {most:,} images, '
                    f'ratio {ratio:g} would keep {size:,}. Change the guards in the config and choose again.'
                )
            return self._with(self._column('rank', -1) < size, None)
        check_eta(eta)
        if recut == 'any':
            redundancy = self._column('redundancy')
            return self._with(~self.far & ~(redundancy > np.float32(eta)), float(eta))  # type: ignore[arg-type]
        if eta == self.eta:
            return self
        if self.table['redundancy'].null_count == len(self.table):
            raise SubsetError(
                'This ranking was made without a similarity threshold. Cut it at a ratio instead of an eta.'
            )
        raise SubsetError(self._hint(f'--eta {eta:g}'))

    def reranked(self, rank: NDArray[np.int64], kept: int, bounds: tuple[int, int]) -> 'Subset':
        """The same images in another order, cut after the first ``kept`` of it. It answers ratios; an eta is a run of its own.

        Args:
            rank (NDArray[np.int64]): Of each readable row, an order of them.
            kept (int): How many stay.
            bounds (tuple[int, int]): The least and the most that a cut of this order may keep.
        """
        places = self._column('rank', -1).copy()
        places[self.readable] = rank
        column = pa.array(places, mask=~self.readable)
        table = set_column(self.table, 'rank', column)
        hint = 'With guards an eta is a run of its own, which takes seconds: vectors and ranking are kept.'
        recut: dict[str, Any] = {'bounds': list(bounds)}
        if self.metadata['recut'] == 'any':
            recut |= {'recut': 'ratio', 'recut_hint': hint}
        return Subset(table, {**self.metadata, **recut})._with(places < kept, self.eta)

    def extended(
        self, table: pa.Table, metadata: dict[str, Any], unreadable: tuple[tuple[str, str], ...] = ()
    ) -> 'Subset':
        """These rows as they are, and those of images that came later. No other cut of it is possible.

        Args:
            table (pa.Table): The new images: any columns of :data:`SCHEMA`, among them ``reason``, and for the readable ones
                ``rank``, behind the old ones.
            metadata (dict): What changes of the metadata, ``updates`` and ``recut_hint`` among it.
            unreadable (tuple): ``(key, reason)`` of the new files that could not be used. Defaults to ().

        Raises:
            SubsetError: A key is there already, or ``rank`` does not go on where it ended.
        """
        parts = [self.table, _rows(table), _unreadable_rows(unreadable)]
        rows = _sorted_rows(parts)
        grown = Subset(rows, {**self.metadata, **metadata, 'recut': 'none'})
        grown._check()
        return Subset(rows, {**grown.metadata, **_counts(grown.readable, grown.keep)})

    def retention(self, etas: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each eta would keep, as a fraction of the readable images, [etas]; needs a ranking that answers any eta."""
        if self.metadata['recut'] != 'any':
            raise SubsetError(self._hint('--eta ...'))
        near = self.readable & ~self.far
        redundancy = np.sort(np.nan_to_num(self._column('redundancy')[near], nan=-np.inf))
        kept = np.searchsorted(redundancy, np.asarray(etas, np.float32), side='right')
        return kept / max(int(self.readable.sum()), 1)

    def size_at(self, ratio: float) -> int:
        """floor(ratio * N + 0.5), the number of images that ``ratio`` keeps."""
        return size_at(ratio, int(self.readable.sum()))

    def eta_interval(self) -> EtaInterval | None:
        """The etas that give exactly this subset, or None if no eta does (ties, or cluster heads that a ratio dropped)."""
        if self.metadata['recut'] != 'any':
            return None
        near = self.readable & ~self.far
        redundancy = self._column('redundancy')
        if (self.keep & ~near).any() or (near & ~self.keep & np.isnan(redundancy)).any():
            return None
        kept = redundancy[self.keep & ~np.isnan(redundancy)]
        dropped = redundancy[near & ~self.keep]
        lower = float(kept.max()) if len(kept) else -1.0
        upper = float(dropped.min()) if len(dropped) else 1.0
        if lower >= upper and len(dropped):
            return None
        return EtaInterval(lower, upper, closed=not len(dropped))

    # --- plain lists

    def write_lists(
        self, folder: str | os.PathLike[str], spelled: Mapping[str, str] | None = None
    ) -> plain_files.Written:
        """Write ``keep.txt``, ``keep_labels.txt`` (where every kept image has a label) and ``keep_stems.<suffix>.txt``.

        Unmodified ``mmpretrain.CustomDataset`` reads the first two and mmseg's ``BaseSegDataset`` the third; each line opens
        exactly the kept file. A video frame (``clip.avi#000123``) is no file, so it is in none of them.

        Args:
            folder (str): Where they go.
            spelled (Mapping[str, str], optional): Keys whose file is spelled otherwise on disk, to its path below the image
                folder. Defaults to None.
        """
        files = self.table.select(['image', 'label']).filter(pa.array(self.keep & ~self.frames))
        return plain_files.write_lists(Path(folder), files, self.metadata.get('classes') or (), spelled or {})

    # --- private

    def _column(self, name: str, null: Any = np.nan) -> NDArray[Any]:
        column = self.table[name].combine_chunks()
        if column.null_count:
            column = column.fill_null(null)
        return column.to_numpy(zero_copy_only=False)

    def _reasons(self) -> NDArray[np.int8]:
        """Of each row the place of its reason in :data:`REASONS`, -1 where it is none of them."""
        places = pc.index_in(self.table['reason'], pa.array(REASONS)).combine_chunks()
        return places.fill_null(-1).to_numpy().astype(np.int8)

    def _hint(self, option: str) -> str:
        hint = self.metadata.get('recut_hint') or 'This ranking belongs to its eta.'
        return f'{hint} Choose again with {option}.'

    def _with(self, keep: NDArray[np.bool_], eta: float | None) -> 'Subset':
        """The same rows with another decision; settled rows stay out."""
        reason = self._reasons()
        readable = self.readable
        keep = keep & readable
        redundancy = self._column('redundancy')
        # a guard may leave out what no other image stands for
        compared = ~np.isnan(redundancy) if eta is None else redundancy > np.float32(eta)
        reason[readable] = _REASON['unselected']
        reason[readable & compared] = _REASON['duplicate']
        reason[readable & self.far] = _REASON['far']
        reason[keep] = _REASON['kept']
        names = pa.DictionaryArray.from_arrays(pa.array(reason), pa.array(REASONS)).cast(pa.string())
        table = set_column(set_column(self.table, 'reason', names), 'keep', pa.array(keep))
        return Subset(table, {**self.metadata, **_counts(readable, keep), 'eta': eta})

    def _check(self) -> None:
        images = self.table['image'].combine_chunks()
        before, after = images[:-1], images[1:]
        if pc.any(pc.equal(before, after)).as_py():
            repeated = after[pc.index(pc.equal(before, after), True).as_py()]
            raise SubsetError(f'the image {repeated.as_py()!r} is listed twice; every image needs a key of its own.')
        if images.null_count or not _is_sorted(images):
            raise SubsetError('its rows are not sorted by image; it was changed by another program.')
        reason = self._reasons()
        if (reason < 0).any():
            foreign = self.table['reason'][int((reason < 0).argmax())].as_py()
            raise SubsetError(f'unknown reason {foreign!r}.')
        if (self.keep != (reason == _REASON['kept'])).any():
            raise SubsetError('the columns keep and reason contradict each other; it was changed by another program.')
        rank = np.sort(self._column('rank', -1)[self.readable])
        if (rank != np.arange(len(rank))).any():
            raise SubsetError('the column rank is not an order of the readable images.')
        if self.metadata.get('recut') not in RECUTS:
            raise SubsetError('its metadata do not say which other cuts it allows.')

    def _check_metadata(self) -> None:
        """What others compute with must agree with the rows; the file may come from anywhere."""
        counts = _counts(self.readable, self.keep)
        if any(self.metadata.get(name) != count for name, count in counts.items()):
            raise SubsetError('its metadata and its rows count differently; it was changed by another program.')
        updates = self.metadata.get('updates') or []
        if not isinstance(updates, list) or not all(
            isinstance(each, dict) and all(type(each.get(name)) is int for name in UPDATE) for each in updates
        ):
            raise SubsetError('its metadata hold something else than numbers of images for what was added.')
        selector = self.metadata.get('selector')
        epsilon = selector.get('epsilon') if isinstance(selector, dict) else None
        if not (selector is None or isinstance(selector, dict)) or not _is_number(self.metadata.get('eta'), epsilon):
            raise SubsetError('its metadata hold something else than numbers for eta and epsilon.')


def _counts(readable: NDArray[np.bool_], keep: NDArray[np.bool_]) -> dict[str, Any]:
    images, kept = int(readable.sum()), int(keep.sum())
    return {'images': images, 'kept': kept, 'ratio': kept / images if images else 0.0}


def set_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """The table with other values in a column of :data:`SCHEMA`, at its place."""
    return table.set_column(table.schema.get_field_index(name), SCHEMA.field(name), values)


def _conformed(table: pa.Table) -> pa.Table:
    """The columns of :data:`SCHEMA` in their types, and behind them those that it does not know.

    Raises:
        SubsetError: A required one is missing or partly null, or a type cannot say the values.
    """
    names = table.column_names
    missing = [column.name for column in COLUMNS if column.required and column.name not in names]
    if missing:
        raise SubsetError(
            f'it has no column {" and no column ".join(missing)}, so it is no subset; it has {", ".join(names)}.'
        )
    known: dict[str, Any] = {}
    for field in SCHEMA:
        values = table[field.name] if field.name in names else pa.nulls(len(table), field.type)
        known[field.name] = _in_type(values, field)
    for name in ('image', 'reason', 'keep'):
        if known[name].null_count:
            raise SubsetError(f'the column {name} is not known for every row; it was changed by another program.')
    others = {field.name: table[field.name] for field in table.schema if field.name not in known}
    fields = [*SCHEMA, *(pa.field(name, values.type) for name, values in others.items())]
    return pa.table({**known, **others}, schema=pa.schema(fields))


def _in_type(values: pa.Array | pa.ChunkedArray, field: pa.Field) -> pa.Array | pa.ChunkedArray:
    """A column in the type of this version, where that loses nothing."""
    if values.type == field.type:
        return values
    try:
        plain = values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values
        found = plain.cast(field.type)
        back = found.cast(plain.type)
    except pa.ArrowException as error:
        raise SubsetError(f'the column {field.name} is {values.type}, and should be {field.type} ({error}).') from error
    same = pc.fill_null(pc.equal(back, plain), True)
    if pa.types.is_floating(plain.type):
        same = pc.or_(same, pc.fill_null(pc.is_nan(plain), True))
    if found.null_count != plain.null_count or not pc.all(same, min_count=0).as_py():
        raise SubsetError(f'the column {field.name} is {values.type}, and its values are no {field.type}.')
    return found


def _rows(table: pa.Table, reason: str | None = None) -> pa.Table:
    """Rows of :data:`SCHEMA` from those columns of it that there are; ``keep`` follows from ``reason``."""
    table = conform(table, SCHEMA)
    if reason is not None:
        table = set_column(table, 'reason', pa.repeat(pa.scalar(reason, pa.string()), len(table)))
    return set_column(table, 'keep', pc.equal(table['reason'], 'kept'))


def _unreadable_rows(unreadable: tuple[tuple[str, str], ...]) -> pa.Table:
    return _rows(pa.table({'image': pa.array([key for key, _ in unreadable], pa.string())}), 'unreadable')


def _is_number(*values: Any) -> bool:
    return all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values)


def is_frame(key: str) -> bool:
    """Whether a key names a frame of a video, and no file."""
    return VIDEO_FRAME.fullmatch(key) is not None


def size_at(ratio: float, images: int) -> int:
    """floor(ratio * images + 0.5).

    Raises:
        ConfigError: ``ratio`` is outside (0, 1], or so small that no image would be kept.
    """
    if not 0 < ratio <= 1:
        raise ConfigError(f'ratio must be above 0 and at most 1 (0.05 keeps 5 %), got {ratio:g}.')
    size = math.floor(ratio * images + 0.5)
    if size == 0:
        raise ConfigError(
            f'ratio {ratio:g} of {images} images keeps none; the smallest that keeps one is {0.5 / max(images, 1):.6g}.'
        )
    return size


def effective_eta(subset: Subset) -> float | None:
    """The eta of a cut, or where a ratio was asked for the smallest one that means the same; None where none does."""
    if subset.eta is not None:
        return subset.eta
    interval = subset.eta_interval()
    return None if interval is None else interval.lower


def check_eta(eta: float | None) -> None:
    """Raise ConfigError unless eta is a cosine in [-1, 1]."""
    if eta is None or not -1 <= eta <= 1:
        raise ConfigError(
            f'eta is a cosine similarity between -1 and 1 (0.8 removes what is more similar than 0.8), got {eta}.'
        )


def _sorted_rows(parts: Sequence[pa.Table]) -> pa.Table:
    """The rows of all parts by image; not copied where they are one part that is sorted."""
    rows = pa.concat_tables([part for part in parts if len(part)] or parts[:1], promote_options='default')
    rows = rows.combine_chunks()
    if rows['image'].null_count or not _is_sorted(rows['image'].combine_chunks()):
        rows = rows.sort_by('image').combine_chunks()
    return rows


def _is_sorted(images: pa.StringArray) -> bool:
    """Whether text without nulls is in the order of its code points, which is that of its bytes in UTF-8."""
    return not pc.any(pc.greater(images[:-1], images[1:])).as_py()
