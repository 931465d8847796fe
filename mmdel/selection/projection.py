"""Upper bounds of cosines from a projection to few dimensions: most products need never be multiplied in full.

    projection = Projection(sample, len(y))
    rows, columns = projection.rows(projection.of(x)), projection.of(y)
    rows.data @ columns.data.T                           # no cosine is higher than this by more than
    projection.bound(rows, columns.length.max())         # this

For a mean m and an orthonormal basis W of few of the D dimensions, u = x - m and v = y - m are split into p = W'u and q = W'v
and what W loses of them, r**2 = |u|**2 - |p|**2. By Cauchy and Schwarz, as x.y = (|x|**2 + |y|**2 - |u - v|**2) / 2 and |x| <= 1,

    x.y <= 1 - |p - q|**2 / 2 - (r(x) - r(y))**2 / 2  =  p.q + r(x) r(y) + s(x) + s(y)    with    s(x) = (1 - |u|**2) / 2.

This is one product of the vectors (p, r, s, 1) and (q, r, 1, s). It holds for any m and W; how much it prunes depends on how much
of the vectors W holds. Features of images hold most of what they are in a few dozen dimensions.

Vectors fall into cells, by the most similar of some pivots c. For columns that are at most R away from theirs, the same gives a
bound without any product of pairs, as |p - q| >= |p - c| - R: columns of one cell are pruned together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 29
"""Dimensions that are kept: vectors of 32 numbers are multiplied."""

CELL = 64
"""Vectors that a cell has on average."""

CELLS = 512
"""Cells at most."""

POWER_ITERATIONS = 1
"""Passes over the sample that find the dimensions, after a first guess."""

LLOYD_ITERATIONS = 2
"""Passes over the sample that find the pivots, after a first guess."""

_UNIT = 2.0**-24

_NORMS = 2.0**-18
"""|x|**2 is at most so much above 1, rounding of the canonical number included."""


@dataclass(frozen=True)
class Projected:
    """Vectors as a projection leaves them.

    Args:
        data (NDArray[np.float32]): [n, DIMENSIONS + 3]; p, r, and s and 1, of rows in this order and of columns in the other.
        length (NDArray[np.float64]): [n], |u|, at least.
        cell (NDArray[np.uint16]): [n].
        away (NDArray[np.float32]): [n], distance of p from the pivot of its cell.
    """

    data: NDArray[np.float32]
    length: NDArray[np.float64]
    cell: NDArray[np.uint16]
    away: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.length)

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> 'Projected':
        return Projected(self.data[rows], self.length[rows], self.cell[rows], self.away[rows])

    def __setitem__(self, rows: slice, other: 'Projected') -> None:
        self.data[rows], self.length[rows] = other.data, other.length
        self.cell[rows], self.away[rows] = other.cell, other.away

    @classmethod
    def room(cls, size: int) -> 'Projected':
        """For so many vectors, to be filled."""
        return cls(
            np.empty((size, DIMENSIONS + 3), np.float32),
            np.empty(size),
            np.empty(size, np.uint16),
            np.empty(size, np.float32),
        )


class Projection:
    """To the few dimensions in which vectors differ most.

    Args:
        sample (NDArray[np.float32]): [n, D], n >= 1, unit vectors like those that will be compared; only speed depends on them.
        size (int): How many there will be.
    """

    def __init__(self, sample: NDArray[np.float32], size: int) -> None:
        self._mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        self._basis = _basis(sample - self._mean)
        wide = self._basis.astype(np.float64)
        dim, self._kept = wide.shape
        defect = float(np.linalg.norm(wide.T @ wide - np.eye(self._kept)))
        # |p - the coordinates of u in an exactly orthonormal basis of the same space| / |u|: float32 sums of D terms (Higham,
        # Accuracy and Stability of Numerical Algorithms, 3.1) for each coordinate, and how far W is from orthonormal
        self._lost = 1.01 * (np.sqrt(self._kept) * (dim + 2) * _UNIT / (1 - (dim + 2) * _UNIT) + defect)
        cells = int(np.clip(size // CELL, 1, min(CELLS, len(sample))))
        self._pivots = _pivots((sample - self._mean) @ self._basis, cells).astype(np.float64)

    def of(self, unit: NDArray[np.float32]) -> Projected:
        """Unit vectors, float32 [n, D], to be columns of a product."""
        centred = unit - self._mean
        found = Projected.room(len(unit))
        p = found.data[:, : self._kept] = centred @ self._basis
        found.data[:, self._kept : DIMENSIONS] = 0
        squares = np.einsum('ij,ij->i', centred, centred).astype(np.float64)
        # sums of D squares in float32 err by less than D units in the last place
        off = len(self._mean) * 2 * _UNIT
        found.length[:] = length = np.sqrt(squares) * (1 + off)
        shorter = np.maximum(np.linalg.norm(p.astype(np.float64), axis=1) - self._lost * length, 0)
        found.data[:, -3] = np.sqrt(np.maximum(length**2 - shorter**2, 0)) * (1 + 2 * _UNIT)
        found.data[:, -2] = 1
        found.data[:, -1] = (1 + _NORMS - squares * (1 - off)) / 2
        away = self.distances(found)
        found.cell[:] = away.argmin(axis=0)
        found.away[:] = away[found.cell, np.arange(len(unit))]
        return found

    @staticmethod
    def rows(columns: Projected) -> Projected:
        """A copy of projected vectors, to be rows of a product."""
        data = columns.data.copy()
        data[:, -2], data[:, -1] = columns.data[:, -1], columns.data[:, -2]
        return Projected(data, columns.length, columns.cell, columns.away)

    def bound(self, rows: Projected, longest: float) -> NDArray[np.float64]:
        """How far the cosine of each row and any column can be above their product.

        Args:
            rows (Projected): [n].
            longest (float): |v| of the longest column.

        Returns:
            NDArray[np.float64]: [n].
        """
        # a product of p and q, both off by at most |u| and |v| times what is lost; sums of 32 terms, |s| < 2; and what is small
        # everywhere: units in the last place of s and r
        return (2 + self._lost) * self._lost * rows.length * longest + 2.0**-17 * (rows.length * longest + 4)

    def distances(self, vectors: Projected) -> NDArray[np.float32]:
        """From the pivot of each cell to p of each vector, [cells, n]."""
        p = vectors.data[:, : self._kept].astype(np.float64)
        squares = self._pivots @ (-2 * p.T)
        squares += np.einsum('ij,ij->i', self._pivots, self._pivots)[:, None]
        squares += np.einsum('ij,ij->i', p, p)
        return np.sqrt(np.maximum(squares, 0, out=squares), out=squares).astype(np.float32)

    def reach(self, rows: Projected, least: NDArray[np.float64], longest: float) -> NDArray[np.float32]:
        """No column whose p is farther than this from that of a row has a cosine of at least ``least``.

        Args:
            rows (Projected): [n].
            least (NDArray[np.float64]): [n].
            longest (float): |v| of the longest column.

        Returns:
            NDArray[np.float32]: [n]. Rounding of distances is included.
        """
        farthest = np.sqrt(np.maximum(2 * (1 + _NORMS - least), 0))
        return (farthest + self._lost * (rows.length + longest) + 2.0**-17).astype(np.float32)


def _basis(centred: NDArray[np.float32]) -> NDArray[np.float32]:
    """Orthonormal columns, float32 [D, kept], near the directions in which the rows differ most (Halko et al. 2011, 4.4)."""
    dim = centred.shape[1]
    basis = np.random.default_rng(0).standard_normal((dim, min(DIMENSIONS, dim)), dtype=np.float32)
    for _ in range(POWER_ITERATIONS):
        basis = np.linalg.qr(centred.T @ (centred @ basis))[0]
    return np.ascontiguousarray(basis)


def _pivots(points: NDArray[np.float32], cells: int) -> NDArray[np.float32]:
    """So many middles of points, [cells, kept], each followed by the nearest of those that are left."""
    pivots = points[:: len(points) // cells][:cells].copy()
    for _ in range(LLOYD_ITERATIONS if len(points) > cells else 0):
        cell = (points @ pivots.T - np.einsum('ij,ij->i', pivots, pivots) / 2).argmax(axis=1)
        order = np.argsort(cell, kind='stable')
        some, first, size = np.unique(cell[order], return_index=True, return_counts=True)
        pivots[some] = np.add.reduceat(points[order], first, axis=0) / size[:, None]
    return pivots[_chain(pivots)]


def _chain(points: NDArray[np.float32]) -> NDArray[np.int64]:
    """An order of points, [n, kept], in which each is followed by the nearest of those that are left."""
    nearness = points @ points.T - np.einsum('ij,ij->i', points, points) / 2
    order = [0]
    for _ in range(len(points) - 1):
        nearness[:, order[-1]] = -np.inf
        order.append(int(nearness[order[-1]].argmax()))
    return np.array(order)
