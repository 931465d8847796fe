"""How well a subset stands for all images: the similarity of every image to the nearest kept one, its mean and its tail.

    points = coverage_points(selectors, ratios=(0.05, 0.1), seeds=5, chooser=chooser, judges=judges, cache_dir=cache)
    coverage_table(points).to_markdown()

Nothing is trained. A subset looks good to the encoder that chose it, so judge by another one: a method counts as better than
another where it wins in mean and in tail, by every judge that did not choose.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel.compute.files import csv_text
from mmdel.compute.progress import SILENT, Stages, Tick
from mmdel.embedding.vectors import Vectors
from mmdel.engine.ranking_cache import cached_ranking
from mmdel.registry import SELECTORS
from mmdel.selection.selector import build_selector
from mmdel.similarity import nearest
from mmdel.subset import size_at

TAIL = 0.05
"""The quantile that is called the tail: the similarity that all but 5 % of the images reach."""


@dataclass(frozen=True)
class Judge:
    """An encoder that says how similar images are.

    Args:
        name (str): For tables.
        vectors (Vectors): N vectors.
    """

    name: str
    vectors: Vectors


@dataclass(frozen=True)
class CoveragePoint:
    """One subset seen by one judge.

    Args:
        selector (str): Name of the method.
        ratio (float): What was asked for.
        seed (int, optional): The draw, None for a method without chance.
        kept (int): Images kept.
        judge (str): Name of the judge.
        chose (bool): The judge is the encoder that chose the subset.
        mean (float): Mean similarity of all images to the nearest kept one, which is 1 for a kept image.
        tail (float): The 5 % quantile of the same.
    """

    selector: str
    ratio: float
    seed: int | None
    kept: int
    judge: str
    chose: bool
    mean: float
    tail: float


def similarity_to_kept(
    vectors: Vectors, kept: NDArray[np.int64], tick: Tick = lambda done: None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The nearest kept image of every image, exactly and in blocks.

    Args:
        vectors (Vectors): N vectors.
        kept (NDArray[np.int64]): Rows of the kept images, at least one.
        tick (Callable): Told the number of pairs compared. Defaults to doing nothing.

    Returns:
        tuple: Cosine, float32 [N], and row, int64 [N]; a kept image is its own nearest, with cosine 1.
    """
    rest = np.setdiff1d(np.arange(len(vectors)), kept)
    found = nearest(vectors, [(rest, np.sort(kept))], tick)
    cosine, row = found.cosine.copy(), found.row.copy()
    cosine[kept], row[kept] = 1, kept
    return cosine, row


def coverage_points(
    selectors: Mapping[str, dict[str, Any]],
    ratios: Sequence[float],
    seeds: int,
    table: pa.Table,
    chooser: Judge,
    judges: Sequence[Judge],
    cache_dir: Path,
    progress: Stages = SILENT,
) -> list[CoveragePoint]:
    """Every selector at every ratio, judged by the choosing encoder and by others.

    Args:
        selectors (Mapping[str, dict]): Config of each method by the name that tables show.
        ratios (Sequence[float]): Shares of the images, each in (0, 1].
        seeds (int): Draws of a method that has a ``seed`` which its config does not give.
        table (pa.Table): The images.
        chooser (Judge): Whose vectors the selectors see.
        judges (Sequence[Judge]): The others; rows as in ``chooser``.
        cache_dir (Path): Where rankings are kept.
        progress (Stages): Shows the stages. Defaults to ``SILENT``.

    Raises:
        ConfigError: A selector cannot be built, or a ratio keeps no image.
    """
    sizes = [size_at(ratio, len(table)) for ratio in ratios]
    points = []
    for name, config in selectors.items():
        for seed in _seeds(config, seeds):
            selector = build_selector(config if seed is None else {**config, 'seed': seed})
            for ratio, size in zip(ratios, sizes, strict=True):
                ranking, _ = cached_ranking(cache_dir, selector, chooser.vectors, table, size, progress)
                kept = np.flatnonzero(ranking.rank < size)
                for judge in (chooser, *judges):
                    with progress.stage('judge', (len(table) - size) * size, 'pairs') as tick:
                        similarity, _ = similarity_to_kept(judge.vectors, kept, tick)
                    mean, tail = float(similarity.mean(dtype=np.float64)), float(np.quantile(similarity, TAIL))
                    chose = judge is chooser
                    points.append(CoveragePoint(name, ratio, seed, size, judge.name, chose, mean, tail))
    return points


