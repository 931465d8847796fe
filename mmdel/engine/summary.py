"""What a run found out: the closing table of ``tools/dedup.py``, and the report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdel.compute.progress import SILENT, Stages, Tick
from mmdel.embedding.vectors import Vectors
from mmdel.engine import coverage
from mmdel.errors import ConfigError, ReportError
from mmdel.report.names import shown
from mmdel.report.numbers import retention_tables, warnings
from mmdel.selection.conflicts import list_conflicts
from mmdel.selection.findings import CONFLICT_THRESHOLD, NearestKept, nearest_kept, uncovered
from mmdel.selection.methods.group_quota import GroupQuota
from mmdel.selection.selector import BaseSelector, Ranking
from mmdel.subset import Subset, effective_eta

NAMED = 5
"""Groups named in one warning."""

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
        uncovered (int, optional): Duplicates without any kept image above eta; None where the cut has no eta.
        nearest (NearestKept): The most similar kept image of each removed one.
    """

    rows: tuple[tuple[str, str], ...]
    hints: tuple[str, ...]
    uncovered: int | None
    nearest: NearestKept


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
    nearest = nearest_kept(subset, vectors, progress)
    lost = uncovered(subset, nearest)
    eta = effective_eta(subset)
    size = len(vectors)
    cluster = np.zeros(size, np.int32) if ranking.cluster is None else ranking.cluster
    missed = None
    if eta is not None and len(selector.groups(cluster)) > 1:
        with progress.stage('verify', size, 'vectors') as tick:
            missed = missed_share(vectors, cluster, subset.far[subset.readable], eta, tick)
    rows = _rows(subset, lost, missed)
    if ranking.redundancy is None:
        rows += _rows_of_choice(subset, vectors, selector, ranking, nearest, progress)
    return Summary(rows, _hints(subset, selector), lost, nearest)


def _rows_of_choice(
    subset: Subset,
    vectors: Vectors,
    selector: BaseSelector,
    ranking: Ranking,
    nearest: NearestKept,
    progress: Stages,
) -> tuple[tuple[str, str], ...]:
    """What a method that removes no duplicates is judged by: how well what it keeps stands for the rest."""
    readable = subset.readable
    keep = subset.keep[readable]
    kept = np.flatnonzero(keep)
    cosine = np.where(keep, np.float32(1), nearest.cosine)
    if not nearest.everywhere:
        with progress.stage('verify', len(kept) * int((~keep).sum()), 'pairs') as tick:
            cosine, _ = coverage.similarity_to_kept(vectors, kept, tick)
    rows = [('mean similarity to the nearest kept image', f'{cosine.mean():.4f}')]
    rows.append((f'reached by {1 - coverage.TAIL:.0%} of the images', f'{np.quantile(cosine, coverage.TAIL):.4f}'))
    if ranking.gains is not None:
        rows.append(('objective, on the graph', f'{ranking.gains[keep].sum():,.1f}'))
    objective = selector.objective(vectors, subset.readable_rows, kept, cosine)
    if objective is not None:
        rows.append(('objective, over all pairs', f'{objective:,.1f} of {len(vectors):,}'))
    return tuple(rows)


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


def report(
    folder: Path,
    subset: Subset,
    vectors: Vectors,
    nearest: NearestKept,
    threshold: float = CONFLICT_THRESHOLD,
    progress: Stages = SILENT,
    **findings: Any,
) -> Path:
    """Look for conflicts and write the report.

    Args:
        folder (Path): Where it goes.
        subset (Subset): The cut.
        vectors (Vectors): Row i belongs to the i-th readable row of the subset.
        nearest (NearestKept): The most similar kept image of each removed one.
        threshold (float): Cosine above which differently labelled images are in conflict. Defaults to 0.95.
        progress (Stages): Shows the stages. Defaults to ``SILENT``.
        **findings: Further fields of :class:`~mmdel.report.page.Findings`.

    Returns:
        Path: The page.

    Raises:
        ConfigError: ``threshold`` is no cosine.
        ReportError: The report cannot be written; the result that it is drawn of stays as it is.
    """
    from mmdel.report.page import (
        Findings,
        write_report,
    )  # matplotlib takes a second, which the first image need not wait for

    if not -1 <= threshold <= 1:
        raise ConfigError(f'the cosine above which images are in conflict lies between -1 and 1, got {threshold:g}.')
    conflicts = list_conflicts(subset, vectors, threshold, progress)
    try:
        with progress.stage('report'):
            return write_report(folder, subset, Findings(nearest, conflicts=conflicts, threshold=threshold, **findings))
    except OSError as error:
        raise ReportError(
            f'The report in {folder} cannot be written ({error.strerror or error}). The subset and its lists are whole. When '
            f'that is mended, draw it: mmdel report {folder.parent} [--out DIR]'
        ) from error


def _rows(subset: Subset, uncovered: int | None, missed: float | None) -> tuple[tuple[str, str], ...]:
    images = len(subset.table)
    rows = [('images', f'{images:,}')]
    names = {
        'unreadable': 'unreadable',
        'far': 'far from their centroid',
        'duplicate': 'duplicates',
        'unselected': 'not chosen',
        'excluded': 'excluded on request',
        'leak': 'leaks: copies of test images',
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
    if uncovered is not None:
        rows.append(('removed without a kept image above eta', f'{uncovered:,}'))
    if missed is not None:
        rows.append(('pairs above eta in two clusters, never compared', f'{missed:.1%} (estimated)'))
    return tuple(rows)


def _hints(subset: Subset, selector: BaseSelector) -> tuple[str, ...]:
    hints = []
    low, high = TRUSTED
    if subset.eta is not None and subset.metadata['asked']['ratio'] is None and not low <= subset.ratio <= high:
        hints.append(
            f'eta = {subset.eta:g} keeps {subset.ratio:.2%}: this eta has no meaning for this encoder, '
            'whose cosines lie elsewhere. '
            'Ask for a share instead, e.g. 20 %: --ratio 0.2'
        )
    tables = retention_tables(subset)
    for warning in warnings(tables):
        groups = warning['groups'][:NAMED]
        examples = ', '.join(
            f'{shown(group["name"], 60)} ({group["kept"]:,} of {group["images"]:,})' for group in groups
        )
        hints.append(f'warning: {warning["title"]}: {examples}{", ..." if len(warning["groups"]) > NAMED else ""}')
        lost = not warning['groups'][0]['kept'] and len(tables[warning['column']]) <= subset.keep.sum()
        if lost and not isinstance(selector, GroupQuota):
            group = '' if warning['column'] == 'video' else f' --cfg-options selector.group={warning["column"]}'
            hints.append(
                f'some of each would stay with --selector video-quota{group}; what that costs: docs/evidence.md'
            )
    return tuple(hints)
