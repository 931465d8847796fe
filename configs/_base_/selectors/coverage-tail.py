# The images that are covered worst count more.
_base_ = ['coverage.py']

selector = dict(tail=3.0)
