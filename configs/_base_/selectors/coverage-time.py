# For video: frames that are near in time resemble each other too.
_base_ = ['coverage.py']

selector = dict(time=0.1, steps=10)
