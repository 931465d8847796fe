"""Long columns in blocks, so that few of millions of rows are Python objects at once.

for path in values(table['path']):
    ...
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import pyarrow as pa

BLOCK = 65_536
"""Rows of a block."""

Item = TypeVar('Item')


def blocks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """The items in lists of :data:`BLOCK`; the last one may be shorter."""
    stream = iter(items)
    while block := list(itertools.islice(stream, BLOCK)):
        yield block


def values(column: pa.Array | pa.ChunkedArray) -> Iterator[Any]:
    """The values of a column as Python objects."""
    for start in range(0, len(column), BLOCK):
        yield from column[start : start + BLOCK].to_pylist()


def give_back() -> None:
    """Return to the system what Arrow has let go of: it keeps that for itself, and nobody else can use it."""
    pa.default_memory_pool().release_unused()
