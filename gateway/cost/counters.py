"""The counts of one scope in this process: what runs, what was asked in the last minute, what is spent and held.

Rates are GCRA, and not fixed windows: one number a rate, exact at every instant, with nothing that a timer must clear,
and a refund is the same as a charge with the sign turned. A bucket holds one minute's worth: so after a minute of
silence up to twice the limit can pass within the next one, as it can around the edge of a fixed window.

Budgets are windows of UTC days and months. An attempt belongs to the window in which it began, here as in the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from registry.catalog import LimitEntry
from registry.spending import Spent

MINUTE_S = 60.0
DAY_MS = 86_400_000
NEVER = 1e-9
"""Units a minute of a rate whose limit is 0."""
ROUNDING_S = 1e-6


class Rate:
    """A bucket that holds `limit` units and fills in one minute."""

    __slots__ = ("full_at_s", "interval_s", "limit", "limit_header", "remaining_name", "reset_name")

    def __init__(self, what: bytes, limit: int, full_at_s: float = 0.0) -> None:
        self.limit = limit
        self.interval_s = MINUTE_S / (limit or NEVER)
        """From one unit to the next."""
        self.full_at_s = full_at_s
        """When it will be full, if nothing is taken; on the clock of `time.monotonic`."""
        self.limit_header = (b"x-ratelimit-limit-" + what, b"%d" % limit)
        self.remaining_name = b"x-ratelimit-remaining-" + what
        self.reset_name = b"x-ratelimit-reset-" + what

    def free(self, now_s: float) -> float:
        """Units that may be taken now."""
        lacking_s = self.full_at_s - now_s
        return (MINUTE_S - lacking_s) / self.interval_s if lacking_s > 0 else float(self.limit)

    def lacks(self, units: float, now_s: float) -> bool:
        """Whether so many may not be taken now."""
        lacking_s = self.full_at_s - now_s
        return (lacking_s if lacking_s > 0 else 0.0) + units * self.interval_s > MINUTE_S + ROUNDING_S

    def take(self, units: float, now_s: float) -> None:
        """Take units out; negative ones go back in."""
        full_at_s = self.full_at_s
        self.full_at_s = (full_at_s if full_at_s > now_s else now_s) + units * self.interval_s

    def wait_s(self, units: float, now_s: float) -> float:
        """How long until so many units may be taken, if they are no more than the limit."""
        return max(0.0, self.full_at_s - now_s + units * self.interval_s - MINUTE_S)


class Window:
    """What was spent within the running UTC day, or month.

    `before` and `elsewhere` are the ledger's sums of attempts from before this process counted, the rest is what it
    counted since. `before` came before the worker's gateway, whose workers divide what it has left; `elsewhere` came
    from them since, and may be from a worker whose place this one has taken: so it counts against its part alone.
    """

    __slots__ = ("before", "elsewhere", "ends_ms", "name", "nano", "starts_ms", "tokens")

    def __init__(self, name: Literal["daily", "monthly"], now_ms: int) -> None:
        self.name = name
        self._begin(now_ms)

    def _begin(self, now_ms: int) -> None:
        self.starts_ms, self.ends_ms = day_of(now_ms) if self.name == "daily" else month_of(now_ms)
        self.before = self.elsewhere = Spent()
        self.nano = self.tokens = 0

    def roll(self, now_ms: int) -> None:
        """Begin anew if the window has passed."""
        if now_ms >= self.ends_ms:
            self._begin(now_ms)


@dataclass(frozen=True, slots=True)
class Budget:
    """The most of a window, in nano-dollars and in tokens."""

    window: Window
    nano: int | None
    tokens: int | None


class Counter:
    """One scope with its limits. `since_ms` is when it began to count; what came before is the ledger's."""

    __slots__ = (
        "books_read",
        "budgets",
        "concurrency",
        "day",
        "held_nano",
        "held_tokens",
        "in_flight",
        "month",
        "requests",
        "scope",
        "since_ms",
        "tokens",
    )

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.in_flight = 0
        self.held_nano = 0
        self.held_tokens = 0
        self.concurrency: int | None = None
        self.requests: Rate | None = None
        self.tokens: Rate | None = None
        self.budgets: tuple[Budget, ...] = ()

    def obey(self, most: LimitEntry, now_ms: int) -> None:
        """Take these limits for what is asked from now on; what was counted under others stays counted."""
        self.concurrency = most.concurrency
        self.requests = _changed(self.requests, b"requests", most.requests_per_minute)
        self.tokens = _changed(self.tokens, b"tokens", most.tokens_per_minute)
        if not self.budgets:
            self.since_ms = now_ms
            self.books_read = 0
            """How often the ledger was asked for what came before; budgets hold from the first time on."""
            self.day = Window("daily", now_ms)
            self.month = Window("monthly", now_ms)
        budgets = (
            Budget(self.day, most.daily_nano, most.daily_tokens),
            Budget(self.month, most.monthly_nano, most.monthly_tokens),
        )
        self.budgets = tuple(one for one in budgets if one.nano is not None or one.tokens is not None)

    def spend(self, started_at_ms: int, now_ms: int, nano: int, tokens: int) -> None:
        """Count an attempt that has ended."""
        if not self.budgets or started_at_ms < self.since_ms:
            return  # the ledger will tell
        for window in (self.day, self.month):
            if now_ms >= window.ends_ms:
                window.roll(now_ms)
            if started_at_ms >= window.starts_ms:
                window.nano += nano
                window.tokens += tokens


def _changed(rate: Rate | None, what: bytes, limit: int | None) -> Rate | None:
    if limit is None or (rate is not None and rate.limit == limit):
        return rate if limit is not None else None
    return Rate(what, limit, rate.full_at_s if rate is not None else 0.0)


def day_of(ms: int) -> tuple[int, int]:
    """Begin and end of the UTC day that an instant is in, in milliseconds."""
    starts_ms = ms - ms % DAY_MS
    return starts_ms, starts_ms + DAY_MS


def month_of(ms: int) -> tuple[int, int]:
    """Begin and end of the UTC month that an instant is in, in milliseconds."""
    first = datetime.fromtimestamp(ms / 1000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    after = first.replace(year=first.year + 1, month=1) if first.month == 12 else first.replace(month=first.month + 1)
    return int(first.timestamp() * 1000), int(after.timestamp() * 1000)
