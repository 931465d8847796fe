"""Fast products of unit vectors, and how far each can be from the canonical cosine.

A product only proposes: what lies within its bound of the best is settled by the canonical number of
:mod:`mmdel.embedding.vectors`. So the precision decides how long a comparison takes and never what comes out.

    product = Bfloat16()
    mine, theirs = product.prepare(x), product.prepare(y)
    product.multiply(mine, theirs)      # float32 [n, c]
    product.error(mine.error, theirs.error.max(), dim)      # bound of it, before the rounding of the result

Bounds (Higham, Accuracy and Stability of Numerical Algorithms, 3.1), for vectors x, y of at most 1 + 2**-20: a float32 sum of D
products in any order errs by at most g = D u / (1 - D u) times |x||y|, u = 2**-24; rounding x to x' and y to y' before it by at
most |x - x'||y| + |y - y'||x| + |x - x'||y - y'|, of which both norms are computed; rounding the result to bfloat16 by
2**-8 of it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmdel.errors import ConfigError
from mmdel.precision import resolve_precision

PRECISION = 'auto'
"""What proposes: 'float32', 'bfloat16', or 'auto': bfloat16 where the processor multiplies it natively."""

CANONICAL = 2.0**-21
"""Rounding the canonical number to float32 makes ties of vectors one ulp apart, and vectors stored in float32 are longer than 1
by a few: both are below this."""


@dataclass(frozen=True)
class Prepared:
    """Vectors as a product takes them.

    Args:
        values (Any): [n, D].
        error (NDArray[np.float32]): [n], at least the distance of each to the vector that it stands for.
    """

    values: Any
    error: NDArray[np.float32]

    def __getitem__(self, part: slice) -> 'Prepared':
        return Prepared(self.values[part], self.error[part])

    @classmethod
    def joined(cls, parts: 'list[Prepared]') -> 'Prepared':
        """One after another."""
        values = [part.values for part in parts]
        joined = torch.cat(values) if isinstance(values[0], torch.Tensor) else np.concatenate(values)
        return cls(joined, np.concatenate([part.error for part in parts]))

    def take(self, rows: NDArray[np.int64]) -> 'Prepared':
        """Some of them: a view where they follow each other, else a copy."""
        if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
            return self[rows[0] : rows[-1] + 1]
        at = torch.from_numpy(rows) if isinstance(self.values, torch.Tensor) else rows
        return Prepared(self.values[at], self.error[rows])


class Product(ABC):
    """See the module."""

    itemsize: int
    """Bytes of a number of the prepared vectors."""

    rounding: float
    """By which part of itself a result was rounded."""

    finer: 'Product | None' = None
    """What decides rows for which this one proposes too much; None: float64."""

    @abstractmethod
    def prepare(self, x: NDArray[np.float32]) -> Prepared:
        """Round unit vectors, float32 [n, D], to what is multiplied."""

    @abstractmethod
    def multiply(self, x: Prepared, y: Prepared) -> NDArray[np.float32]:
        """All products of n rows with c rows, float32 [n, c]."""


class Float32(Product):
    """NumPy's matrix product."""

    itemsize = 4
    rounding = 0.0

    def prepare(self, x: NDArray[np.float32]) -> Prepared:
        return Prepared(x, np.zeros(len(x), np.float32))

    def multiply(self, x: Prepared, y: Prepared) -> NDArray[np.float32]:
        found: NDArray[np.float32] = x.values @ y.values.T
        return found


class Bfloat16(Product):
    """torch's product of bfloat16 numbers, summed in float32: up to four times as fast where a processor has it."""

    itemsize = 2
    rounding = 2.0**-8 * 1.01

    def prepare(self, x: NDArray[np.float32]) -> Prepared:
        wide = torch.from_numpy(np.ascontiguousarray(x))
        low = wide.to(torch.bfloat16)
        # the norm is summed in float32 itself
        error = torch.linalg.vector_norm(wide - low.float(), dim=1) * 1.001 + 1e-7
        return Prepared(low, error.numpy())

    def multiply(self, x: Prepared, y: Prepared) -> NDArray[np.float32]:
        found: NDArray[np.float32] = (x.values @ y.values.T).float().numpy()
        return found


FLOAT32 = Float32()
BFLOAT16 = Bfloat16()
BFLOAT16.finer = FLOAT32


def coarsest() -> Product:
    """The product that proposes first, by :data:`PRECISION`.

    Raises:
        ConfigError: There is no such precision.
    """
    found = resolve_precision(PRECISION, torch.device('cpu'))
    if found not in ('float32', 'bfloat16'):
        raise ConfigError(f"Vectors are compared in 'float32', 'bfloat16' or 'auto', not in {PRECISION!r}.")
    return BFLOAT16 if found == 'bfloat16' else FLOAT32


def input_error(own: NDArray[np.float32] | float, other: float, dim: int) -> Any:
    """How far a product can be from the canonical cosine before the rounding of its result, for vectors of such errors."""
    unit = dim * 2.0**-24
    return 1.001 * (own + other + own * other) + 1.01 * unit / (1 - unit) + CANONICAL / 2


def margin(
    product: Product, own: NDArray[np.float32], other: float, best: NDArray[np.float32], dim: int
) -> NDArray[np.float32]:
    """How far below a row's best result that of its best canonical column can lie.

    Both results err: by e before rounding, and by the part u of themselves after it. If the best is b, the other is at most
    |b| + m from 0, so m = 2 e + u |b| + u (|b| + m).

    Args:
        product (Product): The product.
        own (NDArray[np.float32]): [n], errors of the rows.
        other (float): Highest error of the columns.
        best (NDArray[np.float32]): [n], the highest results; infinite ones count as 0.
        dim (int): D.
    """
    size = np.where(np.isfinite(best), np.abs(best), 0)
    found: NDArray[np.float32] = (2 * input_error(own, other, dim) + 2 * product.rounding * size) / (
        1 - product.rounding
    )
    return found


def least(product: Product, threshold: float, own: float, other: float, dim: int) -> float:
    """The lowest result of a pair whose canonical cosine is at least ``threshold``, for such errors of the two."""
    exact = threshold - float(input_error(own, other, dim))
    return exact - product.rounding * abs(exact)


def float32_margin(dim: int) -> np.float32:
    """:func:`margin` of float32 products: the same for all rows."""
    return np.float32(2 * input_error(0.0, 0.0, dim))


def float64_margin(dim: int) -> float:
    """How far one float64 product can be from the canonical float64 sum: both err, so twice g with u = 2**-53."""
    return 2.02 * dim * 2.0**-53
