# Both: only kept images remove others, wherever they lie.
_base_ = ['meddel.py']

selector = dict(rule='greedy', scope='global')
