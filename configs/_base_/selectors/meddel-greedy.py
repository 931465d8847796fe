# Only kept images remove others, so every removed image has a kept one above eta; --ratio solves eta.
_base_ = ['meddel.py']

selector = dict(rule='greedy')
