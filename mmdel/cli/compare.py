"""``mmdel compare``: compare finished trainings: the metric, its spread, NormDEL over several alphas, and the time they took.

mmdel compare work_dirs/full work_dirs/subset --names 'all frames' '20 %'
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from mmdel.cli.arguments import ArgumentParser, at_least
from mmdel.cli.command import Command

if TYPE_CHECKING:
    from mmdel.evaluation.training_log import Log

CLASS_PREFIX = 'IoU.'


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument('runs', nargs='+', metavar='RUN', help='work dirs')
    parser.add_argument('--key', default='mIoU', help='the metric, by its full name (default: %(default)s)')
    parser.add_argument(
        '--scale',
        choices=['percent', 'fraction'],
        help='how the metric prints its values (default: that of the logged NormDEL, else percent)',
    )
    parser.add_argument('--alpha', type=float, default=1.0, help='alpha of the first table (default: %(default)s)')
    parser.add_argument(
        '--alphas',
        type=float,
        nargs='+',
        default=[0.0, 0.5, 1.0, 2.0, 4.0],
        help='alphas of the second (default: 0 ... 4)',
    )
    parser.add_argument(
        '--last',
        type=at_least(1),
        default=5,
        metavar='N',
        help='median and range are over the last N validations (default: 5)',
    )
    parser.add_argument('--names', nargs='+', metavar='NAME', help='what to call the runs (default: their folders)')
    parser.add_argument(
        '--retention',
        nargs='+',
        default=[],
        metavar='NAME=R',
        help='retention of a run that did not log it: a number or a subset file; a run without it has no NormDEL',
    )
    parser.add_argument(
        '--pretrain',
        nargs='+',
        default=[],
        metavar='NAME=DIR',
        help="the work dir of a run's pre-training: its time gets a column",
    )
    parser.add_argument('--csv', metavar='FILE', help='write the first table to a file as well')


@dataclass(frozen=True)
class Row:
    """One run of the table; metrics on the scale of the key, the retention a fraction, times in seconds."""

    name: str
    last: float
    median: float
    low: float
    high: float
    best: float
    best_step: int
    classes: dict[str, float]
    retention: float | None
    del_score: float | None
    normdel: float | None
    seconds: float | None
    pretrain_seconds: float | None


def _assignments(texts: Sequence[str], option: str, names: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE, where a name may hold an equals sign itself."""
    from mmdel.errors import ConfigError

    values = {}
    for text in texts:
        fits = [name for name in names if text.startswith(f'{name}=')]
        if not fits:
            raise ConfigError(f'{option} {text!r}: expected NAME=VALUE, where NAME is one of {", ".join(names)}.')
        name = max(fits, key=len)
        values[name] = text[len(name) + 1 :]
    return values


def _run_names(args: argparse.Namespace) -> list[str]:
    from mmdel.errors import ConfigError

    names = args.names or [Path(run).resolve().name for run in args.runs]
    if len(names) != len(args.runs):
        raise ConfigError(f'--names needs one name a run, got {len(names)} names for {len(args.runs)} runs.')
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(f'Two runs are called {repeated[0]!r}. Tell them apart with --names.')
    return names


def _summarise(
    name: str,
    log: 'Log',
    args: argparse.Namespace,
    scale: str,
    retention: float | None,
    pretrain: 'Log | None',
) -> Row:
    from mmdel.evaluation.normdel import SCALES, as_fraction, del_score, normdel

    values = [(float(line[args.key]), line['step']) for line in log.validations if args.key in line]
    last = values[-1][0]
    box = [value for value, _ in values[-args.last :]]
    best, best_step = max(values)
    metric, full = [as_fraction(value, scale, f'{args.key} of {name!r}') for value, _ in values][-1], SCALES[scale]
    final = log.validations[-1]
    return Row(
        name=name,
        last=last,
        median=median(box),
        low=min(box),
        high=max(box),
        best=best,
        best_step=best_step,
        classes={key: float(value) for key, value in final.items() if key.startswith(CLASS_PREFIX)},
        retention=retention,
        del_score=None if retention is None else full * del_score(metric, retention, args.alpha),
        normdel=None if retention is None else full * normdel(metric, retention, args.alpha),
        seconds=log.seconds,
        pretrain_seconds=pretrain.seconds if pretrain else None,
    )


def _check_key(name: str, log: 'Log', key: str) -> None:
    from mmdel.errors import ConfigError

    known = dict.fromkeys(word for line in log.validations for word in line)
    if key not in known:
        others = ', '.join(word for word in known if word not in ('step', 'after', 'time', 'data_time'))
        found = f'They logged: {others}.' if others else 'There is none.'
        raise ConfigError(f'No validation of {name!r} ({log.path}) logged {key!r}. {found}')


def _logged_scale(log: 'Log') -> str | None:
    """What the logged NormDEL says, which is at most 0.731 as a fraction and at least 50 in percent."""
    values = [line['NormDEL'] for line in log.validations if 'NormDEL' in line]
    return None if not values else 'percent' if values[-1] >= 1 else 'fraction'


def _logged_retention(log: 'Log') -> float | None:
    values = [line['retention'] for line in log.validations if 'retention' in line]
    return values[-1] if values else None


