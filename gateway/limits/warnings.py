"""Soft limits: a budget of which the percentage to warn at is spent is told of, in a header to clients and by webhook.

A background task of every worker looks at all counters every second: what it sees is what clients are told from then
on, and a crossing is noted in the database, where whoever takes the note up delivers it (`gateway.webhooks`). What
running requests hold is not spent yet, and not told of.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import Headers
from gateway.limits.counters import Counter
from registry.db import now_ms
from registry.limits.budget_warnings import BudgetKind, BudgetWarningBooks, Crossing, Notice

log = logging.getLogger("switchyard.warnings")
HEADER = b"x-switchyard-budget-warning"
LOOK_S = 1.0
_KINDS: Mapping[tuple[str, str], BudgetKind] = {
    ("daily", "dollars"): "daily_nano",
    ("daily", "tokens"): "daily_tokens",
    ("monthly", "dollars"): "monthly_nano",
    ("monthly", "tokens"): "monthly_tokens",
}
COUNTERS_AT_ONCE = 256
"""Counters that are looked at before other work of the event loop may go on."""


def warning_headers(counters: Sequence[Counter]) -> Headers:
    """One header for all budgets of these scopes that warn, with commas between them; nothing when none does.

    `x-switchyard-budget-warning: tenant:acme daily budget 83% used, key:k-1 monthly token budget 90% used`
    """
    told = b""
    for counter in counters:
        if counter.warning:
            told = told + b", " + counter.warning if told else counter.warning
    return ((HEADER, told),) if told else ()


def look(counter: Counter, at_ms: int) -> list[Notice]:
    """Have clients told of what has crossed; the value is all of it."""
    notices = list(crossed(counter, at_ms))
    counter.warning = ", ".join(f"{counter.scope} {_budget_name(one)} {one.percent}% used" for one in notices).encode()
    return notices


def crossed(counter: Counter, at_ms: int) -> Iterator[Notice]:
    """The running budgets of a scope of which the percentage to warn at is spent; of a budget of 0 there is none."""
    percent = counter.warn_percent
    if percent is None:
        return
    for budget in counter.budgets:
        window, spent = budget.window, budget.spent_by_all()
        if window.starts_ms <= at_ms < window.ends_ms and budget.limit and spent * 100 >= budget.limit * percent:
            crossing = Crossing(
                counter.scope, _KINDS[window.name, budget.unit], window.starts_ms, budget.limit, percent
            )
            yield Notice(crossing, window.ends_ms, spent, at_ms)


class BudgetWarnings:
    """Notes crossings in the database, from where a `Courier` takes them to the webhook."""

    def __init__(self, counters: Callable[[], Collection[Counter]], books: BudgetWarningBooks, *, tells: bool) -> None:
        """`counters` are all of this process, asked for on the event loop. `tells`: there is a webhook."""
        self._tells = tells
        self._counters = counters
        self._books = books
        self._noted: dict[Crossing, int] = {}
        """Crossings that are in the database, with the end of their windows."""

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self._note()
            except SQLAlchemyError as error:
                log.warning("budget warnings cannot be noted now, and will be: %s", error)
            await asyncio.sleep(LOOK_S)

    async def _note(self) -> None:
        at_ms = now_ms()
        seen: list[Notice] = []
        for number, counter in enumerate(self._counters(), 1):
            seen += (one for one in look(counter, at_ms) if one.crossing not in self._noted)
            if number % COUNTERS_AT_ONCE == 0:
                await asyncio.sleep(0)
        if seen:
            for notice in await asyncio.to_thread(partial(self._books.note, seen, tells=self._tells)):
                log.warning("%s: %s %d%% used", notice.crossing.scope, _budget_name(notice), notice.percent)
            self._noted.update((one.crossing, one.ends_ms) for one in seen)
        for crossing in [crossing for crossing, ends_ms in self._noted.items() if at_ms >= ends_ms]:
            del self._noted[crossing]


def _budget_name(notice: Notice) -> str:
    window, _, unit = notice.crossing.kind.partition("_")
    return f"{window} token budget" if unit == "tokens" else f"{window} budget"
