"""Exact cosine search: of each row the k most similar columns, by one canonical number.

    found = best_preferred(vectors, [np.array([4, 0, 7, 2])])
    found.cosine[7], found.row[7]        # the highest cosine of row 7 to one that stands before it, 4 or 0, and which one

Everything that mmdel compares is this one search, with another mask and another k:

    ==================== ============== ============================ ===========
    function             a row's        what is left out             k
                         columns are
    ==================== ============== ============================ ===========
    best_preferred       its group      itself and what is behind    1
    greedy               its group      the same, and what has gone  1
    nearest              given                                       1
    nearest_centroid     the centroids                               1
    nearest_elsewhere    all groups     its own group, and cosines   1
                                        up to a floor (conflicts)
    top_k                given                                       k (leaks)
    nearest_neighbours   all rows                                    k (a graph)
    ==================== ============== ============================ ===========

**One canonical number.** What decides or is stored is the float64 dot product of two unit vectors, summed in a fixed order and
rounded to float32 (:mod:`.canonical`); of equal columns the one that is listed first wins. Fast products only give candidates:

                      columns, in order of preference
                  0        1024      2048      3072
                  +---------+---------+---------+---
       rows of a  |  tile   |  tile   |  ruled  |        1. prune: cells of columns whose upper bound is below what is
       work unit  |    x    |         |   out   |  ...      known of a row are never multiplied
                  |      x  |  x      |         |        2. float32 products of what is left; x: within a proven error
                  +---------+---------+---------+---        of the k-th best of the row, a candidate
                                                         3. verify: the canonical cosine of the candidates, best first

*The error* (step 2). A float32 product of D terms, summed in any order, is off by at most about D 2**-24 (Higham, Accuracy and
Stability of Numerical Algorithms, 2002, 3.1). So a column further than twice that below a row's k-th best product is not among
the k best: this holds for NumPy, for any BLAS, and for torch on a GPU, which is the same search in the same precision. A row with
too many candidates (a film of one still picture) is searched again by float64 products: rounded to float32, nearly all of them
are the canonical number already.

*The upper bound* (step 1). The triangle inequality rules out whole cells of similar columns by their middle and radius, as in
Fukunaga and Narendra's branch and bound (IEEE Transactions on Computers, 1975). Of what is left, vectors are projected to the 29
dimensions in which they differ most, and the length of the lost rest is kept: Cauchy and Schwarz bound the product of two rests
(:mod:`.projection`), as exact search by inner product does in LEMP (Teflioudi, Gemulla and Mykytiuk, SIGMOD 2015) and FEXIPRO
(Li, Chan, Yiu and Mamoulis, SIGMOD 2017). Where this leaves too much (a few rows tell), all is multiplied.

**Results do not depend on how they were computed**: not on what was pruned, on tiles, threads, devices, processes or machines. A
comparison is a :class:`~.tasks.Task`, cut once into units, and what a unit finds is a pure function of the two. Rows are read
from disk in blocks through :class:`UnitVectors`. :class:`Tuning` holds all sizes and thresholds; it decides speed alone.

Not guaranteed: nothing is approximate here, but rows of different groups are never compared.
"""

from mmdel.similarity.canonical import canonical_cosine, exact_cosine, float32_error, pair_cosines
from mmdel.similarity.greedy import greedy
from mmdel.similarity.neighbours import (
    NeighbourGraph,
    Neighbours,
    best_preferred,
    nearest,
    nearest_centroid,
    nearest_elsewhere,
    nearest_neighbours,
    top_k,
)  # fmt: skip
from mmdel.similarity.pool import UnitVectors
from mmdel.similarity.tuning import Tuning, default_tuning, tuned

VERSION = 1
"""Of the numbers that the searches give, raised when one could be another: kept rankings rest on them."""

__all__ = [
    'VERSION', 'NeighbourGraph', 'Neighbours', 'Tuning', 'UnitVectors', 'best_preferred', 'canonical_cosine', 'default_tuning',
    'exact_cosine', 'float32_error', 'greedy', 'nearest', 'nearest_centroid', 'nearest_elsewhere', 'nearest_neighbours',
    'pair_cosines', 'top_k', 'tuned',
]  # fmt: skip
