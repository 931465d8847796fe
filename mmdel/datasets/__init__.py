"""Which images exist, and which of them a dataset serves; the downstream sets come from :mod:`mmdel.datadel.catalog`."""

from mmdel.datasets.datadel import DataDEL
from mmdel.datasets.endoscopy_seg import DOWNSTREAM, EndoscopySegDataset
from mmdel.datasets.load_cached import LoadCached
from mmdel.datasets.meddel_dataset import MedDELDataset
from mmdel.images.frames import LoadFrame
from mmdel.images.masks import LoadMask

globals().update(DOWNSTREAM)

__all__ = [
    'DataDEL',
    'EndoscopySegDataset',
    'LoadCached',
    'LoadFrame',
    'LoadMask',
    'MedDELDataset',
    *DOWNSTREAM,
]
