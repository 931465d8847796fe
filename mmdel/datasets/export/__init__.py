"""A subset outside of mmdel: its images as plain files, and annotation files with its images only."""

from mmdel.datasets.export.annotations import filter_annotations
from mmdel.datasets.export.images import Exported, export_images, verify_export

__all__ = ['Exported', 'export_images', 'filter_annotations', 'verify_export']
