"""Limits and budgets: a request holds the most that it can use before it begins, and settles for what it has used.

Everything here runs on the event loop without waiting, so that checking all scopes of a request (its tenant, its key,
its adapter) and holding on all of them is one step: no two requests can both have the last dollar.

With several workers each has its part of every limit: a rate or a concurrency is divided by their number (and is at
least 1), and so is what is left of a budget when their gateway starts. A worker that takes the place of another one
has less than its part, since it cannot know how much of what was spent meanwhile was the other's: it takes it all.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType

from sqlalchemy.exc import SQLAlchemyError

from gateway.cost.counters import Budget, Counter, Window
from gateway.cost.refusals import Headers, headers_of, no_price, out_of_budget, over_rate, too_many_at_once
from gateway.cost.tariff import cost_nano
from gateway.errors import ApiError
from gateway.handoffs import Usage
from registry.catalog import Catalog, LimitEntry, TariffEntry
from registry.db import now_ms
from registry.spending import BILLED, Spent

log = logging.getLogger("switchyard.limits")
LOOK_AGAIN_S = (0.0, 1.0, 5.0, 30.0, 120.0, 600.0, math.inf)
"""When a counter reads what was spent before it, from its begin on: attempts of that time end and are shipped late."""
POLL_S = 0.25

Books = Callable[[int, int], Mapping[str, Spent]]
"""The ledger's sums by scope of attempts that began between two instants; blocking."""


class Ask:
    """The most that one request can use, before it has begun.

    `rate_tokens` is a guess, for the limit per minute; `tokens` and `nano` are bounds, for budgets. `nano` is `None`
    when no price is known.
    """

    __slots__ = ("nano", "rate_tokens", "tokens")

    def __init__(self, rate_tokens: int, tokens: int, nano: int | None) -> None:
        self.rate_tokens = rate_tokens
        self.tokens = tokens
        self.nano = nano


class Limits:
    """Every limited scope of this process."""

    def __init__(self, books: Books, *, shares: int = 1, gateway_since_ms: int | None = None) -> None:
        """One of `shares` workers of a gateway that began at an instant; `None`: when this process did."""
        self._books = books
        self._shares = shares
        self._gateway_since_ms = gateway_since_ms
        self._counters: dict[str, Counter] = {}
        self._seen: Mapping[str, LimitEntry] | None = None

    def counters_of(self, catalog: Catalog, scopes: tuple[str, ...]) -> list[Counter]:
        """The counters of those scopes that have limits."""
        if catalog.limits is not self._seen:
            self.adopt(catalog)
        if not self._counters:
            return []
        return [counter for scope in scopes if (counter := self._counters.get(scope)) is not None]

    def counter(self, scope: str) -> Counter | None:
        """The counter of a limited scope, to look at."""
        return self._counters.get(scope)

    def adopt(self, catalog: Catalog) -> None:
        """Obey the limits of a catalog from now on. A scope that had limits keeps its counts."""
        self._seen = catalog.limits
        known, at_ms = self._counters, now_ms()
        self._counters = {scope: known.get(scope) or Counter(scope) for scope in catalog.limits}
        for scope, entry in catalog.limits.items():
            self._counters[scope].obey(_share(entry, self._shares), at_ms)

    def hold(self, counters: list[Counter], ask: Ask) -> Headers:
        """Hold on all of these scopes or on none; the value is what the answer's headers say.

        Raises `RateLimited`, `QuotaExceeded` or `Unpriced`.
        """
        now_s, at_ms, rate_tokens = time.monotonic(), now_ms(), ask.rate_tokens
        for counter in counters:
            requests, tokens = counter.requests, counter.tokens
            if (
                (counter.concurrency is not None and counter.in_flight >= counter.concurrency)
                or (requests is not None and requests.lacks(1, now_s))
                or (tokens is not None and tokens.lacks(rate_tokens, now_s))
                or (counter.budgets and counter.books_read and self._lacks_budget(counter, ask, at_ms))
            ):
                refusal = self._refusal(counter, ask, now_s, at_ms)
                refusal.headers += headers_of(counters, now_s)
                raise refusal
        for counter in counters:
            counter.in_flight += 1
            counter.held_tokens += ask.tokens
            counter.held_nano += ask.nano or 0
            if counter.requests is not None:
                counter.requests.take(1, now_s)
            if counter.tokens is not None:
                counter.tokens.take(rate_tokens, now_s)
        return headers_of(counters, now_s)

    def _lacks_budget(self, counter: Counter, ask: Ask, at_ms: int) -> Budget | None:
        """The first budget that cannot pay for the request beside all that is held."""
        for budget in counter.budgets:
            window = budget.window
            if at_ms >= window.ends_ms:
                window.roll(at_ms)
            if budget.nano is not None and (
                ask.nano is None or counter.held_nano + ask.nano > self._left_nano(window, budget.nano)
            ):
                return budget
            if budget.tokens is not None and counter.held_tokens + ask.tokens > self._left_tokens(
                window, budget.tokens
            ):
                return budget
        return None

    def _left_nano(self, window: Window, budget: int) -> int:
        return (budget - window.before.nano) // self._shares - window.elsewhere.nano - window.nano

    def _left_tokens(self, window: Window, budget: int) -> int:
        return (budget - window.before.tokens) // self._shares - window.elsewhere.tokens - window.tokens

    def _refusal(self, counter: Counter, ask: Ask, now_s: float, at_ms: int) -> ApiError:
        """Why this scope lets the request not begin; only when it does not."""
        scope, requests, tokens = counter.scope, counter.requests, counter.tokens
        if counter.concurrency is not None and counter.in_flight >= counter.concurrency:
            return too_many_at_once(scope, counter.concurrency)
        if requests is not None and requests.lacks(1, now_s):
            return over_rate(scope, "requests", requests, 1, now_s)
        if tokens is not None and tokens.lacks(ask.rate_tokens, now_s):
            return over_rate(scope, "tokens", tokens, ask.rate_tokens, now_s)
        budget = self._lacks_budget(counter, ask, at_ms)
        assert budget is not None
        window = budget.window
        if budget.nano is not None:
            if ask.nano is None:
                return no_price(scope)
            left = self._left_nano(window, budget.nano)
            if counter.held_nano + ask.nano > left:
                return out_of_budget(scope, window, "dollars", budget.nano, left, ask.nano)
        assert budget.tokens is not None
        left = self._left_tokens(window, budget.tokens)
        return out_of_budget(scope, window, "tokens", budget.tokens, left, ask.tokens)

    def spend(self, scopes: tuple[str, ...], started_at_ms: int, nano: int, tokens: int) -> None:
        """Count an attempt that has ended, on every limited scope of it, also on those limited only since."""
        if self._counters:
            at_ms = now_ms()
            for scope in scopes:
                counter = self._counters.get(scope)
                if counter is not None:
                    counter.spend(started_at_ms, at_ms, nano, tokens)

    async def run(self) -> None:
        """For ever: read from the ledger what was spent before each budget was counted."""
        while True:
            try:
                await asyncio.to_thread(self.read_books)
            except SQLAlchemyError as error:
                log.warning("budgets go on from what was known: %s", error)
            await asyncio.sleep(POLL_S)

    def read_books(self) -> None:
        """Read it for the counters that are due. Blocking."""
        at_ms = now_ms()
        due: dict[int, list[Counter]] = {}
        for counter in list(self._counters.values()):
            if counter.budgets and at_ms - counter.since_ms >= LOOK_AGAIN_S[counter.books_read] * 1000:
                due.setdefault(counter.since_ms, []).append(counter)
        for since_ms, counters in due.items():
            days, months = [one.day for one in counters], [one.month for one in counters]
            for windows in (days, months):
                starts_ms = windows[0].starts_ms
                middle_ms = since_ms if self._gateway_since_ms is None else min(self._gateway_since_ms, since_ms)
                before = self._sums(starts_ms, middle_ms)
                elsewhere = self._sums(max(starts_ms, middle_ms), since_ms)
                for counter, window in zip(counters, windows, strict=True):
                    if window.starts_ms == starts_ms:
                        window.before = before.get(counter.scope, Spent())
                        window.elsewhere = elsewhere.get(counter.scope, Spent())
            for counter in counters:
                counter.books_read += 1

    def _sums(self, since_ms: int, until_ms: int) -> Mapping[str, Spent]:
        return self._books(since_ms, until_ms) if since_ms < until_ms else {}


