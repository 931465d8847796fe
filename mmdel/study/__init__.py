"""Many subsets x pre-trainings x downstream sets: the comparison of selection methods, and the paper's tables and figures."""

from mmdel.study.plan import Plan, make_plan
from mmdel.study.results import Results, collect, read_results
from mmdel.study.study_config import Study, read_study

__all__ = ['Plan', 'Results', 'Study', 'collect', 'make_plan', 'read_results', 'read_study']
