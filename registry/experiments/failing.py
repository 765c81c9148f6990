"""Windows of time in which an arm fails most of its requests.

One failed request says nothing of a window, which has so many. And what comes in a window has one arm, so no chance has
parted its failures: that they are many is all that there is to see before other windows come. So a window has failed
when it has at least `LEAST_FAILED` failures, no fewer than answers, and they go on for `LASTS_S` or a third of it: what
fails is known sooner than what is answered, and an engine that stumbles for a moment is no arm's fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from registry.experiments.feed import Fed

LEAST_FAILED = 10
LASTS_S = 15.0
REMEMBERED = 8
"""Windows that are counted at once: attempts come late, but not that late."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Of one window: its attempts so far, and when the first that failed had begun."""

    attempts: int = 0
    failed: int = 0
    failing_since_ms: int | None = None

    def take(self, one: Fed) -> Tally:
        """With one attempt more."""
        if not one.failed:
            return replace(self, attempts=self.attempts + 1)
        since_ms = one.started_at_ms if self.failing_since_ms is None else self.failing_since_ms
        return Tally(self.attempts + 1, self.failed + 1, min(since_ms, one.started_at_ms))

    def has_failed(self, now_ms: int, window_ms: int) -> bool:
        """Whether the window has, by what had begun until then."""
        if self.failing_since_ms is None or self.failed < LEAST_FAILED or 2 * self.failed < self.attempts:
            return False
        return now_ms - self.failing_since_ms >= min(1000 * LASTS_S, window_ms / 3)


class Tallies:
    """Of the newest windows. Mutable."""

    def __init__(self, window_ms: int, known: Mapping[str, Tally]) -> None:
        """`known` is what an earlier one had in the end."""
        self.known = dict(known)
        self._window_ms = window_ms

    def fails(self, one: Fed) -> bool:
        """Count an attempt; whether its window has failed with it."""
        tally = self.known.pop(one.unit_hash, Tally()).take(one)
        self.known[one.unit_hash] = tally
        if len(self.known) > REMEMBERED:
            del self.known[next(iter(self.known))]
        return one.failed and tally.has_failed(one.started_at_ms, self._window_ms)
