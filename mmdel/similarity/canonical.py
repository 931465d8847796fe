"""The canonical cosine, and how far a fast product can be from it.

    canonical(x, y) = float32(min(1, sum over d of float64(x[d]) * float64(y[d])))

with the sum in NumPy's pairwise order, which depends on the length of the vectors alone: the same for any block, tile, thread
and process count.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]

Read = Callable[[Rows], NDArray[np.float32]]
"""Gives some unit vectors, float32 [n, D]."""

PRODUCTS = 64
"""Rows multiplied at a time: what stays in the cache of a core, and in memory that need not be asked for anew."""


def canonical_cosine(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """The canonical cosine of row pairs, float32 [n]; unit vectors [n, D], and [n, D] or [D]."""
    return exact_cosine(left, right).astype(np.float32)


def exact_cosine(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """The canonical cosine before it is rounded to float32, float64 [n], at most 1; arguments as of :func:`canonical_cosine`."""
    right = np.broadcast_to(right, left.shape)
    cosine = np.empty(len(left))
    # converted first, then multiplied in place: NumPy would convert a few numbers at a time
    wide, other = np.empty((2, min(PRODUCTS, len(left)), left.shape[1]))
    for start in range(0, len(left), PRODUCTS):
        part = slice(start, min(start + PRODUCTS, len(left)))
        products, factors = wide[: part.stop - start], other[: part.stop - start]
        products[:], factors[:] = left[part], right[part]
        products *= factors
        products.sum(axis=1, out=cosine[part])
    return np.minimum(cosine, 1.0, out=cosine)


def pair_cosines(left: Read, row: Rows, right: Read, slot: Rows) -> NDArray[np.float64]:
    """:func:`exact_cosine` of pairs of vectors that are read as they are needed, float64 [pairs]."""
    exact = np.empty(len(row))
    for start in range(0, len(row), 2 * PRODUCTS):
        part = slice(start, start + 2 * PRODUCTS)
        exact[part] = exact_cosine(left(row[part]), right(slot[part]))
    return exact


def float32_error(dim: int) -> float:
    """How far a float32 product of unit vectors of ``dim`` dimensions, summed in any order, can be from their canonical cosine.

    A float32 dot product in any order errs by at most g = D u / (1 - D u) times |x||y|, u = 2**-24 (Higham, Accuracy and
    Stability of Numerical Algorithms, 3.1). Unit vectors stored in float32 are longer than 1 by a few units in the last
    place, the canonical number is rounded to float32, and so are the thresholds that products are compared with: all of
    these are covered by the added 2**-22.
    """
    unit = dim * 2.0**-24
    return 1.01 * unit / (1 - unit) + 2.0**-22


def float64_error(dim: int) -> float:
    """The same for a float64 product before rounding: both it and the canonical sum err, so twice g with u = 2**-53."""
    return 2.02 * dim * 2.0**-53
