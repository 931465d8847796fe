"""Guards: what a person does not want to lose, or does not want too much of, applied along any ranking.

    guards = Guards(min_keep=dict(label=5, centre=0.05), max_keep=dict(video=200), always_keep='labelled', exclude='bad.txt')
    subset = guards.apply(subset, exact=True)

In a dedup config: ``guards = dict(min_keep=dict(label=5))``. A guard changes the *order*, not the number: what must stay comes
first, then what fills the floors (the best-ranked images of each group), then the others, and last what would exceed a cap.
A subset is still a cut through that order, so a ratio is met exactly and subsets are nested.

Not guaranteed: with floors or caps on *several* columns, a cleverer choice of images might need fewer of them. On one column the
result is the best that there is.
"""

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmdel.errors import ConfigError, DatasetError, GuardError
from mmdel.images import keys as spelling
from mmdel.subset import Subset, plain_files
from mmdel.subset.columns import GROUPS

_LABELS = 'Folders that are named after classes are taken with --labels folders; else give'

Amount = int | float | Mapping[str, int | float]


class Guards:
    """Floors, caps and must-keeps.

    An amount is a number of images (an int), or a fraction of the group's images (a float in [0, 1], rounded up for a floor
    and down for a cap); one for every value of a column, or a dict with one for each value that is meant.

    Args:
        min_keep (Mapping[str, Amount], optional): Column to the least that stays of each group; a smaller group stays whole.
            Defaults to None.
        max_keep (Mapping[str, Amount], optional): Column to the most that stays of each group. Defaults to None.
        always_keep (str | Sequence[str], optional): Keys, a text file with one key a line, 'labelled' for every image with a
            label, or 'masked' for every image with a mask. Defaults to None.
        exclude (str | Sequence[str], optional): Keys, or a text file with one key a line; these take no part at all: they are
            not kept, and remove no other image. Defaults to None.

    Raises:
        ConfigError: A column is unknown, or an amount is none.
    """

    def __init__(
        self,
        min_keep: Mapping[str, Amount] | None = None,
        max_keep: Mapping[str, Amount] | None = None,
        always_keep: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
    ) -> None:
        self.min_keep = _checked('min_keep', min_keep)
        self.max_keep = _checked('max_keep', max_keep)
        self.asks = always_keep if isinstance(always_keep, str) and always_keep in ('labelled', 'masked') else ''
        self.always_keep = () if self.asks else _keys('always_keep', always_keep)
        self.exclude = _keys('exclude', exclude)
        both = sorted(set(self.always_keep) & set(self.exclude))
        if both:
            raise GuardError(f'{both[0]!r} is in always_keep and in exclude. Take it out of one of them.')

    @classmethod
    def from_cfg(cls, cfg: Mapping[str, Any] | None) -> 'Guards':
        """Build from the key ``guards`` of a dedup config.

        Raises:
            ConfigError: A key is unknown or has a value that is no guard.
        """
        if not isinstance(cfg or {}, Mapping):
            raise ConfigError(f'guards is a dict such as dict(min_keep=dict(label=5)), got {cfg!r}.')
        unknown = sorted(set(cfg or {}) - {'min_keep', 'max_keep', 'always_keep', 'exclude'})
        if unknown:
            raise ConfigError(f'guards has no key {unknown[0]!r}; it has min_keep, max_keep, always_keep and exclude.')
        return cls(**(cfg or {}))

    def config(self) -> dict[str, Any] | None:
        """What was asked for, JSON-able, long lists as a digest; None where nothing was."""
        values = {
            'min_keep': self.min_keep,
            'max_keep': self.max_keep,
            'always_keep': self.asks or _about(self.always_keep),
            'exclude': _about(self.exclude),
        }
        return {name: value for name, value in values.items() if value} or None

    def excluded(self, images: pa.ChunkedArray) -> NDArray[np.bool_]:
        """Bool [images], which take no part.

        Raises:
            GuardError: An image to exclude is not there.
        """
        return pc.is_in(images, pa.array(_known('exclude', self.exclude, images), pa.string())).to_numpy()

    def must(self, table: pa.Table, masked: frozenset[str] = frozenset()) -> NDArray[np.bool_]:
        """Bool [rows], which rows stay whatever the ranking says.

        Args:
            table (pa.Table): ``image`` and ``label``.
            masked (frozenset[str]): Images that have a mask. Defaults to none.

        Raises:
            GuardError: An image that must stay is not there.
        """
        if self.asks == 'labelled':
            return table['label'].is_valid().to_numpy()
        wanted = sorted(masked) if self.asks else _known('always_keep', self.always_keep, table['image'])
        return pc.is_in(table['image'], pa.array(wanted, pa.string())).to_numpy()

    def of_new_images(self, old: Subset) -> 'Guards':
        """What is left of the guards where old decisions stay: those of images that ``old`` does not list.

        Raises:
            GuardError: They ask for what old decisions deny, or cannot be met by new images alone.
        """
        for name in ('min_keep', 'max_keep'):
            if getattr(self, name):
                raise GuardError(
                    f'With --update old decisions stay, so guards.{name} cannot be promised. Leave it out (--cfg-options '
                    f'guards.{name}=None), or choose from all images anew, without --update.'
                )
        always_keep, exclude = (_matched(wanted, old.table['image']) for wanted in (self.always_keep, self.exclude))
        reasons = old.reasons((*always_keep, *exclude))
        for name, keys, wanted in (('always_keep', always_keep, 'kept'), ('exclude', exclude, 'excluded')):
            denied = [key for key in keys if reasons.get(key, wanted) != wanted]
            if denied:
                raise GuardError(
                    f'guards.{name} names {len(denied):,} images that the old subset decides otherwise, first {denied[0]!r} '
                    f'({reasons[denied[0]]}), and with --update old decisions stay. Take them out of {name}, or choose from all '
                    'images anew, without --update.'
                )
        guards = Guards()
        guards.asks = self.asks
        guards.always_keep = tuple(key for key in always_keep if key not in reasons)
        guards.exclude = tuple(key for key in exclude if key not in reasons)
        return guards

    def apply(self, subset: Subset, exact: bool, masked: frozenset[str] = frozenset()) -> Subset:
        """Cut the guarded order instead of the plain one.

        Args:
            subset (Subset): A cut without guards.
            exact (bool): Keep exactly as many images, because a ratio was asked for. Else the number follows: what the cut
                keeps, and what the guards add to it and take from it.
            masked (frozenset[str]): Images that have a mask. Defaults to none.

        Raises:
            GuardError: The guards contradict each other, the images, or the ratio.
        """
        if not (self.min_keep or self.max_keep or self.asks or self.always_keep):
            return subset
        table = subset.readable_rows
        rank = table['rank'].to_numpy()
        order = np.argsort(rank)
        groups = _Groups(table, self.min_keep, self.max_keep)
        first = self.must(table, masked)
        if self.asks == 'masked' and not first.any():
            raise GuardError(
                "No readable image has a mask, so guards.always_keep='masked' keeps nothing. A mask is the seg_map_path of a "
                'dataset, or a file masks/NAME for images/NAME.'
            )
        groups.take(first, 'always_keep')
        floor = groups.fill_floors(order[~first[order]])
        stage = np.full(len(table), 3)
        stage[floor], stage[first] = 1, 0
        for row in order[stage[order] == 3].tolist():
            if groups.has_room(row):
                groups.add(row)
                stage[row] = 2
        least, most = int((stage <= 1).sum()), int((stage <= 2).sum())
        guarded = np.empty(len(table), np.int64)
        guarded[np.lexsort((rank, stage))] = np.arange(len(table))
        kept = subset.metadata['kept']
        if exact:
            _check_size(kept, least, most, len(table))
        else:
            kept = least + int(((stage == 2) & (rank < kept)).sum())
        return subset.reranked(guarded, kept, (least, most))


