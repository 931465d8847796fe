"""For each removed image, the most similar kept image: what a person looks at to judge the removal.

What removed an image may be gone itself, so ``removed_by`` of the subset does not answer that.

    found = nearest_kept(subset, vectors)
    found.row[i], found.cosine[i]     # of the i-th readable image; -1 and NaN where it stays
"""

import numpy as np
from numpy.typing import NDArray

from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import Vectors
from mmdel.selection.findings import NearestKept
from mmdel.similarity import nearest
from mmdel.subset import Subset

PAIRS = 3_000_000_000
"""Up to this many pairs every removed image is compared with every kept one (100,000 images never need more, and two cores
some ten seconds); above it, only inside clusters."""


def nearest_kept(subset: Subset, vectors: Vectors, progress: Stages = SILENT) -> NearestKept:
    """Compare the removed images with the kept ones; ties go to the smaller key.

    Args:
        subset (Subset): The cut.
        vectors (Vectors): Row i belongs to the i-th readable row of the subset.
        progress (Stages): Shows the comparison. Defaults to ``SILENT``.
    """
    readable = subset.readable
    keep = subset.keep[readable]
    kept, removed = np.flatnonzero(keep), np.flatnonzero(~keep)
    cluster = subset.readable_rows['cluster']
    everywhere = len(kept) * len(removed) <= PAIRS or cluster.null_count > 0
    pairs = [(removed, kept)]
    if not everywhere:
        own = cluster.to_numpy()
        of_kept, of_removed = (np.split(rows, _ends(own[rows])) for rows in (_sorted(kept, own), _sorted(removed, own)))
        places = {int(own[rows[0]]): rows for rows in of_kept if len(rows)}
        nobody = np.empty(0, np.int64)
        pairs = [(rows, places.get(int(own[rows[0]]), nobody)) for rows in of_removed if len(rows)]
    with progress.stage('verify', sum(len(rows) * len(columns) for rows, columns in pairs), 'pairs') as tick:
        found = nearest(vectors, pairs, tick)
    return NearestKept(found.cosine, found.row, everywhere)


def _sorted(rows: NDArray[np.int64], cluster: NDArray[np.int32]) -> NDArray[np.int64]:
    return rows[np.argsort(cluster[rows], kind='stable')]


def _ends(cluster: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.flatnonzero(np.diff(cluster)) + 1
