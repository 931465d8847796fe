"""Groups that are small enough to be multiplied as a whole, many of them in one call."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mmdel.similarity.canonical import Rows, float32_error, pair_cosines
from mmdel.similarity.exclusion import Exclusion
from mmdel.similarity.pool import Pool, UnitVectors
from mmdel.similarity.search import Search, highest
from mmdel.similarity.tiles import buffer
from mmdel.similarity.tuning import Tuning


def best_before(
    vectors: UnitVectors, groups: Sequence[Rows], tuning: Tuning
) -> Iterator[tuple[Rows, NDArray[np.float64], Rows]]:
    """The best of the rows before it, for each row of some groups, none of them empty.

    Yields:
        tuple: Of each group its slots, their cosines before rounding, float64 [rows, 1], and the best slots, int64 [rows, 1].
    """
    sizes = np.array([len(group) for group in groups])
    count, width = len(groups), int(sizes.max())
    # what stands behind the end of a group is any row, and is not looked at
    flat = vectors.read(np.concatenate([np.pad(group, (0, width - len(group)), mode='edge') for group in groups]))
    x = flat.reshape(count, width, -1)
    product = buffer('products', count * width, width).reshape(count, width, width)
    # both factors are one array, so the library computes one triangle only, and copies it
    np.matmul(x, x.transpose(0, 2, 1), out=product)
    margin = np.float32(2 * float32_error(vectors.dim))
    # so many rows at a time that no more than a few of the columns behind them are looked at
    step = tuning.tile_rows // 4
    excluded = ~np.tri(step, k=-1, dtype=bool)
    found = [np.empty((2, 0), np.int64)]
    for start in range(0, width, step):
        stop = min(start + step, width)
        cells = product[:, start:stop, :stop]
        np.copyto(cells[:, :, start:], -np.inf, where=excluded[: stop - start, : stop - start])
        maximum = torch.from_numpy(cells).amax(dim=-1).numpy()  # in half of NumPy's time
        hit = np.flatnonzero(cells >= (maximum - margin)[:, :, None])
        group, row, column = np.unravel_index(hit, cells.shape)
        pair = (column < row + start) & (row + start < sizes[group])
        found.append(np.stack([group * width + row + start, column])[:, pair])
    row, column = np.concatenate(found, axis=1)
    dense = np.bincount(row, minlength=count * width) > tuning.candidates
    row, column = row[~dense[row]], column[~dense[row]]
    exact = pair_cosines(flat.__getitem__, row, flat.__getitem__, row - row % width + column)
    best, slot = highest(len(flat), 1, row, exact, column)
    best, slot = best.reshape(count, width, 1), slot.reshape(count, width, 1)
    for number, order in enumerate(groups):
        own = np.flatnonzero(dense[number * width : (number + 1) * width])
        if len(own):
            search = Search(Pool(vectors, order, tuning), x[number, own], Exclusion.before(own), tuning)
            best[number, own], slot[number, own] = search.in_float64(np.arange(len(own)), np.arange(len(order)))
        yield np.arange(len(order)), best[number, : len(order)], slot[number, : len(order)]
