"""Figures: those of a report, as SVG that takes its colours from the page and so reads in light and dark; and pictures in a grid.

Matplotlib wants colours when it draws; the ones of :data:`COLOURS` stand for variables of the page's style sheet, which take
their place in what it writes.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mmdel.errors import UnreadableImage
from mmdel.report import names
from mmdel.report.pictures import SIDE, picture
from mmdel.subset import Subset

COLOURS = {
    'ink': '#010101',
    'muted': '#020202',
    'grid': '#030303',
    'main': '#040404',
    'soft': '#050505',
    'mark': '#060606',
}
"""Variable of the style sheet to the colour that stands for it."""

STYLE: Any = {
    'svg.fonttype': 'none',
    'svg.hashsalt': 'mmdel',
    'font.family': 'sans-serif',
    'font.size': 10,
    'text.color': COLOURS['ink'],
    'axes.edgecolor': COLOURS['muted'],
    'axes.labelcolor': COLOURS['ink'],
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': COLOURS['grid'],
    'grid.linewidth': 0.8,
    'xtick.color': COLOURS['muted'],
    'ytick.color': COLOURS['muted'],
    'xtick.labelcolor': COLOURS['ink'],
    'ytick.labelcolor': COLOURS['ink'],
}

POINTS = 300
"""Of the retention curve."""

BINS = 60


def plot_retention(subset: Subset) -> str | None:
    """What each eta keeps, the chosen cut marked; None where the ranking does not answer every eta."""
    if subset.metadata['recut'] != 'any' or not subset.readable.any():
        return None
    redundancy = _values(subset, 'redundancy')
    low = float(np.quantile(redundancy, 0.01)) if len(redundancy) else 0.0
    low = max(-1.0, min(low, 0.7 if subset.eta is None else subset.eta, 0.7))
    etas = np.linspace(low, 1, POINTS)
    with rc_context(STYLE):
        figure, axis = _axes()
        axis.plot(etas, subset.retention(etas), color=COLOURS['main'], linewidth=2)
        axis.axhline(subset.ratio, color=COLOURS['mark'], linewidth=1.2, linestyle='--')
        if subset.eta is not None:
            axis.axvline(subset.eta, color=COLOURS['mark'], linewidth=1.2, linestyle='--')
        label = f'this cut keeps {subset.ratio:.1%}' + (f' at eta {subset.eta:g}' if subset.eta is not None else '')
        axis.annotate(label, (low, subset.ratio), (4, 5), textcoords='offset points', color=COLOURS['mark'])
        axis.set(
            xlabel='eta (cosine above which an image is a duplicate)',
            ylabel='share kept',
            xlim=(low, 1),
            ylim=(0, 1.04),
        )
        axis.yaxis.set_major_formatter(lambda value, _: f'{value:.0%}')
        return _svg(figure, 'retention')


def plot_gains(gains: NDArray[np.float64], kept: int) -> str | None:
    """How much of a method's objective the first images of its ranking reach, the cut marked; None where they gain nothing.

    Args:
        gains (NDArray[np.float64]): [N], what each image added, in the order of the ranking.
        kept (int): How many of them stay.
    """
    reached = np.concatenate([[0.0], np.cumsum(gains)])
    if not reached[-1] > 0:
        return None
    share = np.arange(len(reached)) / len(gains)
    some = np.unique(np.linspace(0, len(gains), POINTS).round().astype(int))
    at, height = kept / len(gains), float(reached[kept] / reached[-1])
    with rc_context(STYLE):
        figure, axis = _axes()
        axis.plot(share[some], reached[some] / reached[-1], color=COLOURS['main'], linewidth=2)
        axis.axvline(at, color=COLOURS['mark'], linewidth=1.2, linestyle='--')
        right = at > 0.5
        label = f'this cut keeps {at:.1%} and reaches {height:.1%}'
        axis.annotate(
            label,
            (at, 0.04),
            (-6 if right else 6, 0),
            textcoords='offset points',
            ha='right' if right else 'left',
            color=COLOURS['mark'],
        )
        axis.set(xlabel='share kept', ylabel="reached of the method's objective", xlim=(0, 1), ylim=(0, 1.04))
        for each in (axis.xaxis, axis.yaxis):
            each.set_major_formatter(lambda value, _: f'{value:.0%}')
        return _svg(figure, 'gains')


def plot_distance(subset: Subset) -> str | None:
    """How far images lie from their centroids, epsilon marked; None where there are no clusters."""
    distance = _values(subset, 'distance')
    if not len(distance):
        return None
    epsilon = (subset.metadata.get('selector') or {}).get('epsilon')
    highest = max(float(distance.max()), 0.0 if epsilon is None else epsilon) * 1.03 or 1.0
    with rc_context(STYLE):
        figure, axis = _axes()
        axis.stairs(*np.histogram(distance, np.linspace(0, highest, BINS)), fill=True, color=COLOURS['main'])
        if epsilon is not None:
            axis.axvline(epsilon, color=COLOURS['mark'], linewidth=1.2, linestyle='--')
            # an epsilon at the right edge has its label on the left of it
            right = epsilon > highest / 2
            axis.annotate(
                f'epsilon {epsilon:g}: {subset.count("far"):,} beyond',
                *((epsilon, 0.97), (-5 if right else 5, 0)),
                xycoords=('data', 'axes fraction'),
                textcoords='offset points',
                ha='right' if right else 'left',
                va='top',
                color=COLOURS['mark'],
            )
        axis.set(xlabel='distance to the own centroid', ylabel='images', xlim=(0, highest))
        axis.yaxis.set_major_formatter(lambda value, _: f'{value:,.0f}')
        return _svg(figure, 'distance')


def plot_clusters(clusters: Sequence[dict[str, int]]) -> str | None:
    """Images and kept images of each cluster, largest first; None where there are no clusters.

    Args:
        clusters (Sequence[dict]): ``images`` and ``kept`` of each, in the order of drawing.
    """
    if not clusters:
        return None
    edges = np.arange(len(clusters) + 1) + 0.5
    with rc_context(STYLE):
        figure, axis = _axes()
        for name, colour, label in (('images', 'soft', 'removed'), ('kept', 'main', 'kept')):
            heights = [cluster[name] for cluster in clusters]
            axis.stairs(heights, edges, fill=True, color=COLOURS[colour], label=label)
        axis.set(xlabel='cluster, largest first', ylabel='images', xlim=(edges[0], edges[-1]))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.yaxis.set_major_formatter(lambda value, _: f'{value:,.0f}')
        axis.legend(frameon=False)
        return _svg(figure, 'clusters')


def plot_pictures(
    shown: Sequence[tuple[str, str]], paths: Mapping[str, str], columns: int = 4, max_value: int | None = None
) -> Figure:
    """Pictures in a grid, each with its caption and the name of its file.

    Args:
        shown (Sequence[tuple[str, str]]): ``(key, caption)``.
        paths (Mapping[str, str]): Key to file; a key that it lacks, or whose file cannot be used, has a grey field.
        columns (int): Pictures in a row. Defaults to 4.
        max_value (int, optional): White in 16-bit images. Defaults to None: 65,535.
    """
    rows = max(1, -(-len(shown) // columns))
    figure = Figure(figsize=(columns * 2.6, rows * 3.05), dpi=110, layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (key, caption) in zip(axes.flat, shown, strict=False):
        # a dollar sign in a name is no formula
        name = names.shown(key.rpartition('/')[2] or key, 34)
        axis.set_title(f'{caption}\n{name}', fontsize=8, parse_math=False)
        try:
            if key not in paths:
                raise UnreadableImage('no file is known')
            axis.imshow(picture(paths[key], max_value=max_value)[:, :, ::-1])
        except UnreadableImage as error:
            axis.imshow(np.full((SIDE, SIDE, 3), 225, np.uint8))
            axis.text(
                SIDE / 2, SIDE / 2, error.reason, ha='center', va='center', wrap=True, fontsize=7, parse_math=False
            )
    return figure


def _values(subset: Subset, column: str) -> NDArray[np.float32]:
    """The column of the readable images, without what is missing."""
    values = subset.readable_rows[column].drop_null().to_numpy()
    return values[~np.isnan(values)]


def _axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.2, 3.5))
    return figure, figure.subplots(gridspec_kw={'left': 0.125, 'right': 0.98, 'bottom': 0.145, 'top': 0.97})


def _svg(figure: Figure, name: str) -> str:
    """The SVG element alone, its ids apart from those of other figures on the page."""
    with io.StringIO() as file:
        figure.savefig(file, format='svg', transparent=True, metadata={'Date': None, 'Creator': None})
        text = file.getvalue()
    text = text[text.index('<svg') :]
    text = re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf'\g<1>{name}-', text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1', text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', rf'\1 role="img" aria-label="{name}"', text, count=1)
    for variable, colour in COLOURS.items():
        text = text.replace(colour, f'var(--{variable})')
    return text
