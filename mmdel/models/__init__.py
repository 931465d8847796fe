"""Model parts of mmdel."""
