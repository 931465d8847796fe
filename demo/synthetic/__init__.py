"""Synthetic endoscopy for demonstrations and tests, of which everything is known."""

from synthetic.demo_data import Truth, render_pool, render_segmentation, write_demo_data

__all__ = ['Truth', 'render_pool', 'render_segmentation', 'write_demo_data']
