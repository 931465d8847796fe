"""Stored vectors as selectors read them: centred where asked, unit length, float32.

What decides in mmdel is the canonical cosine (:mod:`mmdel.similarity`) of two vectors as :meth:`Vectors.read` returns them. The
same raw vectors give the same unit vectors for any block, thread and process count.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel.compute.progress import SILENT, Stages
from mmdel.errors import VectorError

BLOCK_BYTES = 1 << 20
"""Raw bytes read at a time when every vector is visited: what is made of them stays in the cache."""

RESIDENT_BYTES = 1 << 30
"""Unit vectors up to this size stay in memory after the first visit; larger sets are read and scaled again in blocks."""

NO_DIRECTION = 1e-6
"""A centred vector shorter than this part of the raw one is rounding, not a direction: it counts as zero."""


class RowSource(Protocol):
    """Raw vectors by row."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, dimensions)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """A floating dtype."""

    def read(self, rows: NDArray[np.int64] | slice) -> NDArray[Any]:
        """The rows as stored, [n, D]."""


class ArraySource:
    """A RowSource over an array in memory, [N, D]."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    @property
    def shape(self) -> tuple[int, int]:
        rows, dim = self._array.shape
        return rows, dim

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._array.dtype

    def read(self, rows: NDArray[np.int64] | slice) -> NDArray[Any]:
        return np.asarray(self._array[rows])


def as_source(vectors: Any) -> ArraySource:
    """Vectors in memory, as they are; whole numbers become float64.

    Args:
        vectors: An array [N, D] of numbers, or what can be made one: a tensor, nested lists.

    Raises:
        VectorError: It is something else, or empty.
    """
    if hasattr(vectors, 'detach'):  # a tensor, of a precision that NumPy may lack
        vectors = vectors.detach().cpu()
        vectors = vectors.float() if vectors.is_floating_point() and vectors.element_size() < 4 else vectors
    try:
        array = np.asarray(vectors)
    except (TypeError, ValueError) as error:
        raise VectorError(f'The vectors are no array [images, dimensions] of numbers: {error}.') from error
    if array.dtype.kind in 'iu':
        array = array.astype(np.float64)
    if array.ndim != 2 or array.dtype.kind != 'f' or not array.size:
        raise VectorError(f'The vectors are {array.dtype} {list(array.shape)}; expected floats [images, dimensions].')
    return ArraySource(array)


class ChosenRows:
    """A RowSource over some rows of another one, in a given order.

    Args:
        source (RowSource): The other one.
        rows (NDArray[np.int64]): [n], its rows.
    """

    def __init__(self, source: RowSource, rows: NDArray[np.int64]) -> None:
        self._source = source
        self._rows = rows

    @property
    def shape(self) -> tuple[int, int]:
        return len(self._rows), self._source.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._source.dtype

    def read(self, rows: NDArray[np.int64] | slice) -> NDArray[Any]:
        return self._source.read(self._rows[rows])


class StackedRows:
    """A RowSource over the rows of several ones, one source after the other.

    Args:
        sources (Sequence[RowSource]): Vectors of one length; at least one source.

    Raises:
        VectorError: The lengths differ.
    """

    def __init__(self, sources: Sequence[RowSource]) -> None:
        dims = {source.shape[1] for source in sources if source.shape[0]}
        if len(dims) > 1:
            raise VectorError(f'Vectors of {" and ".join(map(str, sorted(dims)))} dimensions cannot be compared.')
        self._sources = sources
        self._starts = np.cumsum([0, *(source.shape[0] for source in sources)])
        self._dim = dims.pop() if dims else sources[0].shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        return int(self._starts[-1]), self._dim

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.result_type(*(source.dtype for source in self._sources))

    def read(self, rows: NDArray[np.int64] | slice) -> NDArray[Any]:
        rows = row_numbers(rows, self.shape[0])
        out = np.empty((len(rows), self._dim), self.dtype)
        for source, start, stop in zip(self._sources, self._starts[:-1], self._starts[1:], strict=True):
            mine = np.flatnonzero((rows >= start) & (rows < stop))
            if len(mine):
                out[mine] = source.read(rows[mine] - start)
        return out


