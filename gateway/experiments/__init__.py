"""Experiments: which version of an adapter is better, told from what its units came to."""
