"""NormDEL: how good a model is, weighed against how much data it took."""

from mmdel.evaluation.class_iou_metric import ClassIoUMetric
from mmdel.evaluation.normdel import AlphaSweep, Swap, alpha_sweep, as_fraction, del_score, normdel, swap_alpha
from mmdel.evaluation.normdel_evaluator import NormDELEvaluator, read_retention

__all__ = [
    'AlphaSweep',
    'ClassIoUMetric',
    'NormDELEvaluator',
    'Swap',
    'alpha_sweep',
    'as_fraction',
    'del_score',
    'normdel',
    'read_retention',
    'swap_alpha',
]
