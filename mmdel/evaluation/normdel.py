"""NormDEL: how good a model is, weighed against how much of the data its pre-training took.

    DEL = metric * exp(-alpha * R)        NormDEL = 1 / (1 + exp(-DEL))

Metric and NormDEL are fractions (the paper prints them times 100); R is the retention, the share of the images that was
kept. The numbers mean nothing without alpha and R: at alpha = 1 NormDEL lies between 0.5 and 0.731, and 5 % of the data
ties all of it with 38.7 % of its metric. So look at more than one alpha before saying which result is better:

    normdel(0.7637, 0.20)                                # 0.6514
    swap_alpha(0.7637, 0.20, 0.7677, 0.50)               # 0.0174: above it the first result leads
    print(alpha_sweep({'20 %': (0.7637, 0.20), '50 %': (0.7677, 0.50)}))
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from numbers import Real
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mmdel.errors import ConfigError

SCALES = {'percent': 100.0, 'fraction': 1.0}
"""What a perfect metric is called on each scale."""

ALPHAS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""The alphas of a sweep unless others are asked for; 0 is the metric alone."""

_ROUNDING = 1e-6
"""How far above its limit a float32 mean may come out, as a share of the scale."""


@overload
def del_score(metric: float, retention: float, alpha: float = ...) -> float: ...
@overload
def del_score(metric: ArrayLike, retention: ArrayLike, alpha: ArrayLike = ...) -> NDArray[np.float64]: ...
def del_score(metric: ArrayLike, retention: ArrayLike, alpha: ArrayLike = 1.0) -> float | NDArray[np.float64]:
    """DEL, the metric discounted by the data it took: metric * exp(-alpha * retention).

    Args:
        metric (float or array): The metric as a fraction in [0, 1].
        retention (float or array): The share of the images that was kept, in (0, 1].
        alpha (float or array): How much data counts against the metric, 0 or more. Defaults to 1.0.

    Returns:
        float or np.ndarray: A fraction in [0, 1]; float64 of the shape that the three broadcast to, a float for numbers.

    Raises:
        ConfigError: A value is out of range, NaN or no number, or the shapes do not broadcast.
    """
    values = [_numbers(name, value) for name, value in (('metric', metric), ('retention', retention), ('alpha', alpha))]
    metrics, retentions, alphas = values
    _refuse(metrics, np.isnan(metrics), 'metric is NaN: there is no score without a value. Is a class absent?')
    percent = ' Divide percent by 100.' if ((metrics > 1) & (metrics <= 100)).any() else ''
    _refuse(metrics, (metrics < 0) | (metrics > 1), f'metric is a fraction between 0 and 1, got {{}}.{percent}')
    _refuse(retentions, ~((retentions > 0) & (retentions <= 1)), _RETENTION)
    _refuse(alphas, ~((alphas >= 0) & np.isfinite(alphas)), _ALPHA)
    try:
        metrics, retentions, alphas = np.broadcast_arrays(*values)
    except ValueError as error:
        shapes = ', '.join(str(value.shape) for value in values)
        raise ConfigError(f'metric, retention and alpha have shapes that do not fit together: {shapes}.') from error
    return _scalar_or_array(metrics * np.exp(-alphas * retentions))


@overload
def normdel(metric: float, retention: float, alpha: float = ...) -> float: ...
@overload
def normdel(metric: ArrayLike, retention: ArrayLike, alpha: ArrayLike = ...) -> NDArray[np.float64]: ...
def normdel(metric: ArrayLike, retention: ArrayLike, alpha: ArrayLike = 1.0) -> float | NDArray[np.float64]:
    """NormDEL, the logistic function of :func:`del_score`: 1 / (1 + exp(-DEL)).

    Args:
        metric (float or array): The metric as a fraction in [0, 1].
        retention (float or array): The share of the images that was kept, in (0, 1].
        alpha (float or array): How much data counts against the metric, 0 or more. Defaults to 1.0.

    Returns:
        float or np.ndarray: A fraction in [0.5, 0.7311]; float64 of the shape that the three broadcast to, a float for
        numbers.

    Raises:
        ConfigError: A value is out of range, NaN or no number, or the shapes do not broadcast.
    """
    return _scalar_or_array(1 / (1 + np.exp(-np.asarray(del_score(metric, retention, alpha)))))


