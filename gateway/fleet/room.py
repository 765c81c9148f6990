"""What engines have room for, as far as one worker may use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.fleet.view import EngineView

UNKNOWN = 1024
"""What an engine runs at once of which nobody says it: vLLM's default on the largest GPUs."""
FEWEST = 4
"""An engine that runs fewer at a time keeps no seat: one of three would be a third."""


def kept(most: int, share: float) -> int:
    """How many of an engine's `most` seats are kept for tenants that have less than their share; `share` is a part of
    1.
    """
    return max(1, int(most * share)) if share and most >= FEWEST else 0


class Room:
    """Of one worker: seats that it may have, and those that are taken."""

    def __init__(self, kept_share: float = 0.0) -> None:
        """`kept_share` is the part of an engine's seats that is kept."""
        self._kept_share = kept_share
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

    def allow(self, most: Mapping[str, int]) -> None:
        """This worker may have so many seats, by the URL of the engine, from now on."""
        self.most = most
        self.open = {url: seats - kept(seats, self._kept_share) for url, seats in most.items()}

    def has_seat(self, engine: EngineView) -> bool:
        """Whether the engine has a free seat, be it one that is kept."""
        return self.free(engine.url) > 0

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
