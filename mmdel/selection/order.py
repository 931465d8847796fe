"""Methods on plain arrays, without files and configs.

order, gains = mmdel.selection.rank(X, 'coverage', neighbours=32)
X[order[:100]]          # the hundred best
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmdel.config.config_check import arguments, check_value
from mmdel.config.config_file import read_part
from mmdel.config.shipped import SELECTORS as SELECTOR_CONFIGS
from mmdel.embedding.given_vectors import named_vectors
from mmdel.embedding.vectors import Vectors, as_source
from mmdel.errors import ConfigError
from mmdel.registry import SELECTORS
from mmdel.selection.selector import BaseSelector, build_selector
from mmdel.subset.columns import SEEN, conform, typed_columns


class Order(NamedTuple):
    """A ranking as plain arrays.

    Args:
        order (NDArray[np.int64]): [N], rows of the vectors, kept first to kept last.
        gains (NDArray[np.float64], optional): [N], what each of ``order`` added to the objective of the method when it was
            chosen; None for a method without one.
    """

    order: NDArray[np.int64]
    gains: NDArray[np.float64] | None


def rank(
    vectors: Any,
    method: str | Mapping[str, Any] | BaseSelector = 'coverage',
    *,
    size: int | None = None,
    center: bool = False,
    columns: Mapping[str, Sequence[Any]] | None = None,
    **params: Any,
) -> Order:
    """Rank vectors: what is kept first, second, and so on. Nothing is written, and the vectors are not changed.

    Args:
        vectors: [N, D] numbers: an array, a tensor, nested lists. They are compared by cosine.
        method (str | dict | BaseSelector): A name in ``configs/_base_/selectors``, a config, or an object. Defaults to
            'coverage'.
        size (int, optional): How many are wanted, for methods that choose for one size ('kmeans-medoids', 'typiclust',
            'every-nth'). Defaults to None.
        center (bool): Subtract the mean vector first. Defaults to False.
        columns (dict, optional): What else a method may look at: ``label``, ``patient``, ``video``, ``frame``, ``source``,
            ``centre``, with N values each. Defaults to None.
        **params: Arguments of the method in place of those of the config.

    Returns:
        Order: ``order`` and ``gains``.

    Raises:
        ConfigError: There is no such method or argument, or a value is out of range.
        VectorError: The vectors are no numbers [N, D], not finite, or one is zero.

    Examples:
        >>> order, gains = rank(np.random.default_rng(0).standard_normal((1000, 64)), 'coverage')
        >>> best = order[:50]
    """
    source = as_source(vectors)
    selector = _selector(method, params)
    told = typed_columns(columns, source.shape[0]) if columns else None
    table = conform(named_vectors(source, columns=told).table, SEEN)
    ranking = selector.rank(Vectors(source, table['image'], center), table, size)
    order = np.empty(len(table), np.int64)
    order[ranking.rank] = np.arange(len(table))
    return Order(order, None if ranking.gains is None else ranking.gains[order])


def _selector(method: Any, params: Mapping[str, Any]) -> BaseSelector:
    if isinstance(method, BaseSelector):
        if params:
            raise ConfigError(f'{", ".join(params)}: the method is an object; make it with these arguments.')
        return method
    config = read_part(method, SELECTOR_CONFIGS, 'selector') if isinstance(method, str) else method
    if not isinstance(config, Mapping):
        raise ConfigError(f'A method is a name, a config such as dict(type=...), or an object; got {method!r}.')
    config = {**config, **params}
    kind = SELECTORS.get(config['type']) if isinstance(config.get('type'), str) else config.get('type')
    kinds = arguments(kind).kinds if callable(kind) else {}
    for name, value in config.items():
        check_value(value, kinds.get(name, Any), name)
    return build_selector(config)
