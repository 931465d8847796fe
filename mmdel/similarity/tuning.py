"""What decides how fast a search is, and never what it finds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """Where, in which sizes and from which thresholds on; measured on vectors of 384 to 768 numbers and two to four cores."""

    threads: int | None = None  # None: all cores of each process
    device: str = 'cpu'  # where products are made: 'cpu', or a CUDA device of torch, without pruning
    tile_rows: int = 1024  # rows of a product, where nothing else decides, and vectors read at a time
    tile_columns: int = 1024  # columns of a product: the tile stays in the cache for the maximum
    diagonal_columns: int = 128  # the same along the diagonal of a triangle, where half of a product is thrown away
    whole_rows: int = 1536  # groups of up to so many rows are multiplied as a whole, small ones several at a time
    candidates: int = 256  # a row with more of them is searched again by float64 products
    units: int = 32  # work units that a large comparison is cut into, about
    least_rows: int = 1024  # of a work unit of a large comparison
    most_rows: int = 4096
    shared: int = 1 << 34  # multiplications, a second of a core, from which on other processes are asked to help
    window_bytes: int = 64 << 20  # fewer columns are copied into memory; of more in a file so many are read at a time
    prune_numbers: int = 3 << 20  # columns times dimensions from which on pruning is tried: fewer take less time
    prune_dimensions: int = 192  # vectors of fewer dimensions are not pruned: little is left to save
    prune_most: int = 4 << 20  # nor are more columns: their projections would take gigabytes
    prune_left: float = 0.4  # part of all products beyond which pruning is given up
    dimensions: int = 29  # of the projection; three more numbers stand beside them
    cell: int = 64  # columns that a cell of similar ones has on average, where there are not too many cells
    call: int = 8192  # a further multiplication takes as long as so many products


_default = Tuning()


def default_tuning() -> Tuning:
    """What a search is tuned by that is not told otherwise."""
    return _default


@contextmanager
def tuned(tuning: Tuning) -> Iterator[None]:
    """Tune the searches inside that are not told otherwise; not for several threads at a time."""
    global _default
    before, _default = _default, tuning
    try:
        yield
    finally:
        _default = before
