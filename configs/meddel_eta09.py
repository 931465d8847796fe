_base_ = ['_base_/meddel.py']

selector = dict(eta=0.9)
