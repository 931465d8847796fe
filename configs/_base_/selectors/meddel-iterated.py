# The paper's loop: clusters are fitted again to the survivors, three times at most.
_base_ = ['meddel.py']

selector = dict(max_iterations=3)
