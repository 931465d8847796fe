# Every video counts by the square root of how well it is covered: frequent ones do not crowd out rare ones.
_base_ = ['coverage.py']

selector = dict(concave='video')
