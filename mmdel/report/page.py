"""``report/index.html``: what a person looks at after a run, to see in two minutes what went and why.

    write_report('work_dirs/meddel_eta08/report', subset, findings)

One page with everything inside: no network, no file beside it is needed. Its numbers come from the subset alone
(:mod:`mmdel.report.numbers`); pictures and cosines to kept images come from ``findings``. Names of images and labels are
untrusted and always text. Beside the page lie tables for other programs: ``retention.csv`` and ``conflicts.csv``.
"""

import base64
import functools
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mmdel.compute import storage
from mmdel.compute.files import csv_text, write_text
from mmdel.images.depth import max_value_of
from mmdel.report.gallery import MEMBERS, Gallery, make_gallery, options
from mmdel.report.names import shown
from mmdel.report.numbers import EPOCHS, IMAGES_PER_SECOND, LOSS, report_numbers, warnings
from mmdel.report.pictures import draw
from mmdel.report.plots import plot_clusters, plot_distance, plot_retention
from mmdel.selection.findings import CONFLICT_THRESHOLD, Conflict, Leak, LeakReport, NearestKept, uncovered
from mmdel.subset import Subset, effective_eta
from mmdel.subset.columns import GROUPS

PAGES = ('.html', '.htm')
"""What the name of a page ends in."""

ROWS = 60
"""Rows of a table on the page; the whole table lies beside it."""

CONFLICTS = 36
"""Conflicts shown with pictures."""

LEAKS = 36
"""Leaks, and pairs that may be some, shown with pictures."""

WARNED = 12
"""Groups named in one warning."""

PAPER_RATE = (
    'The rate is the one that the paper quotes (§1: VGG16 in float32 on one RTX 3090), the epochs are those that it trains '
    'on all images (Table 2). '
)
OWN_RATE = 'Rate and epochs were given for this report. '
EQUAL_COMPUTE = 'Trained at equal compute, as in the paper, the time is not saved but spent on more epochs.'
"""What stands below the hours saved."""


@dataclass(frozen=True)
class Findings:
    """What a report shows and the subset file does not hold.

    Args:
        nearest (NearestKept): The most similar kept image of each removed one.
        paths (Mapping[str, str]): Key to image file; {} for vectors without images. Defaults to {}.
        conflicts (Sequence[Conflict]): Near-identical images with different labels, most similar first. Defaults to ().
        threshold (float): Cosine above which they count. Defaults to 0.95.
        leaks (LeakReport, optional): Copies of test images. Defaults to None, nobody looked for them.
        unreadable (Sequence): ``(key, reason)`` of the files that could not be used. Defaults to ().
        changes (Sequence): ``(key, change)`` of an update: what is 'new', 'gone' or 'changed'. Defaults to ().
        config (str): The resolved config. Defaults to ''.
        images_per_second (float): Rate of a training, for the hours saved. Defaults to the paper's 325.6.
        epochs (int): Epochs of that training. Defaults to the paper's 200.
    """

    nearest: NearestKept
    paths: Mapping[str, str] = field(default_factory=dict)
    conflicts: Sequence[Conflict] = ()
    threshold: float = CONFLICT_THRESHOLD
    leaks: LeakReport | None = None
    unreadable: Sequence[tuple[str, str]] = ()
    changes: Sequence[tuple[str, str]] = ()
    config: str = ''
    images_per_second: float = IMAGES_PER_SECOND
    epochs: int = EPOCHS


def write_report(folder: str | os.PathLike[str], subset: Subset, findings: Findings) -> Path:
    """Write ``index.html``, ``retention.csv`` and, where images have labels, ``conflicts.csv``.

    Args:
        folder (str): Where they go; or the page alone, whose name ends in ``.html``.
        subset (Subset): The cut.
        findings (Findings): What else there is to show.

    Returns:
        Path: The page.
    """
    folder = Path(folder)
    numbers = report_numbers(subset, findings.images_per_second, findings.epochs)
    labelled = bool(numbers['retention']['label'])
    if folder.suffix.lower() in PAGES:
        write_text(folder, _render(subset, findings, numbers, labelled, beside=False))
        return folder
    _write_csv(folder / 'retention.csv', _retention_rows(numbers))
    if labelled:
        _write_csv(folder / 'conflicts.csv', _conflict_rows(findings.conflicts))
    else:
        (folder / 'conflicts.csv').unlink(missing_ok=True)
    page = folder / 'index.html'
    write_text(page, _render(subset, findings, numbers, labelled, beside=True))
    return page


