"""Vectors to a ranking: which images are kept first."""

from mmdel.selection.balanced_kmeans import BalancedKMeans
from mmdel.selection.clustering import FaissKMeans
from mmdel.selection.methods.baselines import EveryNth, RandomSelector
from mmdel.selection.methods.coverage import Coverage
from mmdel.selection.methods.density_quota import DensityQuota
from mmdel.selection.methods.from_file import FromFile
from mmdel.selection.methods.group_quota import GroupQuota
from mmdel.selection.methods.k_center_greedy import KCenterGreedy
from mmdel.selection.methods.kmeans_medoids import KMeansMedoids
from mmdel.selection.methods.meddel import MedDEL
from mmdel.selection.methods.prob_cover import ProbCover
from mmdel.selection.methods.semdedup import SemDeDup
from mmdel.selection.methods.typiclust import TypiClust
from mmdel.selection.methods.zcore import ZCore
from mmdel.selection.order import Order, rank
from mmdel.selection.selector import BaseSelector, Ranking

__all__ = [
    'BalancedKMeans',
    'BaseSelector',
    'Coverage',
    'DensityQuota',
    'EveryNth',
    'FaissKMeans',
    'FromFile',
    'GroupQuota',
    'KCenterGreedy',
    'KMeansMedoids',
    'MedDEL',
    'Order',
    'ProbCover',
    'RandomSelector',
    'Ranking',
    'SemDeDup',
    'TypiClust',
    'ZCore',
    'rank',
]
