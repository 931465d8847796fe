"""Many subsets x pre-trainings x downstream sets: the comparison of selection methods, and the paper's tables and figures."""

from mmdel.study.plan import Plan, make_plan
from mmdel.study.pools.drawing import GroupPool, ZipfPool
from mmdel.study.pools.evaluations import FeatureCoverage, LabelBudget, RareEvents
from mmdel.study.pools.pool_study import PoolStudy, read_pool_study, run_pool_study
from mmdel.study.pools.pretext import PretextLoss
from mmdel.study.results import Results, collect, read_results
from mmdel.study.study_config import Study, read_study

__all__ = [
    'FeatureCoverage', 'GroupPool', 'LabelBudget', 'Plan', 'PoolStudy', 'PretextLoss', 'RareEvents', 'Results', 'Study',
    'ZipfPool', 'collect', 'make_plan', 'read_pool_study', 'read_results', 'read_study', 'run_pool_study',
]  # fmt: skip
