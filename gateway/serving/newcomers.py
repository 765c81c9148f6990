"""How soon new connections are read while there is no room: one that comes takes another one's place, and whose places
are taken come again at once. Each would be a head, a key and a refusal, and all that this process does.
"""

from __future__ import annotations

PER_S = 20.0
"""Of one address, that are read as they come; the same number may come at once."""
BURST_S = 1.0
LATE_S = 2.0
"""What one too many waits at most: it had to go for others by then, or else there is room for it."""


class Newcomers:
    """By address. Pure: `now_s` is the caller's clock."""

    def __init__(self) -> None:
        self._due_s: dict[str, float] = {}
        """When as many have come as may, for those of which more have."""
        self._looked_s = 0.0

    def late_s(self, address: str, now_s: float) -> float:
        """Seconds after which one more is to be read; 0: at once."""
        if now_s - self._looked_s >= BURST_S:
            self._looked_s = now_s
            self._due_s = {one: due_s for one, due_s in self._due_s.items() if due_s > now_s}
        due_s = min(max(self._due_s.get(address, 0.0), now_s) + 1 / PER_S, now_s + BURST_S + LATE_S)
        self._due_s[address] = due_s
        return max(0.0, due_s - now_s - BURST_S)