class Vectors:
    """Unit-length float32 vectors over raw stored ones.

    Args:
        source (RowSource): Raw vectors [N, D], row i belonging to ``keys[i]``.
        keys (Sequence[str] | pa.ChunkedArray): The images' keys, for messages.
        center (bool): Subtract the mean of all rows before scaling. A vector that the mean leaves without a direction then
            has cosine 1 to the others like it and 0 to the rest. Defaults to False.
        progress (Stages): Shows the pass over all rows. Defaults to ``SILENT``.
        mean (NDArray[np.float64], optional): [D], with ``center`` subtracted instead of the mean of these rows, for vectors that
            are compared with others that were centred before. Defaults to None.
        resident (bool): Keep unit vectors in memory where they take at most ``RESIDENT_BYTES``: faster, where they are read many
            times. Defaults to True.

    Attributes:
        mean (NDArray[np.float64] | None): [D], what was subtracted; None without ``center``.
        digest (str): sha256 of the raw vectors in row order, hexadecimal.

    Raises:
        VectorError: A vector holds NaN or infinity, or is zero and has no direction; the message names the keys.
    """

    def __init__(
        self,
        source: RowSource,
        keys: Sequence[str] | pa.ChunkedArray,
        center: bool = False,
        progress: Stages = SILENT,
        mean: NDArray[np.float64] | None = None,
        resident: bool = True,
    ) -> None:
        if len(source.shape) != 2 or source.shape[0] != len(keys):
            raise VectorError(
                f'Expected one vector for each of {len(keys)} images, got an array of shape {source.shape}.'
            )
        self._source = source
        self._keys = keys
        self._may_stay = resident
        self.mean: NDArray[np.float64] | None = None
        rows, dim = source.shape
        if mean is not None and (mean.shape != (dim,) or not np.isfinite(mean).all()):
            raise VectorError(f'The recorded mean is not one of {dim} finite numbers, as these vectors have.')
        self._block = max(1, BLOCK_BYTES // (dim * np.dtype(source.dtype).itemsize))
        digest = hashlib.sha256(f'{source.dtype.str} {rows} {dim} '.encode())
        total = np.zeros(dim)
        norms = np.empty(rows)
        # used again for each block: memory that the system gives and takes costs more than the arithmetic
        sum_and_rows, squares = np.empty((self._block + 1, dim)), np.empty((self._block, dim))
        wide = sum_and_rows[1:]
        with progress.stage('read', rows, 'vectors') as tick:
            for start, raw in self._blocks():
                digest.update(np.ascontiguousarray(raw).data)
                wide[: len(raw)] = raw
                if center and mean is None:
                    # float64 sums row after row in key order: the mean does not depend on the block size
                    sum_and_rows[0] = total
                    total = np.add.reduce(sum_and_rows[: len(raw) + 1], axis=0)
                norms[start : start + len(raw)] = _norm(wide[: len(raw)], squares)
                tick(len(raw))
            self._refuse(~np.isfinite(norms), 'hold NaN or infinity')
            self._refuse(norms == 0, 'are zero and have no direction')
            self.digest = digest.hexdigest()
            self._lost = np.zeros(rows, bool)
            if center and rows:
                self.mean = total / rows if mean is None else mean
                for start, raw in self._blocks():
                    stop = start + len(raw)
                    centred = _norm(np.subtract(raw, self.mean, out=wide[: len(raw)]), squares)
                    self._lost[start:stop] = centred <= NO_DIRECTION * norms[start:stop]
                    norms[start:stop] = centred
            self._norms = norms
            self._extra = bool(self._lost.any())
            self._unit = self._resident()

    def __getstate__(self) -> dict[str, Any]:
        # another process reads the raw vectors itself; keys only name those that were refused
        return {name: value for name, value in vars(self).items() if name not in ('_unit', '_keys')}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _keys=())
        self._unit = self._resident()

    def __len__(self) -> int:
        return self._source.shape[0]

    @property
    def dim(self) -> int:
        """Dimensions of what :meth:`read` returns: D, or D + 1 where centring left vectors without a direction."""
        return self._source.shape[1] + self._extra

    @property
    def resident(self) -> bool:
        """Whether unit vectors are in memory, to be had in any order."""
        return self._unit is not None

    @property
    def source(self) -> RowSource:
        """The raw vectors."""
        return self._source

    @property
    def center(self) -> bool:
        """Whether the mean is subtracted."""
        return self.mean is not None

    def read(self, rows: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Unit vectors, float32 [n, dim], C-contiguous."""
        if self._unit is not None:
            if isinstance(rows, np.ndarray) and is_run(rows):
                return self._unit[rows[0] : rows[-1] + 1]  # a view, no copy
            # np.take lets other threads run meanwhile, an index does not
            return np.ascontiguousarray(
                self._unit[rows] if isinstance(rows, slice) else np.take(self._unit, rows, axis=0)
            )
        index = row_numbers(rows, len(self))
        out = np.empty((len(index), self.dim), np.float32)
        for start in range(0, len(index), self._block):
            part = index[start : start + self._block]
            self._scale(self._source.read(part), part, out[start : start + len(part)])
        return out

    def _resident(self) -> NDArray[np.float32] | None:
        """All unit vectors, [N, dim], where they are few enough."""
        if not self._may_stay or len(self) * self.dim * 4 > RESIDENT_BYTES:
            return None
        unit = np.empty((len(self), self.dim), np.float32)
        for start, raw in self._blocks():
            self._scale(raw, np.arange(start, start + len(raw)), unit[start : start + len(raw)])
        return unit

    def _blocks(self) -> Any:
        for start in range(0, len(self), self._block):
            yield start, self._source.read(slice(start, min(start + self._block, len(self))))

    def _scale(self, raw: NDArray[Any], rows: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """Unit vectors of raw ones, which are these rows, into ``out``, float32 [n, dim]."""
        values = raw if self.mean is None else np.subtract(raw, self.mean, dtype=np.float64)
        lost = self._lost[rows]
        norms = np.where(lost, 1.0, self._norms[rows])[:, None]
        np.divide(values, norms, out=out[:, : raw.shape[1]], dtype=np.float64, casting='same_kind')
        if self._extra:
            # one more dimension, in which the vectors without a direction agree and the others are zero
            out[:, -1] = lost
            out[lost, :-1] = 0

    def _refuse(self, bad: NDArray[np.bool_], what: str) -> None:
        if bad.any():
            names = ', '.join(repr(str(self._keys[i])) for i in np.flatnonzero(bad)[:3].tolist())
            raise VectorError(
                f'{int(bad.sum())} of {len(bad)} vectors {what}, first {names}. '
                'Remove these images, or make their vectors again with an encoder that gives finite, non-zero ones.'
            )


def row_numbers(rows: NDArray[np.int64] | slice, count: int) -> NDArray[np.int64]:
    """The numbers of some of ``count`` rows; listing all of them first would take longer than reading a block."""
    return np.arange(*rows.indices(count)) if isinstance(rows, slice) else rows


def is_run(rows: NDArray[np.int64]) -> bool:
    """Whether rows follow each other one by one, so that a slice names them."""
    return len(rows) > 0 and int(rows[-1]) - int(rows[0]) == len(rows) - 1 and bool((np.diff(rows) == 1).all())


def _norm(values: NDArray[np.float64], squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The lengths of the rows; ``squares`` is a buffer of at least that size."""
    return np.sqrt(np.multiply(values, values, out=squares[: len(values)]).sum(axis=1))
