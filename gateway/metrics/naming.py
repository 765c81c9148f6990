"""Which tenants or models have a name in metrics. There may be any number of them, and each name is some series."""

from __future__ import annotations

from collections.abc import Collection, Iterable

OTHER = "_other"
"""What all have that have no name of their own. Names of tenants and models do not begin so."""
MOST_WATCHED = 10_000
RESHUFFLE_S = 60.0
KEPT = 0.5
"""What is left after a reshuffle of what was counted before it: two minutes ago counts a quarter."""
CLEARLY = 2.0
"""A name changes hands only to what had so many times as many requests: series that come and go say little."""


class Names:
    """At most `most` names beside the `fixed` ones, for those who have the most requests."""

    def __init__(self, fixed: Collection[str], most: int) -> None:
        self.fixed = frozenset(fixed)
        self._most = most
        self._named: dict[str, float] = {}
        """Name → requests lately."""
        self._watched: dict[str, float] = {}
        """Likewise, of those without."""
        self._reshuffled_s: float | None = None
        self.dropped = 0
        """Requests that were counted as `_other`."""

    def named(self, name: str, requests: float = 0) -> str:
        """The name that is shown, `_other` when it has none; its requests are counted. Nobody's ("") is nobody's."""
        if not name:
            return name
        if name in self.fixed:
            return name
        if name in self._named:
            self._named[name] += requests
            return name
        if len(self._named) < self._most:
            self._named[name] = requests
            return name
        if name in self._watched or len(self._watched) < MOST_WATCHED:
            self._watched[name] = self._watched.get(name, 0) + requests
        self.dropped += int(requests)
        return OTHER

    def has(self, name: str) -> bool:
        """Whether it has a name, or would get one with its first request."""
        return name in self.fixed or name in self._named or len(self._named) < self._most

    def all(self) -> list[str]:
        """Every name, but `_other`."""
        return sorted({*self.fixed, *self._named})

    def reshuffle(self, now_s: float) -> Iterable[str]:
        """Once a minute: give names to who has clearly more requests than who has one; names that were taken away."""
        if self._reshuffled_s is None:
            self._reshuffled_s = now_s
        if now_s - self._reshuffled_s < RESHUFFLE_S:
            return ()
        self._reshuffled_s = now_s
        taken = []
        rising = sorted(self._watched.items(), key=lambda one: -one[1])[: self._most]
        falling = sorted(self._named.items(), key=lambda one: one[1])
        for (new, more), (old, less) in zip(rising, falling, strict=False):
            if more <= CLEARLY * less:
                break
            del self._named[old]
            del self._watched[new]
            self._named[new], self._watched[old] = more, less
            taken.append(old)
        self._named = {name: KEPT * number for name, number in self._named.items()}
        self._watched = {name: KEPT * number for name, number in self._watched.items() if KEPT * number >= 1}
        return taken
