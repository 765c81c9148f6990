"""Delivers warnings of budgets to the operator's webhook: JSON by POST, signed if there is a secret, until it is taken.

A thread with an event loop of its own does it: so nothing about the webhook's host, not even a look-up of its name that
hangs, takes a thread or a moment of the gateway's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
from concurrent.futures import Future
from threading import Thread
from typing import Any

import httpx
import orjson
from sqlalchemy.exc import SQLAlchemyError

from registry.days import as_datetime
from registry.limits.budget_warnings import BudgetWarningBooks, Notice
from registry.money import nano_to_dollars

log = logging.getLogger("switchyard.webhook")
SIGNATURE = "x-switchyard-signature"
LOOK_S = 1.0
AT_ONCE = 16
TIMEOUT_S = 10.0
"""Of a delivery, from the look-up of the host's name to the status of its answer."""
LEASE_MS = 60_000
LONGEST_WAIT_S = 300
STOP_S = 2.0


class Courier:
    """Takes notices up and delivers them."""

    def __init__(self, books: BudgetWarningBooks, url: str, secret: str | None) -> None:
        self._books = books
        self._url = url
        self._secret = secret

    async def run(self) -> None:
        """Deliver until cancelled, which breaks off what is under way: it will be taken up again.

        Raises what ended the thread. When cancelled, it waits for the thread for `STOP_S` at most.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Exception | None] = loop.create_future()
        task: Future[asyncio.Task[None]] = Future()

        def work() -> None:
            fault = None
            try:
                asyncio.run(self._deliver_for_ever(task))
            except asyncio.CancelledError:
                pass
            except Exception as error:
                fault = error
            with contextlib.suppress(RuntimeError):  # nobody waits any more: the gateway's loop is closed
                loop.call_soon_threadsafe(_settle, ended, fault)

        thread = Thread(target=work, name="budget-webhook", daemon=True)
        thread.start()
        try:
            if (fault := await ended) is not None:
                raise fault
        finally:
            await asyncio.to_thread(_stop, thread, task)

    async def _deliver_for_ever(self, task: Future[asyncio.Task[None]]) -> None:
        this = asyncio.current_task()
        assert this is not None
        task.set_result(this)
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
            while True:
                try:
                    await self._deliver(http)
                except SQLAlchemyError as error:
                    log.warning("budget warnings cannot be delivered now, and will be: %s", error)
                await asyncio.sleep(LOOK_S)

    async def _deliver(self, http: httpx.AsyncClient) -> None:
        notices = self._books.take_up(AT_ONCE, LEASE_MS)
        if not notices:
            return
        faults = await asyncio.gather(*(self._post(http, notice) for notice in notices))
        outcomes = list(zip(notices, faults, strict=True))
        delivered = [notice.crossing for notice, fault in outcomes if fault is None]
        put_off = {notice.crossing: _wait_ms(notice.attempts) for notice, fault in outcomes if fault is not None}
        if put_off:  # said without the URL, which may have a secret in it
            said = ", ".join(sorted({fault for fault in faults if fault is not None}))
            log.warning("the budget webhook did not take %d of %d warnings: %s", len(put_off), len(notices), said)
        self._books.settle(delivered, put_off)

    async def _post(self, http: httpx.AsyncClient, notice: Notice) -> str | None:
        """What went wrong; `None` when the warning was taken. Of the answer only the status is read."""
        body = orjson.dumps(payload(notice))
        headers = {"content-type": "application/json", "user-agent": "switchyard"}
        if self._secret is not None:
            headers[SIGNATURE] = signature(body, self._secret)
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                http.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                return None if answer.is_success else f"status {answer.status_code}"
        except TimeoutError:
            return f"no answer within {TIMEOUT_S:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:  # their texts may have the URL
            return type(error).__name__


def _settle(ended: asyncio.Future[Exception | None], fault: Exception | None) -> None:
    if not ended.done():
        ended.set_result(fault)


def _stop(thread: Thread, task: Future[asyncio.Task[None]]) -> None:
    """Blocking, for `2 * STOP_S` at most."""
    with contextlib.suppress(TimeoutError, RuntimeError):  # its loop never was, or is closed: it ended by itself
        running = task.result(STOP_S if thread.is_alive() else 0)
        running.get_loop().call_soon_threadsafe(running.cancel)
    thread.join(STOP_S)


def _wait_ms(attempts: int) -> int:
    return min(LONGEST_WAIT_S, 1 << min(attempts, 9)) * 1000


def payload(notice: Notice) -> dict[str, Any]:
    """What the webhook is sent. Amounts are decimal numbers in text, of dollars or of tokens."""
    crossing = notice.crossing
    window, _, unit = crossing.kind.partition("_")
    written = nano_to_dollars if unit == "nano" else str
    return {
        "type": "budget_warning",
        "scope": crossing.scope,
        "window": window,
        "window_starts_at": _iso(crossing.starts_ms),
        "window_ends_at": _iso(notice.ends_ms),
        "unit": "dollars" if unit == "nano" else unit,
        "budget": written(crossing.budget),
        "spent": written(notice.spent),
        "percent": notice.percent,
        "warn_percent": crossing.warn_percent,
        "noted_at": _iso(notice.noted_at_ms),
    }


def signature(body: bytes, secret: str) -> str:
    """Proves that a body comes from a holder of the secret: `sha256=` and the HMAC-SHA256 in hex."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _iso(ms: int) -> str:
    return as_datetime(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")
