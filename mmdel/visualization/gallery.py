"""Removed images, grouped by the kept image that is most similar to them (Figure 5 of the paper).

A page cannot hold every picture. Of the groups, those closest to the cut and the largest ones are chosen in turn, after at
least one of each source and class; of the images in a group, those closest to the cut. "Closest to the cut" is the order in
which images would come back if a little more were kept: their rank.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdel.findings import NearestKept
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
    removed = np.flatnonzero(np.isin(rows.reason, ('duplicate', 'unselected')) & (nearest.row >= 0))
    order = removed[np.lexsort((rows.rank[removed], nearest.row[removed]))]
    groups = np.split(order, np.flatnonzero(np.diff(nearest.row[order])) + 1) if len(order) else []
    groups.sort(key=lambda group: rows.rank[group[0]])
    chosen = sorted(_choose(groups, rows, limit))
    far = np.flatnonzero(rows.reason == 'far')
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
        table = subset.table.filter(subset.readable).combine_chunks()
        text = {name: table[name].to_pylist() for name in ('image', 'source', 'label', 'removed_by')}
        self.image, self.source, self.label, self.removed_by = text.values()
        self.reason = table['reason'].to_numpy(zero_copy_only=False)
        self.keep = table['keep'].to_numpy(zero_copy_only=False)
        self.rank = table['rank'].to_numpy()
        self.distance = table['distance'].to_numpy(zero_copy_only=False).astype(np.float64)
        self.redundancy = table['redundancy'].to_numpy(zero_copy_only=False).astype(np.float64)
        self.nearest = nearest
        self._kept = {image for image, keep in zip(self.image, self.keep, strict=True) if keep}

    def group(self, members: NDArray[np.int64]) -> KeptGroup:
        kept = int(self.nearest.row[members[0]])
        everybody = [kept, *members.tolist()]
        return KeptGroup(
            kept=self.image[kept],
            source=self.source[kept],
            label=self.label[kept],
            size=len(members),
            lowest=float(self.nearest.cosine[members].min()),
            first=int(self.rank[members[0]]),
            cards=tuple(self.card(i) for i in members[:MEMBERS].tolist()),
            sources=_distinct(self.source[i] for i in everybody),
            labels=_distinct(self.label[i] for i in everybody),
        )

    def card(self, row: int) -> Card:
        remover = self.removed_by[row]
        return Card(
            image=self.image[row],
            cosine=_number(self.nearest.cosine[row]),
            removed_by=remover,
            by_cosine=None if remover is None else _number(self.redundancy[row]),
            by_kept=remover in self._kept,
            distance=_number(self.distance[row]),
            source=self.source[row],
            label=self.label[row],
        )


def _choose(groups: Sequence[NDArray[np.int64]], rows: _Rows, limit: int) -> set[int]:
    """Places in ``groups``, which stand closest to the cut first."""
    largest = sorted(range(len(groups)), key=lambda i: (-len(groups[i]), i))
    chosen: set[int] = set()
    for i in (*_one_of_each(groups, (rows.source, rows.label), limit // 3), *_in_turn(range(len(groups)), largest)):
        if len(chosen) == limit:
            break
        chosen.add(i)
    return chosen


def _one_of_each(groups: Sequence[NDArray[np.int64]], columns: Sequence[Sequence[str | None]], limit: int) -> list[int]:
    """The first group with each value, the values of fewest images first."""
    found: list[tuple[int, int]] = []
    for column in columns:
        first: dict[str, int] = {}
        count: dict[str, int] = {}
        for place, group in enumerate(groups):
            for row in group.tolist():
                value = column[row]
                if value is not None:
                    first.setdefault(value, place)
                    count[value] = count.get(value, 0) + 1
        found += [(count[value], place) for value, place in first.items()]
    return [place for _, place in sorted(found)[:limit]]


def _in_turn(*orders: Iterable[int]) -> Iterator[int]:
    for places in zip(*orders, strict=True):
        yield from places


def _distinct(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value is not None}))


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def options(groups: Sequence[KeptGroup]) -> Mapping[str, list[str]]:
    """What the page can be filtered by: the values that occur in the groups shown."""
    sources = sorted({value for group in groups for value in group.sources})
    return {'source': sources, 'label': sorted({value for group in groups for value in group.labels})}
