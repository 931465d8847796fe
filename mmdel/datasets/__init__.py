"""Which images exist, and which of them a dataset serves."""

from mmdel.datasets.datadel import DataDEL
from mmdel.datasets.endoscopy_seg import (
    CVC300Dataset,
    CVCClinicDBDataset,
    CVCColonDBDataset,
    EAD2019Dataset,
    EDD2020Dataset,
    EndoscopySegDataset,
    ETISDataset,
    ImageCLEFmedDataset,
    KvasirInstrumentDataset,
    KvasirSEGDataset,
    KvasirSessileDataset,
    PolypGenDataset,
)
from mmdel.datasets.load_cached import LoadCached
from mmdel.datasets.meddel_dataset import MedDELDataset
from mmdel.images.frames import LoadFrame
from mmdel.images.masks import LoadMask

__all__ = [
    'CVC300Dataset',
    'CVCClinicDBDataset',
    'CVCColonDBDataset',
    'DataDEL',
    'EAD2019Dataset',
    'EDD2020Dataset',
    'ETISDataset',
    'EndoscopySegDataset',
    'ImageCLEFmedDataset',
    'KvasirInstrumentDataset',
    'KvasirSEGDataset',
    'KvasirSessileDataset',
    'LoadCached',
    'LoadFrame',
    'LoadMask',
    'MedDELDataset',
    'PolypGenDataset',
]
