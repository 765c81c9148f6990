"""Soft limits: a budget of which the percentage to warn at is spent is told of, in a header to clients and by webhook.

The header is made from the counters of a request, without waiting. The webhook is a background task of every worker:
it looks at all counters, a crossing that it sees is noted in the database, and whoever takes the note up delivers it
(`registry.budget_warnings`). What is held by running requests is not spent: a warning may come, and never goes.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import httpx
import orjson
from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import Headers
from registry.budget_warnings import BudgetKind, BudgetWarningBooks, Crossing, Notice
from registry.db import now_ms
from registry.money import nano_to_dollars
from registry.spending import Spent

log = logging.getLogger("switchyard.warnings")
HEADER = b"x-switchyard-budget-warning"
SIGNATURE = "x-switchyard-signature"
LOOK_S = 1.0
COUNTERS_AT_ONCE = 256
"""Counters that are looked at before other work of the event loop may go on."""
DELIVERIES_AT_ONCE = 16
TIMEOUT_S = 10.0
"""Of a delivery, from the look-up of the host's name to the status of its answer."""
LEASE_MS = 60_000
LONGEST_WAIT_S = 300


class Window(Protocol):
    """A day or a month; see `gateway.cost.counters`."""

    name: Literal["daily", "monthly"]
    starts_ms: int
    ends_ms: int

    def spent(self) -> Spent:
        """All that its scope has spent in it, as far as this process knows."""
        ...


class Budget(Protocol):
    """The most of a window."""

    @property
    def window(self) -> Window:
        """What it is of."""
        ...

    @property
    def nano(self) -> int | None:
        """In nano-dollars."""
        ...

    @property
    def tokens(self) -> int | None:
        """In tokens."""
        ...


class Counter(Protocol):
    """One scope with its limits."""

    @property
    def scope(self) -> str:
        """Such as `tenant:acme`."""
        ...

    @property
    def warn_percent(self) -> int | None:
        """1 to 100."""
        ...

    @property
    def budgets(self) -> Sequence[Budget]:
        """Those that are set."""
        ...


def warning_headers(counters: Collection[Counter]) -> Headers:
    """One header for all budgets of these scopes that warn, with commas between them; nothing when none does.

    `x-switchyard-budget-warning: tenant:acme daily budget 83% used, key:k-1 monthly token budget 90% used`
    """
    for counter in counters:
        if counter.warn_percent is not None:
            at_ms = now_ms()
            told = [
                f"{one.crossing.scope} {_budget_name(one.crossing.kind)} {_percent(one)}% used"
                for counter in counters
                for one in crossed(counter, at_ms)
            ]
            return ((HEADER, ", ".join(told).encode()),) if told else ()
    return ()


def crossed(counter: Counter, at_ms: int) -> Iterator[Notice]:
    """The running budgets of a scope of which the percentage to warn at is spent; of a budget of 0 there is none."""
    percent = counter.warn_percent
    if percent is None:
        return
    for budget in counter.budgets:
        window = budget.window
        if at_ms >= window.ends_ms:
            continue  # nothing was asked since it ended
        spent = window.spent()
        daily = window.name == "daily"
        if budget.nano and spent.nano * 100 >= budget.nano * percent:
            kind: BudgetKind = "daily_nano" if daily else "monthly_nano"
            crossing = Crossing(counter.scope, kind, window.starts_ms, budget.nano, percent)
            yield Notice(crossing, window.ends_ms, spent.nano, at_ms)
        if budget.tokens and spent.tokens * 100 >= budget.tokens * percent:
            kind = "daily_tokens" if daily else "monthly_tokens"
            crossing = Crossing(counter.scope, kind, window.starts_ms, budget.tokens, percent)
            yield Notice(crossing, window.ends_ms, spent.tokens, at_ms)


