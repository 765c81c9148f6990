"""How many of an engine's seats are kept for tenants that have less than their share. Pure."""

from __future__ import annotations

FEWEST = 4
"""An engine that runs fewer at a time keeps none: one of three would be a third."""


def kept(most: int, share: float) -> int:
    """Of `most` seats; `share` is a part of 1."""
    return max(1, int(most * share)) if share and most >= FEWEST else 0
