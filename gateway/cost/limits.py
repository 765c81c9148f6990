"""Limits and budgets: a request holds the most that it can use before it begins, and settles for what it has used.

Checking all scopes of a request (its tenant, its key, its adapter) and holding on all of them is one step on the event
loop, so no two requests can both have the last dollar. It waits only when there is not enough here: for the ledger,
when a scope has been limited only now, and for the lender, when other processes count on the same limits.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from gateway.cost.counters import Counter
from gateway.cost.refusals import (
    Headers,
    cannot_count,
    headers_of,
    no_price,
    out_of_budget,
    over_rate,
    too_many_at_once,
)
from gateway.cost.tariff import cost_nano, price_of
from gateway.cost.warnings import warning_headers
from gateway.errors import ApiError
from gateway.handoffs import Arm, Principal, Usage
from registry.catalog import Catalog, LimitEntry, TariffEntry
from registry.db import now_ms
from registry.spending import Books, Spent
from registry.usage_days import BILLED
from registry.windows import day_of, month_of

log = logging.getLogger("switchyard.limits")
READ_AGAIN_S = (0.0, 1.0, 5.0, 30.0, 120.0, 600.0)
"""When a counter reads what was spent before it, from its begin on: attempts of that time end and are shipped late."""
READ_EVERY_MS = 600_000
"""And afterwards: corrections are booked at any time."""
POLL_S = 0.25
MOST_STANDINGS = 10_000
ENDED_EVERY_S = 5.0
"""How often the ledger is asked which other processes have ended: it has all that they spent, and no lender needs to
keep what they had.
"""
NO_LIMITS = LimitEntry(None, None, None, None, None, None, None)
READ_TIMEOUT_S = 2.0
"""Longest wait of a request for the ledger."""


class Ledger(Protocol):
    """What was spent, by whom: `registry.spending.SpendingBooks`. Blocking."""

    def window(self, since_ms: int, until_ms: int, writer: str, counts_since_ms: int) -> Books:
        """By scope and writer; of `writer` itself what it did before it counted."""

    def ended(self) -> frozenset[str]:
        """Writers of which no more will come."""


class Ask:
    """The most that one request can use, before it has begun.

    `rate_tokens` is a guess, for the limit per minute; `tokens` and `nano` are bounds, for budgets. `nano` is 0 when no
    price is known.
    """

    __slots__ = ("nano", "rate_tokens", "tokens")

    def __init__(self, rate_tokens: int, tokens: int, nano: int) -> None:
        self.rate_tokens = rate_tokens
        self.tokens = tokens
        self.nano = nano


class Standing:
    """The scopes of a request: its tenant, its key and, for a version, its adapter; those of them that have limits; and
    its price, `None` when there is none.
    """

    __slots__ = ("catalog", "counted", "counters", "price", "read", "scopes")

    def __init__(
        self, catalog: Catalog, scopes: tuple[str, ...], counted: list[Counter], price: TariffEntry | None
    ) -> None:
        self.catalog = catalog
        self.scopes = scopes
        self.counted = counted
        self.counters = [counter for counter in counted if counter.limited]
        self.price = price
        self.read = False
        """Whether all of its budgets know what was spent before they were counted."""

    @property
    def unpriced(self) -> str | None:
        """A scope with a budget in dollars, when there is no price to keep it by."""
        return next(
            (
                counter.scope
                for counter in self.counters
                if self.price is None and any(budget.in_dollars for budget in counter.budgets)
            ),
            None,
        )


class Source(Protocol):
    """Where more comes from of limits that several processes share."""

    @property
    def lost(self) -> bool:
        """Whether who lends did not answer when it was asked last."""

    async def borrow(self, counters: list[Counter], ask: Ask, fits: Callable[[], bool]) -> None:
        """Return when the request fits, or it is no use to wait. Raises `Overloaded` when nobody can tell."""

    def released(self, counter: Counter) -> None:
        """What a request held is free again, and others wait for it."""


class Limits:
    """Every limited scope of this process."""

    def __init__(self, ledger: Ledger, writer: str, *, shared: bool = False, fails_open: bool = False) -> None:
        """`writer` names the process in the ledger. When limits are `shared` with others, a `source` must be set."""
        self._ledger = ledger
        self._writer = writer
        self.shared = shared
        self.source: Source | None = None
        """Of more than this process has of shared limits."""
        self._fails_open = fails_open
        self._counters: dict[str, Counter] = {}
        self._catalog: Catalog | None = None
        self._seen: Mapping[str, LimitEntry] | None = None
        self._standings: dict[tuple[str, str], Standing] = {}
        """By key and served model."""
        self._prices_until_ms = math.inf
        self._ended: frozenset[str] = frozenset()
        """Processes that are dead and of which the ledger has all."""

    def standing(self, catalog: Catalog, principal: Principal, arm: Arm) -> Standing:
        """What counts for the requests of a key to a model, until the catalog changes or a price begins."""
        at_ms = now_ms()
        if catalog is not self._catalog or at_ms >= self._prices_until_ms or len(self._standings) > MOST_STANDINGS:
            self.adopt(catalog)
        key = (principal.key_id, arm.public_name)
        standing = self._standings.get(key)
        if standing is None:
            standing = self._standings[key] = self._stand(catalog, principal, arm, at_ms)
        return standing

    def _stand(self, catalog: Catalog, principal: Principal, arm: Arm, at_ms: int) -> Standing:
        adapter = None if arm.version is None else arm.version.adapter
        scopes: tuple[str, ...] = (f"tenant:{principal.tenant}", f"key:{principal.key_id}")
        if adapter is not None:
            scopes += (f"adapter:{principal.tenant}/{adapter}",)
        counted = self._counted(scopes)
        price = price_of(catalog, principal.tenant, adapter, arm.base_digest, at_ms)
        return Standing(catalog, scopes, counted, price)

    @property
    def state(self) -> str:
        """For people: who counts."""
        if self.source is None:
            return "counted alone"
        return "cannot be borrowed" if self.source.lost else "borrowed"

    def counter(self, scope: str) -> Counter | None:
        """The counter of a limited scope, to look at."""
        return self._counters.get(scope)

    def counters(self) -> list[Counter]:
        """All of them."""
        return list(self._counters.values())

    def adopt(self, catalog: Catalog) -> None:
        """Obey the limits of a catalog from now on. A scope that had limits goes on being counted: it may get new ones
        while requests run, or before the ledger has all that it has used.
        """
        at_ms = now_ms()
        self._catalog = catalog
        self._standings.clear()
        begin_ms = (price.effective_from_ms for prices in catalog.tariffs.values() for price in prices)
        self._prices_until_ms = min((one for one in begin_ms if one > at_ms), default=math.inf)
        if catalog.limits is self._seen:
            return
        self._seen = catalog.limits
        for scope in catalog.limits.keys() - self._counters.keys():
            self._counters[scope] = Counter(scope, at_ms, shared=self.shared)
        for scope, counter in self._counters.items():
            entry = catalog.limits.get(scope, NO_LIMITS)
            if entry is not counter.obeyed:  # catalogs share what has not changed, and there may be thousands
                counter.obey(entry)

    async def open(self, standing: Standing, ask: Ask) -> Bill:
        """The bill of a request, which holds what is asked for.

        Raises `RateLimited`, `QuotaExceeded`, `Unpriced` or `Overloaded`; then nothing is held.
        """
        counters = standing.counters
        if standing.price is None and (scope := standing.unpriced) is not None:
            raise no_price(scope)
        if not standing.read:
            for counter in counters:
                if counter.budgets and not counter.books_read:
                    await self._until_read(counter)
            standing.read = all(counter.books_read for counter in counters if counter.budgets)
        if self.source is not None and not self.fits(counters, ask):
            await self.source.borrow(counters, ask, lambda: self.fits(counters, ask))
        return Bill(self, standing, ask)

    def fits(self, counters: list[Counter], ask: Ask) -> bool:
        """Whether all of these scopes have enough here."""
        now_s, at_ms = time.monotonic(), now_ms()
        return not any(_lacks(counter, ask, now_s, at_ms) for counter in counters)

    def hold(self, counters: list[Counter], ask: Ask) -> Headers:
        """Hold on all of these scopes or on none; the value is what the answer's headers say.

        Raises `RateLimited` or `QuotaExceeded`.
        """
        now_s, at_ms = time.monotonic(), now_ms()
        for number, counter in enumerate(counters):
            if not _hold(counter, ask, now_s, at_ms):
                for before in counters[:number]:
                    _undo(before, ask, now_s)
                refusal = _refusal(counter, ask, now_s)
                for one in counters:
                    one.refresh(now_s)
                refusal.headers += headers_of(counters, now_s)
                raise refusal
        return headers_of(counters, now_s) + warning_headers(counters)

    def release(self, counters: list[Counter], ask: Ask, used_tokens: int) -> None:
        """Give back what was held, and count what was used on the rates."""
        now_s = time.monotonic()
        for counter in counters:
            counter.in_flight -= 1
            counter.held_tokens -= ask.tokens
            counter.held_nano -= ask.nano
            if counter.tokens is not None:
                counter.tokens.take(used_tokens - ask.rate_tokens, now_s)
            if counter.contended and self.source is not None:
                self.source.released(counter)

    def spend(self, standing: Standing, started_at_ms: int, nano: int, tokens: int) -> None:
        """Count an attempt that has ended, on every scope of it that is or was limited, also if only since it began."""
        counters = standing.counted
        if standing.catalog is not self._catalog:
            counters = self._counted(standing.scopes)
        if counters:
            at_ms = now_ms()
            for counter in counters:
                counter.spend(started_at_ms, at_ms, nano, tokens)

    def _counted(self, scopes: tuple[str, ...]) -> list[Counter]:
        return [counter for scope in scopes if (counter := self._counters.get(scope)) is not None]

    async def run(self) -> None:
        """For ever: read from the ledger what was spent before each budget was counted, and by others."""
        looked_s = -math.inf
        while True:
            try:
                if time.monotonic() > looked_s + ENDED_EVERY_S:
                    self._note_ended(await asyncio.to_thread(self._ledger.ended))
                    looked_s = time.monotonic()
                if due := self._due():
                    self._take(await asyncio.to_thread(self._fetch, due))
            except SQLAlchemyError as error:
                log.warning("budgets go on from what was known: %s", error)
            await asyncio.sleep(POLL_S)

    async def _until_read(self, counter: Counter) -> None:
        """Wait for the ledger, which a scope that has budgets only now needs once."""
        deadline_s = time.monotonic() + READ_TIMEOUT_S
        while not counter.books_read and time.monotonic() < deadline_s:
            await asyncio.sleep(POLL_S / 10)
        if not counter.books_read and not self._fails_open:
            raise cannot_count(counter.scope)

    def _note_ended(self, writers: frozenset[str]) -> None:
        """What the lender still keeps for these processes, which are dead, is what the ledger says."""
        if writers != self._ended:
            self._ended = writers
            for counter in self._counters.values():
                counter.read_again_ms = 0

    def read_books(self) -> None:
        """Read the ledger for all that are due. Blocking; for the start, before there are requests."""
        self._take(self._fetch(self._due()))

    def _due(self) -> dict[int, list[Counter]]:
        """Counters that should ask the ledger now, by when they began."""
        at_ms = now_ms()
        due: dict[int, list[Counter]] = {}
        for counter in self._counters.values():
            if counter.budgets and at_ms >= counter.read_again_ms:
                due.setdefault(counter.since_ms, []).append(counter)
        return due

    def _fetch(self, due: Mapping[int, list[Counter]]) -> list[_Reading]:
        """Blocking, and counts nothing: what was read is taken by the event loop, which counts meanwhile."""
        readings = []
        for since_ms, counters in due.items():
            at_ms, ended = now_ms(), self._ended
            day, month = (
                self._ledger.window(*window, self._writer, since_ms) for window in (day_of(at_ms), month_of(at_ms))
            )
            readings.append(_Reading(counters, at_ms, ended, day, month))
        return readings

    def _take(self, readings: list[_Reading]) -> None:
        for reading in readings:
            for counter in reading.counters:
                day, month = (
                    (books.before.get(counter.scope, Spent()), books.others.get(counter.scope, {}))
                    for books in (reading.day, reading.month)
                )
                counter.read(reading.at_ms, day, month)
                counter.ended_writers = reading.ended
                times = counter.books_read
                counter.read_again_ms = (
                    counter.since_ms + int(READ_AGAIN_S[times] * 1000)
                    if times < len(READ_AGAIN_S)
                    else reading.at_ms + READ_EVERY_MS
                )


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the ledger said, at an instant."""

    counters: list[Counter]
    at_ms: int
    ended: frozenset[str]
    day: Books
    month: Books


