"""What a run found out, in numbers: the closing table of ``tools/dedup.py``."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel.embedding.vectors import Vectors
from mmdel.engine import coverage
from mmdel.progress import SILENT, Stages, Tick
from mmdel.selection.redundancy import nearest
from mmdel.selection.selector import BaseSelector, Ranking
from mmdel.subset import Subset
from mmdel.visualization.plots import RemovedPair

EXAMPLES = 24
"""Removed images shown beside the most similar kept one."""

BLOCK = 4096
"""Vectors read at a time for the estimate below."""

SAMPLE = 256
"""Images whose neighbours in other groups are counted, to estimate what the scope never compared."""

TRUSTED = (0.01, 0.99)
"""Outside these shares an eta tells nothing about images, only about the encoder's scale of cosines."""


@dataclass(frozen=True)
class Summary:
    """The closing table.

    Args:
        rows (tuple): ``(what, value)`` in the order of printing.
        hints (tuple[str, ...]): What a person should know or do next.
        orphans (int, optional): Removed images without any kept image above eta in scope; None where the cut has no eta.
        examples (tuple[RemovedPair, ...]): Removed images, most similar to their remover first.
    """

    rows: tuple[tuple[str, str], ...]
    hints: tuple[str, ...]
    orphans: int | None
    examples: tuple[RemovedPair, ...]


def summarise(
    subset: Subset, vectors: Vectors, selector: BaseSelector, ranking: Ranking, progress: Stages = SILENT
) -> Summary:
    """Count what the cut did; vectors are read again only for the images that need it.

    Args:
        subset (Subset): The cut.
        vectors (Vectors): Row i belongs to the i-th readable row of the subset.
        selector (BaseSelector): Knows which images were compared with each other.
        ranking (Ranking): What the subset was cut from.
        progress (Stages): Shows the comparison. Defaults to ``SILENT``.
    """
    if ranking.redundancy is None:
        return _summarise_choice(subset, vectors, selector, ranking, progress)
    readable = subset.readable
    keep = subset.keep[readable]
    duplicate = subset.table['reason'].to_numpy(zero_copy_only=False)[readable] == 'duplicate'
    images = np.asarray(subset.table['image'].to_pylist(), dtype=object)[readable]
    redundancy = ranking.redundancy
    remover = np.full(len(keep), -1) if ranking.removed_by is None else ranking.removed_by

    shown = np.flatnonzero(duplicate)
    shown = shown[np.argsort(-redundancy[shown], kind='stable')]
    shown = _spread(shown)
    # an image whose remover stayed has a kept image above eta by definition; only the others need a comparison
    chained = duplicate & ~(keep[remover] & (remover >= 0))
    asked = chained.copy()
    asked[shown] = True
    cluster = np.zeros(len(keep), np.int32) if ranking.cluster is None else ranking.cluster
    groups = selector.groups(cluster)
    pairs = [(group[asked[group]], group[keep[group]]) for group in groups]
    with progress.stage('verify', sum(len(a) * len(b) for a, b in pairs), 'pairs') as tick:
        found = nearest(vectors, pairs, tick)

    eta = _effective_eta(subset)
    orphans = None
    if eta is not None:
        orphans = int((~(found.cosine[chained] > np.float32(eta))).sum())
    examples = tuple(
        RemovedPair(images[i], images[found.row[i]], float(found.cosine[i])) for i in shown if found.row[i] >= 0
    )
    missed = None
    if eta is not None and len(groups) > 1:
        with progress.stage('verify', len(vectors), 'vectors') as tick:
            missed = missed_share(vectors, cluster, subset.far[readable], eta, tick)
    return Summary(_rows(subset, orphans, missed), _hints(subset), orphans, examples)