def _render(subset: Subset, findings: Findings, numbers: dict[str, Any], labelled: bool, beside: bool) -> str:
    gallery = make_gallery(subset, findings.nearest)
    conflicts = findings.conflicts[:CONFLICTS]
    leaks = doubtful_first(findings.leaks)[:LEAKS]
    wanted = [*gallery.pictures, *(key for conflict in conflicts for key in (conflict.image, conflict.other))]
    wanted += [pair.image for pair in leaks]
    tested = [pair.test_file for pair in leaks]
    figures = {
        'retention': plot_retention(subset),
        'distance': plot_distance(subset),
        'clusters': plot_clusters(numbers['clusters']),
    }
    # the page's numbers are complete, so that they can be compared; a list of thousands of videos lies in the table beside it
    carried = {**numbers, 'retention': {name: groups[:ROWS] for name, groups in numbers['retention'].items()}}
    script = _part('report.js')
    paper = (findings.images_per_second, findings.epochs) == (IMAGES_PER_SECOND, EPOCHS)
    return _template().render(
        version=subset.metadata.get('mmdel', ''),
        numbers=numbers,
        carried=carried,
        eta=effective_eta(subset),
        eta_note=_eta_note(subset),
        epsilon=(subset.metadata.get('selector') or {}).get('epsilon'),
        uncovered=uncovered(subset, findings.nearest),
        everywhere=findings.nearest.everywhere,
        rate_note=(PAPER_RATE if paper else OWN_RATE) + EQUAL_COMPUTE,
        warnings=warnings(numbers['retention']),
        named=WARNED,
        loss=LOSS,
        gallery=gallery,
        members=MEMBERS,
        options=options(gallery.groups),
        places=_places(gallery),
        pictures=draw(wanted, findings.paths, max_value=max_value_of(subset.metadata.get('embedder'))),
        columns={name: plural.capitalize() for name, plural in GROUPS.items()},
        rows=ROWS,
        figures={name: svg and Markup(svg) for name, svg in figures.items()},
        labelled=labelled,
        threshold=findings.threshold,
        conflicts=findings.conflicts,
        shown_conflicts=conflicts,
        leaks=findings.leaks,
        shown_leaks=leaks,
        tested=draw(tested, {file: file for file in tested}, max_value=max_value_of(subset.metadata.get('embedder'))),
        reason=defaultdict(str, subset.reasons(pair.image for pair in leaks)),
        leaks_kept=sum(reason == 'kept' for reason in subset.reasons(findings.leaks.images).values())
        if findings.leaks
        else 0,
        unreadable=findings.unreadable,
        updates=subset.metadata.get('updates') or (),
        since=[(image, change) for image, change in findings.changes if change in ('gone', 'changed')],
        record=_record(subset),
        config=findings.config,
        beside=beside,
        style=Markup(_part('report.css')),
        script=Markup(script),
        script_digest='sha256-' + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def doubtful_first(report: LeakReport | None) -> list[Leak]:
    """Its pairs, those closest to the threshold first: where a person should look."""
    if report is None:
        return []
    return sorted(
        report.pairs, key=lambda pair: (abs(pair.agreement - report.rule.threshold), pair.image, pair.test_file)
    )


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        shown=shown,
        file=lambda key: key.rpartition('/')[2] or key,
        count=lambda value: f'{value:,}',
        percent=lambda value, digits=1: f'{value:.{digits}%}',
        cosine=lambda value: 'none' if value is None else f'{value:.3f}',
        exact=lambda value: f'{value:.6g}',
        bytes=storage.readable_size,
        hours=_hours,
    )
    return environment.from_string(_part('report.html'))


def _part(name: str) -> str:
    return (resources.files('mmdel.report') / 'page' / name).read_text(encoding='utf-8')


def _hours(value: float) -> str:
    return f'{value:,.0f} h' if value >= 10 else f'{value:.1f} h' if value >= 1 else f'{60 * value:.1f} min'


def _eta_note(subset: Subset) -> str:
    if subset.eta is not None:
        return ''
    interval = subset.eta_interval()
    if interval is not None:
        return f'what this ratio means: any of {interval}'
    return 'no eta gives exactly this subset' if subset.metadata['recut'] == 'any' else ''


def _places(gallery: Gallery) -> dict[str, Any]:
    """Writers of the numbers by which the page's filters know the values of a group."""

    def writer(values: Sequence[str]) -> Any:
        place = {value: str(i + 1) for i, value in enumerate(values)}
        return lambda own: ' '.join(place[value] for value in own)

    return {name: writer(values) for name, values in options(gallery.groups).items()}


def _record(subset: Subset) -> dict[str, str]:
    """What the decision rests on, as the subset file says it."""
    names = (
        'selector',
        'asked',
        'guards',
        'bounds',
        'embedder_type',
        'embedder',
        'center',
        'vectors',
        'dataset',
        'classes',
        'recut',
    )
    return {
        name: value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
        for name in names
        if (value := subset.metadata.get(name)) not in (None, [], '')
    }


def _retention_rows(numbers: Mapping[str, Any]) -> list[Sequence[Any]]:
    rows: list[Sequence[Any]] = [('grouping', 'name', 'images', 'kept', 'warning')]
    for column in GROUPS:
        rows += [(column, *(group[name] for name in rows[0][1:])) for group in numbers['retention'][column]]
    return rows


def _conflict_rows(conflicts: Sequence[Conflict]) -> list[Sequence[Any]]:
    rows: list[Sequence[Any]] = [('image', 'label', 'keep', 'other', 'other_label', 'other_keep', 'cosine')]
    return rows + [
        (c.image, c.label, c.keep, c.other, c.other_label, c.other_keep, f'{c.cosine:.6f}') for c in conflicts
    ]


def _write_csv(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    write_text(path, csv_text(rows))
