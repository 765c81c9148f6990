"""The leader's rounds: each duty in its turn, some only now and then, and one that failed until it is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.fleet.duties.rounds import Duty, Round, Rounds
from tests.support.waiting import wait_until_async


class Noted:
    """A duty that notes when it was done, and fails as often as it is told to."""

    def __init__(self, name: str, done: list[str], *, only_reconciles: bool = False, failures: int = 0) -> None:
        self.name = name
        self._done = done
        self._only_reconciles = only_reconciles
        self._failures = failures

    def is_due(self, this: Round) -> bool:
        return this.reconciles or not self._only_reconciles

    async def do(self, this: Round) -> None:
        if self._failures:
            self._failures -= 1
            raise ValueError("not now")
        self._done.append(self.name)


@asynccontextmanager
async def leading(
    *duties: Duty, reconcile_interval_s: float, on_failure: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Rounds]:
    rounds = Rounds(duties, reconcile_interval_s, lambda: 0.0, on_failure)
    running = asyncio.create_task(rounds.run())
    try:
        yield rounds
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_duties_are_done_in_their_order_and_those_of_reconciliation_only_when_it_is_time() -> None:
    done: list[str] = []
    rare = Noted("rare", done, only_reconciles=True)
    async with leading(Noted("first", done), rare, Noted("last", done), reconcile_interval_s=1_000):
        await wait_until_async("three rounds", lambda: done.count("last") >= 3)
    assert done[:7] == ["first", "rare", "last", "first", "last", "first", "last"]


async def test_a_duty_that_failed_is_owed_until_it_is_done() -> None:
    done: list[str] = []
    failed: list[str] = []
    rare = Noted("rare", done, only_reconciles=True, failures=1)
    other = Noted("other", done)
    async with leading(rare, other, reconcile_interval_s=1_000, on_failure=failed.append) as rounds:
        await wait_until_async("the other", lambda: "other" in done)
        assert rounds.faults() == {"rare": "ValueError: not now", "other": None}
        await wait_until_async("what is owed", lambda: "rare" in done)
        await wait_until_async("a round more", lambda: done[-1] == "other")
        assert rounds.faults() == {"rare": None, "other": None}
    assert done.count("rare") == 1
    assert failed == ["rare"], "whoever counts them is told"


class Rounded:
    """A duty that notes for which rounds it was done, and fails as often as it is told to."""

    name = "rounded"

    def __init__(self, failures: int) -> None:
        self.rounds: list[Round] = []
        self._failures = failures

    def is_due(self, this: Round) -> bool:
        return this.reconciles or this.woken

    async def do(self, this: Round) -> None:
        self.rounds.append(this)
        if len(self.rounds) <= self._failures:
            raise ValueError("not now")


async def test_a_duty_that_failed_is_done_for_the_round_in_which_it_failed() -> None:
    duty = Rounded(failures=2)
    async with leading(duty, reconcile_interval_s=1_000) as rounds:
        await wait_until_async("what is owed", lambda: len(duty.rounds) == 3)
        assert [one.reconciles for one in duty.rounds] == [True] * 3, "no later round reconciles by itself"
        await wait_until_async("its end", lambda: rounds.faults() == {"rounded": None})
        rounds.wake()
        await wait_until_async("another round", lambda: len(duty.rounds) == 4)
        assert duty.rounds[3] == Round(reconciles=False, woken=True), "nothing is owed any more"
