"""What one engine has said that no engine says, and when that is enough for it to be refused.

A tenant may have found a request at which a good engine answers at greater length than it should: so what a request can
bring about counts only when several tenants have seen it. Nobody's request makes an engine count wrongly or sign with
another name.
"""

from __future__ import annotations

import time
from collections import Counter, deque

from gateway.breaches import Breach

PROVOKED: frozenset[Breach] = frozenset({"too_long"})
MOST_REMEMBERED = 1_000


class Conduct:
    """Of one engine, as all workers tell of it. Times are `time.monotonic()`."""

    def __init__(self, most: int, window_s: float) -> None:
        """After `most` breaches within `window_s` it must not serve any more."""
        self.counts: Counter[Breach] = Counter()
        """Since this controller's term began."""
        self._most = most
        self._window_s = window_s
        self._recent: deque[tuple[float, Breach, str]] = deque(maxlen=MOST_REMEMBERED)

    def note(self, breach: Breach, tenant: str) -> str:
        """Take a breach down that a tenant's request met; why the engine must not serve now, empty when it may."""
        now = time.monotonic()
        self.counts[breach] += 1
        self._recent.append((now, breach, tenant))
        while self._recent[0][0] < now - self._window_s:
            self._recent.popleft()
        tenants = {one for _, _, one in self._recent}
        against = [one for _, one, _ in self._recent if one not in PROVOKED or len(tenants) > 1]
        if len(against) < self._most:
            return ""
        self._recent.clear()
        seen = ", ".join(f"{one} ({number})" for one, number in Counter(against).most_common())
        return f"its answers cannot be believed: {seen} within {self._window_s:g} s"
