"""Model parts of mmdel."""

from mmdel.models.mlp_head import MLPHead

__all__ = ['MLPHead']
