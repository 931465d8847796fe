"""Tables 2, 3 and 4 of the paper from a results table, beside the published values, and what the paper lacks.

    for table in paper_tables(results, alpha=1.0, baselines=('random',)):
        print(table.markdown())

The paper's 100 % is the reference of kind 'full'; it stands in every selector's row. Published values appear for downstream
sets that are called as in the paper, such as 'Kvasir-SEG'.
"""

import math
from collections.abc import Iterable, Mapping
from statistics import mean

from mmdel.errors import ConfigError
from mmdel.evaluation.normdel import alpha_sweep, as_fraction
from mmdel.study.report import published
from mmdel.study.report.tables import Table
from mmdel.study.results import Results
from mmdel.study.statistics import Key, Sample, paired_bootstrap, samples

ALPHAS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Where NormDEL is shown, from the metric almost alone to the paper's."""

PUBLISHED = 'published'


def paper_tables(results: Results, alpha: float = 1.0, baselines: tuple[str, ...] = ()) -> list[Table]:
    """Every table for which there are results."""
    groups = samples(results.planned)
    tables = [
        selectors_table(groups),
        comparisons_table(results, groups, baselines),
        references_table(groups),
        settings_table(groups),
        normdel_table(groups, alpha),
        checkpoints_table(groups),
        *sweep_tables(groups),
        failures_table(results),
    ]
    return [table for table in tables if table.rows]


def selectors_table(groups: Mapping[Key, Sample]) -> Table:
    """Selectors by their metric at equal retention, and the references: what decides which one is better."""
    whole = _whole(groups)
    ratios = _ratios(whole)
    rows = []
    for downstream in _names(whole, 'downstream'):
        for group in _names(whole, 'group'):
            found = {
                key.ratio: sample for key, sample in whole.items() if (key.group, key.downstream) == (group, downstream)
            }
            if not found:
                continue
            sample = next(iter(found.values()))
            first = sample.rows[0]
            about = (downstream, first['encoder'], group)
            if sample.kind in ('random', 'checkpoint'):
                rows.append((*about, str(sample), *('' for _ in ratios)))
            else:
                rows.append((*about, '', *(str(found[ratio]) if ratio in found else '' for ratio in ratios)))
    columns = ('set', 'encoder', 'selector', 'no pre-training on this pool', *map(_percent, ratios))
    notes = ('Metric in percent at equal retention, mean ± standard deviation over seeds.',)
    return Table('selectors', 'Selectors at equal retention', columns, tuple(rows), notes, 3)


def comparisons_table(results: Results, groups: Mapping[Key, Sample], baselines: tuple[str, ...]) -> Table:
    """Each selector against each baseline at the same ratio, with a paired bootstrap over seeds and validation images."""
    whole, rows, note = _whole(groups), [], ''
    for key, sample in whole.items():
        for baseline in baselines:
            other = whole.get(key._replace(group=baseline))
            if sample.kind != 'selector' or other is None or other is sample:
                continue
            found = paired_bootstrap(results, sample, other)
            if found is None:
                rows.append(
                    (key.downstream, key.group, baseline, _percent(key.ratio), 'no seed in common', '', '', '0', '0')
                )
                continue
            interval = f'{found.low:+.2f} to {found.high:+.2f}'
            sure = f'{found.above:.1%}'
            counts = (f'{found.seeds}{sample.remark or other.remark}', str(found.images))
            rows.append(
                (
                    key.downstream,
                    key.group,
                    baseline,
                    _percent(key.ratio),
                    f'{found.mean:+.2f}',
                    interval,
                    sure,
                    *counts,
                )
            )
            note = (
                'Difference in points; interval and share from a paired bootstrap: the same seeds and the same validation images '
                'of both. With 0 images, seeds alone were drawn. An interval that holds 0 ranks nothing.'
            )
    columns = ('set', 'selector', 'against', 'kept', 'difference', '95 % interval', 'draws above 0', 'seeds', 'images')
    return Table('comparisons', 'Against the baselines', columns, tuple(rows), (note,) if note else (), 3)