def _summarise_choice(
    subset: Subset, vectors: Vectors, selector: BaseSelector, ranking: Ranking, progress: Stages
) -> Summary:
    """The closing table of a method that removes no duplicates: how well what it keeps stands for the rest."""
    readable = subset.readable
    keep = subset.keep[readable]
    images = np.asarray(subset.table['image'].to_pylist(), dtype=object)[readable]
    kept = np.flatnonzero(keep)
    with progress.stage('verify', len(kept) * int((~keep).sum()), 'pairs') as tick:
        cosine, row = coverage.similarity_to_kept(vectors, kept, tick)
    gone = np.flatnonzero(~keep)
    gone = gone[np.argsort(-cosine[gone], kind='stable')]
    examples = tuple(RemovedPair(images[i], images[row[i]], float(cosine[i])) for i in _spread(gone))
    rows = [*_rows(subset, None, None), ('mean similarity to the nearest kept image', f'{cosine.mean():.4f}')]
    rows.append((f'reached by {1 - coverage.TAIL:.0%} of the images', f'{np.quantile(cosine, coverage.TAIL):.4f}'))
    if ranking.gains is not None:
        rows.append(('objective, on the graph', f'{ranking.gains[keep].sum():,.1f}'))
    objective = selector.objective(vectors, subset.table.filter(pa.array(readable)), kept, cosine)
    if objective is not None:
        rows.append(('objective, over all pairs', f'{objective:,.1f} of {len(vectors):,}'))
    return Summary(tuple(rows), _hints(subset), None, examples)


def _spread(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most :data:`EXAMPLES` of the rows, evenly, first and last included."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, EXAMPLES).round().astype(int))] if len(rows) else rows


def missed_share(
    vectors: Vectors,
    cluster: NDArray[np.int32],
    far: NDArray[np.bool_],
    eta: float,
    tick: Tick = lambda done: None,
) -> float | None:
    """Estimate the share of pairs above eta that lie in two clusters, so that cluster scope never compared them.

    Args:
        vectors (Vectors): N vectors.
        cluster (NDArray[np.int32]): [N].
        far (NDArray[np.bool_]): [N], images that epsilon dropped; they are in no pair.
        eta (float): Threshold, a cosine.
        tick (Callable): Told the number of vectors read. Defaults to doing nothing.

    Returns:
        float | None: Over all pairs of at most :data:`SAMPLE` evenly spaced images with every other; None where none is above.
    """
    near = np.flatnonzero(~far)
    if not len(near):
        return None
    sample = near[np.unique(np.linspace(0, len(near) - 1, SAMPLE).round().astype(int))]
    asked = vectors.read(sample)
    above = apart = 0
    for start in range(0, len(near), BLOCK):
        rows = near[start : start + BLOCK]
        hit = (asked @ vectors.read(rows).T > eta) & (sample[:, None] != rows)
        above += int(hit.sum())
        apart += int((hit & (cluster[sample][:, None] != cluster[rows])).sum())
        tick(len(rows))
    return apart / above if above else None


def _effective_eta(subset: Subset) -> float | None:
    if subset.eta is not None:
        return subset.eta
    interval = subset.eta_interval()
    return None if interval is None else interval.lower


def _rows(subset: Subset, orphans: int | None, missed: float | None) -> tuple[tuple[str, str], ...]:
    images = len(subset.table)
    rows = [('images', f'{images:,}')]
    names = {
        'unreadable': 'unreadable',
        'far': 'far from their centroid',
        'duplicate': 'duplicates',
        'unselected': 'not chosen',
    }
    for reason, name in names.items():
        count = subset.count(reason)
        if count or reason == 'unreadable' or (reason == 'duplicate' and subset.metadata['recut'] == 'any'):
            rows.append((name, f'{count:,}'))
    rows.append(('kept', f'{subset.metadata["kept"]:,}'))
    rows.append(('ratio', f'{subset.ratio:.4f} of {subset.metadata["images"]:,} readable'))
    if subset.eta is not None:
        rows.append(('eta', f'{subset.eta:g}'))
    elif subset.metadata['recut'] == 'any':
        interval = subset.eta_interval()
        rows.append(('eta', 'none gives this subset (ties or cluster heads)' if interval is None else str(interval)))
    if orphans is not None:
        rows.append(('removed without a kept image above eta', f'{orphans:,}'))
    if missed is not None:
        rows.append(('pairs above eta in two clusters, never compared', f'{missed:.1%} (estimated)'))
    return tuple(rows)


def _hints(subset: Subset) -> tuple[str, ...]:
    hints = []
    low, high = TRUSTED
    if subset.eta is not None and subset.metadata['asked']['ratio'] is None and not low <= subset.ratio <= high:
        hints.append(
            f'eta = {subset.eta:g} keeps {subset.ratio:.2%}: this eta has no meaning for this encoder, '
            'whose cosines lie elsewhere. '
            'Ask for a share instead, e.g. 20 %: python tools/dedup.py CONFIG --ratio 0.2'
        )
    return tuple(hints)
