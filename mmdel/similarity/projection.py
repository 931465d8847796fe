"""Upper bounds of cosines from a projection to few dimensions: most products need never be multiplied in full.

    projection = Projection(sample, len(y), tuning)
    rows, columns = projection.rows(projection.of(x)), projection.of(y)
    rows.data @ columns.data.T                           # no cosine is higher than this by more than
    projection.error(rows, columns.length.max())         # this

For a mean m and an orthonormal basis W of few of the D dimensions, u = x - m and v = y - m are split into p = W'u and q = W'v
and what W loses of them, r**2 = |u|**2 - |p|**2. By Cauchy and Schwarz, as x.y = (|x|**2 + |y|**2 - |u - v|**2) / 2 and |x| <= 1,

    x.y <= 1 - |p - q|**2 / 2 - (r(x) - r(y))**2 / 2  =  p.q + r(x) r(y) + s(x) + s(y)    with    s(x) = (1 - |u|**2) / 2.

This is one product of the vectors (p, r, s, 1) and (q, r, 1, s). It holds for any m and W; how much it prunes depends on how much
of the vectors W holds. Features of images hold most of what they are in a few dozen dimensions.

Vectors fall into cells, by the nearest of some pivots c. For columns that are at most R away from theirs, the same gives a bound
without any product of pairs, as |p - q| >= |p - c| - R: columns of one cell are pruned together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmdel.similarity.canonical import Rows
from mmdel.similarity.tiles import buffer
from mmdel.similarity.tuning import Tuning

_UNIT = 2.0**-24

_NORMS = 2.0**-18
"""|x|**2 is at most so much above 1, rounding of the canonical number included."""


@dataclass(frozen=True)
class Projected:
    """Vectors as a projection leaves them.

    Args:
        data (NDArray[np.float32]): [n, dimensions + 3]; p, r, and s and 1, of rows in this order and of columns in the other.
        length (NDArray[np.float64]): [n], |u|, at least.
        cell (NDArray[np.uint16]): [n].
        away (NDArray[np.float32]): [n], distance of p from the pivot of its cell.
    """

    data: NDArray[np.float32]
    length: NDArray[np.float64]
    cell: NDArray[np.uint16]
    away: NDArray[np.float32]

    def __getitem__(self, rows: Rows) -> 'Projected':
        return Projected(self.data[rows], self.length[rows], self.cell[rows], self.away[rows])

    def __setitem__(self, rows: slice, other: 'Projected') -> None:
        self.data[rows], self.length[rows] = other.data, other.length
        self.cell[rows], self.away[rows] = other.cell, other.away


class Projection:
    """To the few dimensions in which vectors differ most.

    Args:
        sample (NDArray[np.float32]): [n, D], n >= 1, unit vectors like those that will be compared; only speed depends on them.
        size (int): How many there will be: ``columns`` has room for them.
        tuning (Tuning): How many dimensions and cells.
    """

    def __init__(self, sample: NDArray[np.float32], size: int, tuning: Tuning) -> None:
        self.tuning, self._width = tuning, tuning.dimensions + 3
        self._mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = sample - self._mean
        self._basis = _basis(centred, tuning.dimensions)
        wide = self._basis.astype(np.float64)
        self.dim, self._kept = wide.shape
        defect = float(np.linalg.norm(wide.T @ wide - np.eye(self._kept)))
        # |p - the coordinates of u in an exactly orthonormal basis of the same space| / |u|: float32 sums of D terms (Higham,
        # Accuracy and Stability of Numerical Algorithms, 3.1) for each coordinate, and how far W is from orthonormal
        self._lost = 1.01 * (np.sqrt(self._kept) * (self.dim + 2) * _UNIT / (1 - (self.dim + 2) * _UNIT) + defect)
        cells = int(np.clip(size // tuning.cell, 1, max(1, len(sample) // 2)))
        self._pivots = _pivots(centred @ self._basis, cells).astype(np.float64)
        self.columns = self.room(size)

    def room(self, size: int) -> Projected:
        """For so many vectors, to be filled."""
        data, length = np.zeros((size, self._width), np.float32), np.empty(size)
        return Projected(data, length, np.empty(size, np.uint16), np.empty(size, np.float32))

    def of(self, unit: NDArray[np.float32]) -> Projected:
        """Unit vectors, float32 [n, D], to be columns of a product."""
        centred = np.subtract(unit, self._mean, out=buffer('centred', *unit.shape))
        found = self.room(len(unit))
        p = found.data[:, : self._kept] = centred @ self._basis
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

    def error(self, rows: Projected, longest: float) -> NDArray[np.float64]:
        """How far the cosine of each row, [n], and a column of a length |v| up to ``longest`` can be above their product."""
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
        """No column, |v| up to ``longest``, whose p is farther than this from that of a row has a cosine of ``least``, [n]."""
        farthest = np.sqrt(np.maximum(2 * (1 + _NORMS - least), 0))
        # rounding of distances is included
        return (farthest + self._lost * (rows.length + longest) + 2.0**-17).astype(np.float32)


def _basis(centred: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """Orthonormal columns, float32 [D, kept], near the directions in which the rows differ most (Halko et al. 2011, 4.4)."""
    dim = centred.shape[1]
    guess = np.random.default_rng(0).standard_normal((dim, min(dimensions, dim)), dtype=np.float32)
    return np.ascontiguousarray(np.linalg.qr(centred.T @ (centred @ guess))[0])


def _pivots(points: NDArray[np.float32], cells: int) -> NDArray[np.float32]:
    """So many middles of points, [cells, kept], by two steps of k-means; each is followed by the nearest of the rest."""
    pivots = points[:: len(points) // cells][:cells].copy()
    for _ in range(2 if len(points) > cells else 0):
        cell = (points @ pivots.T - np.einsum('ij,ij->i', pivots, pivots) / 2).argmax(axis=1)
        order = np.argsort(cell, kind='stable')
        some, first, size = np.unique(cell[order], return_index=True, return_counts=True)
        pivots[some] = np.add.reduceat(points[order], first, axis=0) / size[:, None]
    nearness = pivots @ pivots.T - np.einsum('ij,ij->i', pivots, pivots) / 2
    chain = [0]
    for _ in range(cells - 1):
        nearness[:, chain[-1]] = -np.inf
        chain.append(int(nearness[chain[-1]].argmax()))
    return pivots[chain]
