"""What is asked for how much: exponential averages that decide how many homes an adapter has, and who loads first."""

from __future__ import annotations

import math
from collections.abc import Mapping

MEMORY_S = 10.0
"""Time constant: what happened so long ago counts 1/e."""
FORGET_BELOW = 0.001
_ROOM = 1024
"""So many versions at least are remembered before what has faded is looked for."""
COOLING = 0.5
"""A home is given up when half of what would ask for it is left, so that the number does not flutter."""


class Demand:
    """`per_home` is the mean number of requests in flight that one home of an adapter is meant to carry."""

    def __init__(self, per_home: float) -> None:
        self._per_home = per_home
        self._rate: dict[int, float] = {}
        self._busy: dict[int, float] = {}
        self.copies: dict[int, int] = {}
        """Version ids that should have more than one home, and how many."""

    def observe(self, uses: Mapping[int, int], in_flight: Mapping[int, int], elapsed_s: float) -> None:
        """Take in `uses` (requests begun in `elapsed_s`) and `in_flight` (now), both by version id."""
        fade = math.exp(-elapsed_s / MEMORY_S)
        _blend(self._rate, {version: number / elapsed_s for version, number in uses.items()}, fade)
        _blend(self._busy, in_flight, fade)
        self.copies = {version: wanted for version in self._busy if (wanted := self._homes_of(version)) > 1}

    def take_over(self, rates: Mapping[int, float]) -> None:
        """Take in what a worker has seen of late, as from `RecentUses.rates`: nothing new for who has heard it already,
        so a worker may come back as often as it likes. Of several workers the busiest counts, until they report.
        """
        for version, rate in rates.items():
            self._rate[version] = max(self._rate.get(version, 0.0), rate)

    def inherit(self, version: int, predecessor: int) -> None:
        """A version that will take another one's traffic is as hot as that one from its first request on."""
        for table in (self._rate, self._busy):
            if predecessor in table:
                table[version] = max(table.get(version, 0.0), table[predecessor])
        if predecessor in self.copies:
            self.copies[version] = max(self.copies[predecessor], self.copies.get(version, 1))

    def heat(self, version: int) -> float:
        """Requests a second, on average."""
        return self._rate.get(version, 0.0)

    def hottest(self) -> list[int]:
        """Version ids with traffic, the busiest first."""
        return sorted(self._rate, key=lambda version: -self._rate[version])

    def _homes_of(self, version: int) -> int:
        needed = self._busy[version] / self._per_home
        have = self.copies.get(version, 1)
        if needed > have:
            return math.ceil(needed)
        return max(1, min(have, math.ceil(needed / COOLING)))


class RecentUses:
    """Requests of a worker by version id, each counting less as it grows older, as in `Demand`."""

    def __init__(self) -> None:
        self._counts: dict[int, tuple[float, float]] = {}
        """Version id → its requests, faded, at such a `time.monotonic()`."""
        self._room = _ROOM

    def note(self, version: int, requests: int, now_s: float) -> None:
        """So many requests for a version have begun."""
        count, at_s = self._counts.get(version, (0.0, now_s))
        self._counts[version] = (count * math.exp((at_s - now_s) / MEMORY_S) + requests, now_s)
        if len(self._counts) > self._room:
            self._room = max(_ROOM, 2 * len(self.rates(now_s)))

    def rates(self, now_s: float) -> dict[int, float]:
        """Requests a second by version id. What has faded away is forgotten."""
        rates = {
            version: count * math.exp((at_s - now_s) / MEMORY_S) / MEMORY_S
            for version, (count, at_s) in self._counts.items()
        }
        found = {version: rate for version, rate in rates.items() if rate >= FORGET_BELOW}
        self._counts = {version: self._counts[version] for version in found}
        return found


def _blend(averages: dict[int, float], now: Mapping[int, float], fade: float) -> None:
    for version in averages.keys() | now.keys():
        value = fade * averages.get(version, 0.0) + (1 - fade) * now.get(version, 0.0)
        if value < FORGET_BELOW:
            averages.pop(version, None)
        else:
            averages[version] = value
