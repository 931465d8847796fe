"""Which images exist, and which of them a dataset serves."""

from mmdel.datasets.datadel import DataDEL
from mmdel.datasets.frames import LoadFrame
from mmdel.datasets.meddel_dataset import MedDELDataset

__all__ = ['DataDEL', 'LoadFrame', 'MedDELDataset']
