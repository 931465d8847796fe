"""What comparing images found out, as plain data: between :mod:`mmdel.selection`, which finds it, and those who show it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmdel.subset import Subset, effective_eta

CONFLICT_THRESHOLD = 0.95
"""Cosine above which two images are called near-identical, where nobody names another."""


@dataclass(frozen=True)
class NearestKept:
    """The most similar kept image of each removed one.

    Args:
        cosine (NDArray[np.float32]): [readable images], canonical; NaN for kept images and where nothing was compared.
        row (NDArray[np.int64]): [readable images], that image's place among the readable ones, -1 where there is none.
        everywhere (bool): Whether all kept images were compared; else only those of the same cluster.
    """

    cosine: NDArray[np.float32]
    row: NDArray[np.int64]
    everywhere: bool


@dataclass(frozen=True)
class Conflict:
    """Two near-identical images with different labels.

    Args:
        image (str): The one.
        label (str): Its label.
        keep (bool): Whether it stays.
        other (str): The other.
        other_label (str): Its label.
        other_keep (bool): Whether it stays.
        cosine (float): Canonical cosine of the two.
    """

    image: str
    label: str
    keep: bool
    other: str
    other_label: str
    other_keep: bool
    cosine: float


def orphans(subset: Subset, nearest: NearestKept) -> int | None:
    """Duplicates without any kept image above eta: what removed them is gone itself. None where the cut has no eta."""
    eta = effective_eta(subset)
    if eta is None or subset.table['redundancy'].null_count == len(subset.table):
        return None
    reason = subset.table['reason'].to_numpy(zero_copy_only=False)[subset.readable]
    return int(((reason == 'duplicate') & ~(nearest.cosine > np.float32(eta))).sum())
