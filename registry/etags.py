"""Compare-and-swap for whoever read something first: an etag names a state, and a write may insist on one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection

from registry.errors import Stale

NOTHING = "none"
"""The etag of what does not exist."""


def etag_of(*values: object) -> str:
    """A short name of a state; the same values have the same one."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def alias_etag(moves: int) -> str:
    """An alias is named by how often it has moved, which is what its own compare-and-swap is on; 0: there is none."""
    return str(moves) if moves else NOTHING


def require_match(etag: str, expected: Collection[str] | None, what: str) -> None:
    """Raise `Stale` unless `etag` is one of the expected ones; `*` is whatever exists, and `None` anything."""
    if expected is not None and etag not in expected and not ("*" in expected and etag != NOTHING):
        raise Stale(f"{what} is not as it was read any more; read it again, and decide again", param="if-match")
