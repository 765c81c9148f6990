"""Work in the background that ends with an error begins again, is logged once, and is shown until it goes well."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest
from sqlalchemy import text

from gateway.background import Background
from registry.db import now_ms
from registry.limits.budget_warnings import BudgetWarningBooks, Crossing, Notice
from tests.support.stack import House, run_stack
from tests.support.waiting import DEADLINE_S, wait_until
from tests.support.webhook_host import webhook_host


class Work:
    """Fails as often as it is told to, then goes on until it is cancelled."""

    def __init__(self, failures: int) -> None:
        self.left = failures
        self.begun = 0
        self.goes_on = asyncio.Event()
        self.cancelled = False

    async def run(self) -> None:
        self.begun += 1
        if self.left:
            self.left -= 1
            raise ValueError("no luck")
        self.goes_on.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled = True


async def test_a_work_that_ends_with_an_error_begins_again_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad, good, restarts = Work(failures=3), Work(failures=0), list[str]()
    async with Background({"bad": bad.run, "good": good.run}, restarts.append, first_pause_s=0.001) as background:
        await asyncio.wait_for(asyncio.gather(bad.goes_on.wait(), good.goes_on.wait()), DEADLINE_S)
        assert background.faults() == {"bad": "ValueError: no luck", "good": None}
    assert (bad.begun, good.begun, restarts) == (4, 1, ["bad"] * 3)
    assert bad.cancelled
    assert good.cancelled
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == [
        "bad ended, and begins again"
    ]


async def test_a_work_that_goes_on_after_its_failure_is_well_again() -> None:
    bad = Work(failures=1)
    async with Background({"bad": bad.run}, first_pause_s=0.0, steady_s=0.0) as background, asyncio.timeout(DEADLINE_S):
        await bad.goes_on.wait()
        while background.faults()["bad"] is not None:
            await asyncio.sleep(0)


async def test_a_work_that_has_nothing_left_to_do_is_well_and_does_not_begin_again() -> None:
    begun = []

    async def run() -> None:
        begun.append(1)

    async with Background({"once": run}, first_pause_s=0.0) as background:
        for _ in range(5):
            await asyncio.sleep(0)
        assert background.faults() == {"once": None}
    assert begun == [1]


async def test_a_work_that_ends_otherwise_than_cancelled_does_not_begin_again_at_the_end() -> None:
    begun = []
    goes_on = asyncio.Event()

    async def run() -> None:
        begun.append(1)
        if len(begun) > 1:
            return
        goes_on.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("no luck")

    async with Background({"bad": run}, first_pause_s=0.0):
        await asyncio.wait_for(goes_on.wait(), DEADLINE_S)
    assert begun == [1]


def test_a_gateway_shows_what_ended_and_began_again_and_serves_meanwhile(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    books, at_ms = BudgetWarningBooks(house.registry.db), now_ms()
    notice = Notice(Crossing("tenant:acme", "daily_tokens", at_ms, 5, 80), at_ms + 60_000, 5, at_ms)

    def attempts(value: object) -> None:
        with house.registry.db.write() as session:
            session.execute(text("UPDATE webhook_deliveries SET attempts = :value"), {"value": value})

    with webhook_host() as host, run_stack(house, budget_webhook_url=host.url) as stack:
        assert set(stack.readiness()["background"].values()) == {"ok"}
        host.statuses = [500] * 100
        books.note([notice], tells=True)
        wait_until("the call", lambda: host.calls)
        attempts("no number")
        fault = wait_until("the fault", lambda: _not_ok(stack.readiness()["background"]))
        assert list(fault) == ["webhooks"]
        assert stack.chat("acme/triage").status_code == 200
        metrics = stack.http.get(f"{stack.url}/metrics", headers=stack.operator).text
        assert re.search(r'^switchyard_background_up\{work="webhooks"\} 0.0$', metrics, re.MULTILINE)
        assert re.search(r'^switchyard_background_up\{work="catalog"\} 1.0$', metrics, re.MULTILINE)
        assert re.search(r'^switchyard_background_restarts_total\{work="webhooks"\} [1-9]', metrics, re.MULTILINE)
        host.statuses.clear()
        attempts(0)
        wait_until("the warning to be delivered", lambda: host.bodies)


def _not_ok(works: dict[str, str]) -> dict[str, str]:
    return {name: state for name, state in works.items() if state != "ok"}
