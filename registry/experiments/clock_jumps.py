"""What a clock that was put forward makes of ages: what began before that is younger than its times say. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Jump(NamedTuple):
    """A clock was put forward: what it should have said at that moment, and what it said."""

    before_ms: int
    after_ms: int


def began_until(now_ms: int, age_ms: int, jumps: Sequence[Jump]) -> int:
    """What began until then, by the clock of then, has this age at least; `jumps` are in their order."""
    until_ms = now_ms - age_ms
    for jump in reversed(jumps):
        if until_ms >= jump.after_ms:
            break
        until_ms = min(until_ms - (jump.after_ms - jump.before_ms), jump.before_ms)
    return until_ms
