"""What a worker counts until it has told the leader of it: rows of requests, and plain numbers by label."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from typing import NamedTuple

from gateway.metrics import families
from gateway.metrics.counts import CountedRow, Tallies
from gateway.metrics.families import Family
from gateway.metrics.layout import LONG_S
from gateway.metrics.rows import Rows


class Taken(NamedTuple):
    """What was counted since the last time."""

    rows: tuple[CountedRow, ...]
    tallies: Tallies
    waits: dict[str, tuple[float, ...]]
    """Cause → a histogram: its sum, and a count for each bucket."""


class Metrics(Rows):
    """Of one worker, for one thread."""

    def __init__(self) -> None:
        super().__init__()
        self._tallies = _tallies()
        self._waits: dict[str, list[float]] = {}
        self.sampled: Counter[str] = Counter()
        """Answers that were to be looked at, by what became of them; who counts them raises it."""

    def refused(self, reason: str) -> None:
        """Count one request that was refused before an engine was asked."""
        self.add(families.REFUSALS, (reason,))

    def slowed(self) -> None:
        """Count one refusal that is told late."""
        self.add(families.SLOWED, ())

    def copied(self, result: str) -> None:
        """Count one request that was to be copied to a candidate."""
        self.add(families.COPIES, (result,))

    def restarted(self, work: str) -> None:
        """Count one end of a work in the background."""
        self.add(families.RESTARTS, (work,))

    def add(self, family: Family, labels: tuple[str, ...], count: float = 1) -> None:
        """Count some more of a counter."""
        self._tallies[family.name][labels] += count

    def waited(self, cause: str, seconds: float) -> None:
        """A request has waited for something in the gateway."""
        times = self._waits.get(cause)
        if times is None:
            times = self._waits[cause] = [0.0] * (len(LONG_S) + 2)
        times[0] += seconds
        times[1 + bisect_left(LONG_S, seconds)] += 1

    def take(self) -> Taken:
        """What is new since the last time."""
        for became, count in self.sampled.items():
            self.add(families.SAMPLED, (became,), count)
        self.sampled.clear()
        tallies, self._tallies = self._tallies, _tallies()
        waits, self._waits = self._waits, {}
        return Taken(
            self.take_rows(),
            {name: tuple(counts.items()) for name, counts in tallies.items()},
            {cause: tuple(times) for cause, times in waits.items()},
        )


def _tallies() -> defaultdict[str, defaultdict[tuple[str, ...], float]]:
    """By family and labels; what was not counted yet is 0."""
    return defaultdict(lambda: defaultdict(float))