class BudgetWarnings:
    """Notes crossings, and delivers what is noted to the webhook if there is one."""

    def __init__(
        self,
        counters: Callable[[], Collection[Counter]],
        books: BudgetWarningBooks,
        *,
        url: str | None = None,
        secret: str | None = None,
    ) -> None:
        """`counters` are all of this process, asked for on the event loop."""
        self._counters = counters
        self._books = books
        self._url = url
        self._secret = secret
        self._noted: dict[Crossing, int] = {}
        """Crossings that are in the database, with the end of their windows."""

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._note_for_ever())
            if self._url is not None:
                tasks.create_task(self._deliver_for_ever(self._url))

    async def _note_for_ever(self) -> None:
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
            seen += (one for one in crossed(counter, at_ms) if one.crossing not in self._noted)
            if number % COUNTERS_AT_ONCE == 0:
                await asyncio.sleep(0)
        if seen:
            for notice in await asyncio.to_thread(self._books.note, seen):
                crossing = notice.crossing
                log.warning("%s: %s %d%% used", crossing.scope, _budget_name(crossing.kind), _percent(notice))
            self._noted.update((one.crossing, one.ends_ms) for one in seen)
        for crossing in [crossing for crossing, ends_ms in self._noted.items() if at_ms >= ends_ms]:
            del self._noted[crossing]

    async def _deliver_for_ever(self, url: str) -> None:
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
            while True:
                try:
                    await self._deliver(http, url)
                except SQLAlchemyError as error:
                    log.warning("budget warnings cannot be delivered now, and will be: %s", error)
                await asyncio.sleep(LOOK_S)

    async def _deliver(self, http: httpx.AsyncClient, url: str) -> None:
        notices = await asyncio.to_thread(self._books.take_up, DELIVERIES_AT_ONCE, LEASE_MS)
        if not notices:
            return
        faults = await asyncio.gather(*(self._post(http, url, notice) for notice in notices))
        delivered, put_off = [], {}
        for notice, fault in zip(notices, faults, strict=True):
            crossing = notice.crossing
            if fault is None:
                delivered.append(crossing)
                continue
            wait_s = min(LONGEST_WAIT_S, 2 ** min(notice.attempts, 9))
            put_off[crossing] = wait_s * 1000
            log.warning(  # the URL may have a secret in it
                "the budget webhook did not take the warning of %s, attempt %d: %s; again in %d s",
                crossing.scope,
                notice.attempts,
                fault,
                wait_s,
            )
        await asyncio.to_thread(self._books.settle, delivered, put_off)

    async def _post(self, http: httpx.AsyncClient, url: str, notice: Notice) -> str | None:
        """What went wrong; `None` when the warning was taken. Of the answer only the status is read."""
        body = orjson.dumps(payload(notice))
        headers = {"content-type": "application/json", "user-agent": "switchyard"}
        if self._secret is not None:
            headers[SIGNATURE] = signature(body, self._secret)
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                http.stream("POST", url, content=body, headers=headers) as answer,
            ):
                return None if answer.is_success else f"status {answer.status_code}"
        except TimeoutError:
            return f"no answer within {TIMEOUT_S:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:  # their texts may have the URL
            return type(error).__name__


def payload(notice: Notice) -> dict[str, Any]:
    """What the webhook is sent. Amounts are decimal numbers in text, of dollars or of tokens."""
    crossing = notice.crossing
    window, unit = _parts(crossing.kind)
    written = nano_to_dollars if unit == "dollars" else str
    return {
        "type": "budget_warning",
        "scope": crossing.scope,
        "window": window,
        "window_starts_at": _iso(crossing.starts_ms),
        "window_ends_at": _iso(notice.ends_ms),
        "unit": unit,
        "budget": written(crossing.budget),
        "spent": written(notice.spent),
        "percent": _percent(notice),
        "warn_percent": crossing.warn_percent,
        "noted_at": _iso(notice.noted_at_ms),
    }


def signature(body: bytes, secret: str) -> str:
    """Proves that a body comes from a holder of the secret: `sha256=` and the HMAC-SHA256 in hex."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _percent(notice: Notice) -> int:
    return notice.spent * 100 // notice.crossing.budget


def _parts(kind: BudgetKind) -> tuple[str, Literal["dollars", "tokens"]]:
    window, _, unit = kind.partition("_")
    return window, "tokens" if unit == "tokens" else "dollars"


def _budget_name(kind: BudgetKind) -> str:
    window, unit = _parts(kind)
    return f"{window} token budget" if unit == "tokens" else f"{window} budget"


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
