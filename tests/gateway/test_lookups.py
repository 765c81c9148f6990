"""Look-ups of tenants take turns, and keep their threads for as long as these work."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gateway.responses.lookups import AT_ONCE, Lookups
from tests.support.waiting import wait_until_async


async def test_who_asks_and_goes_gets_no_more_threads_than_who_waits() -> None:
    lookups, going_on, began = Lookups(), threading.Event(), list[int]()

    def work(number: int) -> None:
        began.append(number)
        assert going_on.wait(10)

    first = [asyncio.create_task(lookups.do("acme", lambda number=number: work(number))) for number in range(AT_ONCE)]  # type: ignore[misc]
    await wait_until_async("the first to begin", lambda: len(began) == AT_ONCE)
    for one in first:
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
    next_one = asyncio.create_task(lookups.do("acme", lambda: work(AT_ONCE)))
    await asyncio.sleep(0)
    assert await lookups.do("globex", lambda: "served") == "served"
    assert len(began) == AT_ONCE
    going_on.set()
    await next_one
    assert len(began) == AT_ONCE + 1
    await wait_until_async("every turn to be given back", lambda: not lookups._waiting)
    lookups.close()
