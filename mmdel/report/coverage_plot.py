"""Coverage against the share kept: one column for each judge, mean above and tail below."""

from collections.abc import Sequence
from typing import Protocol

import matplotlib
import numpy as np

matplotlib.use('Agg', force=False)
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter


class Point(Protocol):
    """One subset seen by one judge; see :class:`mmdel.engine.coverage.CoveragePoint`."""

    @property
    def selector(self) -> str: ...

    @property
    def ratio(self) -> float: ...

    @property
    def judge(self) -> str: ...

    @property
    def chose(self) -> bool: ...

    @property
    def mean(self) -> float: ...

    @property
    def tail(self) -> float: ...


def plot_coverage(points: Sequence[Point], baseline: str | None = None) -> Figure:
    """Curves of all methods; bars are the standard deviation over the draws of a method.

    Args:
        points (Sequence[Point]): At least one.
        baseline (str, optional): A method among them whose mean over its draws is subtracted from all: methods differ less than
            ratios do. Defaults to None.
    """
    judges = list(dict.fromkeys((point.judge, point.chose) for point in points))
    methods = list(dict.fromkeys(point.selector for point in points))
    figure = Figure(figsize=(4.2 * len(judges) + 1.8, 6.4), dpi=90, layout='constrained')
    axes = figure.subplots(2, len(judges), squeeze=False, sharex=True)
    colours = matplotlib.colormaps['tab10']
    ratios = sorted({point.ratio for point in points})
    for column, (judge, chose) in enumerate(judges):
        for row, (value, label) in enumerate((('mean', 'mean similarity'), ('tail', '5th percentile'))):
            axis = axes[row, column]
            draws = {
                (method, ratio): [
                    getattr(point, value)
                    for point in points
                    if (point.selector, point.ratio, point.judge) == (method, ratio, judge)
                ]
                for method in methods
                for ratio in ratios
            }
            for number, method in enumerate(methods):
                mine = [draws[method, ratio] for ratio in ratios]
                zero = [np.mean(draws[baseline, ratio]) if baseline else 0.0 for ratio in ratios]
                axis.errorbar(
                    ratios,
                    [np.mean(draw) - start for draw, start in zip(mine, zero, strict=True)],
                    [np.std(draw, ddof=1) if len(draw) > 1 else 0.0 for draw in mine],
                    color=colours(number % 10),
                    linestyle=('-', '--', ':')[number // 10 % 3],
                    marker='o',
                    markersize=3,
                    linewidth=1.2,
                    capsize=2,
                    label=method,
                )
            axis.set_xscale('log')
            axis.set_xticks(ratios)
            axis.set_xticks([], minor=True)
            axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
            axis.grid(alpha=0.3)
            if row == 0:
                axis.set_title(f'judged by {judge}' + (', which chose' if chose else ''), fontsize=10)
            else:
                axis.set_xlabel('kept')
            if column == 0:
                axis.set_ylabel(label + (f' minus {baseline}' if baseline else ''), fontsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside right center', fontsize=8)
    figure.suptitle('Similarity of all images to the nearest kept one', fontsize=11)
    return figure
