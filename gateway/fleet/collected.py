"""Seats of one engine that are collected for one request of several answers, until there are as many as it needs.

Seats fall free one by one: whoever needs several at once would wait for ever beside those who need one. So when it is
its turn, what falls free is for it. Those whose turn it becomes before come first all the same. What is kept for who
has less than its share (`room.py`) stays theirs meanwhile, and who begins there is not waited for. For who needs more
than an engine has nothing is collected: it would be in vain.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from gateway.fleet.fair_share import Asker, FairShare, Waiting
from gateway.fleet.room import Room
from gateway.fleet.wishes import Wish


class Wishing(Waiting, Protocol):
    """A request that waits, with what it wants."""

    @property
    def wish(self) -> Wish:
        """Which asks `Collected.fits`."""


W = TypeVar("W", bound=Wishing)


class Collected(Generic[W]):
    """Of one line, for one request at a time."""

    def __init__(self, room: Room, share: FairShare[W]) -> None:
        self._room = room
        self._share = share
        self.waiter: W | None = None
        """Whose request it is."""
        self.goes_on = False
        self._chooses = False
        self._url: str | None = None
        """Of the engine."""
        self._before: dict[str, int] = {}
        """By tenant, seats there that were taken before its turn: of what a tenant has, these end first."""

    def begin(self) -> bool:
        """Begin for whose turn it is, if it needs several seats; whether there is such a one."""
        self.waiter = self._share.first_of_many()
        self.goes_on = self.waiter is not None
        self.look_over()
        return self.goes_on

    def look_over(self) -> None:
        """Collect on the engine that is the best now, while there are other tenants: seats and engines may be others
        than before.
        """
        if (waiter := self.waiter) is None:
            return
        self._chooses = True
        engine = waiter.wish.engine()
        self._chooses = False
        url = None if engine is None else engine.url
        if url != self._url:
            self._give_back()
            self._url, self._before = url, {} if url is None else dict(self._share.all_held(url))
        fits_nowhere = url is None or waiter.asker.size > self._room.seats(url)[1]
        if fits_nowhere or self._share.is_alone(waiter.asker.tenant):
            self.end()
        else:
            self._leave_to_others()

    def end(self) -> None:
        """Collect no more."""
        self._give_back()
        self.waiter, self.goes_on = None, False

    def begins(self, asker: Asker, url: str) -> None:
        """A request takes seats; who comes first has them as if it had been there before."""
        if self.comes_first(asker, url):
            self._before[asker.tenant] = self._before.get(asker.tenant, 0) + asker.size
            self._leave_to_others()

    def ends(self, asker: Asker, url: str) -> None:
        """A request has given seats back."""
        if url == self._url and (before := self._before.get(asker.tenant, 0)):
            self._before[asker.tenant] = max(0, before - asker.size)
            self._leave_to_others()

    def is_for(self, asker: Asker) -> bool:
        """Whether it is for such a request."""
        return self.waiter is not None and asker == self.waiter.asker

    def fits(self, asker: Asker, url: str) -> bool:
        """Whether it is for such a request, which has what it needs on an engine; on all, while the best is chosen."""
        return self.is_for(asker) and (self._chooses or (url == self._url and self._is_whole(asker.size)))

    def comes_first(self, asker: Asker, url: str | None = None) -> bool:
        """Whether its tenant has less than that for which is collected, on this engine or on any."""
        waiter, rank = self.waiter, self._share.rank
        return waiter is not None and url in (None, self._url) and rank(asker) < rank(waiter.asker)

    def _is_whole(self, size: int) -> bool:
        assert self._url is not None
        (seats, open_), used = self._room.seats(self._url), self._room.used.get(self._url, 0)
        return sum(self._before.values()) + size <= open_ and used + size <= seats

    def _leave_to_others(self) -> None:
        """As many kept seats as ever beside those that were taken before, and of the others what is left."""
        assert self._url is not None
        assert self.waiter is not None
        seats, open_ = self._room.seats(self._url)
        before = sum(self._before.values())
        self._room.set_aside(self._url, open_ - self.waiter.asker.size, min(seats, before + seats - open_))

    def _give_back(self) -> None:
        if self._url is not None:
            self._room.give_back(self._url)
            self._url, self._before = None, {}
