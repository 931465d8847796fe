"""Fast products that propose, each with a proven bound on how far it is from the cosine.

    proposer = LowPrecision(sample, 'cpu')               # or Float32()
    columns = proposer.prepare(y)
    rows = proposer.rows(proposer.prepare(x))
    tile = proposer.tile(rows, columns)
    tile.highest()                                       # of each row; cosine = rows.offset + tile, within
    proposer.bound(rows, columns)                        # this, and the rounding of the output

A proposer never decides anything: what it may have got wrong is settled by the canonical number.

:class:`LowPrecision` multiplies u = x - m instead of x, for a mean m of the vectors:

    x.y = u.v + s(x) + s(y) + |m|**2    with  s(x) = m.x - |m|**2

which holds for any m. Its error grows with |u||v|, so features that all point in about one direction (raw features of a
network, the members of one cluster) lose little where they would be indistinguishable otherwise. s is multiplied along as three
more columns, each holding what the one before has lost. Any number may be taken off s(x), a row at a time: where it is the best
cosine so far, products of interest are near zero, and bfloat16 rounds these finely.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mmdel.errors import ConfigError
from mmdel.selection.product_tiles import ArrayTile, BFloat16Tile, Tile, TorchTile, scratch

PRECISIONS = ('auto', 'float32', 'bfloat16')

CANDIDATES = 16
"""Rows with more float32 candidates than this in one tile are settled by float64 products, not pair by pair."""

LOW_CANDIDATES = 256
"""Rows with more low-precision candidates than this in one tile are compared again in float32."""

AIM = 2.0**-10
"""Where a product of interest lies when its row has been aimed: above zero, so that it is told from the rest by its sign."""

ROUND = 128
"""Low-precision products have multiples of so many rows and columns: for each new shape the library compiles code, keeps it, and
takes longer for that than for a small product."""

PREPARED_ROWS = 64
"""Rows prepared at a time: what stays in the cache of a core."""

SLACK = 2.0**-20
"""Covers what is small everywhere: unit vectors in float32 are longer than 1 by a few units in the last place, the canonical
number is rounded to float32, so are thresholds and differences to the mean, and three columns hold s(x) to 24 binary digits."""


def float32_margin(dim: int) -> np.float32:
    """How far below a row's best float32 product its best canonical column can lie, for unit vectors of ``dim`` dimensions.

    A float32 dot product in any order errs by at most g = D u / (1 - D u) times |x||y|, u = 2**-24 (Higham, Accuracy and
    Stability of Numerical Algorithms, 3.1); two products, so twice that. Rounding to float32 makes ties of columns one ulp
    apart, and unit vectors stored in float32 are longer than 1 by a few ulps: both are covered by the added 2**-21.
    """
    unit = dim * 2.0**-24
    return np.float32(2.02 * unit / (1 - unit) + 2.0**-21)


def float64_margin(dim: int) -> float:
    """The same bound for one float64 product against the canonical float64 sum: both err, so twice g with u = 2**-53."""
    return 2.02 * dim * 2.0**-53


@dataclass(frozen=True)
class Prepared:
    """Vectors in the form that a proposer multiplies.

    Args:
        data: [n, columns], an array or a tensor.
        error (NDArray[np.float64]): [n], |u - what data holds of it|.
        length (NDArray[np.float64]): [n], |u|.
        shift (NDArray[np.float64]): [n], s(x), of rows with what they are aimed at taken off.
        offset (NDArray[np.float64]): [n], of rows: what is added to a product to get the cosine.
    """

    data: Any
    error: NDArray[np.float64]
    length: NDArray[np.float64]
    shift: NDArray[np.float64]
    offset: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.error)

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> 'Prepared':
        if isinstance(rows, slice):
            data = self.data[rows]
        elif isinstance(self.data, np.ndarray):
            data = np.take(self.data, rows, axis=0)  # lets other threads run meanwhile, an index does not
        else:
            # numbers behind them in memory, as :func:`_rounded_up` needs
            padded = np.pad(rows, (0, -len(rows) % ROUND), mode='edge')
            data = self.data.index_select(0, torch.from_numpy(padded).to(self.data.device))[: len(rows)]
        return Prepared(data, self.error[rows], self.length[rows], self.shift[rows], self.offset[rows])

    def __setitem__(self, rows: slice, other: 'Prepared') -> None:
        self.data[rows] = other.data
        self.error[rows], self.length[rows] = other.error, other.length
        self.shift[rows], self.offset[rows] = other.shift, other.offset

    def room(self, size: int) -> 'Prepared':
        """For so many vectors like these, to be filled; their data are a tensor."""
        data = _padded(size, self.data.shape[1], self.data.dtype, self.data.device)
        return Prepared(data, *np.empty((4, size)))


class Proposer(Protocol):
    """A fast product."""

    @property
    def candidates(self) -> int:
        """Up to so many cells of a row are settled one by one in one tile."""

    def prepare(self, unit: NDArray[np.float32]) -> Prepared:
        """Unit vectors [n, D], to be columns of a product."""

    def rows(self, prepared: Prepared) -> Prepared:
        """A copy of prepared vectors, to be rows of a product."""

    def aim(self, rows: Prepared, cosine: NDArray[np.float64]) -> None:
        """Let products be precise where they are near a cosine of each row, [n]; where it is infinite, leave the row as it is."""

    def tile(self, rows: Prepared, columns: Prepared) -> Tile:
        """The products. A tile is gone when the same thread makes the next one."""

    def bound(self, rows: Prepared, columns: Prepared) -> NDArray[np.float64]:
        """How far from the cosine less the offset a product of each row may be before the output is rounded, [rows]."""

    def least(self, value: NDArray[np.float32]) -> NDArray[np.float64]:
        """The smallest number that the output may have been before it was rounded."""

    def most(self, value: NDArray[np.float32]) -> NDArray[np.float64]:
        """The largest number that it may have been."""

    def rounded_down(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """At most any output of a number that is at least ``value``."""


class Float32:
    """float32 products by NumPy."""

    @property
    def candidates(self) -> int:
        return CANDIDATES

    def prepare(self, unit: NDArray[np.float32]) -> Prepared:
        nothing = np.zeros(len(unit))
        return Prepared(unit, nothing, nothing, nothing, nothing)

    def rows(self, prepared: Prepared) -> Prepared:
        return prepared

    def aim(self, rows: Prepared, cosine: NDArray[np.float64]) -> None:
        pass

    def tile(self, rows: Prepared, columns: Prepared) -> ArrayTile:
        out = scratch('float32', len(rows.data), len(columns.data), lambda size: np.empty(size, np.float32))
        return ArrayTile(np.matmul(rows.data, columns.data.T, out=out))

    def bound(self, rows: Prepared, columns: Prepared) -> NDArray[np.float64]:
        return np.full(len(rows.data), float(float32_margin(rows.data.shape[1])) / 2)

    def least(self, value: NDArray[np.float32]) -> NDArray[np.float64]:
        return value.astype(np.float64)

    def most(self, value: NDArray[np.float32]) -> NDArray[np.float64]:
        return value.astype(np.float64)

    def rounded_down(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return value - 2.0**-23


class LowPrecision:
    """bfloat16 products on the CPU, float16 ones with float32 output on CUDA.

    The products of the rounded factors differ from u.v by at most |u||v - v'| + |u - u'||v| + |u - u'||v - v'|, computed from
    the vectors, and from what the machine returns by the rounding of K additions in float32 (Higham, as above; twice, because
    matrix units may truncate) and of the output. Outputs are rounded monotonically: a product is at least t only if its output
    is at least t rounded down.

    Args:
        sample (NDArray[np.float32]): [n, D], unit vectors like those that will be compared; only speed depends on them.
        device (str): 'cpu' or a CUDA device of torch. Defaults to 'cpu'.
    """

    def __init__(self, sample: NDArray[np.float32], device: str = 'cpu') -> None:
        self._device = device
        self._cuda = device != 'cpu'
        self._dtype = torch.float16 if self._cuda else torch.bfloat16
        mean = sample.mean(axis=0, dtype=np.float64) if len(sample) else np.zeros(sample.shape[1])
        self._mean = mean.astype(np.float32)
        self._square = float((self._mean.astype(np.float64) ** 2).sum())

    @property
    def candidates(self) -> int:
        return LOW_CANDIDATES

    def prepare(self, unit: NDArray[np.float32]) -> Prepared:
        size, dim = unit.shape
        low = _padded(size, dim + 6, self._dtype)
        error, length, shift = np.empty((3, size))
        mean = self._mean.astype(np.float64)
        for start in range(0, size, PREPARED_ROWS):
            part = slice(start, start + PREPARED_ROWS)
            shift[part] = unit[part].astype(np.float64) @ mean - self._square
            exact = unit[part] - self._mean
            low[part, :dim] = torch.from_numpy(exact)
            lost = exact - low[part, :dim].float().numpy()
            length[part] = np.einsum('ij,ij->i', exact, exact)
            error[part] = np.einsum('ij,ij->i', lost, lost)
        low[:, dim : dim + 3] = 1.0
        self._split(shift, low[:, dim + 3 :])
        # sums of D squares in float32 err by less than D units in the last place
        safe = 1 + dim * 2.0**-23
        length, error = np.sqrt(length) * safe, np.sqrt(error) * safe
        return Prepared(low.to(self._device), error, length, shift, np.full(size, self._square))

    def rows(self, prepared: Prepared) -> Prepared:
        data = _padded(len(prepared), prepared.data.shape[1], self._dtype, self._device).copy_(prepared.data)
        data[:, -6:-3], data[:, -3:] = prepared.data[:, -3:], prepared.data[:, -6:-3]
        return Prepared(data, prepared.error, prepared.length, prepared.shift.copy(), prepared.offset.copy())

    def aim(self, rows: Prepared, cosine: NDArray[np.float64]) -> None:
        offset = np.where(np.isfinite(cosine), cosine - AIM, rows.offset)
        rows.shift[:] += rows.offset - offset
        rows.offset[:] = offset
        self._split(rows.shift, rows.data[:, -6:-3])

    def _split(self, value: NDArray[np.float64], columns: Any) -> None:
        rest = torch.from_numpy(value.copy())
        for column in range(3):
            low = rest.to(self._dtype)
            columns[:, column] = low
            rest -= low.double()

    def tile(self, rows: Prepared, columns: Prepared) -> BFloat16Tile | TorchTile:
        if self._cuda:
            return TorchTile(torch.mm(rows.data, columns.data.T, out_dtype=torch.float32))
        left, right = _rounded_up(rows.data), _rounded_up(columns.data)
        out = scratch('bfloat16', len(left), len(right), lambda size: torch.empty(size, dtype=torch.bfloat16))
        torch.mm(left, right.T, out=out)
        return BFloat16Tile(out.view(torch.int16).numpy()[: len(rows.data), : len(columns.data)])

    def bound(self, rows: Prepared, columns: Prepared) -> NDArray[np.float64]:
        if not len(columns.error):
            return np.zeros(len(rows.error))
        error, length, shift = columns.error.max(), columns.length.max(), np.abs(columns.shift).max()
        terms = rows.data.shape[1] + 1
        sums = (rows.length + rows.error) * (length + error) + 1.01 * (np.abs(rows.shift) + shift)
        rounding = 2 * terms * 2.0**-24 / (1 - terms * 2.0**-24)
        products = rows.error * length + rows.length * error
        return products + rows.error * error + rounding * sums + SLACK

    def least(self, value: NDArray[np.float32]) -> NDArray[np.float64]:
        return value.astype(np.float64) - self._rounding(value)

    def most(self, value: NDArray[np.float32]) -> NDArray[np.float64]:
        return value.astype(np.float64) + self._rounding(value)

    def _rounding(self, value: NDArray[np.float32]) -> Any:
        if self._cuda:
            return 0.0
        finite = np.where(np.isfinite(value), value, np.float32(0))
        # half a unit in the last of 8 binary digits
        return np.ldexp(1.0, np.frexp(finite)[1] - 9)

    def rounded_down(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        unit = 2.0**-23 if self._cuda else np.ldexp(1.0, np.frexp(value)[1] - 8)
        return np.asarray(value - unit)


def check_precision(precision: str, device: str = 'cpu') -> None:
    """Refuse what cannot be had, before anything long starts.

    Raises:
        ConfigError: There is no such precision, this processor has no bfloat16 products, or torch has no such device.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f'precision must be one of {", ".join(PRECISIONS)}, got {precision!r}.')
    if device == 'cpu':
        if precision == 'bfloat16' and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            raise ConfigError("This processor has no bfloat16 products. Use precision='auto' or 'float32'.")
    elif not device.startswith('cuda') or not torch.cuda.is_available():
        raise ConfigError(f"device must be 'cpu' or a CUDA device that torch can use, got {device!r}.")


def has_fast_bfloat16() -> bool:
    """Whether bfloat16 products are faster than float32 ones here: the processor has instructions for them, torch uses these."""
    capabilities: dict[str, Any] = getattr(torch.cpu, 'get_capabilities', dict)()
    native = capabilities.get('avx512_bf16', False) or capabilities.get('amx_bf16', False)
    return bool(native and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _padded(size: int, columns: int, dtype: torch.dtype, device: Any = 'cpu') -> torch.Tensor:
    """Room for so many rows, with finite numbers behind them in memory."""
    whole = torch.empty((size + ROUND - 1, columns), dtype=dtype, device=device)
    whole[size:] = 0
    return whole[:size]


def _rounded_up(data: torch.Tensor) -> torch.Tensor:
    """The rows and as many of those behind them in memory as make a multiple of :data:`ROUND`."""
    return data.as_strided((-(-len(data) // ROUND) * ROUND, data.shape[1]), data.stride())
