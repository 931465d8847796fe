"""Mean and spread over seeds, and how certain a difference is.

    sample = samples(results.planned)[Key('MedDEL', 0.05, 1.0, 'Kvasir-SEG')]
    str(sample)                                             # '61.42 ± 0.83', or '61.42 ± 0.83 (4 of 5 seeds)'
    paired_bootstrap(results, sample, other).low            # lower end of the difference

A seed that failed or is missing is never left out in silence: a mean over fewer seeds than were asked for says over how many.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmdel.evaluation.normdel import as_fraction, normdel
from mmdel.study.outputs import DONE, FAILED
from mmdel.study.results import Results

DRAWS = 2000
"""Bootstrap draws."""

INTERVAL = (2.5, 97.5)
"""Percentiles between which 95 % of the draws lie."""


class Key(NamedTuple):
    """What the seeds of a sample have in common."""

    group: str
    ratio: float | None
    share: float
    downstream: str


@dataclass(frozen=True)
class Sample:
    """The same cell over all seeds.

    Args:
        key (Key): Which.
        kind (str): 'selector', or the kind of the reference.
        rows (tuple[dict]): Rows of the results table, one a seed.
    """

    key: Key
    kind: str
    rows: tuple[Mapping[str, Any], ...]

    @property
    def done(self) -> tuple[Mapping[str, Any], ...]:
        """The rows that have a value."""
        return tuple(row for row in self.rows if row['status'] == DONE)

    @property
    def values(self) -> list[float]:
        """The metric of each finished seed, in percent."""
        return [row['value'] for row in self.done]

    @property
    def mean(self) -> float | None:
        """Over the finished seeds."""
        return mean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over the finished seeds (n - 1); None for fewer than two."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def retention(self) -> float | None:
        """The share of the images that the encoder saw; the exact one, None without pre-training on them."""
        shares = [row['ratio'] for row in self.done if row['ratio'] is not None]
        return mean(shares) if shares else None

    def normdel(self, alpha: float) -> float | None:
        """Mean NormDEL of the finished seeds, in percent; None where there is no retention."""
        scores = [
            100 * normdel(as_fraction(row['value'], 'percent', row['metric']), row['ratio'], alpha)
            for row in self.done
            if row['ratio'] is not None
        ]
        return mean(scores) if scores else None

    @property
    def remark(self) -> str:
        """' (4 of 5 seeds)' where not all are there, else ''."""
        return '' if len(self.done) == len(self.rows) else f' ({len(self.done)} of {len(self.rows)} seeds)'

    def __str__(self) -> str:
        if not self.values:
            return 'failed' if any(row['status'] == FAILED for row in self.rows) else 'missing'
        spread = '' if self.spread is None else f' ± {self.spread:.2f}'
        return f'{self.mean:.2f}{spread}{self.remark}'


@dataclass(frozen=True)
class Difference:
    """How much higher one sample's metric is than another's, in points.

    Args:
        mean (float): Over the seeds that both have.
        low (float): Lower end of the 95 % interval.
        high (float): Upper end.
        above (float): Share of the draws in which the difference is above 0.
        seeds (int): Seeds that were drawn from.
        images (int): Images that were drawn from; 0 where only seeds were.
    """

    mean: float
    low: float
    high: float
    above: float
    seeds: int
    images: int


def samples(rows: Iterable[Mapping[str, Any]]) -> dict[Key, Sample]:
    """Rows grouped over seeds, in the order of the rows."""
    found: dict[Key, list[Mapping[str, Any]]] = {}
    for row in rows:
        key = Key(row['group'], row['ratio_asked'], row['share'], row['downstream'])
        found.setdefault(key, []).append(row)
    return {key: Sample(key, group[0]['kind'], tuple(group)) for key, group in found.items()}


def paired_bootstrap(
    results: Results, one: Sample, other: Sample, draws: int = DRAWS, seed: int = 0
) -> Difference | None:
    """The difference of two samples, drawn anew from their seeds and, for mIoU, from their validation images.

    Both are drawn alike: the same seeds and the same images of one as of the other. An mIoU is that of all drawn pixels together,
    as mmseg's. Other metrics, and mIoU without a table of images, are drawn from seeds alone.

    Args:
        results (Results): Holds the images.
        one (Sample): A sample.
        other (Sample): What it is compared with, on the same downstream set.
        draws (int): Defaults to 2000.
        seed (int): Of the draws. Defaults to 0.

    Returns:
        Difference, optional: ``one`` minus ``other``; None where they have no seed in common.
    """
    seeds = sorted({row['seed'] for row in one.done} & {row['seed'] for row in other.done})
    if not seeds:
        return None
    random = np.random.default_rng(seed)
    areas = [_areas(results, sample, seeds) for sample in (one, other)]
    picked = random.integers(len(seeds), size=(draws, len(seeds)))
    first, second = areas
    if first is None or second is None or first.shape != second.shape:
        by_seed = [{row['seed']: row['value'] for row in sample.done} for sample in (one, other)]
        difference = np.array([by_seed[0][each] - by_seed[1][each] for each in seeds])
        drawn, images = difference[picked].mean(1), 0
    else:
        images = first.shape[1]
        difference = _miou(first.sum(1)) - _miou(second.sum(1))
        weights = random.multinomial(images, np.full(images, 1 / images), size=draws).astype(np.float64)
        resampled = _miou(_weighted(weights, first)) - _miou(_weighted(weights, second))
        drawn = np.take_along_axis(resampled, picked, axis=1).mean(1)
    low, high = np.percentile(drawn, INTERVAL)
    return Difference(float(difference.mean()), float(low), float(high), float((drawn > 0).mean()), len(seeds), images)


def _areas(results: Results, sample: Sample, seeds: Sequence[int]) -> NDArray[np.float64] | None:
    """Intersection and union, float64 [seeds, images, classes, 2]; None where a seed has no images or other ones."""
    cells = {row['seed']: row['cell'] for row in sample.done}
    if any(row['metric'] != 'mIoU' or row['per_image'] is None for row in sample.done if row['seed'] in seeds):
        return None
    layers, names = [], None
    for seed in seeds:
        table = results.images_of(cells[seed])  # sorted by image and class
        rows = list(zip(table['image'].to_pylist(), table['class'].to_pylist(), strict=True))
        if not rows or (names is not None and rows != names):
            return None
        names = rows
        classes = len({name for _, name in rows})
        columns = [table[name].to_numpy().astype(np.float64) for name in ('intersection', 'union')]
        layers.append(np.stack(columns, -1).reshape(-1, classes, 2))
    return np.stack(layers)


def _weighted(weights: NDArray[np.float64], areas: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over drawn images, [draws, seeds, classes, 2]."""
    seeds, images, classes, _ = areas.shape
    flat = areas.transpose(1, 0, 2, 3).reshape(images, -1)
    return (weights @ flat).reshape(len(weights), seeds, classes, 2)


def _miou(areas: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the classes that occur, in percent; [..., classes, 2] -> [...]."""
    with np.errstate(invalid='ignore'):
        iou = areas[..., 0] / areas[..., 1]
    return 100 * np.nanmean(iou, axis=-1)
