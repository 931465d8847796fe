"""ClassIoUMetric: mmseg's IoUMetric, with the IoU of each class among the values that are logged.

mmseg prints the classes as a table and logs their mean only, so that a curve of "polyp" alone cannot be drawn.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmdel.registry import METRICS

try:
    from mmseg.evaluation import IoUMetric
except Exception as error:  # a foreign mmcv ends mmseg's import with an AssertionError
    _reason = f'{type(error).__name__}: {error}'

    class IoUMetric:  # type: ignore[no-redef]
        """Stands in for mmseg's, so that the rest of this room is there without mmseg."""

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
        **kwargs: See ``mmseg.evaluation.IoUMetric``.

    Raises:
        ImportError: mmseg cannot be imported.
    """

    def compute_metrics(self, results: Sequence[Any]) -> dict[str, float]:
        """The means that mmseg returns, then the classes.

        Args:
            results (list): For each image intersection, union, predicted and labelled area, float [classes].
        """
        metrics = super().compute_metrics(results)
        if self.format_only:
            return metrics
        areas = [sum(area) for area in zip(*results, strict=True)]
        values = self.total_area_to_metrics(*areas, ['mIoU'], self.nan_to_num, self.beta)['IoU']
        for name, value in zip(self.dataset_meta['classes'], np.round(values * 100, 2), strict=True):
            if not np.isnan(value):
                metrics[f'IoU.{name}'] = round(float(value), 2)
        return metrics
