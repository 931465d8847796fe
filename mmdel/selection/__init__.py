"""Vectors to a ranking: which images stay first."""

from mmdel.selection.balanced_kmeans import BalancedKMeans
from mmdel.selection.baselines import EveryNth, RandomSelector
from mmdel.selection.clustering import FaissKMeans
from mmdel.selection.coverage import Coverage
from mmdel.selection.density_quota import DensityQuota
from mmdel.selection.from_file import FromFile
from mmdel.selection.k_center_greedy import KCenterGreedy
from mmdel.selection.kmeans_medoids import KMeansMedoids
from mmdel.selection.meddel import MedDEL
from mmdel.selection.selector import BaseSelector, Ranking
from mmdel.selection.semdedup import SemDeDup

__all__ = [
    'BalancedKMeans',
    'BaseSelector',
    'Coverage',
    'DensityQuota',
    'EveryNth',
    'FaissKMeans',
    'FromFile',
    'KCenterGreedy',
    'KMeansMedoids',
    'MedDEL',
    'RandomSelector',
    'Ranking',
    'SemDeDup',
]
