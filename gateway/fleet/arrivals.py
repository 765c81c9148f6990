"""Versions that have just come to an engine, or were just proven there, and that who waits for them may not have taken
yet: they make no room for others.
"""

from __future__ import annotations

import math
import time

from gateway.fleet.hub import Hub, There, is_there

NEW_S = 0.3
"""Shorter than others wait for a place."""

Key = tuple[str, int]
"""An engine's URL and a version's id."""


class Arrivals:
    """Of all engines."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._came_s: dict[Key, float] = {}

    def begin_proof(self, key: Key) -> None:
        """It stays until that has ended."""
        self._came_s[key] = math.inf

    def add(self, key: Key) -> None:
        """It is there, or proven, now; and not the idlest."""
        self._came_s[key] = self._hub.last_used_s[key] = time.monotonic()

    def is_new(self, key: Key, now: float) -> bool:
        """Whether it came a moment ago and no worker has told of a use since."""
        came_s = self._came_s.get(key, -math.inf)
        return now < came_s + NEW_S and self._hub.last_used_s.get(key, 0.0) <= came_s

    def remove(self, key: Key) -> None:
        """It goes, or was not proven."""
        self._came_s.pop(key, None)

    def forget(self, url: str) -> None:
        """An engine has booted."""
        self._came_s = {key: at for key, at in self._came_s.items() if key[0] != url}

    def keep_what_is(self, there: There) -> None:
        """Forget what is on no engine any more."""
        self._came_s = {key: at for key, at in self._came_s.items() if is_there(there, key)}
