"""Removed images, grouped by the kept image that is most similar to them (Figure 5 of the paper).

A page cannot hold every picture. Of the groups, those closest to the cut and the largest ones are chosen in turn, after at
least one of each source and class; of the images in a group, those closest to the cut. "Closest to the cut" is the order in
which images would come back if a little more were kept: their rank.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel.images.keys import row_of
from mmdel.selection.findings import NearestKept
from mmdel.subset import Subset

GROUPS = 240
"""Groups on a page."""

MEMBERS = 4
"""Removed images shown of each group."""

FAR = 48
"""Images dropped by epsilon that are shown."""


@dataclass(frozen=True)
class Card:
    """One removed image.

    Args:
        image (str): Its key.
        cosine (float, optional): To the most similar kept image; None where there is none.
        removed_by (str, optional): What removed it.
        by_cosine (float, optional): Its cosine to that image.
        by_kept (bool): Whether that image stays itself.
        distance (float, optional): To its centroid.
        source (str, optional): Its source.
        label (str, optional): Its label.
    """

    image: str
    cosine: float | None
    removed_by: str | None
    by_cosine: float | None
    by_kept: bool
    distance: float | None
    source: str | None
    label: str | None


@dataclass(frozen=True)
class KeptGroup:
    """Removed images that share their most similar kept image.

    Args:
        kept (str): The kept image.
        source (str, optional): Its source.
        label (str, optional): Its label.
        size (int): Removed images of the group.
        lowest (float): Their lowest cosine to the kept image.
        first (int): The rank of the one closest to the cut.
        cards (tuple[Card, ...]): Those that are shown, closest to the cut first.
        sources (tuple[str, ...]): Of all its images, shown or not, the kept one included.
        labels (tuple[str, ...]): Likewise.
    """

    kept: str
    source: str | None
    label: str | None
    size: int
    lowest: float
    first: int
    cards: tuple[Card, ...]
    sources: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Gallery:
    """What a page shows of the removed images.

    Args:
        groups (tuple[KeptGroup, ...]): Those shown, closest to the cut first.
        total (int): Groups in all.
        images (int): Removed images in all groups.
        far (tuple[Card, ...]): Images dropped by epsilon that are shown, farthest first.
        far_total (int): Images dropped by epsilon in all.
    """

    groups: tuple[KeptGroup, ...]
    total: int
    images: int
    far: tuple[Card, ...]
    far_total: int

    @property
    def pictures(self) -> list[str]:
        """The keys whose pictures are needed."""
        shown = [key for group in self.groups for key in (group.kept, *(card.image for card in group.cards))]
        return [*shown, *(card.image for card in self.far)]


def make_gallery(subset: Subset, nearest: NearestKept, limit: int = GROUPS) -> Gallery:
    """Group the removed images and choose what is shown.

    Args:
        subset (Subset): The cut.
        nearest (NearestKept): The most similar kept image of each removed one.
        limit (int): How many groups are shown. Defaults to 240.
    """
    rows = _Rows(subset, nearest)
    removed = np.flatnonzero(rows.removed & (nearest.row >= 0))
    groups = _Groups(removed[np.lexsort((rows.rank[removed], nearest.row[removed]))], rows)
    chosen = sorted(_choose(groups, rows, limit))
    far = np.flatnonzero(rows.far)
    far = far[np.argsort(-rows.distance[far], kind='stable')]
    return Gallery(
        groups=tuple(rows.group(groups[i]) for i in chosen),
        total=len(groups),
        images=len(removed),
        far=tuple(rows.card(i) for i in far[:FAR].tolist()),
        far_total=len(far),
    )


class _Rows:
    """The readable rows of a subset, as the gallery reads them."""

    def __init__(self, subset: Subset, nearest: NearestKept) -> None:
        readable = subset.readable
        table = subset.readable_rows
        # as Arrow holds them: they may be millions, of which a page shows hundreds
        text = (table[name].combine_chunks() for name in ('image', 'source', 'label', 'removed_by'))
        self.image, self.source, self.label, self.removed_by = text
        self.removed = subset.has_reason('duplicate', 'unselected')[readable]
        self.far = subset.has_reason('far')[readable]
        self.rank = table['rank'].to_numpy()
        self.distance = table['distance'].to_numpy()
        self.redundancy = table['redundancy'].to_numpy()
        self.nearest = nearest
        self._keep = subset.keep[readable]

    def group(self, members: NDArray[np.int64]) -> KeptGroup:
        kept = int(self.nearest.row[members[0]])
        everybody = pa.array([kept, *members.tolist()])
        return KeptGroup(
            kept=self.image[kept].as_py(),
            source=self.source[kept].as_py(),
            label=self.label[kept].as_py(),
            size=len(members),
            lowest=float(self.nearest.cosine[members].min()),
            first=int(self.rank[members[0]]),
            cards=tuple(self.card(i) for i in members[:MEMBERS].tolist()),
            sources=_distinct(self.source.take(everybody)),
            labels=_distinct(self.label.take(everybody)),
        )

    def card(self, row: int) -> Card:
        remover = self.removed_by[row].as_py()
        return Card(
            image=self.image[row].as_py(),
            cosine=_number(self.nearest.cosine[row]),
            removed_by=remover,
            by_cosine=None if remover is None else _number(self.redundancy[row]),
            by_kept=remover is not None and self._is_kept(remover),
            distance=_number(self.distance[row]),
            source=self.source[row].as_py(),
            label=self.label[row].as_py(),
        )

    def _is_kept(self, key: str) -> bool:
        row = row_of(self.image, key)
        return row is not None and bool(self._keep[row])


class _Groups:
    """The removed images of each kept one, closest to the cut first; and so are the groups themselves.

    Args:
        order (NDArray[np.int64]): Rows, those of a group together, by rank.
        rows (_Rows): All rows.
    """

    def __init__(self, order: NDArray[np.int64], rows: _Rows) -> None:
        starts = np.flatnonzero(np.diff(rows.nearest.row[order], prepend=-1))
        stops = np.append(starts[1:], len(order))[: len(starts)]
        by_cut = np.argsort(rows.rank[order[starts]])
        self.order, self._starts, self.sizes = order, starts[by_cut], (stops - starts)[by_cut]

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, place: int) -> NDArray[np.int64]:
        return self.order[self._starts[place] : self._starts[place] + self.sizes[place]]

    @property
    def places(self) -> NDArray[np.int64]:
        """Of each row in ``order``, the place of its group."""
        in_order = np.argsort(self._starts)
        return np.repeat(in_order, self.sizes[in_order])


def _choose(groups: _Groups, rows: _Rows, limit: int) -> set[int]:
    """Places of groups."""
    largest = np.argsort(-groups.sizes, kind='stable')[:limit].tolist()
    chosen: set[int] = set()
    for i in (*_one_of_each(groups, (rows.source, rows.label), limit // 3), *_in_turn(range(len(largest)), largest)):
        if len(chosen) == limit:
            break
        chosen.add(i)
    return chosen


def _one_of_each(groups: _Groups, columns: Sequence[pa.StringArray], limit: int) -> list[int]:
    """The first group with each value, the values of fewest images first."""
    found: list[tuple[int, int]] = []
    for column in columns:
        if column.null_count == len(column):
            continue
        values = column.dictionary_encode().indices.take(pa.array(groups.order))
        known = values.is_valid().to_numpy(zero_copy_only=False)
        number, places = values.drop_null().to_numpy(), groups.places[known]
        first = np.full(int(number.max(initial=-1)) + 1, len(groups))
        np.minimum.at(first, number, places)
        count = np.bincount(number, minlength=len(first))
        found += [(size, place) for size, place in zip(count.tolist(), first.tolist(), strict=True) if size]
    return [place for _, place in sorted(found)[:limit]]


def _in_turn(*orders: Iterable[int]) -> Iterator[int]:
    for places in zip(*orders, strict=True):
        yield from places


def _distinct(values: pa.StringArray) -> tuple[str, ...]:
    return tuple(sorted(values.drop_null().unique().to_pylist()))


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def options(groups: Sequence[KeptGroup]) -> Mapping[str, list[str]]:
    """What the page can be filtered by: the values that occur in the groups shown."""
    sources = sorted({value for group in groups for value in group.sources})
    return {'source': sources, 'label': sorted({value for group in groups for value in group.labels})}
