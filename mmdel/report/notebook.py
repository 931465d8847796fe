"""What a notebook shows of a selection: its numbers, the curve that it is a cut of, and removed images beside kept ones.

The page of the report (:mod:`mmdel.report.page`) has all of them; this is a glance, of some 200 kB, that is saved
with the notebook.
"""

import functools
from collections.abc import Mapping, Sequence
from importlib import resources

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from mmdel.images.depth import max_value_of
from mmdel.report.gallery import make_gallery
from mmdel.report.names import shown
from mmdel.report.pictures import draw
from mmdel.report.plots import plot_gains, plot_retention
from mmdel.selection.findings import NearestKept
from mmdel.subset import Subset

GROUPS = 6
"""Kept images that are shown with images that they stand for."""

SIDE = 112
"""Long side of a picture in pixels."""


def notebook_html(
    subset: Subset,
    rows: Sequence[tuple[str, str]],
    nearest: NearestKept,
    paths: Mapping[str, str],
    gains: NDArray[np.float64] | None = None,
) -> str:
    """A fragment of HTML, with everything inside.

    Args:
        subset (Subset): The cut.
        rows (Sequence[tuple[str, str]]): ``(what, value)``, the numbers.
        nearest (NearestKept): The most similar kept image of each removed one.
        paths (Mapping[str, str]): Key to image file; {} for vectors without images.
        gains (NDArray[np.float64], optional): [readable images], what each added to the method's objective. Defaults to None.
    """
    gallery = make_gallery(subset, nearest, GROUPS)
    curve = plot_retention(subset)
    if curve is None and gains is not None:
        curve = plot_gains(gains[np.argsort(subset.readable_rows['rank'].to_numpy())], len(subset.kept))
    max_value = max_value_of(subset.metadata.get('embedder'))
    return _template().render(
        rows=rows,
        curve=curve and Markup(curve),
        groups=gallery.groups,
        total=gallery.total,
        pictures=draw(gallery.pictures, paths, SIDE, max_value) if paths else {},
    )


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(shown=shown)
    page = resources.files('mmdel.report') / 'page' / 'notebook.html'
    return environment.from_string(page.read_text(encoding='utf-8'))
