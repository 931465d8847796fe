"""Equally many images from every group, chosen in it by another method."""

from typing import Any

import numpy as np
import pyarrow as pa

from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import Vectors
from mmdel.errors import ConfigError
from mmdel.registry import SELECTORS
from mmdel.selection.selector import BaseSelector, Ranking, build_selector, ranking_of
from mmdel.selection.strata import STRATA, groups_by


@SELECTORS.register_module()
class GroupQuota(BaseSelector):
    """The best of every group, then the second of every group, and so on, each time in the order of the inner ranking.

    Args:
        group (str): 'label', 'source', 'patient', 'video' (folder, where no video is known), 'centre' or 'folder'. Defaults to
            'video'.
        selector (dict, optional): Config of the method that ranks. Defaults to None (``dict(type='mmdel.Coverage')``).

    Raises:
        ConfigError: There is no such group, or the method ranks for one size only.
    """

    def __init__(self, group: str = 'video', selector: dict[str, Any] | None = None) -> None:
        if group not in STRATA:
            raise ConfigError(f'group must be one of {", ".join(STRATA)}, got {group!r}.')
        self.group = group
        self.selector = build_selector(dict(selector or dict(type='mmdel.Coverage')))
        if self.selector.recut == 'none':
            raise ConfigError(
                f'GroupQuota needs a ranking for every size, and {type(self.selector).__name__} has none.'
            )

    def rank(self, vectors: Vectors, table: pa.Table, size: int | None = None, progress: Stages = SILENT) -> Ranking:
        inner = self.selector.rank(vectors, table, None, progress).rank
        turn = np.empty(len(vectors), np.int64)
        for rows in groups_by(table, self.group):
            turn[rows[np.argsort(inner[rows])]] = np.arange(len(rows))
        return ranking_of(np.lexsort((inner, turn)))