def references_table(groups: Mapping[Key, Sample]) -> Table:
    """What pre-training on all images is worth against the other references, in standard deviations over seeds: the gate."""
    rows = []
    whole = _whole(groups)
    for key, full in whole.items():
        for other in whole.values():
            if (
                full.kind != 'full'
                or other.kind not in ('random', 'checkpoint')
                or other.key.downstream != key.downstream
            ):
                continue
            about = (key.downstream, full.rows[0]['encoder'], key.group, other.key.group, str(full), str(other))
            if full.mean is None or other.mean is None or full.spread is None or other.spread is None:
                rows.append((*about, '', '', 'needs two seeds'))
                continue
            spread = ((full.spread**2 + other.spread**2) / 2) ** 0.5
            difference = full.mean - other.mean
            deviations = difference / spread if spread else math.copysign(math.inf, difference) if difference else 0.0
            rows.append((*about, f'{difference:+.2f}', f'{deviations:+.1f}', 'yes' if deviations >= 2 else 'no'))
    columns = (
        'set',
        'encoder',
        'pre-trained',
        'against',
        'its metric',
        'the other',
        'difference',
        'in SD',
        'above 2 SD',
    )
    notes = (
        'SD: root of the mean variance of the two over seeds. Where pre-training on all images is not 2 SD above a random '
        'encoder, this study cannot see what pre-training learned, and must not rank selectors.',
    )
    return Table('references', 'What pre-training is worth', columns, tuple(rows), notes, 4)


def settings_table(groups: Mapping[Key, Sample]) -> Table:
    """Table 2: eta, images kept, ratio and epochs of each setting."""
    found: dict[tuple[str, float], tuple[str, ...]] = {}
    for key, sample in _whole(groups).items():
        done = sample.done
        if key.ratio is None or not done or (key.group, key.ratio) in found:
            continue
        row = done[0]
        eta = '1' if sample.kind == 'full' else 'none'
        if row['eta_low'] is not None:
            eta = f'{row["eta_low"]:.4f} to {row["eta_high"]:.4f}'
        kept = 'all' if row['kept'] is None else f'{row["kept"]:,} of {row["images"]:,}'
        paper = published.TABLE_2.get(key.ratio)
        theirs = ('', '', '') if paper is None else (f'{paper.eta:g}', f'{paper.kept:,}', f'{paper.epochs:,}')
        ours = (_percent(key.ratio), eta, kept, f'{row["ratio"]:.4%}', f'{row["epochs"]:,}')
        found[key.group, key.ratio] = (key.group, *ours, *theirs)
    columns = ('selector', 'asked', 'eta', 'kept', 'ratio', 'epochs', 'eta (paper)', 'kept (paper)', 'epochs (paper)')
    notes = ('An eta belongs to its encoder: the paper does not say which weights it took. Of the first seed.',)
    return Table('table_2', 'Table 2: settings', columns, tuple(found.values()), notes)


def normdel_table(groups: Mapping[Key, Sample], alpha: float) -> Table:
    """Table 3: the metric and NormDEL for each ratio and downstream set, published values below."""
    whole = {key: sample for key, sample in _whole(groups).items() if key.ratio is not None}
    full = {key.downstream: sample for key, sample in whole.items() if sample.kind == 'full'}
    ratios = _ratios(whole)
    rows = []
    for downstream in _names(whole, 'downstream'):
        selectors = [group for group in _names(whole, 'group') if _is_selector(whole, group, downstream)]
        for group in selectors or [sample.key.group for sample in [full.get(downstream)] if sample]:
            cells = []
            for ratio in ratios:
                sample = full.get(downstream) if ratio == 1 else whole.get(Key(group, ratio, 1.0, downstream))
                score = None if sample is None else sample.normdel(alpha)
                cells += ['' if sample is None else str(sample), '' if score is None else f'{score:.2f}']
            rows.append((downstream, group, *cells))
        paper = published.TABLE_3.get(downstream, {})
        if paper and alpha == 1:
            pairs = [paper.get(ratio) for ratio in ratios]
            texts = [(f'{pair[0]:.2f}', f'{pair[1]:.2f}') if pair else ('', '') for pair in pairs]
            rows.append((downstream, PUBLISHED, *(text for pair in texts for text in pair)))
    heads = tuple(f'{_percent(ratio)} {what}' for ratio in ratios for what in ('metric', 'NormDEL'))
    notes = (
        f'NormDEL with alpha = {alpha:g} and the exact ratio; at alpha = 1 it lies between 50 and 73.1, and less data wins where '
        'metrics are close. Compare selectors by the metric at equal retention.',
    )
    return Table('table_3', 'Table 3: metric and NormDEL', ('set', 'selector', *heads), tuple(rows), notes, 2)