@dataclass(frozen=True)
class CoverageTable:
    """What people read: one row for each method and ratio.

    Args:
        header (tuple[str, ...]): Column names.
        rows (tuple[tuple[str, ...], ...]): Cells.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def to_markdown(self) -> str:
        """The table as Markdown, with a final line end."""
        lines = [self.header, tuple('---' for _ in self.header), *self.rows]
        return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def coverage_table(points: Sequence[CoveragePoint]) -> CoverageTable:
    """Mean / tail of every method at every ratio by every judge, ± the standard deviation over the draws.

    Where every n-th frame is among the methods, under its name :data:`EVERY_NTH`, the last column says whether a method
    is better: mean and tail above those of every draw of it, by every judge that did not choose.
    """
    judges = list(dict.fromkeys((point.judge, point.chose) for point in points))
    methods = list(dict.fromkeys(point.selector for point in points))
    compared = EVERY_NTH in methods and any(not chose for _, chose in judges)
    header = ['kept', 'method', *(f'by {judge}' + (' (chose)' if chose else '') for judge, chose in judges)]
    rows = []
    for ratio in dict.fromkeys(point.ratio for point in points):
        here = [point for point in points if point.ratio == ratio]
        for method in methods:
            cells = [f'{ratio:.4g}', method]
            for judge, _ in judges:
                cells.append(_cell([p for p in here if p.selector == method and p.judge == judge]))
            if compared:
                cells.append('' if method == EVERY_NTH else 'yes' if is_better(here, method) else 'no')
            rows.append(tuple(cells))
    return CoverageTable(tuple(header + (['better than every n-th'] if compared else [])), tuple(rows))


EVERY_NTH = 'every-nth'
"""The name under which tables know every n-th frame."""


def is_better(points: Sequence[CoveragePoint], method: str, than: str = EVERY_NTH) -> bool:
    """Whether a method's mean and tail, averaged over its draws, lie above every draw of another, by every foreign judge.

    Args:
        points (Sequence[CoveragePoint]): Points of one ratio.
        method (str): The method.
        than (str): The other one. Defaults to every n-th frame.
    """
    for judge in {point.judge for point in points if not point.chose}:
        mine = [p for p in points if p.selector == method and p.judge == judge]
        theirs = [p for p in points if p.selector == than and p.judge == judge]
        for value in ('mean', 'tail'):
            if np.mean([getattr(p, value) for p in mine]) <= max(getattr(p, value) for p in theirs):
                return False
    return True


def to_csv(points: Sequence[CoveragePoint]) -> str:
    """All points, one a line."""
    return csv_text([[field.name for field in fields(CoveragePoint)], *map(astuple, points)])


def _seeds(config: dict[str, Any], seeds: int) -> list[int | None]:
    kind = SELECTORS.get(config['type']) if isinstance(config.get('type'), str) else config.get('type')
    draws = kind is not None and 'seed' in inspect.signature(kind.__init__).parameters and 'seed' not in config
    return list(range(seeds)) if draws else [None]


def _cell(points: Sequence[CoveragePoint]) -> str:
    texts = []
    for values in ([point.mean for point in points], [point.tail for point in points]):
        spread = f' ± {np.std(values, ddof=1):.3f}' if len(values) > 1 else ''
        texts.append(f'{np.mean(values):.3f}{spread}')
    return ' / '.join(texts)