def swap_alpha(metric: float, retention: float, other_metric: float, other_retention: float) -> float | None:
    """The alpha at which two results swap places: ln(metric / other_metric) / (retention - other_retention).

    Below it the result with the higher metric leads, above it the one that took less data.

    Args:
        metric (float): The metric of one result, a fraction in [0, 1].
        retention (float): Its retention in (0, 1].
        other_metric (float): The metric of the other.
        other_retention (float): The retention of the other.

    Returns:
        float, optional: An alpha above 0, or None where the order is the same for every alpha above 0: the retentions
        or the metrics are equal, a metric is 0, or the better result also took less data.

    Raises:
        ConfigError: A value is out of range.
    """
    for pair in ((metric, retention), (other_metric, other_retention)):
        del_score(*pair)
    if not metric or not other_metric or retention == other_retention:
        return None
    # a difference of logarithms: the quotient of two metrics may be too large for a float
    alpha = (math.log(metric) - math.log(other_metric)) / (retention - other_retention)
    return alpha if 0 < alpha < math.inf else None


@dataclass(frozen=True)
class Swap:
    """Two results that swap places: ``below`` leads below ``alpha``, ``above`` leads above it."""

    alpha: float
    below: str
    above: str

    def __str__(self) -> str:
        return f'{self.below!r} leads {self.above!r} below alpha = {self.alpha:.4g}, and trails it above.'


