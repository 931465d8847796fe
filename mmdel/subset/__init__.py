"""The contract between choosing and training: one table, one row per image, saying whether it stays and why.

    subset = Subset.read('work_dirs/meddel_eta08/subset.parquet')
    subset.images[subset.keep]      # what stays
    subset.at(ratio=0.05)           # another cut of the same ranking

What stands before it in the flow only writes it, what stands after it only reads it, and neither imports the other.
"""

from mmdel.subset.columns import COLUMNS, SCHEMA
from mmdel.subset.subset import (
    REASONS,
    RECUTS,
    UPDATE,
    VIDEO_FRAME,
    EtaInterval,
    Subset,
    check_eta,
    effective_eta,
    is_frame,
    set_column,
    size_at,
)

__all__ = [
    'COLUMNS',
    'REASONS',
    'RECUTS',
    'SCHEMA',
    'UPDATE',
    'VIDEO_FRAME',
    'EtaInterval',
    'Subset',
    'check_eta',
    'effective_eta',
    'is_frame',
    'set_column',
    'size_at',
]