class _Groups:
    """How many images of each guarded group are taken, and how many must and may be."""

    def __init__(self, table: pa.Table, floors: Mapping[str, Amount], caps: Mapping[str, Amount]) -> None:
        self.names: list[str] = []
        self.floor: list[int] = []
        self.cap: list[int] = []
        self.of: list[list[int]] = [[] for _ in range(len(table))]
        for column in GROUPS:  # an image without a value is in no group of that column
            if column not in floors and column not in caps:
                continue
            values = table[column].to_pylist()
            sizes: dict[str, int] = {}
            for value in values:
                if value is not None:
                    sizes[value] = sizes.get(value, 0) + 1
            self._refuse_unknown(column, sizes, floors.get(column), caps.get(column))
            place = {}
            for value in sorted(sizes):
                place[value] = len(self.names)
                self.names.append(f'{column} {value!r}')
                self.floor.append(min(sizes[value], _amount(floors.get(column), value, sizes[value], math.ceil, 0)))
                self.cap.append(_amount(caps.get(column), value, sizes[value], math.floor, sizes[value]))
                if self.floor[-1] > self.cap[-1]:
                    raise GuardError(
                        f'{self.names[-1]} must keep at least {self.floor[-1]:,} images (min_keep) and at most '
                        f'{self.cap[-1]:,} (max_keep). Change one of them.'
                    )
            for row, value in enumerate(values):
                if value is not None:
                    self.of[row].append(place[value])
        self.taken = [0] * len(self.names)

    def has_room(self, row: int) -> bool:
        return all(self.taken[group] < self.cap[group] for group in self.of[row])

    def add(self, row: int, step: int = 1) -> None:
        for group in self.of[row]:
            self.taken[group] += step

    def take(self, rows: NDArray[np.bool_], why: str) -> None:
        """Take rows whatever they do to caps; a cap that breaks is the person's contradiction."""
        for row in np.flatnonzero(rows).tolist():
            self.add(row)
        for group, taken in enumerate(self.taken):
            if taken > self.cap[group]:
                raise GuardError(
                    f'{why} keeps {taken:,} images of {self.names[group]}, max_keep allows {self.cap[group]:,}. '
                    'Raise the cap, or keep fewer.'
                )

    def fill_floors(self, order: NDArray[np.int64]) -> list[int]:
        """The best-ranked rows that bring every group up to its floor, each of them needed."""
        chosen = []
        for row in order.tolist():
            if any(self.taken[group] < self.floor[group] for group in self.of[row]) and self.has_room(row):
                self.add(row)
                chosen.append(row)
        needed = []
        for row in reversed(chosen):  # a later row may have filled two floors, and made an earlier one superfluous
            if all(self.taken[group] > self.floor[group] for group in self.of[row]):
                self.add(row, -1)
            else:
                needed.append(row)
        for group, taken in enumerate(self.taken):
            if taken < self.floor[group]:
                raise GuardError(
                    f'{self.names[group]} must keep at least {self.floor[group]:,} images, but the caps of other groups leave '
                    f'{taken:,}. Lower min_keep, or raise max_keep.'
                )
        return needed

    @staticmethod
    def _refuse_unknown(column: str, sizes: Mapping[str, int], *amounts: Amount | None) -> None:
        if not sizes:
            raise GuardError(
                f'No image has a {column}, so it cannot be guarded. {_LABELS if column == "label" else "Give"} a column of that '
                'name in --table FILE.csv. Or guard by another column.'
            )
        for amount in amounts:
            unknown = sorted(set(amount) - set(sizes)) if isinstance(amount, Mapping) else []
            if unknown:
                raise GuardError(
                    f'There is no image of {column} {unknown[0]!r}. There are: {", ".join(sorted(sizes)[:10])}.'
                )


