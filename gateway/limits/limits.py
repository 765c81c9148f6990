"""Limits and budgets: a request holds the most that it can use before it begins, and settles for what it has used.

It holds twice: at the door, before its body is read, what its tenant and its key count of requests (`enter`); and when
its model and size are known, all the rest (`open`). What was parsed stays counted, also if it is refused then: a body
costs us work whatever is wrong with it.

Checking all scopes and holding on all of them is one step on the event loop, so no two requests can both have the last
dollar. It waits only when there is not enough here: for the ledger,
when a scope has been limited only now, and for the lender, when other processes count on the same limits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol

from gateway.cost.tariff import price_of
from gateway.handoffs import Arm, Principal, Usage
from gateway.limits.counters import Counter
from gateway.limits.holds import DOOR, Reservation, begins, hold_on, lacks, refusal, undo
from gateway.limits.ledger_reader import BookReader, Ledger
from gateway.limits.refusals import Headers, cannot_count, headers_of, no_price
from gateway.limits.warnings import warning_headers
from gateway.limits.windows import Tally
from registry.catalog.snapshot import BaseEntry, Catalog, LimitEntry, TariffEntry
from registry.days import day_of
from registry.db import now_ms
from registry.ledger.usage_days import BILLED
from registry.money import cost_nano

MOST_STANDINGS = 10_000
NO_LIMITS = LimitEntry(None, None, None, None, None, None, None)
FREE = TariffEntry(0, 0, 0, 0)
"""The price of what uses no tokens."""
NO_BASE = BaseEntry("", "", 0)
"""Of which nothing is known."""


class Standing:
    """The scopes of a request: its tenant, its key and, for a version, its adapter; those of them that have limits; and
    its price, `None` when there is none.
    """

    __slots__ = ("base", "counters", "counts_use", "price", "tallies")

    def __init__(
        self, tallies: tuple[Tally, ...], counters: list[Counter], price: TariffEntry | None, base: BaseEntry | None
    ) -> None:
        self.tallies = tallies
        self.counters = [counter for counter in counters if counter.limited]
        self.counts_use = any(counter.counts_use for counter in self.counters)
        """Whether tokens or dollars are counted for one of them; else nobody needs to know how large a request is."""
        self.price = price
        self.base = base or NO_BASE
        """What answers, or what it was made for."""

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

    async def borrow(self, counters: list[Counter], reservation: Reservation, fits: Callable[[], bool]) -> None:
        """Return when the request fits, or it is no use to wait. Raises `Overloaded` when nobody can tell."""

    def released(self, counter: Counter) -> None:
        """What a request held is free again, and others wait for it."""


class Limits:
    """Every limited scope of this process."""

    def __init__(
        self,
        ledger: Ledger,
        writer: str,
        *,
        shared: bool = False,
        fails_open: bool = False,
        clock_ms: Callable[[], int] = now_ms,
    ) -> None:
        """`writer` names the process in the ledger. When limits are `shared` with others, a `source` must be set.
        `clock_ms` gives milliseconds since the epoch; it may jump.
        """
        self.clock_ms = clock_ms
        self.books = BookReader(ledger, writer, self.counters, clock_ms)
        self.shared = shared
        self.source: Source | None = None
        """Of more than this process has of shared limits."""
        self._fails_open = fails_open
        self._counters: dict[str, Counter] = {}
        self._tallies: dict[str, Tally] = {}
        """Of every scope that requests came from, limited or not."""
        self._catalog: Catalog | None = None
        self._seen: Mapping[str, LimitEntry] | None = None
        self._standings: dict[tuple[str, str], Standing] = {}
        """By key and served model; a base as an arm of a split is another model in each adapter."""
        self._doors: dict[str, list[Counter]] = {}
        """By key: the scopes with limits that are known without a body."""
        self._prices_from_ms, self._prices_until_ms = -math.inf, math.inf
        """While the prices are those of the standings."""

    def standing(self, catalog: Catalog, principal: Principal, arm: Arm) -> Standing:
        """What counts for the requests of a key to a model, until the catalog changes or a price begins."""
        at_ms = self.clock_ms()
        priced = self._prices_from_ms <= at_ms < self._prices_until_ms
        if catalog is not self._catalog or not priced or len(self._standings) > MOST_STANDINGS:
            self.adopt(catalog)
        through = arm.through
        key = (principal.key_id, arm.public_name if through is None else f"{arm.public_name} of {through.adapter_id}")
        standing = self._standings.get(key)
        if standing is None:
            standing = self._standings[key] = self._stand(catalog, principal, arm, at_ms)
        return standing

    def _stand(self, catalog: Catalog, principal: Principal, arm: Arm, at_ms: int) -> Standing:
        version = arm.version or arm.through
        adapter = None if version is None else version.adapter
        scopes: tuple[str, ...] = (f"tenant:{principal.tenant}", f"key:{principal.key_id}")
        if adapter is not None:
            scopes += (f"adapter:{principal.tenant}/{adapter}",)
        tallies = tuple(self._tally(scope, at_ms) for scope in scopes)
        price = price_of(catalog, principal.tenant, adapter, arm.base_digest, at_ms)
        base = next((base for base in catalog.bases.values() if base.digest == arm.base_digest), None)
        return Standing(tallies, self._counted(scopes), price, base)

    def _counted(self, scopes: tuple[str, ...]) -> list[Counter]:
        return [counter for scope in scopes if (counter := self._counters.get(scope)) is not None]

    def _tally(self, scope: str, at_ms: int) -> Tally:
        tally = self._tallies.get(scope)
        if tally is None:
            tally = self._tallies[scope] = Tally(at_ms)
        return tally

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
        while requests run.
        """
        at_ms = self.clock_ms()
        self._catalog = catalog
        self._standings.clear()
        self._doors.clear()
        begin_ms = [price.effective_from_ms for prices in catalog.tariffs.values() for price in prices]
        self._prices_from_ms = max((one for one in begin_ms if one <= at_ms), default=-math.inf)
        self._prices_until_ms = min((one for one in begin_ms if one > at_ms), default=math.inf)
        if catalog.limits is self._seen:
            return
        self._seen = catalog.limits
        for scope in catalog.limits.keys() - self._counters.keys():
            self._counters[scope] = Counter(scope, self._tally(scope, at_ms), shared=self.shared)
        for scope, counter in self._counters.items():
            entry = catalog.limits.get(scope, NO_LIMITS)
            if entry is not counter.obeyed:  # catalogs share what has not changed, and there may be thousands
                counter.obey(entry)

    async def enter(self, catalog: Catalog, principal: Principal) -> Entry:
        """A context for a request whose body is not read yet, which holds its place and counts it.

        Raises `RateLimited` or `Overloaded`; then it is not counted.
        """
        if catalog is not self._catalog or len(self._doors) > MOST_STANDINGS:
            self.adopt(catalog)
        counters = self._doors.get(principal.key_id)
        if counters is None:
            counted = self._counted((f"tenant:{principal.tenant}", f"key:{principal.key_id}"))
            counters = self._doors[principal.key_id] = [counter for counter in counted if counter.limited]
        if counters:
            if self.source is not None and not self.fits(counters, DOOR):
                await self.source.borrow(counters, DOOR, lambda: self.fits(counters, DOOR))
            self.hold(counters, DOOR, self.clock_ms())
        return Entry(self, counters)

    async def open(self, standing: Standing, reservation: Reservation, *, free: bool = False) -> Bill:
        """The bill of a request, which holds what is asked for. One that is `free` needs no price.

        Raises `RateLimited`, `QuotaExceeded`, `Unpriced` or `Overloaded`; then nothing is held.
        """
        counters = standing.counters
        price = FREE if free else standing.price
        if price is None and (scope := standing.unpriced) is not None:
            raise no_price(scope)
        at_ms = self.clock_ms()
        for counter in counters:
            if not counter.starts_ms <= at_ms < counter.ends_ms:
                counter.roll(at_ms)
            if counter.unread and not await self.books.until_read(counter):
                if not self._fails_open:
                    raise cannot_count(counter.scope)
                counter.go_on_unread()
        if self.source is not None and not self.fits(counters, reservation):
            await self.source.borrow(counters, reservation, lambda: self.fits(counters, reservation))
        return Bill(self, standing, reservation, price)

    def fits(self, counters: list[Counter], reservation: Reservation) -> bool:
        """Whether all of these scopes have enough here."""
        now_s, at_ms = time.monotonic(), self.clock_ms()
        return not any(lacks(counter, reservation, now_s, at_ms) for counter in counters)

    def hold(self, counters: list[Counter], reservation: Reservation, at_ms: int) -> None:
        """Hold on all of these scopes or on none, in the windows of this instant.

        Raises `RateLimited`, `QuotaExceeded` or `Overloaded`.
        """
        now_s = time.monotonic()
        for number, counter in enumerate(counters):
            if not hold_on(counter, reservation, now_s, at_ms):
                for before in counters[:number]:
                    undo(before, reservation, now_s)
                error = refusal(counter, reservation, now_s)
                for one in counters:
                    one.refresh(now_s)
                error.headers += headers_of(counters, now_s)
                raise error

    def release(self, counters: list[Counter], reservation: Reservation, used_tokens: int) -> None:
        """Give back what was held, and count what was used on the rates."""
        now_s = time.monotonic()
        for counter in counters:
            counter.in_flight -= begins(counter, reservation)
            counter.held_tokens -= reservation.tokens
            counter.held_nano -= reservation.nano
            if counter.tokens is not None:
                counter.tokens.take(used_tokens - reservation.rate_tokens, now_s)
            if counter.contended and self.source is not None:
                self.source.released(counter)

    def spend(self, standing: Standing, started_at_ms: int, nano: int, tokens: int) -> None:
        """Count an attempt that has ended, on every scope of it."""
        at_ms = self.clock_ms()
        for tally in standing.tallies:
            (tally.counter or tally).spend(started_at_ms, at_ms, nano, tokens)


