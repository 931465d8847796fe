"""NormDEL: how good a model is, weighed against how much data it took."""
