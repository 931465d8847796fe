"""``mmdel study``: compare selection methods: plan, run and collect a study, and draw its tables and figures.

mmdel study configs/study/demo.py --dry-run   # what would be run, and what it costs
mmdel study configs/study/demo.py --jobs 2    # run it; after a stop, the same again goes on
mmdel study configs/study/demo.py --plot      # tables and figures of what there is
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdel.cli import options
from mmdel.cli.arguments import ArgumentParser, at_least
from mmdel.cli.command import Command
from mmdel.config.shipped import shipped

if TYPE_CHECKING:
    from rich.console import Console

    from mmdel.study import Plan, Results

    Say = Callable[[str], None]


def _add_arguments(parser: ArgumentParser) -> None:
    options.add_config(parser, 'the config of a study, e.g. configs/study/demo.py')
    parser.add_argument('--work-dir', help="where everything goes (default: the config's)")
    parser.add_argument('--dry-run', action='store_true', help='list the runs and their cost, without running them')
    parser.add_argument(
        '--jobs', type=at_least(1), default=1, metavar='N', help='runs at a time (default: %(default)s)'
    )
    parser.add_argument('--submit', choices=['slurm'], help='submit the runs to a cluster instead, one job each')
    parser.add_argument('--collect', action='store_true', help='only write the results table of finished runs')
    parser.add_argument('--plot', action='store_true', help='only draw tables and figures from the results table')
    parser.add_argument('--run', metavar='NAME', help='execute a single run of the plan, as a cluster job does')
    options.add_cfg_options(parser)


def _run(tools: Path, args: argparse.Namespace) -> int:
    from mmdel.cli.output import wide_console
    from mmdel.study import commands, execute, make_plan, read_study, results
    from mmdel.study.pools.pool_study import is_pool_study

    console = wide_console(200, highlight=False)

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    if is_pool_study(args.config):
        return _run_pools(args, console, say)
    study = read_study(args.config, args.cfg_options, args.work_dir)
    plan = make_plan(study)
    if args.run:
        return 0 if execute.execute_one(plan, tools, args.run, say) else 1
    table = results.collect(plan)
    if args.plot:
        table = results.read_results(study.work_dir)
        _show_tables(plan, table, console)
        _draw(plan, table, say)
        return _status(table)
    pending = execute.pending(plan, table)
    _show_plan(plan, table, pending, console, args)
    if args.dry_run:
        return 0
    if args.submit:
        options = ['--cfg-options', *args.cfg_options] if args.cfg_options else []
        arguments = [args.config, '--work-dir', str(study.work_dir), *options]
        jobs = commands.submit(plan, pending, tools / 'study.py', arguments, say)
        say(f'{len(jobs)} jobs are queued. When they have ended:     mmdel study {args.config} --collect')
        return 0
    if not args.collect:
        table = execute.execute(plan, tools, args.jobs, say)
    results.write_results(plan, table)
    _show_tables(plan, table, console)
    _show_result(table, study.work_dir, say)
    if not args.collect:
        _draw(plan, table, say)
    return _status(table)


def _run_pools(args: argparse.Namespace, console: 'Console', say: 'Say') -> int:
    """A study of pools: one process, no trainings."""
    import pyarrow.parquet as pq

    from mmdel.compute.progress import Stages
    from mmdel.errors import ConfigError
    from mmdel.study.pools import pool_study, pool_tables
    from mmdel.study.report import page

    if args.run or args.submit or args.collect:
        raise ConfigError(
            'A study of pools runs as a whole, in one process: --run, --submit and --collect are not for it.'
        )
    study = pool_study.read_pool_study(args.config, args.cfg_options, args.work_dir)
    say(
        f'{study.pools} pools x {len(study.selectors)} selectors x {len(study.budgets)} budgets; results in {study.work_dir}'
    )
    if args.dry_run:
        return 0
    if args.plot:
        table = pq.read_table(study.work_dir / pool_study.RESULTS, schema=pool_study.SCHEMA)
    else:
        table = pool_study.run_pool_study(study, Stages(console), say)
    for each in pool_tables.pool_tables(table, ()):  # the page shows the differences from the baselines, too
        _show_table(each, console)
    say(f'tables and figures: {page.write_pool_page(study, table)}')
    return 0


def _status(table: 'Results') -> int:
    return 1 if table.count('failed') else 3 if table.count('missing') else 0


def _show_plan(
    plan: 'Plan', table: 'Results', pending: Sequence[Any], console: 'Console', args: argparse.Namespace
) -> None:
    from rich.table import Table

    from mmdel.study import cost

    done, cells = table.count('done'), len(plan.cells)
    shown = Table(title=f'Study {plan.study.name}: {done} of {cells} cells are done', title_justify='left')
    for name in ('kind', 'runs', 'to do', 'images', 'time', 'rate'):
        shown.add_column(name, justify='left' if name in ('kind', 'rate') else 'right')
    costs = cost.estimate(plan, pending)
    for each in costs:
        images = f'{each.images:,.0f}' if each.images else '-'
        shown.add_row(each.kind, str(each.runs), str(each.pending), images, _as_time(each.seconds), each.rate)
    known = [each.seconds for each in costs if each.seconds is not None]
    total = sum(known) if len(known) == len(costs) else None
    shown.add_section()
    shown.add_row('all', str(len(plan.runs)), str(len(pending)), '', _as_time(total), 'one after another')
    if args.jobs > 1 and total is not None:
        shown.add_row('', '', '', '', _as_time(total / args.jobs), f'with --jobs {args.jobs}')
    console.print(shown)
    if args.dry_run:
        waiting = {run.name for run in pending}
        failed = {row['message'].partition(':')[0] for row in table.planned if row['status'] == 'failed'}
        for name in plan.runs:
            word = 'failed before, to do' if name in failed else 'to do' if name in waiting else 'done or not needed'
            console.print(f'{word:>20}  {name}', markup=False, soft_wrap=True)


def _show_tables(plan: 'Plan', table: 'Results', console: 'Console') -> None:
    """The rows of the selectors, and how they stand against the baselines."""
    from mmdel.study.report.paper_tables import paper_tables

    for each in paper_tables(table, plan.study.alpha, plan.study.baselines):
        if each.name in ('selectors', 'comparisons'):
            _show_table(each, console)


def _show_table(each: Any, console: 'Console') -> None:
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=each.title, title_justify='left', caption='\n'.join(each.notes), caption_justify='left')
    for index, name in enumerate(each.columns):
        shown.add_column(name, justify='left' if index < each.text_columns else 'right')
    for row in each.rows:
        shown.add_row(*map(escape, row))
    console.print(shown)


def _show_result(table: 'Results', work_dir: Path, say: 'Say') -> None:
    for row in table.planned:
        if row['status'] == 'failed':
            say(f'FAILED: {row["message"]} (its log: {work_dir / row["log"]})')
    counts = ', '.join(f'{table.count(word)} {word}' for word in ('done', 'failed', 'missing'))
    say(f'{len(table.planned)} cells: {counts}. Results: {work_dir / "results.csv"}')


def _draw(plan: 'Plan', table: 'Results', say: 'Say') -> None:
    from mmdel.study.report import page

    say(f'tables and figures: {page.write_page(plan, table)}')


def _as_time(seconds: float | None) -> str:
    if seconds is None:
        return '?'
    minutes = round(seconds / 60)
    return f'{minutes // 60} h {minutes % 60:02d} min' if minutes else f'{seconds:.0f} s'


def command(tools: Path) -> Command:
    """The command, whose runs are these tools; a cluster job is one of them, too."""
    return Command(
        'Run a study: selectors x ratios x seeds x downstream sets.',
        _add_arguments,
        partial(_run, tools),
        epilog='Without --dry-run, --collect, --submit and --plot all missing runs are executed, then collected and drawn. '
        'Exit status: 0 all cells are done, 1 some failed, 2 invalid config or options, 3 some are still missing.',
        kept='runs that have ended are recorded; the same command goes on with the others',
    )


COMMAND = command(shipped('tools'))