def _hold(counter: Counter, ask: Ask, now_s: float, at_ms: int) -> bool:
    """Hold on one scope, all that it limits or nothing. The hot path: everything is looked at once."""
    if at_ms >= counter.day.ends_ms:
        counter.roll(at_ms)
    places, requests, tokens = counter.places, counter.requests, counter.tokens
    held_nano, held_tokens = counter.held_nano + ask.nano, counter.held_tokens + ask.tokens
    if (
        held_nano > counter.nano_room
        or held_tokens > counter.token_room
        or (places is not None and counter.in_flight >= places.allowed)
    ):
        return False
    if requests is not None and not requests.take_if_free(1, now_s):
        return False
    if tokens is not None and not tokens.take_if_free(ask.rate_tokens, now_s):
        if requests is not None:
            requests.take(-1, now_s)
        return False
    counter.asked += 1
    counter.in_flight += 1
    counter.held_nano = held_nano
    counter.held_tokens = held_tokens
    return True


def _undo(counter: Counter, ask: Ask, now_s: float) -> None:
    """Give back all that was held on one scope for a request that may not begin."""
    counter.in_flight -= 1
    counter.held_tokens -= ask.tokens
    counter.held_nano -= ask.nano
    if counter.requests is not None:
        counter.requests.take(-1, now_s)
    if counter.tokens is not None:
        counter.tokens.take(-ask.rate_tokens, now_s)