def _check_size(kept: int, least: int, most: int, images: int) -> None:
    if kept < least:
        raise GuardError(
            f'The ratio keeps {kept:,} images, but the guards alone keep {least:,}. '
            f'Ask for a ratio of at least {least / images:.6g}, or lower min_keep and always_keep.'
        )
    if kept > most:
        raise GuardError(
            f'The ratio keeps {kept:,} images, but max_keep leaves {most:,}. '
            f'Ask for a ratio of at most {most / images:.6g}, or raise max_keep.'
        )


def _amount(amount: Amount | None, value: str, size: int, whole: Any, default: int) -> int:
    if isinstance(amount, Mapping):
        amount = amount.get(value)
    if amount is None:
        return default
    # 0.07 * 100 is a hair above 7, and its ceiling must not be 8
    return int(whole(round(amount * size, 9))) if isinstance(amount, float) else int(amount)


def _checked(name: str, amounts: Mapping[str, Amount] | None) -> dict[str, Any]:
    """The amounts as plain dicts."""
    if not isinstance(amounts or {}, Mapping):
        raise ConfigError(f'guards.{name} is a dict of columns, such as dict(label=5), got {amounts!r}.')
    plain: dict[str, Any] = {}
    for column, amount in (amounts or {}).items():
        if column not in GROUPS:
            raise ConfigError(f'guards.{name} knows the columns {", ".join(GROUPS)}, got {column!r}.')
        for each in amount.values() if isinstance(amount, Mapping) else (amount,):
            number = isinstance(each, int | float) and not isinstance(each, bool)
            if not number or each < 0 or (isinstance(each, float) and not each <= 1):
                raise ConfigError(
                    f'guards.{name}.{column} is a number of images (5) or a fraction between 0.0 and 1.0 (0.05), got {each!r}.'
                )
        plain[column] = dict(amount) if isinstance(amount, Mapping) else amount
    return plain


