"""Conflicts: near-identical images with different labels. One of the labels is wrong, or the picture does not show it.

    for conflict in list_conflicts(subset, vectors, threshold=0.95):
        print(conflict.image, conflict.label, conflict.other, conflict.other_label, conflict.cosine)

Exact: every pair of differently labelled images is compared, in blocks. Memory grows with the number of images, not of
pairs: each image is listed with its most similar opponent, not with all of them.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import Vectors
from mmdel.selection.findings import CONFLICT_THRESHOLD, Conflict
from mmdel.similarity import Neighbours, nearest_elsewhere
from mmdel.subset import Subset


def list_conflicts(
    subset: Subset, vectors: Vectors, threshold: float = CONFLICT_THRESHOLD, progress: Stages = SILENT
) -> list[Conflict]:
    """The conflicts among the readable images of a subset, kept or not: once for each pair, the most similar first.

    Args:
        subset (Subset): Gives keys, labels and decisions.
        vectors (Vectors): Row i belongs to the i-th readable row of the subset.
        threshold (float): A cosine. Defaults to 0.95.
        progress (Stages): Shows the comparison. Defaults to ``SILENT``.
    """
    table = subset.readable_rows.select(['image', 'label', 'keep'])
    pairs = conflict_pairs(find_conflicts(vectors, table['label'], threshold, progress))
    ours, theirs = (table.take(pa.array([pair[side] for pair in pairs], pa.int64())).to_pylist() for side in (0, 1))
    return [
        Conflict(a['image'], a['label'], a['keep'], b['image'], b['label'], b['keep'], cosine)
        for a, b, (_, _, cosine) in zip(ours, theirs, pairs, strict=True)
    ]


def find_conflicts(
    vectors: Vectors,
    labels: Sequence[str | None] | pa.ChunkedArray,
    threshold: float = CONFLICT_THRESHOLD,
    progress: Stages = SILENT,
) -> Neighbours:
    """For each labelled image, the most similar image with another label, where its cosine is above ``threshold``.

    Ties go to the label that sorts first, then to the first row.

    Args:
        vectors (Vectors): N vectors.
        labels (Sequence[str | None] | pa.ChunkedArray): [N]; None for images without a label, which are in no conflict.
        threshold (float): A cosine. Defaults to 0.95.
        progress (Stages): Shows the comparison. Defaults to ``SILENT``.
    """
    groups = _by_label(labels)
    size = sum(map(len, groups))
    pairs = (size * size - sum(len(group) ** 2 for group in groups)) // 2
    if not pairs:
        return Neighbours.none(len(vectors))
    with progress.stage('conflicts', pairs, 'pairs') as tick:
        return nearest_elsewhere(vectors, groups, threshold, tick)


def conflict_pairs(found: Neighbours) -> list[tuple[int, int, float]]:
    """``(row, opponent, cosine)`` once for each pair, the most similar first, then by row."""
    pairs = {}
    for row in np.flatnonzero(found.row >= 0).tolist():
        other = int(found.row[row])
        pairs[min(row, other), max(row, other)] = float(found.cosine[row])
    return sorted(((a, b, cosine) for (a, b), cosine in pairs.items()), key=lambda pair: (-pair[2], pair[0], pair[1]))


def _by_label(labels: Sequence[str | None] | pa.ChunkedArray) -> list[NDArray[np.int64]]:
    """The rows of each label, the label that sorts first first."""
    column = labels.combine_chunks() if isinstance(labels, pa.ChunkedArray) else pa.array(labels, pa.string())
    names = column.drop_null().unique().sort()
    number = pc.index_in(column, names, skip_nulls=True).fill_null(-1).to_numpy()
    order = np.argsort(number, kind='stable')
    groups = np.split(order, np.searchsorted(number[order], np.arange(len(names) + 1)))
    return groups[1:-1]
