"""ClassIoUMetric: mmseg's IoUMetric that also logs the IoU of each class.

mmseg prints the classes as a table and logs their mean only, so that a curve of "polyp" alone cannot be drawn. It also forgets
which image had which overlap; ``per_image`` keeps that, for comparisons image by image:

    test_evaluator = dict(type='mmdel.ClassIoUMetric', iou_metrics=['mIoU'], per_image='work_dirs/run/per_image.csv')
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdel.compute.files import csv_text, write_text
from mmdel.registry import METRICS

PER_IMAGE = ('image', 'class', 'intersection', 'union')
"""Columns of the ``per_image`` file: the path below the folder that all images share, a class, and pixels."""

try:
    from mmseg.evaluation import IoUMetric
except Exception as error:  # a foreign mmcv ends mmseg's import with an AssertionError
    _reason = f'{type(error).__name__}: {error}'

    class IoUMetric:  # type: ignore[no-redef]
        """Stands in for mmseg's, so that the rest of this package works without mmseg."""

        def __init__(self, **kwargs: Any) -> None:
            raise ImportError(
                f'mmdel.ClassIoUMetric needs mmseg, which cannot be imported here ({_reason}). The stack that '
                "works without compiled operators is pip install 'mmdel[onedl]'; upstream mmsegmentation needs the full mmcv."
            )


@METRICS.register_module()
class ClassIoUMetric(IoUMetric):
    """mmseg's ``IoUMetric`` plus one value a class, ``IoU.<class name>``, in percent and rounded as mmseg does.

    A class that neither labels nor predictions contain has no IoU. mmseg's mean skips it; it is left out here, because a
    log in JSON cannot hold NaN. With ``nan_to_num`` it is there, as 100 times that number, just as it is in the mean.

    Args:
        per_image (str, optional): A CSV file that gets the columns :data:`PER_IMAGE`, one row an image and class, sorted.
            Defaults to None.
        **kwargs: See ``mmseg.evaluation.IoUMetric``.

    Raises:
        ImportError: mmseg cannot be imported.
    """

    def __init__(self, *, per_image: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.per_image = per_image

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Measure one batch; with ``per_image`` each image's areas carry its path, through the gathering of processes too."""
        before = len(self.results)
        super().process(data_batch, data_samples)
        if self.per_image is not None:
            new = zip(self.results[before:], data_samples, strict=True)
            self.results[before:] = [(*areas, sample['img_path']) for areas, sample in new]

    def compute_metrics(self, results: Sequence[Any]) -> dict[str, float]:
        """The means that mmseg returns, then the classes.

        Args:
            results (list): For each image intersection, union, predicted and labelled area, float [classes].
        """
        if self.per_image is not None and not self.format_only:
            *columns, paths = zip(*results, strict=True)
            self._write(columns[0], columns[1], paths)
            results = list(zip(*columns, strict=True))
        metrics = super().compute_metrics(results)
        if self.format_only:
            return metrics
        areas = [sum(area) for area in zip(*results, strict=True)]
        values = self.total_area_to_metrics(*areas, ['mIoU'], self.nan_to_num, self.beta)['IoU']
        for name, value in zip(self.dataset_meta['classes'], np.round(values * 100, 2), strict=True):
            if not np.isnan(value):
                metrics[f'IoU.{name}'] = round(float(value), 2)
        return metrics

    def _write(self, intersections: Sequence[Any], unions: Sequence[Any], paths: Sequence[str]) -> None:
        """Write ``per_image``."""
        shared = os.path.commonpath([os.path.dirname(path) or '.' for path in paths])
        rows = []
        for path, both, either in zip(paths, intersections, unions, strict=True):
            image = Path(os.path.relpath(path, shared)).as_posix()
            numbers = zip(self.dataset_meta['classes'], both.tolist(), either.tolist(), strict=True)
            rows += [(image, name, int(shares), int(covers)) for name, shares, covers in numbers]
        write_text(self.per_image, csv_text([PER_IMAGE, *sorted(rows)]))  # type: ignore[arg-type]
