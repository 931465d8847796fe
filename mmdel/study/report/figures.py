"""Figures 3 to 6 of the paper from a results table, and those of studies of pools.

    figure = selectors_figure(results)          # Figure 6, or None where there is nothing to draw
    save(figure, folder, 'figure_6')            # PNG and SVG; the same figure gives the same bytes

Figures 3 and 4 show one selector, as the paper does.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mmdel.compute.files import atomic
from mmdel.errors import MmdelError
from mmdel.images.image_table import image_table
from mmdel.report.plots import plot_pictures
from mmdel.study.plan import SELECT, SUBSET, Plan
from mmdel.study.pools.pool_tables import values_of
from mmdel.study.results import Results
from mmdel.study.statistics import Key, Sample, samples
from mmdel.subset import Subset

PAIRS = 24
"""Deleted images in Figure 5."""

_BARE = {'png': {'Software': None}, 'svg': {'Date': None, 'Creator': None}}
"""Metadata that would make equal figures different files."""


def pool_figures(results: pa.Table) -> Iterator[tuple[str, str, Figure]]:
    """One figure for each evaluation of a study of pools: name, title, means over pools with their standard error."""
    for evaluation in dict.fromkeys(results['evaluation'].to_pylist()):
        mine = results.filter(
            pc.and_(pc.equal(results['evaluation'], evaluation), pc.not_equal(results['budget'], 'all'))
        )
        shown = list(dict.fromkeys(mine['figure'].to_pylist()))
        figure = Figure(figsize=(4 * len(shown) + 2, 3.6), layout='constrained')
        for axis, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            lines: dict[str, list[tuple[float, NDArray[np.float64]]]] = {}
            for (selector, budget), values in values_of(mine, evaluation, name).items():
                lines.setdefault(selector, []).append((float(budget), 100 * values[:, 0]))
            for place, (selector, points) in enumerate(lines.items()):
                known = [each[~np.isnan(each)] for _, each in points]
                mean = [each.mean() if len(each) else np.nan for each in known]
                error = [each.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else 0 for each in known]
                style = dict(color=f'C{place % 10}', linestyle=('-', '--', ':')[place // 10 % 3])
                axis.errorbar(
                    [budget for budget, _ in points], mean, error, label=selector, marker='.', capsize=2, **style
                )
            axis.set_xscale('log')
            axis.set_xticks(sorted({budget for points in lines.values() for budget, _ in points}), minor=False)
            axis.xaxis.set_major_formatter('{x:g}')
            axis.xaxis.set_minor_formatter('')
            axis.set(title=name, xlabel='images chosen', ylabel='%')
        figure.legend(*axis.get_legend_handles_labels(), loc='outside right center', fontsize=7)
        stem = 'pools_' + '_'.join(''.join(c if c.isalnum() else ' ' for c in evaluation).lower().split())
        yield stem, evaluation, figure


def curves_figure(results: Results) -> Figure | None:
    """Figure 3: the smallest subset (red) against all images (black), over fine-tuning."""
    groups = _whole(results)
    name = _first_selector(groups)
    panels = {}
    for downstream in _downstream(groups):
        ratios = [key.ratio for key in groups if key.group == name and key.downstream == downstream and key.ratio]
        full = _full(groups, downstream)
        if name is not None and ratios and full is not None:
            pair = ((groups[Key(name, min(ratios), 1.0, downstream)], '#d62728'), (full, 'black'))
            if any(_curves(sample) for sample, _ in pair):
                panels[downstream] = pair

    def draw(axis: Axes, downstream: str) -> None:
        for sample, colour in panels[downstream]:
            curves = _curves(sample)
            if not curves:
                continue
            steps = sorted(set.intersection(*(set(curve) for curve in curves)))
            values = np.array([[curve[step] for step in steps] for curve in curves])
            middle, spread = values.mean(0), values.std(0, ddof=1) if len(values) > 1 else np.zeros(len(steps))
            axis.plot(steps, middle, color=colour, label=f'{_label(sample)}{sample.remark}')
            axis.fill_between(steps, middle - spread, middle + spread, color=colour, alpha=0.15, linewidth=0)
        axis.set(xlabel='iterations of fine-tuning', ylabel=_metric(groups, downstream))
        axis.legend(fontsize=7)

    return _panels('Figure 3: the smallest subset against all images', list(panels), draw)


def boxes_figure(results: Results, box: int) -> Figure | None:
    """Figure 4: the last ``box`` validations of all seeds, by share of the images, with the other references."""
    groups = _whole(results)
    name = _first_selector(groups)
    panels: dict[str, dict[str, list[float]]] = {}
    for (group, _, _, downstream), sample in groups.items():
        if sample.kind != 'selector' or group == name:
            last = [value for curve in _curves(sample) for _, value in sorted(curve.items())[-box:]]
            if last:
                panels.setdefault(downstream, {})[f'{_label(sample)}{sample.remark}'] = last

    def draw(axis: Axes, downstream: str) -> None:
        axis.boxplot(list(panels[downstream].values()), whis=(0, 100))
        axis.set_xticks(range(1, len(panels[downstream]) + 1), list(panels[downstream]))
        axis.tick_params('x', rotation=30, labelsize=7)
        axis.set(ylabel=_metric(groups, downstream))

    return _panels(f'Figure 4: the last {box} validations', list(panels), draw)


def removed_figure(plan: Plan) -> Figure | None:
    """Figure 5: deleted images beside the kept one, of the first selector that says by whom each image was deleted.

    None where the subset is no longer in the work dir, or its images are not at hand.
    """
    for name, run in plan.runs.items():
        path = plan.study.work_dir / name / SUBSET
        if run.kind != SELECT or not path.is_file():
            continue
        try:
            subset = Subset.read(path)
        except MmdelError:
            continue
        rows = subset.table.select(['image', 'removed_by', 'redundancy', 'reason']).to_pylist()
        kept = set(subset.kept)
        rows = [row for row in rows if row['reason'] == 'duplicate' and row['removed_by'] in kept]
        rows.sort(key=lambda row: (-row['redundancy'], row['image']))
        paths = _paths(run.config) if rows else {}
        rows = [row for row in rows if row['image'] in paths and row['removed_by'] in paths]
        if rows:
            chosen = [rows[index] for index in np.unique(np.linspace(0, len(rows) - 1, PAIRS).round().astype(int))]
            pairs = [
                ((row['removed_by'], 'kept'), (row['image'], f'deleted, {row["redundancy"]:.3f}')) for row in chosen
            ]
            return plot_pictures([shown for pair in pairs for shown in pair], paths, columns=8)
    return None


def selectors_figure(results: Results) -> Figure | None:
    """Figure 6: selectors against ratios, mean and standard deviation over seeds, with the references as lines."""
    groups = _whole(results)
    drawn = {key.downstream for key, sample in groups.items() if sample.kind == 'selector' and sample.values}
    panels = [name for name in _downstream(groups) if name in drawn]

    def draw(axis: Axes, downstream: str) -> None:
        names = dict.fromkeys(key.group for key in groups if key.downstream == downstream)
        selectors = list(dict.fromkeys(key.group for key, sample in groups.items() if sample.kind == 'selector'))
        for group in names:
            mine = [sample for key, sample in groups.items() if (key.group, key.downstream) == (group, downstream)]
            mine = sorted((sample for sample in mine if sample.values), key=lambda sample: sample.key.ratio or 0.0)
            if not mine:
                continue
            if mine[0].kind != 'selector':
                axis.axhline(mine[0].mean, linewidth=0.9, linestyle='--', color='grey')  # type: ignore[arg-type]
                axis.annotate(
                    group, (1, mine[0].mean), xycoords=('axes fraction', 'data'), ha='right', va='bottom', fontsize=7
                )
                continue
            aside = 1 + 0.02 * (selectors.index(group) - (len(selectors) - 1) / 2)  # bars that do not hide each other
            ratios = [100 * (sample.key.ratio or 0.0) * aside for sample in mine]
            spreads = [sample.spread or 0.0 for sample in mine]
            incomplete = ' (seeds missing)' if any(sample.remark for sample in mine) else ''
            means = [sample.mean or 0.0 for sample in mine]
            axis.errorbar(ratios, means, spreads, marker='o', markersize=3, capsize=2, label=f'{group}{incomplete}')
        ticks = sorted({100 * key.ratio for key, sample in groups.items() if sample.kind == 'selector' and key.ratio})
        axis.set_xscale('log')
        axis.set_xticks(ticks, [f'{tick:.4g}' for tick in ticks], minor=False)
        axis.minorticks_off()
        axis.set_xlim(ticks[0] / 1.2, 1.2 * ticks[-1])  # a set may have fewer ratios than the study
        axis.set(xlabel='images kept, %', ylabel=_metric(groups, downstream))
        axis.legend(fontsize=7)

    return _panels('Figure 6: selectors at equal retention', panels, draw)


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write ``<name>.png`` and ``<name>.svg``, atomically."""
    with matplotlib.rc_context({'svg.hashsalt': 'mmdel'}):
        for suffix, metadata in _BARE.items():
            with atomic(folder / f'{name}.{suffix}') as temporary:
                figure.savefig(temporary, format=suffix, metadata=metadata)


