"""A subset for other programs: its images as plain files, filtered annotation files, its decisions in other formats."""

from mmdel.export.annotations import filter_annotations
from mmdel.export.decisions import export_coco, export_csv, export_fiftyone, read_csv
from mmdel.export.images import Exported, export_images, verify_export

__all__ = [
    'Exported',
    'export_coco',
    'export_csv',
    'export_fiftyone',
    'export_images',
    'filter_annotations',
    'read_csv',
    'verify_export',
]
