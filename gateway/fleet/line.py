"""Where requests wait while all engines that could take them are full; who is next, `fair_share` says.

A request that runs on an engine has a seat there, of as many as the engine runs at once. Who finds an engine with a
free seat and nobody waiting takes it without a word; otherwise it waits, until there is one for it, its time is up, its
client leaves, or no engine is left that could take it.

Of an engine that is nearly full some seats are kept for tenants that have less than their share of it: others wait as
if there were none, so that nobody is kept out by many requests that begin and end together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from itertools import count, islice
from typing import NamedTuple

from gateway.errors import NoTurn
from gateway.fleet.collected import Collected
from gateway.fleet.fair_share import Asker, FairShare, Standing
from gateway.fleet.lately import WHILE_S
from gateway.fleet.room import UNKNOWN, Room
from gateway.fleet.view import EngineView
from gateway.fleet.wishes import Wish

MOST_TOLD = 50
"""Tenants that a worker tells the controller of: those of which most waits, and so many that were there lately."""
LEAST_RETRY_S, MOST_RETRY_S = 1, 60


class Seat:
    """One request's part in what an engine runs at once, from its making to the end of its block. What an engine does
    beside its batch needs none: without a line it is a seat that takes nothing.
    """

    __slots__ = ("_home", "_line", "_number", "asker", "engine", "waited_s")

    def __init__(self, line: Line | None, engine: EngineView, asker: Asker, number: int = 0) -> None:
        """`number`: its place in the order in which those came that have waited; 0: it has not."""
        self._home = line
        self._line = line
        """`None` while it is given back."""
        self._number = number
        self.asker = asker
        self.engine = engine
        self.waited_s = 0.0
        """How long it was waited for."""
        if line is not None:
            line.begin(engine.url, asker)

    def __enter__(self) -> Seat:
        return self

    @property
    def held(self) -> bool:
        """Whether it is the request's now."""
        return self._line is self._home

    def may_be_on(self, engine: EngineView) -> bool:
        """Whether an engine has a free one that the request may have."""
        return self._home is None or self._home.has_seat(self.asker, engine)

    def let_go(self, *_: object) -> None:
        """Give it to others, if it is still held: what a request waits for now takes nothing of its engine."""
        if self._line is not None:
            line, self._line = self._line, None
            line.end(self.engine.url, self.asker)

    __exit__ = let_go

    async def take_again(self, wish: Wish) -> bool:
        """Have one on the same engine again, in turn; whether it could be had. Raises `NoTurn`."""
        home = self._home
        if home is None or self.held:
            return True
        if wish.engine() is not None and not home.waiting:
            home.begin(self.engine.url, self.asker)
        elif (another := await home.wait(self.asker, wish, self._number)) is not None:
            another._line = None
        else:
            return False
        self._line = home
        return True


class _Waiter:
    """One request that waits."""

    __slots__ = ("asker", "began", "number", "queued", "since_s", "where", "wish")

    def __init__(self, asker: Asker, wish: Wish, number: int) -> None:
        self.asker = asker
        self.wish = wish
        self.where = wish.where
        self.number = number
        self.since_s = time.monotonic()
        self.began: asyncio.Future[Seat | None] = asyncio.get_running_loop().create_future()
        """Done, too, when the client has left, a turn of the loop before the request knows of it."""
        self.queued = True


