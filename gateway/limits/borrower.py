"""A process's part of limits that several share: what it borrows, and when it gives back.

Requests wait for the lender only when there is not enough here; while one exchange is under way, what they need is
gathered for the next. Four times a second what is busy is topped up, and what is idle goes back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from gateway.limits.caps import Cap
from gateway.limits.counters import Counter
from gateway.limits.holds import DOOR, Reservation, begins
from gateway.limits.lending import CapWish, Grants, Lender, LenderLost, Pool, RateWish
from gateway.limits.rates import LentRate
from gateway.limits.refusals import cannot_count

log = logging.getLogger("switchyard.limits")
EVERY_S = 0.25
WAIT_S = 1.5
"""Longest wait of a request for what other processes give back, or for a lender that has only begun."""
LOOK_AGAIN_S = 0.02
ALONE = "alone"
"""Epoch of the pool that a process makes for itself when there is no other and requests are to go on."""
TRY_AGAIN_S = 1.0


class Borrower:
    """Asks one lender, on behalf of one process. A `Source`."""

    def __init__(
        self, lender: Lender, writer: str, counters: Callable[[], Iterable[Counter]], *, fails_open: bool
    ) -> None:
        """`writer` names the process. `fails_open`: without the lender, count as if there was nobody else."""
        self._lender = lender
        self._writer = writer
        self._counters = counters
        self._alone = Pool(ALONE, settling_s=0.0) if fails_open else None
        self._asked_of: Lender = lender
        self._epoch = ""
        self._lends = False
        self._lost_s: float | None = None
        """Since when the lender does not answer, or when it was tried last."""
        self._asked: dict[Counter, int] = {}
        """Counters that have something borrowed, or want it, and how many requests had asked them before."""
        self._urgent: set[Counter] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self._poke = asyncio.Event()
        self._stopped = False

    @property
    def lost(self) -> bool:
        """Whether the lender did not answer when it was asked last."""
        return self._lost_s is not None

    async def borrow(self, counters: list[Counter], reservation: Reservation, fits: Callable[[], bool]) -> None:
        """Return when the request fits, or it is no use to wait. Raises `Overloaded` when nobody can tell."""
        now_s = time.monotonic()
        needs = [need for counter in counters for need in _needs(counter, reservation)]
        if any(limit.cannot_fit(units, now_s) for limit, units in needs):
            return
        for limit, units in needs:
            limit.waiting.append(units)
        try:
            while True:
                await self._exchange_soon(counters)
                if fits():
                    return
                if self.lost and self._alone is None:
                    raise cannot_count(counters[0].scope)
                late = time.monotonic() > now_s + WAIT_S
                if late or (self._lends and not _comes_back(needs)):
                    for limit, _ in needs:
                        limit.refused_s = time.monotonic()
                    return
                await asyncio.sleep(LOOK_AGAIN_S)
        finally:
            for limit, units in needs:
                limit.waiting.remove(units)

    def released(self, counter: Counter) -> None:
        """What a request held is free again: give it back at once if somebody waits for it."""
        self._urgent.add(counter)
        self._poke.set()

    async def run(self) -> None:
        """Until `stop`. It is not to be cancelled: in the middle of an exchange a lender's client may swallow that (its
        `wait_for` does, before Python 3.12), or leave half a connection behind.
        """
        while not self._stopped:
            urgent = True
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._poke.wait()
            except TimeoutError:
                urgent = False
            self._poke.clear()
            try:
                if not urgent:
                    await self._try_again()
                await self._exchange(set(self._urgent) if urgent else set(self._asked))
            except Exception:  # whatever it is, requests wait for the next exchange
                log.exception("shared limits cannot be borrowed")

    def stop(self) -> None:
        """End `run` after the exchange that is under way."""
        self._stopped = True
        self._poke.set()

    async def give_back(self) -> None:
        """At the end of the process: what it did not spend is for others. All requests have ended."""
        self._asked = {counter: counter.asked for counter in self._asked}
        await self._exchange(set(self._asked))

    async def _exchange_soon(self, counters: list[Counter]) -> None:
        """Take part in the next exchange, and wait for its end."""
        for counter in counters:
            self._asked.setdefault(counter, -1)
        self._urgent.update(counters)
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(answered)
        self._poke.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                await answered

    async def _exchange(self, counters: set[Counter]) -> None:
        """One exchange for these; whoever waits for it goes on, unless another lender must be asked."""
        waiting, self._waiting = self._waiting, []
        try:
            if not await self._state_and_accept(counters):
                waiting, self._waiting = [], waiting + self._waiting
        finally:
            for answered in waiting:
                if not answered.done():
                    answered.set_result(None)

    async def _state_and_accept(self, counters: set[Counter]) -> bool:
        """False: another lender must be asked now."""
        self._urgent -= counters
        caps: dict[str, tuple[Cap, CapWish]] = {}
        rates: dict[str, tuple[LentRate, RateWish]] = {}
        idle = []
        for counter in counters:
            busy = counter.asked != self._asked.get(counter)
            self._asked[counter] = counter.asked
            for cap in counter.caps():
                if not (counter.unread and cap.kept_s) and (wish := cap.wish(busy=busy)) is not None:
                    caps[wish.account] = (cap, wish)
            for rate in counter.rates():
                if (units := rate.wish(busy=busy)) is not None:
                    rates[units.account] = (rate, units)
            if not busy:
                idle.append(counter)
        try:
            grants = await self._asked_of.exchange(
                self._writer, tuple(wish for _, wish in caps.values()), tuple(wish for _, wish in rates.values())
            )
        except LenderLost as error:
            for cap, _ in caps.values():
                cap.restate()
            for rate, units in rates.values():
                rate.withdraw(units)
            return self._lose(error)
        self._accept(grants, caps, rates)
        for counter in idle:  # only now: it may just have been lent something, or the lender not have heard the last
            if not counter.in_flight and _has_nothing(counter):
                self._asked.pop(counter, None)
        return True

    def _accept(
        self,
        grants: Grants,
        caps: Mapping[str, tuple[Cap, CapWish]],
        rates: Mapping[str, tuple[LentRate, RateWish]],
    ) -> None:
        if self._lost_s is not None and self._asked_of is self._lender:
            self._lost_s = None
            log.warning("limits that are shared with other processes are borrowed again")
        self._lends = grants.lends
        for grant in grants.caps:
            cap = caps[grant.account][0]
            if cap.account == grant.account:  # else its window has begun anew meanwhile
                cap.accept(grant)
        now_s = time.monotonic()
        for units in grants.rates:
            rates[units.account][0].accept(units, now_s)
        if grants.epoch != self._epoch:
            self._epoch = grants.epoch
            self._restate_everything()

    def _lose(self, error: LenderLost) -> bool:
        """The lender does not answer. False: another one must be asked now."""
        if self._lost_s is None:
            log.error("limits that are shared with other processes cannot be borrowed: %s", error)
        self._lost_s = time.monotonic()
        if self._alone is None:
            return True
        self._asked_of = self._alone
        self._restate_everything()
        return False

    async def _try_again(self) -> None:
        """After counting alone: is the lender back?"""
        if self._asked_of is self._lender or self._lost_s is None or time.monotonic() < self._lost_s + TRY_AGAIN_S:
            return
        try:
            await self._lender.exchange(self._writer, (), ())
        except LenderLost:
            self._lost_s = time.monotonic()
        else:
            self._asked_of = self._lender
            self._restate_everything()

    def _restate_everything(self) -> None:
        """The lender is another one: it must hear of all that was spent, and of all that is used."""
        for counter in self._counters():
            for cap in counter.caps():
                cap.restate()
            if any(cap.used() for cap in counter.caps()):
                self._asked.setdefault(counter, counter.asked)
        self._urgent.update(self._asked)
        self._poke.set()


def _needs(counter: Counter, reservation: Reservation) -> list[tuple[Cap | LentRate, int]]:
    """What a request takes of each limit of a scope."""
    needs: list[tuple[Cap | LentRate, int]] = []
    if begins(counter, reservation):
        if counter.places is not None:
            needs.append((counter.places, 1))
        if isinstance(counter.requests, LentRate):
            needs.append((counter.requests, 1))
    if reservation is DOOR:
        return needs
    if isinstance(counter.tokens, LentRate):
        needs.append((counter.tokens, reservation.rate_tokens))
    for budget in counter.budgets:
        needs.append((budget, reservation.nano if budget.in_dollars else reservation.tokens))
    return needs


def _comes_back(needs: list[tuple[Cap | LentRate, int]]) -> bool:
    """Whether others have all that is lacking here, and do not use it."""
    lacks = [(limit, limit.used() + units - limit.allowed) for limit, units in needs if isinstance(limit, Cap)]
    lacks = [(cap, lack) for cap, lack in lacks if lack > 0]
    return bool(lacks) and all(lack <= cap.idle_elsewhere for cap, lack in lacks)


def _has_nothing(counter: Counter) -> bool:
    return all(cap.allowed <= cap.used() for cap in counter.caps()) and not any(rate.stock for rate in counter.rates())
