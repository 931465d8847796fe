"""Tiny image folders, and subset files made for them."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from mmdel.subset import Subset


@pytest.fixture
def make_images() -> Callable[..., Path]:
    """``make_images(folder, names)`` writes a 4 x 4 image under each name; its grey level is its position in ``names``."""

    def make(folder: Path, names: Iterable[str]) -> Path:
        for level, name in enumerate(names):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            encoded = cv2.imencode(os.path.splitext(name)[1].lower() or '.png', np.full((4, 4, 3), level, np.uint8))[1]
            path.write_bytes(encoded.tobytes())
        return folder

    return make


@pytest.fixture
def write_subset(tmp_path: Path) -> Callable[..., str]:
    """``write_subset(kept, dropped)`` writes a subset file with these keys and gives its path."""

    def write(
        kept: Iterable[str], dropped: Iterable[str] = (), unreadable: Iterable[str] = (), name: str = 'subset.parquet'
    ) -> str:
        kept, dropped = list(kept), list(dropped)
        redundancy = [0.1] * len(kept) + [0.95] * len(dropped)
        columns = {
            'image': pa.array(kept + dropped, pa.string()),
            'rank': pa.array(range(len(kept) + len(dropped)), pa.int64()),
            'redundancy': pa.array(redundancy, pa.float32()),
        }
        whole = Subset.from_ranking(pa.table(columns), {}, tuple((key, 'empty') for key in unreadable))
        path = tmp_path / 'subsets' / name
        whole.at(eta=0.5).write(path)
        return str(path)

    return write
