"""``report/``: all tables and figures of a study, as files and on one self-contained page.

write_page(plan, results)     # work_dirs/study/demo/report/index.html
"""

import base64
from pathlib import Path

import jinja2

import mmdel
from mmdel.compute.files import write_text
from mmdel.study.plan import Plan
from mmdel.study.report import figures
from mmdel.study.report.paper_tables import paper_tables
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
<p>{{ cells }} cells: {{ done }} done, {{ failed }} failed, {{ missing }} not run yet. mmdel {{ version }}.</p>
{% if done < cells %}
<p class="warning">This study is not complete. A figure over fewer seeds than asked for says so beside it; at the end of this page
stands what is lacking, and why.</p>
{% endif %}
{% for table in tables %}
{{ table | safe }}
{% endfor %}
{% for title, data in figures %}
<h2>{{ title }}</h2>
<img alt="{{ title }}" src="data:image/png;base64,{{ data }}">
{% endfor %}
</html>
"""
)


def write_page(plan: Plan, results: Results) -> Path:
    """Write all tables (Markdown, LaTeX, CSV), all figures (PNG, SVG) and the page; returns the page's path.

    What an earlier call has drawn and this one has no data for is removed.
    """
    folder = plan.study.work_dir / 'report'
    tables = paper_tables(results, plan.study.alpha, plan.study.baselines)
    drawn = {
        'figure_3': figures.curves_figure(results),
        'figure_4': figures.boxes_figure(results, plan.study.box),
        'figure_5': figures.removed_figure(plan),
        'figure_6': figures.selectors_figure(results),
    }
    titles = {
        'figure_3': 'Figure 3: the smallest subset against all images',
        'figure_4': 'Figure 4: the last validations',
        'figure_5': 'Figure 5: deleted images beside the one that was kept',
        'figure_6': 'Figure 6: selectors at equal retention',
    }
    for table in tables:
        table.write(folder)
    for name, figure in drawn.items():
        if figure is not None:
            figures.save(figure, folder, name)
    names = {table.name for table in tables} | {name for name, figure in drawn.items() if figure is not None}
    for old in folder.glob('*.*'):
        if old.suffix in ('.md', '.tex', '.csv', '.png', '.svg') and old.stem not in names:
            old.unlink()
    pictures = [
        (titles[name], base64.b64encode((folder / f'{name}.png').read_bytes()).decode())
        for name, figure in drawn.items()
        if figure is not None
    ]
    last = [table.html() for table in tables if table.name == 'not_done']
    page = _PAGE.render(
        name=plan.study.name,
        cells=len(results.planned),
        **{word: results.count(word) for word in ('done', 'failed', 'missing')},
        version=mmdel.__version__,
        tables=[*(table.html() for table in tables if table.name != 'not_done')],
        figures=pictures,
    )
    if last:
        page = page.replace('</html>', f'{last[0]}</html>')
    write_text(folder / 'index.html', page + '\n')
    return folder / 'index.html'
