# All pairs are compared, not only those inside a cluster.
_base_ = ['meddel.py']

selector = dict(scope='global')
