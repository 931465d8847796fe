"""Vectors to a ranking: which images stay first."""

from mmdel.selection.clustering import FaissKMeans
from mmdel.selection.meddel import MedDEL
from mmdel.selection.selector import BaseSelector, Ranking

__all__ = ['BaseSelector', 'FaissKMeans', 'MedDEL', 'Ranking']