def _as_time(seconds: float | None) -> str:
    if seconds is None:
        return '-'
    if seconds < 60:
        return f'{seconds:.1f} s'
    hours, rest = divmod(round(seconds), 3600)
    return f'{hours}:{rest // 60:02d}:{rest % 60:02d}'


def _as_number(value: float | None, digits: int) -> str:
    return '-' if value is None else f'{value:.{digits}f}'


def _print_rows(rows: Sequence[Row], args: argparse.Namespace, scale: str, console: Any) -> None:
    from rich.markup import escape
    from rich.table import Table

    digits = 2 if scale == 'percent' else 4
    classes = list(dict.fromkeys(name for row in rows for name in row.classes))
    timed = any(row.pretrain_seconds is not None for row in rows)
    table = Table(title=f'{escape(args.key)} and NormDEL ({scale}, alpha = {args.alpha:g})', title_justify='left')
    table.add_column('run')
    headings = [args.key, f'median of last {args.last}', 'min - max', 'best (step)', *classes, 'R', 'DEL', 'NormDEL']
    for heading in [*headings, *(['pre-training'] if timed else []), 'training']:
        table.add_column(escape(heading), justify='right')
    for row in rows:
        table.add_row(
            escape(row.name),
            _as_number(row.last, digits),
            _as_number(row.median, digits),
            f'{row.low:.{digits}f} - {row.high:.{digits}f}',
            f'{row.best:.{digits}f} ({row.best_step})',
            *(_as_number(row.classes.get(name), 2) for name in classes),
            '-' if row.retention is None else f'{row.retention:.4g}',
            _as_number(row.del_score, digits),
            _as_number(row.normdel, digits),
            *([_as_time(row.pretrain_seconds)] if timed else []),
            _as_time(row.seconds),
        )
    console.print(table)


def _print_sweep(rows: Sequence[Row], args: argparse.Namespace, scale: str, console: Any) -> None:
    from rich.markup import escape
    from rich.table import Table

    from mmdel.evaluation.normdel import SCALES, alpha_sweep, as_fraction

    full, digits = SCALES[scale], 2 if scale == 'percent' else 4
    results = {row.name: (as_fraction(row.last, scale), row.retention) for row in rows if row.retention is not None}
    if len(results) < 2:
        return
    sweep = alpha_sweep(results, args.alphas)
    table = Table(title='NormDEL over alpha (* is the best)', title_justify='left')
    table.add_column('alpha', justify='right')
    for name, retention in zip(sweep.names, sweep.retentions, strict=True):
        table.add_column(f'{escape(name)} (R = {retention:.4g})', justify='right')
    for alpha, scores, winner in zip(sweep.alphas, sweep.normdel.T, sweep.winners, strict=True):
        cells = [f'{full * score:.{digits}f}' for score in scores]
        marked = (
            f'[bold]{cell} *[/]' if name == winner else cell for name, cell in zip(sweep.names, cells, strict=True)
        )
        table.add_row(f'{alpha:g}', *marked)
    console.print(table)
    for swap in sweep.swaps:
        console.print(f'- {swap}', highlight=False, markup=False, soft_wrap=True)
    if not sweep.swaps:
        console.print('- No two runs swap places at any alpha above 0.', highlight=False)


def _write_csv(rows: Sequence[Row], path: str) -> None:
    from mmdel.compute.files import csv_text, write_text

    classes = list(dict.fromkeys(name for row in rows for name in row.classes))
    columns = ['name', 'last', 'median', 'low', 'high', 'best', 'best_step']
    columns += ['retention', 'del_score', 'normdel', 'seconds', 'pretrain_seconds']
    lines = [
        [*(getattr(row, column) for column in columns), *(row.classes.get(name) for name in classes)] for row in rows
    ]
    write_text(path, csv_text([[*columns, *classes], *lines]))


def _run(args: argparse.Namespace) -> None:
    from mmdel.errors import ConfigError
    from mmdel.evaluation.training_log import read_log

    names = _run_names(args)
    retentions = _assignments(args.retention, '--retention', names)
    pretrains = {name: read_log(path) for name, path in _assignments(args.pretrain, '--pretrain', names).items()}
    logs = dict(zip(names, map(read_log, args.runs), strict=True))
    for name, log in logs.items():
        _check_key(name, log, args.key)
    scales = {scale for scale in map(_logged_scale, logs.values()) if scale}
    if args.scale is None and len(scales) > 1:
        raise ConfigError('Some runs logged NormDEL in percent and some as a fraction: they cannot stand in one table.')
    scale = args.scale or (scales.pop() if scales else 'percent')

    from mmdel.cli.output import wide_console
    from mmdel.evaluation import read_retention

    rows = []
    for name, log in logs.items():
        retention = _logged_retention(log)
        if name in retentions:
            retention = read_retention(_number_or_file(retentions[name]))
        rows.append(_summarise(name, log, args, scale, retention, pretrains.get(name)))
    console = wide_console()
    _print_rows(rows, args, scale, console)
    _print_sweep(rows, args, scale, console)
    if args.csv:
        _write_csv(rows, args.csv)


def _number_or_file(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


COMMAND = Command(
    'Compare trainings by what their validations logged.',
    _add_arguments,
    _run,
    epilog='A run is a work dir of mmengine. A resumed training counts as one; of several trainings in the same work dir, '
    'the latest counts. Training time is the logged time per iteration times the number of iterations, without validation.',
)
