"""Figures: removed images beside the kept one, and how many images each eta keeps."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from mmdel.datasets.frames import read_frame
from mmdel.errors import UnreadableImage
from mmdel.subset import Subset

matplotlib.use('Agg', force=False)
from matplotlib.figure import Figure

THUMBNAIL = 160
"""Side of a thumbnail in pixels."""


@dataclass(frozen=True)
class RemovedPair:
    """A removed image and the most similar image that was kept.

    Args:
        removed (str): Key of the removed image.
        kept (str): Key of the kept image.
        cosine (float): Canonical cosine of the two.
    """

    removed: str
    kept: str
    cosine: float


def plot_removed(pairs: Sequence[RemovedPair], paths: dict[str, str], columns: int = 6) -> Figure:
    """Removed images, each beside the most similar kept image (Figure 5 of the paper).

    Args:
        pairs (Sequence[RemovedPair]): What to show, in this order.
        paths (dict[str, str]): Key to file.
        columns (int): Pairs in a row. Defaults to 6.
    """
    rows = max(1, -(-len(pairs) // columns))
    figure = Figure(figsize=(columns * 2.4, rows * 1.55 + 0.5), dpi=110, layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, pair in zip(axes.flat, pairs, strict=False):
        gap = np.full((THUMBNAIL, 6, 3), 255, np.uint8)
        picture = np.concatenate([thumbnail(paths[pair.kept]), gap, thumbnail(paths[pair.removed])], axis=1)
        axis.imshow(picture)
        axis.set_title(f'kept | removed   cos {pair.cosine:.3f}', fontsize=8)
    figure.suptitle('Removed images (right) beside the most similar image that was kept (left)', fontsize=10)
    return figure


def plot_retention(subset: Subset) -> Figure:
    """Share of the readable images that each eta keeps, the chosen cut marked (Table 2 of the paper for this data)."""
    etas = np.linspace(0.3, 1, 141)
    shares = subset.retention(etas)
    figure = Figure(figsize=(6, 3.6), dpi=110, layout='constrained')
    axis = figure.subplots()
    axis.plot(etas, shares, color='#1f77b4')
    axis.axhline(subset.ratio, color='#d62728', linewidth=0.8)
    axis.annotate(
        f'this subset: {subset.ratio:.1%}', (0.3, subset.ratio), (2, 3), textcoords='offset points', fontsize=8
    )
    if subset.eta is not None:
        axis.axvline(subset.eta, color='#d62728', linewidth=0.8)
    axis.set(xlabel='eta (cosine)', ylabel='share kept', xlim=(0.3, 1), ylim=(0, 1))
    axis.grid(alpha=0.3)
    return figure


def thumbnail(path: str) -> NDArray[np.uint8]:
    """RGB, uint8 [THUMBNAIL, THUMBNAIL, 3], the whole image inside it; grey where the file is gone meanwhile."""
    canvas = np.full((THUMBNAIL, THUMBNAIL, 3), 235, np.uint8)
    try:
        image = read_frame(path).image
    except UnreadableImage:
        return canvas
    height, width = image.shape[:2]
    scale = THUMBNAIL / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)[:, :, ::-1]
    top, left = (THUMBNAIL - size[1]) // 2, (THUMBNAIL - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = small
    return canvas