def checkpoints_table(groups: Mapping[Key, Sample]) -> Table:
    """Table 4: the metric after parts of the pre-training."""
    early = {(key.group, key.ratio) for key in groups if key.share != 1}
    columns = sorted({(key.ratio, key.share) for key in groups if (key.group, key.ratio) in early})
    rows = []
    for downstream in _names(groups, 'downstream'):
        for group in _names({key: None for key in groups if (key.group, key.ratio) in early}, 'group'):
            found = [groups.get(Key(group, ratio, share, downstream)) for ratio, share in columns]
            if any(sample is not None for sample in found):
                rows.append((downstream, group, *('' if sample is None else str(sample) for sample in found)))
        if rows and downstream in published.TABLE_4:
            rows.append((downstream, PUBLISHED, *(_early(downstream, ratio, share) for ratio, share in columns)))
    heads = tuple(f'{_percent(ratio)}: {share:.0%}' for ratio, share in columns)
    notes = ('Images kept: share of the pre-training after which the encoder was taken.',)
    return Table('table_4', 'Table 4: shorter pre-training', ('set', 'selector', *heads), tuple(rows), notes, 2)


def sweep_tables(groups: Mapping[Key, Sample]) -> list[Table]:
    """NormDEL over alpha, and every alpha up to 1 at which two results swap places."""
    scores, swaps = [], []
    for downstream in _names(groups, 'downstream'):
        found = {}
        for key, sample in _whole(groups).items():
            if key.downstream == downstream and sample.mean is not None and sample.retention is not None:
                metric = as_fraction(mean(sample.values), 'percent', sample.rows[0]['metric'])
                found[f'{key.group} {_percent(key.ratio)}{sample.remark}'] = (metric, sample.retention)
        if len(found) < 2:
            continue
        sweep = alpha_sweep(found, ALPHAS)
        for name, values in zip(sweep.names, sweep.normdel, strict=True):
            stars = [' *' if winner == name else '' for winner in sweep.winners]
            scores.append(
                (downstream, name, *(f'{100 * value:.2f}{star}' for value, star in zip(values, stars, strict=True)))
            )
        for swap in sweep.swaps:
            if swap.alpha <= max(ALPHAS):
                around = alpha_sweep(found, (swap.alpha * (1 - 1e-9), swap.alpha * (1 + 1e-9))).winners
                leads = 'yes' if around[0] != around[1] else ''
                swaps.append((downstream, f'{swap.alpha:.4f}', swap.below, swap.above, leads))
    about = ('NormDEL of the mean metric; * is the best. At alpha = 0 it would be the metric alone.',)
    turns = ('Below alpha the first leads, above it the second, which saw less data.',)
    return [
        Table(
            'normdel',
            'NormDEL over alpha',
            ('set', 'result', *(f'{alpha:g}' for alpha in ALPHAS)),
            tuple(scores),
            about,
            2,
        ),
        Table(
            'normdel_turns',
            'Where the ranking by NormDEL turns',
            ('set', 'alpha', 'leads below', 'leads above', 'new best'),
            tuple(swaps),
            turns,
            1,
        ),
    ]


def failures_table(results: Results) -> Table:
    """The cells without a value, and why."""
    rows = tuple(
        (
            row['downstream'],
            row['group'],
            '' if row['ratio_asked'] is None else _percent(row['ratio_asked']),
            str(row['seed']),
            row['status'],
            row['message'] or '',
            row['log'] or '',
        )
        for row in results.planned
        if row['value'] is None
    )
    columns = ('set', 'selector', 'kept', 'seed', 'status', 'why', 'log')
    return Table('not_done', 'Cells without a value', columns, rows, (), 7)


# --- private


def _whole(groups: Mapping[Key, Sample]) -> dict[Key, Sample]:
    return {key: sample for key, sample in groups.items() if key.share == 1}


def _names(groups: Iterable[Key], what: str) -> list[str]:
    """Values of one part of the keys, in the order in which they occur."""
    return list(dict.fromkeys(getattr(key, what) for key in groups))


def _ratios(groups: Iterable[Key]) -> list[float]:
    return sorted({key.ratio for key in groups if key.ratio is not None})


def _is_selector(groups: Mapping[Key, Sample], group: str, downstream: str) -> bool:
    return any(
        key.group == group and key.downstream == downstream and sample.kind == 'selector'
        for key, sample in groups.items()
    )


def _percent(ratio: float | None) -> str:
    if ratio is None:
        raise ConfigError('A result without pre-training on the pool has no ratio.')
    return f'{100 * ratio:.4g} %'


def _early(downstream: str, ratio: float | None, share: float) -> str:
    by_epoch = published.TABLE_4[downstream].get(ratio or 0.0, {})
    value = by_epoch.get(round(share * max(by_epoch, default=0)))
    return '' if value is None else f'{value:.2f}'
