"""A worker's own memory of engines that keep failing it, for the seconds until the controller has looked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

FAILURES_TO_OPEN = 3
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


@dataclass(slots=True)
class _Record:
    failures: int = 0
    pause_s: float = 0.0
    until_s: float = 0.0
    witnesses: set[str] = field(default_factory=set)
    """Tenants whose requests it refused and others served."""


@dataclass(slots=True)
class Breaker:
    """Circuit breaker by engine URL; times are `time.monotonic()`.

    After three failures in a row an engine is avoided for a second, then tried again: the next failure doubles the
    pause, a success or a new boot forgets all. What fails during a pause had begun before it, and is no news. Avoided
    means last in line: where no other engine can serve, it is tried.
    """

    _records: dict[str, _Record] = field(default_factory=dict)

    def failed(self, url: str, now_s: float) -> None:
        """An attempt on the engine failed for a reason that lies with the engine."""
        record = self._records.setdefault(url, _Record())
        if record.until_s > now_s:
            return
        record.failures += 1
        if record.failures >= FAILURES_TO_OPEN:
            record.pause_s = min(LONGEST_PAUSE_S, 2 * record.pause_s or FIRST_PAUSE_S)
            record.until_s = now_s + record.pause_s

    def contradicted(self, url: str, tenant: str, now_s: float) -> None:
        """The engine refused a request that another engine served: a failure, if it does so to several tenants. One may
        have found a body that not every engine takes, and must not turn engines away from the others.
        """
        record = self._records.setdefault(url, _Record())
        record.witnesses.add(tenant)
        if len(record.witnesses) > 1:
            self.failed(url, now_s)

    def forget(self, url: str) -> None:
        """The engine answered, or is another one now."""
        if self._records:
            self._records.pop(url, None)

    def avoided(self, now_s: float) -> Collection[str]:
        """URLs to try last."""
        if not self._records:
            return ()
        return [url for url, record in self._records.items() if record.until_s > now_s]
