"""Leaks: images of a pool that are copies of test images.

    found = find_leaks(vectors, Rows(pool, tests, mirrored), compare, LeakRule())
    found[0].pool, found[0].test, found[0].agreement

Two decisions, each resting on a canonical number. The cosine (:mod:`mmdel.embedding.vectors`) decides which pairs are
*looked at*: of each test image, and of its mirror image, the few most similar images of the pool, and twice as many again as
long as the last of them held a leak. The agreement of the pixels (:mod:`mmdel.leaks.same_picture`) decides what is a
leak. So the result is the same for any block size, thread count and order of listing.

Not guaranteed: a copy that the encoder finds less similar to the test image than ``neighbours`` other images of the pool is
not looked at.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmdel.compute.cores import on_threads
from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import Vectors
from mmdel.selection.findings import LeakRule
from mmdel.similarity import top_k

RowNumbers = NDArray[np.int64]

VERSION = 1
"""Raised when other pairs could be found, as in :mod:`mmdel.leaks.same_picture`: what was found before is not used again."""

ALIKE = 0.6
"""Agreement from which on a pair is listed for people to look at: the same scene from elsewhere, or what all frames share."""


@dataclass(frozen=True)
class Rows:
    """Where what lies in the vectors.

    Args:
        pool (NDArray[np.int64]): [P], rows of the pool's images, ascending.
        tests (NDArray[np.int64]): [T], rows of the test images.
        mirrored (NDArray[np.int64]): [T], rows of their mirror images.
    """

    pool: RowNumbers
    tests: RowNumbers
    mirrored: RowNumbers


@dataclass(frozen=True)
class View:
    """How well an image of the pool agrees with a test image, or with its mirror image.

    Args:
        agreement (float): See :class:`~mmdel.leaks.same_picture.Comparison`.
        mirrored (bool): Whether it agrees better with the mirror image.
    """

    agreement: float
    mirrored: bool


@dataclass(frozen=True)
class Pair:
    """An image of the pool and a test image that agree.

    Args:
        pool (int): Place in :attr:`Rows.pool`.
        test (int): Place in :attr:`Rows.tests`.
        cosine (float): Canonical, to the test image or its mirror image, whichever is higher.
        agreement (float): Of the pixels.
        mirrored (bool): Whether it is the mirror image.
    """

    pool: int
    test: int
    cosine: float
    agreement: float
    mirrored: bool


Compare = Callable[[int, int], View | None]
"""Place in the pool and place among the test images to how they agree; None where a picture cannot be used any more."""


def find_leaks(
    vectors: Vectors, rows: Rows, compare: Compare, rule: LeakRule | None = None, progress: Stages = SILENT
) -> list[Pair]:
    """The pairs that agree, leaks and those to be looked at (:data:`ALIKE`): by place in the pool, the best agreement first.

    Args:
        vectors (Vectors): Of the pool, the test images and their mirror images.
        rows (Rows): Which is which.
        compare (Callable): Compares two pictures; called from several threads.
        rule (LeakRule, optional): Defaults to None, ``LeakRule()``.
        progress (Stages): Shows the stages. Defaults to ``SILENT``.
    """
    rule = rule or LeakRule()
    listed = min(ALIKE, rule.threshold)
    found: list[Pair] = []
    looked_at: set[tuple[int, int]] = set()
    open_, depth = np.arange(len(rows.tests)), rule.neighbours
    while len(open_):
        nearest = candidates(vectors, rows, open_, depth, progress)
        new = {pair: cosine for pair, cosine in nearest.items() if pair not in looked_at}
        looked_at.update(new)
        views = _compared(list(new), compare, progress)
        pairs = [
            Pair(*pair, cosine, view.agreement, view.mirrored)
            for (pair, cosine), view in zip(new.items(), views, strict=True)
            if view is not None and view.agreement >= listed
        ]
        found += pairs
        # where the last images looked at held a leak, there may be more of them behind
        open_ = np.array(sorted({pair.test for pair in pairs if is_leak(pair.agreement, rule)}), np.int64)
        if depth >= len(rows.pool):
            break
        depth *= 2
    return sorted(found, key=lambda pair: (pair.pool, -pair.agreement, pair.test))


def is_leak(agreement: float, rule: LeakRule) -> bool:
    """Whether two pictures that agree so much are one; compared as float32, as agreements are stored."""
    return bool(np.float32(agreement) >= np.float32(rule.threshold))


def candidates(
    vectors: Vectors, rows: Rows, tests: RowNumbers, depth: int, progress: Stages = SILENT
) -> Mapping[tuple[int, int], float]:
    """The pairs to look at: ``(place in the pool, place among the tests)`` to the higher of the two cosines.

    Args:
        vectors (Vectors): All vectors.
        rows (Rows): Which is which.
        tests (NDArray[np.int64]): Places of the test images that are asked for.
        depth (int): How many images of the pool for each view.
        progress (Stages): Shows the comparison. Defaults to ``SILENT``.
    """
    asked = np.concatenate([rows.tests[tests], rows.mirrored[tests]])
    with progress.stage('leaks', len(asked) * len(rows.pool), 'pairs') as tick:
        cosine, place = top_k(vectors, asked, rows.pool, depth, tick)
    found: dict[tuple[int, int], float] = {}
    for row, test in enumerate(np.tile(tests, 2).tolist()):
        for pool, value in zip(place[row].tolist(), cosine[row].tolist(), strict=True):
            found[pool, test] = max(value, found.get((pool, test), -2.0))
    return dict(sorted(found.items(), key=lambda item: (item[0][1], item[0][0])))


def _compared(pairs: list[tuple[int, int]], compare: Compare, progress: Stages) -> list[View | None]:
    views: list[View | None] = [None] * len(pairs)
    # all pairs of a test image by one thread: its picture is read once
    starts = [i for i, pair in enumerate(pairs) if not i or pair[1] != pairs[i - 1][1]]
    with progress.stage('look', len(pairs), 'pairs') as tick:

        def look(number: int) -> None:
            for i in range(starts[number], [*starts[1:], len(pairs)][number]):
                views[i] = compare(*pairs[i])
                tick(1)

        on_threads(look, range(len(starts)))
    return views
