"""What engines have room for, as far as one worker may use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.fleet.view import EngineView

UNKNOWN = 1024
"""What an engine runs at once of which nobody says it: vLLM's default on the largest GPUs."""


class Room:
    """Of one worker: seats that it may have, and those that are taken."""

    def __init__(self) -> None:
        self.used: dict[str, int] = {}
        """Engine URL → seats of this worker that are taken."""
        self.most: Mapping[str, int] = {}
        """Engine URL → seats that this worker may have there."""
        self.open: Mapping[str, int] = {}
        """Engine URL → how many of those are kept for nobody."""
        self.on_waited: Callable[[float], None] = lambda _seconds: None
        """Told how long a request has waited whose waiting has ended well."""
        self.has_guests = False
        """Whether something runs that takes no seat and ends where a request needs one."""
        self.make_way: Callable[[], None] = lambda: None
        """Called when a request has taken a seat while there are guests."""

    def at(self, engine: EngineView) -> bool:
        """Whether the engine has a free seat."""
        url = engine.url
        return self.used.get(url, 0) < self.most.get(url, UNKNOWN)

    def nearly_full(self) -> list[tuple[str, int]]:
        """Engines of whose free seats all are kept: URL, and seats that this worker may have there."""
        return [
            (url, most)
            for url, used in self.used.items()
            if self.open.get(url, UNKNOWN) <= used < (most := self.most.get(url, UNKNOWN))
        ]

    def free(self, url: str) -> int:
        """Seats of an engine that no request has; below 0 when there are fewer of them than there were."""
        return self.most.get(url, UNKNOWN) - self.used.get(url, 0)
