"""What engines have room for, as far as one worker may use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.fleet.view import EngineView

UNKNOWN = 32
"""What an engine gets at first of which nobody says how many it runs at once: what is more than that waits in it."""
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
        """Engine URL → seats that this worker may have there, but for what is set aside."""
        self.open: Mapping[str, int] = {}
        """Engine URL → how many of those are kept for nobody."""
        self.on_waited: Callable[[float], None] = lambda _seconds: None
        """Told how long a request has waited whose waiting has ended well."""
        self.has_guests = False
        """Whether something runs that takes no seat and ends where a request needs one."""
        self._told: Mapping[str, int] = {}
        self._aside: dict[str, tuple[int, int]] = {}
        """Engine URL → what stands for it in `open` and `most` meanwhile."""
        self.make_way: Callable[[], None] = lambda: None
        """Called when a request has taken a seat while there are guests."""

    def allow(self, most: Mapping[str, int]) -> None:
        """This worker may have so many seats, by the URL of the engine, from now on."""
        self._told = most
        self._lay_out()

    def set_aside(self, url: str, open_: int, most: int) -> None:
        """Of an engine leave `open_` seats for all and `most` for who may have kept ones, until `give_back`."""
        self._aside[url] = open_, most
        self._lay_out()

    def give_back(self, url: str) -> None:
        """Nothing is set aside on an engine any more."""
        self._aside.pop(url, None)
        self._lay_out()

    def seats(self, url: str) -> tuple[int, int]:
        """Seats that this worker may have on an engine, whoever they are set aside for, and how many of those are kept
        for nobody.
        """
        seats = self._told.get(url, UNKNOWN)
        return seats, seats - kept(seats, self._kept_share)

    def _lay_out(self) -> None:
        left = {url: self.seats(url)[::-1] for url in self._told} | self._aside
        self.open = {url: open_ for url, (open_, _) in left.items()}
        self.most = {url: most for url, (_, most) in left.items()}

    def has_seat(self, engine: EngineView) -> bool:
        """Whether the engine has a free seat, be it one that is kept."""
        return self.free(engine.url) > 0

    def nearly_full(self) -> list[tuple[str, int]]:
        """Engines of whose free seats all are kept or set aside: URL, and seats that this worker may have there."""
        return [
            (url, seats)
            for url, used in self.used.items()
            if self.open.get(url, UNKNOWN) <= used < (seats := self.seats(url)[0])
        ]

    def free(self, url: str) -> int:
        """Seats of an engine that no request has; below 0 when there are fewer of them than there were."""
        return self.most.get(url, UNKNOWN) - self.used.get(url, 0)