def _keys(name: str, images: str | Sequence[str] | None) -> tuple[str, ...]:
    """Keys of a list, or of a text file."""
    if images is None:
        return ()
    if isinstance(images, str | os.PathLike):
        try:
            images = list(plain_files.names_of(plain_files.read_lines(images)))
        except DatasetError as error:
            what = "'labelled', 'masked', a list of keys, or" if name == 'always_keep' else 'a list of keys, or'
            raise ConfigError(
                f'guards.{name} is {what} a text file with one key a line, and {images!r} is none: {error}'
            ) from error
    if not all(isinstance(image, str) for image in images):
        raise ConfigError(f'guards.{name} is a list of keys as keep.txt spells them, got {images!r}.')
    return tuple(sorted(set(images)))


def _known(name: str, wanted: Sequence[str], images: pa.ChunkedArray) -> tuple[str, ...]:
    """The keys that are meant, all of them among the images."""
    found = _matched(wanted, images)
    names = pa.array(found, pa.string())
    missing = names.filter(pc.invert(pc.is_in(names, images))).sort().to_pylist()
    if missing:
        raise GuardError(
            f'guards.{name} names {len(missing):,} images that are not among the readable ones, first {missing[0]!r}. '
            'Spell keys as keep.txt and subset.parquet do.'
        )
    return found


def _matched(wanted: Sequence[str], images: pa.ChunkedArray) -> tuple[str, ...]:
    """:func:`mmdel.images.keys.meant` of each."""
    names = pa.array(map(spelling.normalise, wanted), pa.string())
    known = set(names.filter(pc.is_in(names, images)).to_pylist())
    return tuple(spelling.meant(name, known) for name in wanted)


def _about(images: Sequence[str]) -> Any:
    """A list short enough to be read, else its digest."""
    if len(images) <= 20:
        return list(images)
    return {'images': len(images), 'sha256': hashlib.sha256('\n'.join(images).encode()).hexdigest()}