@dataclass(frozen=True)
class AlphaSweep:
    """NormDEL of several results over several alphas; printed, it is a table.

    Args:
        names (tuple[str]): The results.
        retentions (tuple[float]): The retention of each.
        alphas (tuple[float]): The alphas.
        normdel (np.ndarray): NormDEL as a fraction, float64 [results, alphas].
        orders (tuple[tuple[str]]): For each alpha the names, best first; of equal scores the one that took less data.
        swaps (tuple[Swap]): Every alpha at which two of the results swap places, in rising order, not only those
            between the alphas that were asked for.
    """

    names: tuple[str, ...]
    retentions: tuple[float, ...]
    alphas: tuple[float, ...]
    normdel: NDArray[np.float64]
    orders: tuple[tuple[str, ...], ...]
    swaps: tuple[Swap, ...]

    @property
    def winners(self) -> tuple[str, ...]:
        """For each alpha the name of the best result."""
        return tuple(order[0] for order in self.orders)

    def __str__(self) -> str:
        results = zip(self.names, self.retentions, strict=True)
        head = ['alpha', *(f'{name} (R = {retention:.4g})' for name, retention in results), 'best']
        rows = [
            [f'{alpha:g}', *(f'{100 * value:.2f}' for value in column), winner]
            for alpha, column, winner in zip(self.alphas, self.normdel.T, self.winners, strict=True)
        ]
        table = [head, *rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ['  '.join(map(str.ljust, row, widths)).rstrip() for row in table]
        swaps = [str(swap) for swap in self.swaps] or ['No two results swap places at any alpha above 0.']
        return '\n'.join(['NormDEL x 100', *lines, *swaps])


def alpha_sweep(results: Mapping[str, tuple[float, float]], alphas: Iterable[float] = ALPHAS) -> AlphaSweep:
    """NormDEL of several results over several alphas, who leads at each, and where they swap places.

    Args:
        results (dict): Name -> (metric as a fraction in [0, 1], retention in (0, 1]).
        alphas (Iterable[float]): The alphas, 0 or more. Defaults to :data:`ALPHAS`.

    Raises:
        ConfigError: There is no result or no alpha, or a value is out of range; the message names the result.
    """
    alphas = tuple(map(float, alphas))
    if not results or not alphas:
        raise ConfigError(f'A sweep needs results and alphas, got {len(results)} results and {len(alphas)} alphas.')
    scores = []
    for name, (metric, retention) in results.items():
        try:
            scores.append(normdel(metric, retention, np.asarray(alphas)))
        except ConfigError as error:
            raise ConfigError(f'{name!r}: {error}') from error
    swaps = []
    for (name, (metric, retention)), (other, (other_metric, other_retention)) in combinations(results.items(), 2):
        alpha = swap_alpha(metric, retention, other_metric, other_retention)
        if alpha is not None:
            swaps.append(Swap(alpha, *((name, other) if metric > other_metric else (other, name))))
    return AlphaSweep(
        names=tuple(results),
        retentions=tuple(float(retention) for _, retention in results.values()),
        alphas=alphas,
        normdel=np.stack(scores),
        orders=tuple(_order(results, alpha) for alpha in alphas),
        swaps=tuple(sorted(swaps, key=lambda swap: swap.alpha)),
    )


def as_fraction(value: float, scale: str, name: str = 'metric') -> float:
    """A metric on a stated scale as the fraction that the functions above take.

    Args:
        value (float): The metric.
        scale (str): 'percent' or 'fraction', as the metric prints it.
        name (str): The key of the metric, for messages. Defaults to 'metric'.

    Raises:
        ConfigError: The scale is unknown, or the value is NaN or outside the scale.
    """
    check_scale(scale)
    full = SCALES[scale]
    if math.isnan(value):
        raise ConfigError(
            f'{name} is NaN, and there is no NormDEL of that. A metric is NaN where all of its classes are absent from '
            'labels and predictions: check that the masks hold class numbers (0, 1, ...; not 0 and 255) and are not all '
            'ignored, or give another key.'
        )
    if not -_ROUNDING * full <= value <= (1 + _ROUNDING) * full:
        percent = scale == 'fraction' and 1 < value <= SCALES['percent']
        hint = " If the metric prints percent, say scale='percent'." if percent else ''
        raise ConfigError(f"{name} = {value:g} is outside 0 to {full:g}, the range of scale='{scale}'.{hint}")
    return min(max(value / full, 0.0), 1.0)


def check_scale(scale: str) -> str:
    """The scale itself; ConfigError unless it is one of :data:`SCALES`."""
    if scale not in SCALES:
        raise ConfigError(f'scale says how the metric prints its values, {" or ".join(SCALES)}; got {scale!r}.')
    return scale


def check_retention(retention: float) -> float:
    """The retention as a float; ConfigError unless it lies in (0, 1]."""
    if isinstance(retention, bool) or not isinstance(retention, Real) or not 0 < retention <= 1:
        raise ConfigError(_RETENTION.format(retention))
    return float(retention)


def check_alpha(alpha: float) -> float:
    """Alpha as a float; ConfigError unless it is a finite number of at least 0."""
    if isinstance(alpha, bool) or not isinstance(alpha, Real) or not 0 <= alpha < math.inf:
        raise ConfigError(_ALPHA.format(alpha))
    return float(alpha)


_RETENTION = 'retention is the share of the images that was kept, above 0 and at most 1 (0.2 means 20 %), got {}.'
_ALPHA = 'alpha is a finite number of at least 0, got {}.'


def _numbers(name: str, value: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f'{name} must be a number or an array of numbers, got {value!r}.') from error


def _refuse(values: NDArray[np.float64], wrong: NDArray[np.bool_], message: str) -> None:
    if wrong.any():
        raise ConfigError(message.format(f'{values[wrong].flat[0]:g}'))


def _scalar_or_array(values: NDArray[np.float64]) -> float | NDArray[np.float64]:
    return values if values.ndim else float(values)


def _order(results: Mapping[str, tuple[float, float]], alpha: float) -> tuple[str, ...]:
    """Names, best first. By the logarithm of DEL: DEL itself is 0 for all of them where alpha is large."""

    def rank(name: str) -> tuple[float, float]:
        metric, retention = results[name]
        return -(math.log(metric) - alpha * retention) if metric else math.inf, retention

    return tuple(sorted(results, key=rank))
