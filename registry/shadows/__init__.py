"""Shadows: a candidate version gets copies of an alias's requests, and what came of both is kept as pairs."""
