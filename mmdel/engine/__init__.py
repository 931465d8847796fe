"""From a config to a subset on disk."""

from mmdel.engine.dedup_runner import DedupRunner

__all__ = ['DedupRunner']
