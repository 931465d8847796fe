"""float32 products of chosen pairs: of many low-precision candidates, few are left to settle by the canonical number."""

import warnings
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mmdel.selection.proposers import float32_margin

Rows = NDArray[np.int64]

PAIRS = 4096
"""Pairs multiplied at a time: where their vectors must be copied, of 768 numbers, these take 12 MB at most."""

with warnings.catch_warnings():
    # torch says once per process that its sparse matrices are in beta state
    warnings.simplefilter('ignore')
    torch.sparse_csr_tensor(
        torch.zeros(2, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0), (1, 1)
    )


class Columns(Protocol):
    """Vectors by slot: :class:`mmdel.selection.settled_maximum.Group`."""

    def among(self, slots: Rows) -> tuple[NDArray[np.float32], Rows]:
        """An array that holds the vectors of some slots, float32 [m, D], and the place of each in it."""


def refined(
    x: NDArray[np.float32], row: Rows, slot: Rows, most: NDArray[np.float64], columns: Columns
) -> tuple[Rows, Rows]:
    """Those of some pairs whose float32 product lies within the proven bound of their row's best.

    The most promising pair of each row comes first: most others lie below it then, and need no product.

    Args:
        x (NDArray[np.float32]): [n, D], unit rows.
        row (NDArray[np.int64]): [pairs], of ``x``.
        slot (NDArray[np.int64]): [pairs], of the columns.
        most (NDArray[np.float64]): [pairs], an upper bound of each cosine.
        columns (Columns): Has the slots.

    Returns:
        tuple: Row and slot of those pairs.
    """
    margin = float32_margin(x.shape[1])
    best = np.full(len(x), -np.inf)
    np.maximum.at(best, row, most)
    leads = most == best[row]
    highest = np.full(len(x), -np.inf, np.float32)
    first, leader = _products(x, np.flatnonzero(leads), row, slot, columns)
    np.maximum.at(highest, row[first], leader)
    rest, product = _products(x, np.flatnonzero(~leads & (most >= highest[row] - margin)), row, slot, columns)
    np.maximum.at(highest, row[rest], product)
    left, product = np.concatenate([first, rest]), np.concatenate([leader, product])
    left = left[product >= highest[row[left]] - margin]
    return row[left], slot[left]


def _products(
    x: NDArray[np.float32], pairs: Rows, row: Rows, slot: Rows, columns: Columns
) -> tuple[Rows, NDArray[np.float32]]:
    """Some of the pairs, by row, and their float32 products."""
    # numbers of 16 bits are sorted several times as fast
    kind = np.uint16 if len(x) <= 1 << 16 else np.int64
    pairs = pairs[np.argsort(row[pairs].astype(kind), kind='stable')]
    product = np.empty(len(pairs), np.float32)
    left = torch.from_numpy(x)
    for start in range(0, len(pairs), PAIRS):
        part = pairs[start : start + PAIRS]
        right, place = columns.among(slot[part])
        # each entry is computed by itself: places need not ascend within a row, as they do in other matrices of this layout
        ends = np.cumsum(np.bincount(row[part], minlength=len(x)))
        wanted = torch.sparse_csr_tensor(
            torch.from_numpy(np.concatenate([[0], ends])),
            torch.from_numpy(place),
            torch.zeros(len(part)),
            (len(x), len(right)),
            check_invariants=False,
        )
        found = torch.sparse.sampled_addmm(wanted, left, torch.from_numpy(right).T, beta=0)
        product[start : start + len(part)] = found.values().numpy()
    return pairs, product
