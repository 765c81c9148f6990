"""Time that has passed, whatever is done to the clock meanwhile.

Rows have times of the wall clock, which people and daemons put forward and back. What a decision waits for (a step's
dwell, a unit's window, the pause after a failure) is counted by the monotonic clock from when the leader saw it first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from registry.db import now_ms
from registry.experiments.clock_jumps import Jump

log = logging.getLogger("switchyard.experiments")
LEAST_JUMP_MS = 2_000
"""A clock that is only corrected a little at a time stays below it between two looks."""


def monotonic_ms() -> int:
    """Milliseconds since some moment, never put back."""
    return time.monotonic_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class _Seen:
    began_ms: int
    age_ms: int
    at_ms: int
    """By the monotonic clock."""


@dataclass(slots=True)
class SteadyClock:
    """Of one term. Mutable; any thread may ask, and one looks. The two clocks are given by tests alone."""

    wall_ms: Callable[[], int] = now_ms
    steady_ms: Callable[[], int] = monotonic_ms
    jumps: list[Jump] = field(default_factory=list)
    """Forward ones since the term began."""
    _last: tuple[int, int] | None = None
    _seen: dict[Hashable, _Seen] = field(default_factory=dict)

    def look(self) -> None:
        """Notice whether the wall clock was put elsewhere since the last look."""
        wall, steady = self.wall_ms(), self.steady_ms()
        if self._last is not None:
            due = self._last[0] + steady - self._last[1]
            if abs(wall - due) >= LEAST_JUMP_MS:
                log.warning(
                    "the clock was put %+.1f s; experiments go on by the time that has passed", (wall - due) / 1e3
                )
                if wall > due:
                    self.jumps.append(Jump(due, wall))
        self._last = wall, steady

    def now_ms(self) -> int:
        """The wall clock, as it was at the last look, and the time that has passed since: what was done to it meanwhile
        is not known yet, and must not count.
        """
        return self.wall_ms() if self._last is None else self._last[0] + self.steady_ms() - self._last[1]

    def age_ms(self, what: Hashable, began_ms: int) -> int:
        """How long ago it began, by the time that has passed since it was asked for first; not negative."""
        seen = self._seen.get(what)
        if seen is None or seen.began_ms != began_ms:
            put_forward = sum(jump.after_ms - jump.before_ms for jump in self.jumps if began_ms <= jump.before_ms)
            age_ms = max(0, self.now_ms() - began_ms - put_forward)
            seen = self._seen[what] = _Seen(began_ms, age_ms, self.steady_ms())
        return seen.age_ms + self.steady_ms() - seen.at_ms
