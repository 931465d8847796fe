"""Coverage against the share kept: one column for each judge, mean above and tail below."""

from collections.abc import Sequence
from typing import Protocol

import matplotlib
import numpy as np

matplotlib.use('Agg', force=False)
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, ScalarFormatter


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


def plot_coverage(points: Sequence[Point]) -> Figure:
    """Curves of all methods; bars are the standard deviation over the draws of a method.

    Args:
        points (Sequence[Point]): At least one.
    """
    judges = list(dict.fromkeys((point.judge, point.chose) for point in points))
    methods = list(dict.fromkeys(point.selector for point in points))
    figure = Figure(figsize=(4.2 * len(judges) + 1.8, 6.4), dpi=110, layout='constrained')
    axes = figure.subplots(2, len(judges), squeeze=False, sharex=True)
    colours = matplotlib.colormaps['tab20']
    for column, (judge, chose) in enumerate(judges):
        for row, (value, label) in enumerate((('mean', 'mean similarity'), ('tail', '5th percentile'))):
            axis = axes[row, column]
            for number, method in enumerate(methods):
                mine = [point for point in points if point.selector == method and point.judge == judge]
                ratios = sorted({point.ratio for point in mine})
                draws = [[getattr(point, value) for point in mine if point.ratio == ratio] for ratio in ratios]
                axis.errorbar(
                    ratios,
                    [np.mean(draw) for draw in draws],
                    [np.std(draw, ddof=1) if len(draw) > 1 else 0.0 for draw in draws],
                    color=colours(number % 20),
                    marker='o',
                    markersize=3,
                    linewidth=1.2,
                    label=method,
                )
            axis.set_xscale('log')
            axis.set_xticks(sorted({point.ratio for point in points}), minor=False)
            axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
            axis.xaxis.set_minor_formatter(ScalarFormatter())
            axis.set_xticks([], minor=True)
            axis.grid(alpha=0.3)
            if row == 0:
                axis.set_title(f'judged by {judge}' + (', which chose' if chose else ''), fontsize=10)
            else:
                axis.set_xlabel('kept')
            if column == 0:
                axis.set_ylabel(f'{label} to the nearest kept image', fontsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside right center', fontsize=8)
    return figure