class Line:
    """Of the engines of one base in one worker: one queue for all of them, so that nobody waits while one has room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._share: FairShare[_Waiter] = FairShare()
        self._numbers = count(1)
        self._waited_s = 0.0
        """What those who began lately have waited, in the mean."""
        self._timer: asyncio.TimerHandle | None = None
        """Until somebody may be forgotten; `None` while nobody is known."""
        self._collected: Collected[_Waiter] = Collected(room, self._share)

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return self._share.waiting

    @property
    def wanted(self) -> int:
        """Seats that they wait for."""
        return self._share.wanted

    def has_seat(self, asker: Asker, engine: EngineView) -> bool:
        """Whether the engine has as many free seats as this asker's request has answers. Where only those are left that
        are kept, it must fit into them, and into its share there. One of several answers may begin with those that are
        set aside for it, and with one seat free if its tenant is alone; one that needs more than are kept for nobody,
        which never fits, with one of those if its tenant has nothing there, or nobody waits for it, or no seat is kept.
        """
        room, url = self._room, engine.url
        used, open_ = room.used.get(url, 0), room.open.get(url, UNKNOWN)
        if used + asker.size <= open_:
            return True
        most, (seats, unkept), share = room.most.get(url, UNKNOWN), room.seats(url), self._share
        if (collected := self._collected).goes_on:
            if collected.fits(asker, url):
                return True
            if collected.comes_first(asker, url):
                open_, most = unkept, seats
        if used + asker.size <= open_:
            return True
        if used >= most:
            return False
        if (
            asker.size > unkept
            and used < open_
            and (asker.batch or unkept == seats or not share.held(asker.tenant, url))
        ):
            return True
        return share.is_alone(asker.tenant) or (used + asker.size <= most and share.may_have_kept(asker, url, seats))

    def begin(self, url: str, asker: Asker) -> None:
        """A seat there is taken."""
        used = self._room.used
        used[url] = used.get(url, 0) + asker.size
        if self._collected.goes_on:
            self._collected.begins(asker, url)
        self._share.begin(asker, url)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WHILE_S, self._turn)
        if self._room.has_guests:
            self._room.make_way()

    def end(self, url: str, asker: Asker) -> None:
        """A seat there is free again, and somebody else's if one waits."""
        used = self._room.used
        left = used[url] - asker.size
        if left:
            used[url] = left
        else:
            del used[url]
        self._share.end(asker, url)
        if self._collected.goes_on:
            self._collected.ends(asker, url)
        if self._share.waiting:
            self.look()

    async def wait(self, asker: Asker, wish: Wish, number: int = 0) -> Seat | None:
        """A seat, when it is this request's turn; `None` when there may be no engine for it any more. Raises `NoTurn`
        when its time is up. `number` is that of an earlier seat of the same request.
        """
        waiter = _Waiter(asker, wish, number or next(self._numbers))
        self._share.join(waiter)
        if asker.size > 1 or wish.engine() is not None:  # whoever waits already has been asked
            self.look()
        timer = asyncio.get_running_loop().call_later(asker.patience_s, self._give_up, waiter)
        try:
            seat = await waiter.began
        except BaseException:
            if waiter.queued:
                self._leave(waiter)
            elif (given := _seat_of(waiter)) is not None:
                given.let_go()  # it was its turn in the very moment in which its client left
            raise
        finally:
            timer.cancel()
        waited_s = time.monotonic() - waiter.since_s
        self._note(waited_s)
        if seat is not None:
            seat.waited_s = waited_s
        return seat

    def look(self) -> None:
        """Let those begin for whom there is room now, and collect seats for whose turn it is, if it needs several."""
        while self._share.waiting:
            waiter = self._share.take(_can_begin, self._kind())
            if waiter is None:
                if self._collected.goes_on or not self._collected.begin():
                    return
                continue
            waiter.queued = False
            engine = waiter.wish.engine()
            if self._collected.is_for(waiter.asker):
                self._collected.end()  # for it, or for one like it, whose turn comes again
            if not waiter.began.done():
                seat = None if engine is None else Seat(self, engine, waiter.asker, waiter.number)
                waiter.began.set_result(seat)

    def look_anew(self) -> None:
        """The same after engines have come or gone: for some there may be none any more."""
        self._collected.look_over()
        hopeless: dict[Hashable, bool] = {}
        for waiter in list(self._share.all()):
            if waiter.where not in hopeless:
                hopeless[waiter.where] = waiter.wish.hopeless()
            if hopeless[waiter.where] and not waiter.began.done():
                self._leave(waiter)
                waiter.began.set_result(None)
        self.look()

    def standings(self) -> list[Standing]:
        """Every tenant that waits."""
        return self._share.standings()

    def lately(self) -> Iterator[tuple[str, int]]:
        """Tenants, and their weights, that have lately asked for something here, as far as others are told of them."""
        return islice(self._share.lately.weights.items(), MOST_TOLD)

    def hear(self, elsewhere: Mapping[str, int]) -> None:
        """Which tenants have lately asked for something in any worker, and their weights; `look` at what follows."""
        self._share.lately.hear(elsewhere)

    def oldest_s(self) -> float:
        """How long whoever has waited longest has; 0 when nobody waits."""
        first_s = min((waiter.since_s for waiter in self._share.all()), default=None)
        return 0.0 if first_s is None else time.monotonic() - first_s

    def _kind(self) -> Callable[[Asker], Hashable]:
        """As `FairShare.take` wants it, until one begins or ends: `has_seat` is the same for all askers of a kind."""
        near, may, collected = self._room.nearly_full(), self._share.may_have_kept, self._collected

        def kind(asker: Asker) -> Hashable:
            if asker.size > 1:
                return asker
            first = collected.goes_on and collected.comes_first(asker)
            return first, *(url for url, seats in near if may(asker, url, seats))

        return kind

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(WHILE_S, self._turn) if self._share.turn() else None
        self._collected.look_over()
        self.look()  # who is alone now may have what was kept for others

    def _give_up(self, waiter: _Waiter) -> None:
        if waiter.began.done():
            return
        ahead = self._share.ahead_of(waiter)
        self._leave(waiter)
        retry_s = min(max(round(self._waited_s), LEAST_RETRY_S), MOST_RETRY_S)
        waiter.began.set_exception(NoTurn(time.monotonic() - waiter.since_s, ahead, retry_s))

    def _leave(self, waiter: _Waiter) -> None:
        waiter.queued = False
        self._share.leave(waiter)
        if waiter is self._collected.waiter:
            self._collected.end()
            self.look()

    def _note(self, waited_s: float) -> None:
        self._waited_s += (waited_s - self._waited_s) / 8
        self._room.on_waited(waited_s)


