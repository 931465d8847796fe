"""Tables of a study of pools: means over pools, and differences from a baseline with intervals and Holm's correction.

for table in pool_tables(results, baselines=('random',)):
    print(table.markdown())
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel.study.report.tables import Table
from mmdel.study.statistics import INTERVAL

LEVEL = 0.05
"""Differences whose corrected p is below this are marked."""

DRAWS = 10_000
"""Of a bootstrap: the lowest p that it can tell, times the comparisons of a table, has to stay below :data:`LEVEL`."""

IN_IMAGES = 'images for 95 %'
"""The one figure that is a number of images, of which fewer are better."""


@dataclass(frozen=True)
class Comparison:
    """How much higher one selector's figure is than the baseline's, over pools.

    Args:
        mean (float): Of the pools in which both have it.
        low, high (float): The 95 % interval.
        p (float): Two-sided; of a bootstrap over pools and, in each, over test groups.
        pools (int): Such pools.
    """

    mean: float
    low: float
    high: float
    p: float
    pools: int


def compare(
    one: NDArray[np.float64], other: NDArray[np.float64], seed: int = 0, draws: int = DRAWS
) -> Comparison | None:
    """Paired bootstrap of two arrays, [pools, 1 + redrawn]: the value of each pool, then those of redrawn groups.

    Pools are drawn anew, and for each of them one redrawing of its groups, the same of both; None where no pool has both.
    """
    difference = one - other
    difference = difference[~np.isnan(difference[:, 0])]
    if not len(difference):
        return None
    random = np.random.default_rng(seed)
    pools = random.integers(len(difference), size=(draws, len(difference)))
    redrawn = (
        random.integers(1, difference.shape[1], size=pools.shape) if difference.shape[1] > 1 else np.zeros_like(pools)
    )
    drawn = difference[pools, redrawn]
    known = ~np.isnan(drawn)  # a class may be missing from redrawn groups
    means = np.where(known, drawn, 0).sum(axis=1)[known.any(axis=1)] / known.sum(axis=1)[known.any(axis=1)]
    if not len(means):
        return None
    low, high = np.percentile(means, INTERVAL)
    tail = min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
    return Comparison(
        float(difference[:, 0].mean()),
        float(low),
        float(high),
        min(1.0, 2 * (tail + 1) / (len(means) + 1)),
        len(difference),
    )


def holm(p: Sequence[float]) -> list[float]:
    """P values corrected for their number (Holm, A simple sequentially rejective multiple test procedure, 1979)."""
    order = np.argsort(p, kind='stable')
    corrected = np.minimum(np.maximum.accumulate(np.array(p)[order] * (len(p) - np.arange(len(p)))), 1.0)
    found = np.empty(len(p))
    found[order] = corrected
    return found.tolist()


def pool_tables(results: pa.Table, baselines: Sequence[str]) -> list[Table]:
    """For each evaluation and figure the means, and for each baseline the differences from it."""
    found = []
    evaluations = dict.fromkeys(zip(results['evaluation'].to_pylist(), results['figure'].to_pylist(), strict=True))
    for evaluation, figure in evaluations:
        values = values_of(results, evaluation, figure)
        selectors, budgets = (list(dict.fromkeys(key[place] for key in values)) for place in (0, 1))
        pools = max(map(len, values.values()))
        name = '_'.join(''.join(c if c.isalnum() else ' ' for c in f'{evaluation} {figure}').lower().split())
        note = f'Mean ± standard error over {pools} pools.'
        rows = [
            (selector, *(_mean(values.get((selector, budget)), figure) for budget in budgets)) for selector in selectors
        ]
        found.append(
            Table(name, f'{evaluation}: {figure}', ('selector', *map(_heading, budgets)), tuple(rows), (note,))
        )
        for baseline in baselines:
            others = [selector for selector in selectors if selector != baseline]
            keys = [(selector, budget) for selector in others for budget in budgets]
            pairs = {key: _pair(values, key, baseline) for key in keys}
            known = [key for key in keys if pairs[key] is not None]
            if not known:  # the baseline does not have this figure
                continue
            corrected = dict(zip(known, holm([pairs[key].p for key in known]), strict=True))  # type: ignore[union-attr]
            rows = [
                (
                    selector,
                    *(
                        _difference(pairs[selector, budget], corrected.get((selector, budget)), figure)
                        for budget in budgets
                    ),
                )
                for selector in others
            ]
            note = (
                f'Minus {baseline}, with the 95 % interval of a paired bootstrap over pools and groups; * where p < {LEVEL} '
                f"after Holm's correction for the {len(known)} comparisons of this table."
            )
            title = f'{evaluation}: {figure}, against {baseline}'
            slug = ''.join(c if c.isalnum() else '_' for c in baseline)
            found.append(
                Table(f'{name}_against_{slug}', title, ('selector', *map(_heading, budgets)), tuple(rows), (note,))
            )
    return found


def values_of(results: pa.Table, evaluation: str, figure: str) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Selector and budget to [pools, 1 + redrawn], pools ascending, in the order of the results."""
    found: dict[tuple[str, str], list[list[float]]] = {}
    columns = (results[name].to_pylist() for name in ('evaluation', 'figure', 'selector', 'budget', 'value', 'redrawn'))
    for its, name, selector, budget, value, redrawn in zip(*columns, strict=True):
        if (its, name) == (evaluation, figure):
            found.setdefault((selector, budget), []).append([value, *redrawn])
    return {key: np.array(rows, np.float64) for key, rows in found.items()}


def _pair(values: dict[tuple[str, str], NDArray[np.float64]], key: tuple[str, str], baseline: str) -> Comparison | None:
    one, other = values.get(key), values.get((baseline, key[1]))
    return None if one is None or other is None else compare(one, other)


def _heading(budget: str) -> str:
    share = float(budget) if budget != 'all' else 1.0
    return 'images' if budget == 'all' else f'{share:.3g}' if share >= 1 else f'{share:.3g} of all'


def _mean(values: NDArray[np.float64] | None, figure: str) -> str:
    if values is None or np.isnan(values[:, 0]).all():
        return '-'
    value = values[~np.isnan(values[:, 0]), 0]
    scale = 1 if figure == IN_IMAGES else 100
    error = value.std(ddof=1) / np.sqrt(len(value)) if len(value) > 1 else 0.0
    return f'{scale * value.mean():.1f} ± {scale * error:.1f}'


def _difference(found: Comparison | None, p: float | None, figure: str) -> str:
    if found is None or p is None:
        return '-'
    scale = 1 if figure == IN_IMAGES else 100
    star = ' *' if p < LEVEL else ''
    return f'{scale * found.mean:+.1f} [{scale * found.low:+.1f}, {scale * found.high:+.1f}]{star}'