# --- private


def _panels(title: str, names: Sequence[str], draw: Any) -> Figure | None:
    """One panel a downstream set."""
    if not names:
        return None
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(max(4.2, 3.4 * columns), 2.9 * rows + 0.4), dpi=110, layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for axis, name in zip(axes, names, strict=False):
        draw(axis, name)
        axis.set_title(name, fontsize=9)
        axis.grid(alpha=0.3)
    for axis in list(axes)[len(names) :]:
        axis.set_axis_off()
    figure.suptitle(title, fontsize=10)
    return figure


def _whole(results: Results) -> dict[Key, Sample]:
    return {key: sample for key, sample in samples(results.planned).items() if key.share == 1}


def _downstream(groups: Mapping[Key, Sample]) -> list[str]:
    return list(dict.fromkeys(key.downstream for key in groups))


def _first_selector(groups: Mapping[Key, Sample]) -> str | None:
    return next((key.group for key, sample in groups.items() if sample.kind == 'selector'), None)


def _full(groups: Mapping[Key, Sample], downstream: str) -> Sample | None:
    found = (sample for key, sample in groups.items() if sample.kind == 'full' and key.downstream == downstream)
    return next(found, None)


def _curves(sample: Sample) -> list[dict[int, float]]:
    """Iteration -> metric, for each finished seed that was validated while it trained."""
    curves = [dict(json.loads(row['validations'])) for row in sample.done if row['validations']]
    return [curve for curve in curves if curve]


def _label(sample: Sample) -> str:
    return (
        sample.key.group if sample.kind != 'selector' else f'{sample.key.group} {100 * (sample.key.ratio or 0):.4g} %'
    )


def _metric(groups: Mapping[Key, Sample], downstream: str) -> str:
    rows = next(sample.rows for key, sample in groups.items() if key.downstream == downstream)
    return f'{rows[0]["metric"]}, %'


def _paths(config: Any) -> dict[str, str]:
    """Key -> file of the pool's images; {} where they are not at hand."""
    from mmengine.registry import DATASETS, init_default_scope

    init_default_scope(config.get('default_scope', 'mmpretrain'))
    try:
        table = image_table(DATASETS.build(config.dataset)).table
    except (MmdelError, OSError):
        return {}
    return dict(zip(table['image'].to_pylist(), table['path'].to_pylist(), strict=True))
