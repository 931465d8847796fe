"""The kernel between groups: which images have a near-identical one in another group, and which it is.

Labels are such groups (:mod:`mmdel.selection.conflicts`). As in :mod:`mmdel.selection.redundancy`, fast products propose, the
canonical number decides, and the processes of a job share the work.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mmdel import sharing
from mmdel.embedding.vectors import Vectors
from mmdel.progress import Tick
from mmdel.selection import settled_maximum as settled
from mmdel.selection.groups import FLOAT32, Group, Precision, Rows
from mmdel.selection.hidden_columns import HiddenColumns
from mmdel.selection.proposers import Prepared, Proposer
from mmdel.selection.pruning import Panels, Queries
from mmdel.selection.redundancy import Neighbours, is_worth, log_fallen
from mmdel.selection.settled_maximum import settled_maximum
from mmdel.selection.workers import Workers


def near_other_group(
    vectors: Vectors,
    groups: Sequence[Rows],
    threshold: float,
    tick: Tick = lambda done: None,
    threads: int | None = None,
    precision: str = 'auto',
    device: str = 'cpu',
) -> NDArray[np.bool_]:
    """Which rows *may* have a row in another group that is more similar than a threshold; no row that has one is left out.

    Each pair is multiplied once, and nothing is settled: :func:`nearest_in_other_groups` among these rows is then cheap.

    Args:
        vectors (Vectors): All vectors.
        groups (Sequence[NDArray[np.int64]]): Disjoint groups of rows.
        threshold (float): A cosine.
        tick (Callable): Told the number of pairs compared. Defaults to doing nothing.
        threads (int, optional): Defaults to None (all cores).
        precision (str): Of the products, see :func:`mmdel.selection.redundancy.highest_preferred`. Defaults to 'auto'.
        device (str): Where they are made. Defaults to 'cpu'.

    Returns:
        NDArray[np.bool_]: [N].
    """
    work = partial(
        _near_other_group, groups=groups, threshold=threshold, threads=threads, precision=precision, device=device
    )
    found = np.zeros(len(vectors), bool)
    for rows in sharing.share(work, vectors, tick, is_worth(vectors, sum(map(len, groups)) ** 2 // 2)):
        found[rows] = True
    return found


def _near_other_group(
    vectors: Vectors,
    claim: sharing.Claim,
    tick: Tick,
    groups: Sequence[Rows],
    threshold: float,
    threads: int | None,
    precision: str,
    device: str,
) -> Rows:
    found = np.zeros(len(vectors), bool)
    if not groups:
        return np.flatnonzero(found)
    order = np.concatenate(groups)
    label = np.repeat(np.arange(len(groups)), [len(rows) for rows in groups])
    everyone = Group(vectors, order, Precision(precision, device))
    cut = np.float64(np.float32(threshold))
    hidden = HiddenColumns(labels=(label, label))

    def compare(start: int) -> None:
        mine = np.arange(start, min(start + settled.TILE_ROWS, len(order)))
        if not multiply_left_over(mine):
            multiply_all(mine)

    def multiply_left_over(mine: Rows) -> bool:
        projection = everyone.projection
        if projection is None:
            return False
        queries = Queries(everyone.projected(projection, mine), projection, HiddenColumns(labels=(label[mine], label)))
        rows, limit = FLOAT32.rows(everyone.prepared(FLOAT32, mine)), np.full(len(mine), cut)
        for number, window in enumerate(everyone.windows(np.arange(mine[0], len(order)))):
            panels = Panels(queries, everyone.projected_among(projection, window), window)
            panels.rule_out(limit)
            if number == 0 and not everyone.precision.prunes_enough(panels.pairs, panels.share):
                return False
            read = everyone.within(window)
            for some, slots in panels.left_over(lambda: limit):
                multiply(FLOAT32, mine[some], rows[some], slots, FLOAT32.prepare(read(slots)))
            tick(panels.pairs)
        return True

    def multiply_all(mine: Rows) -> None:
        proposer = everyone.proposer
        rows = proposer.rows(everyone.prepared(proposer, mine))
        aimed = False
        for other in range(mine[0], len(order), settled.TILE_COLUMNS):
            theirs = np.arange(other, min(other + settled.TILE_COLUMNS, len(order)))
            if label[mine[0]] == label[theirs[-1]]:
                continue
            columns = everyone.prepared(proposer, theirs)
            if not aimed:
                proposer.aim(rows, cut - proposer.bound(rows, columns).max(keepdims=True))
                aimed = True
            multiply(proposer, mine, rows, theirs, columns)
            tick(len(mine) * len(theirs))

    def multiply(proposer: Proposer, mine: Rows, rows: Prepared, theirs: Rows, columns: Prepared) -> None:
        tile = proposer.tile(rows, columns)
        if (same := hidden(mine, theirs)) is not None:
            tile.hide(len(same), same)
        lowest = float(proposer.rounded_down(cut - rows.offset[0] - proposer.bound(rows, columns).max()))
        found[order[mine[tile.highest(above_zero=lowest > 0) >= lowest]]] = True
        found[order[theirs[tile.highest(axis=0, above_zero=lowest > 0) >= lowest]]] = True

    with Workers(threads, claim) as workers:
        for start in range(0, len(order), settled.TILE_ROWS):
            workers.submit(compare, start)
    return np.flatnonzero(found)


def nearest_in_other_groups(
    vectors: Vectors,
    groups: Sequence[Rows],
    tick: Tick = lambda done: None,
    threads: int | None = None,
    precision: str = 'auto',
    device: str = 'cpu',
) -> Neighbours:
    """For each row of some groups the most similar row of another one; ties go to the group, then the row, that is listed first.

    Args:
        vectors (Vectors): All vectors.
        groups (Sequence[NDArray[np.int64]]): Disjoint groups of rows.
        tick (Callable): Told the number of pairs compared. Defaults to doing nothing.
        threads (int, optional): Defaults to None (all cores).
        precision (str): Of the products, see :func:`mmdel.selection.redundancy.highest_preferred`. Defaults to 'auto'.
        device (str): Where they are made. Defaults to 'cpu'.
    """
    work = partial(_nearest_in_other_groups, groups=groups, threads=threads, precision=precision, device=device)
    worth = is_worth(vectors, sum(map(len, groups)) ** 2)
    return Neighbours.joined(len(vectors), sharing.share(work, vectors, tick, worth))


def _nearest_in_other_groups(
    vectors: Vectors,
    claim: sharing.Claim,
    tick: Tick,
    groups: Sequence[Rows],
    threads: int | None,
    precision: str,
    device: str,
) -> tuple[Rows, NDArray[np.float32], Rows]:
    found = Neighbours.none(len(vectors))
    products = Precision(precision, device)
    order = np.concatenate([np.empty(0, np.int64), *groups])
    label = np.repeat(np.arange(len(groups)), [len(rows) for rows in groups])
    everyone = Group(vectors, order, products)

    def compare(start: int) -> None:
        mine = np.arange(start, min(start + settled.TILE_ROWS, len(order)))
        columns = np.arange(len(order))
        cosine, slot = settled_maximum(
            everyone.read(mine), None, columns, everyone, labels=(label[mine], label), own=mine
        )
        found.cosine[order[mine]] = cosine
        found.row[order[mine]] = np.where(slot < 0, -1, order[slot])
        tick(len(mine) * len(order))

    with Workers(threads, claim) as workers:
        for start in range(0, len(order), settled.TILE_ROWS):
            workers.submit(compare, start)
    log_fallen(products)
    return found.settled()