class Bill:
    """A context around one request: what it holds is given back on leaving, whatever happens.

    `charge` is called for every attempt that has ended.
    """

    __slots__ = ("_ask", "_counters", "_limits", "_scopes", "_used", "headers", "price")

    def __init__(
        self,
        limits: Limits,
        scopes: tuple[str, ...],
        price: TariffEntry | None,
        counters: list[Counter],
        ask: Ask | None,
    ) -> None:
        """Raises what `Limits.hold` raises; then nothing is held."""
        self._limits = limits
        self._scopes = scopes
        self._counters: list[Counter] = []
        self._ask = ask
        self._used = 0
        self.price = price
        self.headers: Headers = ()
        if ask is not None:
            self.headers = limits.hold(counters, ask)
            self._counters = counters

    def charge(self, usage: Usage, outcome: str, started_at_ms: int) -> int | None:
        """What an attempt costs, in nano-dollars; `None` when no price is known. Failures of ours cost nothing."""
        price = self.price
        if outcome not in BILLED:
            return None if price is None else 0
        prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
        nano = None if price is None else cost_nano(prompt, usage.cached_tokens or 0, completion, price)
        self._used += prompt + completion
        self._limits.spend(self._scopes, started_at_ms, nano or 0, prompt + completion)
        return nano

    def __enter__(self) -> Bill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ask is None:
            return
        now_s = time.monotonic()
        for counter in self._counters:
            counter.in_flight -= 1
            counter.held_tokens -= self._ask.tokens
            counter.held_nano -= self._ask.nano or 0
            if counter.tokens is not None:
                counter.tokens.take(self._used - self._ask.rate_tokens, now_s)


def _share(entry: LimitEntry, shares: int) -> LimitEntry:
    """One worker's part of what is counted in each alone; what is left of a budget is divided where it is asked for."""
    if shares == 1:
        return entry

    def part(most: int | None) -> int | None:
        return most if not most else max(1, most // shares)

    return replace(
        entry,
        requests_per_minute=part(entry.requests_per_minute),
        tokens_per_minute=part(entry.tokens_per_minute),
        concurrency=part(entry.concurrency),
    )
