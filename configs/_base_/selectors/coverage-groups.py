# As coverage; where the dataset tells patients or videos, each counts by the square root of how well it is covered.
_base_ = ['coverage.py']

selector = dict(concave='known')
