"""The numbers of a report, computed from the subset file and nothing else.

    numbers = report_numbers(Subset.read('work_dirs/meddel_eta08/subset.parquet'))
    numbers['kept'], numbers['retention']['label'][0]

They are plain JSON: the page shows them and carries them, so that whoever doubts the page can compare the two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mmdel.subset import Subset
from mmdel.subset.columns import GROUPS

LOSS = 0.95
"""A group that loses more than this share of its images is warned of."""

IMAGES_PER_SECOND = 325.6
EPOCHS = 200
"""The rate of the paper (§1: VGG16 in float32 on one RTX 3090) and the epochs that it trains on all images (Table 2)."""

PAPER_ETAS = (0.9, 0.85, 0.8, 0.75, 0.7)
PAPER_RATIOS = (0.5, 0.33, 0.2, 0.1, 0.05)
"""The cuts of Table 2."""


@dataclass(frozen=True)
class Group:
    """What became of the images that share a label, or a value of another column.

    Args:
        name (str): The shared value.
        images (int): Readable images.
        kept (int): Those that stay.
    """

    name: str
    images: int
    kept: int

    @property
    def warning(self) -> str:
        """What a person must know about it, '' where nothing."""
        if not self.kept:
            return 'nothing is left'
        return f'over {LOSS:.0%} lost' if self.images - self.kept > LOSS * self.images else ''


def report_numbers(
    subset: Subset, images_per_second: float = IMAGES_PER_SECOND, epochs: int = EPOCHS
) -> dict[str, Any]:
    """All numbers that a page shows, JSON-able.

    Args:
        subset (Subset): The cut.
        images_per_second (float): Rate of a training, for the hours saved. Defaults to the paper's 325.6.
        epochs (int): Epochs of that training. Defaults to the paper's 200.
    """
    table = subset.table
    keep, readable = subset.keep, subset.readable
    size = table['bytes'].combine_chunks()
    known = size.is_valid().to_numpy(zero_copy_only=False)
    nbytes = size.fill_null(0).to_numpy()
    removed = ~keep & known & readable
    dropped = int((readable & ~keep).sum())
    reasons = table['reason'].value_counts().to_pylist()
    return {
        'rows': len(table),
        'images': int(readable.sum()),
        'kept': int(keep.sum()),
        'removed': dropped,
        'ratio': subset.ratio,
        'eta': subset.eta,
        'reasons': {row['values']: row['counts'] for row in sorted(reasons, key=lambda row: row['values'])},
        'bytes': int(nbytes[readable].sum()) if known.any() else None,
        'bytes_saved': int(nbytes[removed].sum()) if known.any() else None,
        'hours_saved': dropped * epochs / images_per_second / 3600,
        'images_per_second': images_per_second,
        'epochs': epochs,
        'clusters': _clusters(subset),
        'cuts': _cuts(subset),
        'retention': retention_tables(subset),
    }


def retention_tables(subset: Subset) -> dict[str, list[dict[str, Any]]]:
    """Name, images, kept and warning of each group of each of :data:`~mmdel.subset.columns.GROUPS`, JSON-able."""
    return {name: [{**asdict(group), 'warning': group.warning} for group in retention(subset, name)] for name in GROUPS}


def retention(subset: Subset, column: str) -> list[Group]:
    """The groups of one column, rarest first; images without a value are in none.

    Args:
        subset (Subset): The cut.
        column (str): One of :data:`~mmdel.subset.columns.GROUPS`.
    """
    rows = subset.readable_rows.select([column, 'keep'])
    rows = rows.filter(rows[column].is_valid())
    rows = rows.set_column(1, 'keep', rows['keep'].cast('int64'))
    counts = rows.group_by(column).aggregate([('keep', 'count'), ('keep', 'sum')]).to_pylist()
    groups = (Group(row[column], row['keep_count'], row['keep_sum']) for row in counts)
    return sorted(groups, key=lambda group: (group.images, group.name))


def warnings(tables: Mapping[str, Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What a person must know before training: groups that vanish or nearly so.

    Args:
        tables (Mapping): What :func:`retention_tables` gives.

    Returns:
        list[dict]: For each grouping with such groups its ``column``, ``title``, a sentence, and ``groups``: what vanishes
            before the others, and each kind rarest first.
    """
    found = []
    for column, groups in tables.items():
        bad = sorted((group for group in groups if group['warning']), key=lambda group: group['kept'] > 0)
        if bad:
            gone = sum(not group['kept'] for group in bad)
            title = f'{len(bad):,} of {len(groups):,} {GROUPS[column]} lose over {LOSS:.0%} of their images'
            title += f', {gone:,} of them everything' if gone else ''
            found.append({'column': column, 'title': title, 'groups': bad})
    return found


def _clusters(subset: Subset) -> list[dict[str, int]]:
    """Images and kept images of each cluster, largest first."""
    cluster = subset.table['cluster'].combine_chunks().fill_null(-1).to_numpy()
    member = subset.readable & (cluster >= 0)
    images, kept = (np.bincount(cluster[rows]) for rows in (member, member & subset.keep))
    kept = np.pad(kept, (0, len(images) - len(kept)))
    order = np.lexsort((np.arange(len(images)), -images))
    return [{'images': int(images[i]), 'kept': int(kept[i])} for i in order if images[i]]


def _cuts(subset: Subset) -> dict[str, list[dict[str, Any]]]:
    """Table 2 of the paper for these images: what its etas would keep, and the etas that would keep its ratios."""
    if subset.metadata['recut'] != 'any' or not subset.readable.any():
        return {'etas': [], 'ratios': []}
    images = int(subset.readable.sum())
    shares = subset.retention(np.array(PAPER_ETAS))
    etas = [
        {'eta': eta, 'kept': round(share * images), 'ratio': float(share)}
        for eta, share in zip(PAPER_ETAS, shares, strict=True)
    ]
    ratios = []
    for ratio in PAPER_RATIOS:
        if 0.5 / images <= ratio:
            interval = subset.at(ratio=ratio).eta_interval()
            eta = None if interval is None else interval.lower
            ratios.append({'ratio': ratio, 'kept': subset.size_at(ratio), 'eta': eta})
    return {'etas': etas, 'ratios': ratios}
