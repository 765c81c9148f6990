"""The counts of one scope in this process: what runs, what was asked in the last minute, what is spent and held.

Budgets are of UTC days and months (`gateway.limits.windows`).

A process that is alone counts against the limits themselves. One of several counts against what it was lent of them:
a part of each cap (`gateway.limits.caps`), and of a rate the `stock` of units that it has taken from the common bucket.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from gateway.limits.caps import Budget, Cap, Places
from gateway.limits.rates import LentRate, Rate
from gateway.limits.windows import Counts, Name, Tally, Window
from registry.catalog.snapshot import LimitEntry
from registry.limits.spending import Spent


class Counter(Counts):
    """One scope with its limits.

    Invariant: `nano_room` and `token_room` are what the tightest budget of each unit allows beyond what is spent, so
    that a request looks at two numbers and not at four budgets; and minus infinity while a window of one of them is
    `unread`. What changes a budget or its window calls `measure`. `starts_ms` and `ends_ms` are the running day's.
    """

    __slots__ = (
        "asked",
        "at_door",
        "books_read",
        "budgets",
        "contended",
        "ended_writers",
        "ends_ms",
        "held_nano",
        "held_tokens",
        "in_flight",
        "nano_room",
        "obeyed",
        "places",
        "read_again_s",
        "requests",
        "scope",
        "shared",
        "starts_ms",
        "tally",
        "token_room",
        "tokens",
        "unread",
        "warn_percent",
        "warning",
    )

    def __init__(self, scope: str, tally: Tally, *, shared: bool) -> None:
        """`shared`: other processes count on the same limits, and a lender keeps them apart."""
        self.scope = scope
        self.shared = shared
        self.at_door = not scope.startswith("adapter:")
        """Whether a request takes its place and its unit of the rate before its body is read: whose it is is known by
        the key, and its model only by the body."""
        self.tally = tally
        tally.counter = self
        self.starts_ms, self.ends_ms = tally.day.starts_ms, tally.day.ends_ms
        self.asked = 0
        """Requests that have held something, ever."""
        self.contended = False
        """Somebody waits for what is held here."""
        self.in_flight = 0
        self.held_nano = 0
        self.held_tokens = 0
        self.nano_room: float = math.inf
        self.token_room: float = math.inf
        """What may be held, beside what is spent."""
        self.places: Places | None = None
        self.requests: Rate | None = None
        self.tokens: Rate | None = None
        self.obeyed: LimitEntry | None = None
        """The limits that were taken last."""
        self.warn_percent: int | None = None
        self.warning = b""
        """What clients are told of its budgets that are nearly spent."""
        self.budgets: tuple[Budget, ...] = ()
        self.books_read = 0
        """How often the ledger was asked what others have spent."""
        self.read_again_s = -math.inf
        """When it is to be asked next, on the clock of `time.monotonic`."""
        self.unread = False
        """Whether it was never asked for a window that runs now."""
        self.ended_writers: frozenset[str] = frozenset()
        """Processes of which the ledger has all."""

    @property
    def day(self) -> Window:
        """The one that is counted in."""
        return self.tally.day

    @property
    def month(self) -> Window:
        """The one that is counted in."""
        return self.tally.month

    def obey(self, most: LimitEntry) -> None:
        """Take these limits for what is asked from now on; what was counted under others stays counted."""
        self.obeyed = most
        if most.concurrency is None:
            self.places = None
        else:
            self.places = self.places or Places(self, f"{self.scope} places")
            self._limit(self.places, most.concurrency)
        self.warn_percent = most.warn_percent
        self.requests = self._rate(self.requests, b"requests", most.requests_per_minute)
        self.tokens = self._rate(self.tokens, b"tokens", most.tokens_per_minute)
        kept = {(one.window, one.in_dollars): one for one in self.budgets}
        budgets = []
        for window, in_dollars, limit in (
            (self.day, True, most.daily_nano),
            (self.day, False, most.daily_tokens),
            (self.month, True, most.monthly_nano),
            (self.month, False, most.monthly_tokens),
        ):
            if limit is not None:
                budget = kept.get((window, in_dollars)) or Budget(self, window, in_dollars=in_dollars)
                self._limit(budget, limit)
                budgets.append(budget)
        self.budgets = tuple(budgets)
        self.count_alone()

    def _limit(self, cap: Cap, limit: int) -> None:
        """When a shared limit becomes lower, what is lent and not used may be more than that, over all processes."""
        if self.shared and limit < cap.limit:
            cap.allowed = min(cap.allowed, cap.used())
        cap.limit = limit

    def count_alone(self) -> None:
        """Use every limit to its end, unless a lender is asked for more."""
        if self.shared:
            for cap in self.caps():
                cap.allowed = min(cap.allowed, cap.limit)
        else:
            if self.places is not None:
                self.places.allowed = self.places.limit
            for budget in self.budgets:
                budget.count_alone()
        self.measure()

    def measure(self) -> None:
        """Find the rooms anew."""
        self.unread = not all(budget.window.known for budget in self.budgets)
        self.nano_room = self.token_room = -math.inf if self.unread else math.inf
        for budget in self.budgets:
            room = budget.allowed - budget.spent()
            if budget.in_dollars:
                self.nano_room = min(self.nano_room, room)
            else:
                self.token_room = min(self.token_room, room)

    @property
    def limited(self) -> bool:
        """Whether there is anything to obey."""
        return bool(self.budgets) or not (self.places is None and self.requests is None and self.tokens is None)

    @property
    def counts_use(self) -> bool:
        """Whether tokens or dollars are limited."""
        return bool(self.budgets) or self.tokens is not None

    def refresh(self, now_s: float) -> None:
        """Have `left` of the rates say what is free now, and not after the last request."""
        for rate in (self.requests, self.tokens):
            if rate is not None:
                rate.left = rate.free(now_s)

    def caps(self) -> list[Cap]:
        """What is limited and not refilled."""
        return [*self.budgets, *((self.places,) if self.places is not None else ())]

    def rates(self) -> list[LentRate]:
        """Those of which this process takes its part from a lender."""
        return [rate for rate in (self.requests, self.tokens) if isinstance(rate, LentRate)]

    def read(self, others: Mapping[tuple[Name, int], Mapping[str, Spent]]) -> None:
        """Take what the ledger said of other processes, by window and when that begins."""
        for (name, starts_ms), spent in others.items():
            self.tally.window(name, starts_ms).read(spent)
        self.books_read += 1
        self.count_alone()

    def go_on_unread(self) -> None:
        """Nobody can tell what others have spent: count as if it was nothing."""
        for budget in self.budgets:
            budget.window.known = True
        self.measure()

    def roll(self, at_ms: int) -> None:
        """Count in the windows of this instant, which may be earlier ones than before."""
        tally = self.tally
        tally.roll(at_ms)
        self.starts_ms, self.ends_ms = tally.day.starts_ms, tally.day.ends_ms
        for budget in self.budgets:
            window = tally.day if budget.window.name == "daily" else tally.month
            if window is not budget.window:
                budget.window = window
                budget.begin()
        self.count_alone()

    def spend(self, started_at_ms: int, at_ms: int, nano: int, tokens: int) -> None:
        """Count an attempt that has ended."""
        if not self.starts_ms <= at_ms < self.ends_ms:
            self.roll(at_ms)
        self.tally.spend(started_at_ms, at_ms, nano, tokens)
        if self.starts_ms <= started_at_ms < self.ends_ms:
            self.nano_room -= nano
            self.token_room -= tokens
        else:
            self.measure()

    def _rate(self, rate: Rate | None, what: bytes, limit: int | None) -> Rate | None:
        if limit is None or (rate is not None and rate.limit == limit):
            return rate if limit is not None else None
        if self.shared:
            made = LentRate(what, limit, f"{self.scope} {what.decode()} a minute")
            if isinstance(rate, LentRate):
                made.stock = rate.stock
            return made
        return Rate(what, limit, rate.full_at_s if rate is not None else 0.0)
