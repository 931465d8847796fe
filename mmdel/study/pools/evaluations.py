"""What a chosen subset of a pool is worth, in seconds and without pre-training: figures with their uncertainty.

    evaluation = EVALUATIONS.build(dict(type='mmdel.RareEvents', group='video'))
    evaluation.judge(archive, pool, kept, resample)     # {'found': array([0.85, 0.84, 0.87, ...])}

Each figure comes with the same figure of redrawn test groups: :class:`Resample` draws the same ones for every method, so that
methods are compared in pairs.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel.errors import ConfigError, DatasetError
from mmdel.registry import EVALUATIONS
from mmdel.study.pools.drawing import Pool, Rows, group_names, known_words

PENALTIES = 10.0 ** np.arange(-4, 4)
"""Of ridge regression, over unit vectors; leave-one-out error chooses."""

Figures = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Archive:
    """Everything that pools are drawn from.

    Args:
        table (pa.Table): N images, sorted by key, with what is known of them.
        features (NDArray[np.float32]): [N, D], of the encoder that judges; centred, unit length.
        raw (NDArray[np.float32]): [N, D], its vectors as they are stored.
    """

    table: pa.Table
    features: NDArray[np.float32]
    raw: NDArray[np.float32]

    def group(self, by: str, rows: Rows) -> NDArray[np.str_]:
        """The groups of some rows, see :func:`~mmdel.study.pools.drawing.group_names`."""
        return group_names(self.table.take(pa.array(rows)), by)

    def label(self, name: str, rows: Rows) -> NDArray[np.str_]:
        """The labels of some rows.

        Raises:
            DatasetError: Not every one has one.
        """
        return known_words(self.table.take(pa.array(rows)), name)


@dataclass(frozen=True)
class Resample:
    """Redraws groups, the same for the same groups: how often each is drawn.

    Args:
        seed (tuple[int, ...]): Another one for each pool.
        draws (int): How many times.
    """

    seed: tuple[int, ...]
    draws: int

    def weights(self, kinds: NDArray[Any]) -> NDArray[np.float64]:
        """[1 + draws, groups]; in the first row each group once. A kind keeps its number of groups: none is ever missing.

        Args:
            kinds (NDArray): [groups], the class of each.
        """
        random = np.random.default_rng((*self.seed, len(kinds)))
        found = np.ones((1 + self.draws, len(kinds)))
        for kind in np.unique(kinds):
            mine = np.flatnonzero(kinds == kind)
            found[1:, mine] = random.multinomial(len(mine), np.full(len(mine), 1 / len(mine)), size=self.draws)
        return found


class BaseEvaluation(ABC):
    """Judges a subset of a pool.

    Attributes:
        percent (bool): Whether its figures are shares.
    """

    percent: bool = True

    @abstractmethod
    def judge(self, archive: Archive, pool: Pool, kept: Rows, resample: Resample) -> Figures:
        """Each figure by name: [1 + draws], its value and that of each redrawing; NaN where it cannot be told.

        Args:
            archive (Archive): What is known.
            pool (Pool): What was chosen from.
            kept (NDArray[np.int64]): [k], numbers of the pool's images, in the order in which they were chosen.
            resample (Resample): Redraws groups.
        """

    def judge_ranking(self, archive: Archive, pool: Pool, order: Rows) -> Figures:
        """What can be told of a whole ranking, [n], alone; nothing by default."""
        return {}


@EVALUATIONS.register_module()
class RareEvents(BaseEvaluation):
    """Is anything lost: which share of the groups has a kept image.

    Figures: ``groups found``; of each class in ``classes``, ``<class> found``; ``worst class found``, the lowest over classes; of
    a whole ranking, ``images for 95 %``, the smallest subset in which 95 % of the groups are found.

    Args:
        group (str): The column whose values are to be found: videos, patients, lesions. Defaults to 'video'.
        column (str): The class of a group (of its first image). Defaults to 'label'.
        classes (Sequence[str]): Those that have a figure of their own. Defaults to ().
    """

    def __init__(self, group: str = 'video', column: str = 'label', classes: Sequence[str] = ()) -> None:
        self.group, self.column, self.classes = group, column, tuple(classes)

    def judge(self, archive: Archive, pool: Pool, kept: Rows, resample: Resample) -> Figures:
        names, first, code = np.unique(archive.group(self.group, pool.rows), return_index=True, return_inverse=True)
        found = np.isin(np.arange(len(names)), code[kept]).astype(np.float64)
        kinds, kind = np.unique(archive.label(self.column, pool.rows[first]), return_inverse=True)
        weights = resample.weights(kind)
        by_class = np.stack([_mean(weights, found, kind == number) for number in range(len(kinds))])
        worst = np.where(np.isnan(by_class).all(axis=0), np.nan, np.nanmin(np.nan_to_num(by_class, nan=np.inf), axis=0))
        figures = {'groups found': _mean(weights, found, np.ones(len(names), bool)), 'worst class found': worst}
        for name in self.classes:
            figures[f'{name} found'] = _mean(weights, found, np.isin(kind, np.flatnonzero(kinds == name)))
        return figures

    def judge_ranking(self, archive: Archive, pool: Pool, order: Rows) -> Figures:
        names = archive.group(self.group, pool.rows[order])
        first = np.sort(np.unique(names, return_index=True)[1])
        return {'images for 95 %': np.array([first[int(np.ceil(0.95 * len(first))) - 1] + 1.0])}


@EVALUATIONS.register_module()
class FeatureCoverage(BaseEvaluation):
    """How well the kept images stand for all of the pool, by the encoder that judges: cosine to the nearest kept one.

    Figures: ``mean coverage`` and ``tail coverage``, the 5th percentile, redrawn over groups.

    Args:
        group (str): What is redrawn. Defaults to 'video'.
    """

    def __init__(self, group: str = 'video') -> None:
        self.group = group

    def judge(self, archive: Archive, pool: Pool, kept: Rows, resample: Resample) -> Figures:
        rows, at = np.unique(pool.rows, return_inverse=True)
        unit = archive.features
        nearest = (unit[rows] @ unit[np.unique(pool.rows[kept])].T).max(axis=1)
        names, group = np.unique(archive.group(self.group, rows), return_inverse=True)
        weights = resample.weights(np.zeros(len(names)))[:, group] * np.bincount(at)
        order = np.argsort(nearest, kind='stable')
        reached = np.cumsum(weights[:, order], axis=1)
        tail = (reached >= 0.05 * reached[:, -1:]).argmax(axis=1)
        return {'mean coverage': weights @ nearest / weights.sum(axis=1), 'tail coverage': nearest[order][tail]}


@EVALUATIONS.register_module()
class LabelBudget(BaseEvaluation):
    """Which images should we label: what a probe on frozen features learns from the labels of the kept images alone.

    Ridge regression on one-hot labels, the penalty chosen by leave-one-out error, or the nearest labelled neighbours; tested on
    images of other groups. Figures: ``balanced accuracy`` (mean recall of the test classes), ``worst-class recall``, ``AUROC``
    (mean over classes, one against the others).

    Args:
        label (str): The column to learn. Defaults to 'label'.
        group (str): What is redrawn. Defaults to 'video'.
        probe (str): 'ridge' or 'knn'. Defaults to 'ridge'.
        neighbours (int): Of 'knn'. Defaults to 5.

    Raises:
        ConfigError: There is no such probe.
    """

    def __init__(self, label: str = 'label', group: str = 'video', probe: str = 'ridge', neighbours: int = 5) -> None:
        if probe not in ('ridge', 'knn') or neighbours < 1:
            raise ConfigError(
                f"probe must be 'ridge' or 'knn' and neighbours at least 1, got {probe!r} and {neighbours}."
            )
        self.label, self.group, self.probe, self.neighbours = label, group, probe, neighbours

    def judge(self, archive: Archive, pool: Pool, kept: Rows, resample: Resample) -> Figures:
        if not len(pool.test):
            raise DatasetError('LabelBudget needs images that judge; give the pool a test share above 0.')
        train = pool.rows[kept]
        classes = np.unique(
            np.concatenate([archive.label(self.label, pool.rows), archive.label(self.label, pool.test)])
        )
        known, truth = (np.searchsorted(classes, archive.label(self.label, rows)) for rows in (train, pool.test))
        one_hot = np.eye(len(classes))[known]
        x, test = (archive.features[rows].astype(np.float64) for rows in (train, pool.test))
        score = ridge(x, one_hot, test) if self.probe == 'ridge' else nearest_labels(x, one_hot, test, self.neighbours)
        _, first, group = np.unique(archive.group(self.group, pool.test), return_index=True, return_inverse=True)
        weights = resample.weights(truth[first])[:, group]
        recall, area = recalls(score.argmax(axis=1), truth, weights), areas(score, truth, weights)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', RuntimeWarning)  # where groups mix classes, a redrawing may lack one
            return {
                'balanced accuracy': np.nanmean(recall, axis=1),
                'worst-class recall': np.nanmin(recall, axis=1),
                'AUROC': np.nanmean(area, axis=1),
            }


def ridge(x: NDArray[np.float64], y: NDArray[np.float64], test: NDArray[np.float64]) -> NDArray[np.float64]:
    """Predictions of ridge regression with an intercept, [m, classes], from x [n, D] and y [n, classes], at test [m, D].

    In the dual: n images are fewer than D dimensions. The penalty of :data:`PENALTIES` with the lowest leave-one-out error is
    taken, which follows from one decomposition (Golub, Heath and Wahba, Generalized cross-validation, 1979).
    """
    mean, level = x.mean(axis=0), y.mean(axis=0)
    x, y = x - mean, y - level
    value, basis = np.linalg.eigh(x @ x.T)
    value = np.maximum(value, 0)
    turned, best, dual = basis.T @ y, np.inf, np.zeros_like(y)
    for penalty in PENALTIES:
        inverse = 1 / (value + penalty)
        alpha = basis @ (inverse[:, None] * turned)
        # 1 / n is what the intercept takes of each image
        left = 1 - 1 / len(x) - ((basis * basis) * (value * inverse)).sum(axis=1)
        error = float(np.mean((penalty * alpha / np.maximum(left, 1e-9)[:, None]) ** 2)) if len(x) > 1 else 0.0
        if error < best:
            best, dual = error, alpha
    return (test - mean) @ (x.T @ dual) + level


def nearest_labels(
    x: NDArray[np.float64], y: NDArray[np.float64], test: NDArray[np.float64], k: int
) -> NDArray[np.float64]:
    """The mean of y [n, classes] over the k nearest of x [n, D] by inner product, at test [m, D]; [m, classes]."""
    near = np.argsort(-(test @ x.T), axis=1, kind='stable')[:, :k]
    return y[near].mean(axis=1)


def recalls(predicted: Rows, truth: Rows, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The recall of each class that occurs in ``truth`` [m], for each row of weights [w, m]; [w, classes], NaN without weight."""
    return np.stack(
        [_mean(weights, (predicted == kind).astype(float), truth == kind) for kind in np.unique(truth)], axis=1
    )


def areas(score: NDArray[np.float64], truth: Rows, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area under the ROC curve of each class of ``truth`` [m] against the others, for each row of weights [w, m]; [w, classes].

    The probability that an image of the class has a higher score than another one; equal scores count half.
    """
    found = []
    for kind in np.unique(truth):
        level, at = np.unique(score[:, kind], return_inverse=True)
        own, other = (
            np.stack([np.bincount(at, row * side, len(level)) for row in weights])
            for side in (truth == kind, truth != kind)
        )
        below = np.cumsum(other, axis=1) - other / 2
        with np.errstate(all='ignore'):
            found.append((own * below).sum(axis=1) / (own.sum(axis=1) * other.sum(axis=1)))
    return np.stack(found, axis=1)


def _mean(weights: NDArray[np.float64], value: NDArray[np.float64], of: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weighted means of some values, [w]; NaN without weight."""
    with np.errstate(all='ignore'):
        return weights[:, of] @ value[of] / weights[:, of].sum(axis=1)
