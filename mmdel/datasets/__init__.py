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
from mmdel.datasets.frames import LoadFrame
from mmdel.datasets.load_cached import LoadCached
from mmdel.datasets.masks import LoadMask
from mmdel.datasets.meddel_dataset import MedDELDataset

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
