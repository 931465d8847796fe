"""``report/``: all tables and figures of a study, as files and on one self-contained page.

write_page(plan, results)     # work_dirs/study/demo/report/index.html
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import pyarrow as pa
from matplotlib.figure import Figure

import mmdel
from mmdel.compute.files import write_text
from mmdel.study.plan import Plan
from mmdel.study.pools.pool_study import PoolStudy
from mmdel.study.pools.pool_tables import pool_tables
from mmdel.study.report import figures
from mmdel.study.report.paper_tables import paper_tables
from mmdel.study.report.tables import Table
from mmdel.study.results import Results

_PAGE = jinja2.Environment(autoescape=True).from_string(
    """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Study {{ name }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }
h2 { font-size: 1.15rem; margin-top: 2.5rem; }
table { border-collapse: collapse; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
th { border-bottom: 2px solid #888; }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
.note { color: #555; max-width: 48rem; }
.warning { background: #fff3cd; border: 1px solid #e0c766; padding: .5rem 1rem; }
img { max-width: 100%; }
</style>
<h1>Study {{ name }}</h1>
<p>{{ summary }} mmdel {{ version }}.</p>
{% if warning %}
<p class="warning">{{ warning }}</p>
{% endif %}
{% for table in tables %}
{{ table | safe }}
{% endfor %}
{% for title, data in figures %}
<h2>{{ title }}</h2>
<img alt="{{ title }}" src="data:image/png;base64,{{ data }}">
{% endfor %}
{% for table in last %}
{{ table | safe }}
{% endfor %}
</html>
"""
)

_INCOMPLETE = """This study is not complete. A figure over fewer seeds than asked for says so beside it; at the end of this page
stands what is lacking, and why."""


def write_page(plan: Plan, results: Results) -> Path:
    """Write all tables and figures of a study that trains, and its page; returns the page's path."""
    tables = paper_tables(results, plan.study.alpha, plan.study.baselines)
    drawn = {
        'figure_3': ('Figure 3: the smallest subset against all images', figures.curves_figure(results)),
        'figure_4': ('Figure 4: the last validations', figures.boxes_figure(results, plan.study.box)),
        'figure_5': ('Figure 5: deleted images beside the one that was kept', figures.removed_figure(plan)),
        'figure_6': ('Figure 6: selectors at equal retention', figures.selectors_figure(results)),
    }
    cells, count = len(results.planned), results.count
    summary = f'{cells} cells: {count("done")} done, {count("failed")} failed, {count("missing")} not run yet.'
    warning = _INCOMPLETE if count('done') < cells else ''
    return write_report(plan.study.work_dir / 'report', plan.study.name, summary, tables, drawn, warning)


def write_pool_page(study: PoolStudy, results: pa.Table) -> Path:
    """The same of a study of pools."""
    tables = pool_tables(results, study.baselines)
    drawn = {name: (title, figure) for name, title, figure in figures.pool_figures(results)}
    summary = f'{study.pools} pools, {len(study.selectors)} selectors.'
    return write_report(study.work_dir / 'report', study.name, summary, tables, drawn)


def write_report(
    folder: Path,
    name: str,
    summary: str,
    tables: Sequence[Table],
    drawn: Mapping[str, tuple[str, Figure | None]],
    warning: str = '',
) -> Path:
    """Write all tables (Markdown, LaTeX, CSV), all figures (PNG, SVG) and the page; returns the page's path.

    What an earlier call has drawn and this one has no data for is removed. The table ``not_done`` stands at the end.
    """
    for table in tables:
        table.write(folder)
    there = {stem: (title, figure) for stem, (title, figure) in drawn.items() if figure is not None}
    for stem, (_, figure) in there.items():
        figures.save(figure, folder, stem)
    names = {table.name for table in tables} | set(there)
    for old in folder.glob('*.*'):
        if old.suffix in ('.md', '.tex', '.csv', '.png', '.svg') and old.stem not in names:
            old.unlink()
    pictures = [
        (title, base64.b64encode((folder / f'{stem}.png').read_bytes()).decode()) for stem, (title, _) in there.items()
    ]
    page = _PAGE.render(
        name=name,
        summary=summary,
        warning=warning,
        version=mmdel.__version__,
        tables=[table.html() for table in tables if table.name != 'not_done'],
        last=[table.html() for table in tables if table.name == 'not_done'],
        figures=pictures,
    )
    write_text(folder / 'index.html', page + '\n')
    return folder / 'index.html'