class Entry:
    """A context around one request from before its body is read: its places are given back on leaving."""

    __slots__ = ("_counters", "_limits")

    def __init__(self, limits: Limits, counters: list[Counter]) -> None:
        self._limits = limits
        self._counters = counters

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._counters:
            self._limits.release(self._counters, DOOR, 0)


class Bill:
    """A context around one request: what it holds is given back on leaving, whatever happens.

    `charge` is called for every attempt that has ended. All attempts belong to the day on which the request held, and
    are timed from then on by a clock that does not jump: else one could begin in a window that has no room for it.
    """

    __slots__ = (
        "_held_at_ms",
        "_held_s",
        "_limits",
        "_reservation",
        "_standing",
        "_used",
        "headers",
        "price",
    )

    def __init__(
        self, limits: Limits, standing: Standing, reservation: Reservation | None, price: TariffEntry | None
    ) -> None:
        """Without a `reservation` nothing is held. Raises what `Limits.hold` raises; then nothing is held either."""
        self._limits = limits
        self._standing = standing
        self._reservation = reservation
        self._used = 0
        self.price = price
        self._held_s, self._held_at_ms = time.perf_counter(), limits.clock_ms()
        self.headers: Headers = ()
        """What its answer says of the limits."""
        if reservation is not None:
            limits.hold(standing.counters, reservation, self._held_at_ms)
            self.headers = headers_of(standing.counters, time.monotonic()) + warning_headers(standing.counters)

    @property
    def held_prompt(self) -> int:
        """The most tokens that its prompts have, by which a budget holds; 0 where none are held."""
        return 0 if self._reservation is None else self._reservation.size.prompt

    @property
    def most_prompt(self) -> int:
        """The most that they can have, whatever an engine has counted before; likewise."""
        return 0 if self._reservation is None else self._reservation.size.bound_prompt

    def within(self, usage: Usage) -> Usage:
        """As much of it as the request holds, if it holds tokens: nobody is charged for more."""
        if self._reservation is None or not (size := self._reservation.size).prompt:
            return usage
        read, cached, written, source = usage
        answers = size.answer * size.answers * size.prompts
        if (read or 0) <= size.prompt and (written or 0) <= answers:
            return usage
        read = None if read is None else min(read, size.prompt)
        cached = None if cached is None else min(cached, read or 0)
        return Usage(read, cached, None if written is None else min(written, answers), source)

    def now_ms(self) -> int:
        """The time of an attempt that begins now, in milliseconds since the epoch."""
        at_ms = self._held_at_ms + int((time.perf_counter() - self._held_s) * 1000)
        return at_ms if self._reservation is None else min(at_ms, day_of(self._held_at_ms)[1] - 1)

    def cost(self, usage: Usage, outcome: str) -> int | None:
        """What an attempt costs, in nano-dollars; `None` when no price is known. Failures of ours cost nothing."""
        if self.price is None:
            return None
        if outcome not in BILLED:
            return 0
        return cost_nano(usage.prompt_tokens or 0, usage.cached_tokens or 0, usage.completion_tokens or 0, self.price)

    def charge(self, usage: Usage, outcome: str, started_at_ms: int) -> int | None:
        """Its cost, which counts on every limit of the request from now on."""
        nano = self.cost(usage, outcome)
        if outcome in BILLED:
            tokens = (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)
            self._used += tokens
            self._limits.spend(self._standing, started_at_ms, nano or 0, tokens)
        return nano

    def __enter__(self) -> Bill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reservation is not None:
            self._limits.release(self._standing.counters, self._reservation, self._used)