def _lacks(counter: Counter, ask: Ask, now_s: float, at_ms: int) -> bool:
    """Whether this scope lets the request not begin now."""
    if at_ms >= counter.day.ends_ms:
        counter.roll(at_ms)
    places, requests, tokens = counter.places, counter.requests, counter.tokens
    return (
        counter.held_nano + ask.nano > counter.nano_room
        or counter.held_tokens + ask.tokens > counter.token_room
        or (places is not None and counter.in_flight >= places.allowed)
        or (requests is not None and requests.lacks(1, now_s))
        or (tokens is not None and tokens.lacks(ask.rate_tokens, now_s))
    )


def _refusal(counter: Counter, ask: Ask, now_s: float) -> ApiError:
    """Why this scope lets the request not begin; only when it does not."""
    scope, places, requests, tokens = counter.scope, counter.places, counter.requests, counter.tokens
    if places is not None and counter.in_flight >= places.allowed:
        return too_many_at_once(scope, places.limit)
    if requests is not None and requests.lacks(1, now_s):
        return over_rate(scope, "requests", requests, 1, now_s)
    if tokens is not None and tokens.lacks(ask.rate_tokens, now_s):
        return over_rate(scope, "tokens", tokens, ask.rate_tokens, now_s)
    for budget in counter.budgets:
        units = ask.nano if budget.in_dollars else ask.tokens
        if budget.used() + units > budget.allowed:
            return out_of_budget(scope, budget, units)
    raise AssertionError(f"{scope} has refused a request for nothing")


class Bill:
    """A context around one request: what it holds is given back on leaving, whatever happens.

    `charge` is called for every attempt that has ended.
    """

    __slots__ = ("_ask", "_limits", "_standing", "_used", "headers", "price")

    def __init__(self, limits: Limits, standing: Standing, ask: Ask | None) -> None:
        """Without an `ask` nothing is held. Raises what `Limits.hold` raises; then nothing is held either."""
        self._limits = limits
        self._standing = standing
        self._ask = ask
        self._used = 0
        self.price = standing.price
        self.headers: Headers = () if ask is None else limits.hold(standing.counters, ask)

    def charge(self, usage: Usage, outcome: str, started_at_ms: int) -> int | None:
        """What an attempt costs, in nano-dollars; `None` when no price is known. Failures of ours cost nothing."""
        price = self.price
        if outcome not in BILLED:
            return None if price is None else 0
        prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
        nano = None if price is None else cost_nano(prompt, usage.cached_tokens or 0, completion, price)
        self._used += prompt + completion
        self._limits.spend(self._standing, started_at_ms, nano or 0, prompt + completion)
        return nano

    def __enter__(self) -> Bill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ask is not None:
            self._limits.release(self._standing.counters, self._ask, self._used)