def _can_begin(waiter: _Waiter) -> bool:
    return waiter.wish.engine() is not None


def _seat_of(waiter: _Waiter) -> Seat | None:
    began = waiter.began
    return None if not began.done() or began.cancelled() or began.exception() is not None else began.result()


class Told(NamedTuple):
    """As fields of a `Report` of the same names."""

    seats: dict[str, int]
    waiting: dict[str, int]
    standings: tuple[tuple[str, str, int, int, int], ...]
    lately: tuple[tuple[str, str, int], ...]


class Lines:
    """All of one worker: by the digest of the base, as whoever waits for one base is in nobody's way at another."""

    def __init__(self, kept_share: float = 0.0) -> None:
        """`kept_share` is the part of an engine's seats that is kept for tenants that have less than their share."""
        self.room = Room(kept_share)
        self._lines: dict[str, Line] = {}

    def of(self, base_digest: str) -> Line:
        """The line at the engines of a base."""
        line = self._lines.get(base_digest)
        if line is None:
            line = self._lines[base_digest] = Line(self.room)
        return line

    def waits_at(self, base_digest: str) -> bool:
        """Whether a request waits for an engine of the base."""
        line = self._lines.get(base_digest)
        return line is not None and line.waiting > 0

    def waiting(self) -> int:
        """Requests that wait, at all bases."""
        return sum(line.waiting for line in self._lines.values())

    def oldest_s(self) -> float:
        """How long whoever has waited longest has."""
        return max((line.oldest_s() for line in self._lines.values()), default=0.0)

    def allow(self, most: Mapping[str, int]) -> None:
        """This worker may have so many seats, by the URL of the engine, from now on."""
        self.room.allow(most)
        self.look_anew()

    def hear(self, lately: Mapping[str, Mapping[str, int]]) -> None:
        """By the digest of the base: which tenants have lately asked for something in any worker, and their weights."""
        for base in {*self._lines, *lately}:
            self.of(base).hear(lately.get(base, {}))

    def look_anew(self) -> None:
        """Engines have come, gone or changed."""
        for line in self._lines.values():
            line.look_anew()

    def told(self) -> Told:
        """What of it is in a `Report`."""
        waiting = {base: line.wanted for base, line in self._lines.items() if line.waiting}
        standings = [(base, *standing) for base in waiting for standing in self._lines[base].standings()]
        if len(standings) > MOST_TOLD:
            standings = sorted(standings, key=lambda one: -one[4])[:MOST_TOLD]
        lately = tuple((base, *one) for base, line in self._lines.items() for one in line.lately())
        return Told(self.room.used, waiting, tuple(standings), lately)

    def all(self) -> Mapping[str, Line]:
        """By the digest of the base."""
        return self._lines
