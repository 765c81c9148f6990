"""What tenants have done in threads takes turns, and keeps these for as long as the threads work."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gateway.desk import LARGE_BYTES, Desk
from gateway.responses.lookups import AT_ONCE, Lookups
from tests.support.waiting import DEADLINE_S, wait_until_async


async def test_who_asks_and_goes_gets_no_more_threads_than_who_waits() -> None:
    lookups, going_on, began = Lookups(), threading.Event(), list[int]()

    def work(number: int) -> None:
        began.append(number)
        assert going_on.wait(DEADLINE_S)

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
    await wait_until_async("every turn to be given back", lambda: not lookups._waiting._taken)
    lookups.close()


async def test_who_goes_leaves_the_desk_when_the_work_is_done() -> None:
    desk, going_on, began = Desk(), threading.Event(), list[str]()

    def work(name: str, number: int) -> str:
        began.append(f"{name} {number}")
        assert going_on.wait(DEADLINE_S)
        return name

    def asked(name: str, number: int) -> asyncio.Task[str]:
        return asyncio.create_task(desk.do(name, LARGE_BYTES, lambda: work(name, number)))

    first = asked("mallory", 0)
    await wait_until_async("the first to begin", lambda: began == ["mallory 0"])
    others = [asked("mallory", number) for number in range(1, 4)]
    alice = asked("alice", 0)
    await asyncio.sleep(0)
    for one in (first, *others[:2]):
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
    going_on.set()
    assert [await alice, await others[2]] == ["alice", "mallory"]
    assert began == ["mallory 0", "alice 0", "mallory 3"]
    desk.close()
    with pytest.raises(RuntimeError):
        await desk.do("alice", LARGE_BYTES, lambda: None)
