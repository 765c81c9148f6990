"""Work of a duty in a process of its own: however its duty ends, nothing of it is left."""

from __future__ import annotations

import asyncio

import psutil
import uvloop

from gateway.fleet.duties.aside import run_aside
from tests.support.stack import House

ENDLESS = ("http.server", "0", "--bind", "127.0.0.1")


def under_way() -> list[psutil.Process]:
    """Children that have not been seen to end."""
    return [one for one in psutil.Process().children() if one.status() == "zombie" or ENDLESS[0] in one.cmdline()]


def test_a_process_whose_duty_is_cancelled_at_any_turn_has_ended_when_the_duty_has(house: House) -> None:
    async def begin_and_cancel(turns: int) -> None:
        before = len(under_way())
        task = asyncio.create_task(run_aside(house.registry, *ENDLESS, within_s=60.0))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert len(under_way()) == before

    for turns in (1, 2, 3, 4, 5, 8, 20, 200):
        uvloop.run(begin_and_cancel(turns))  # the gateway's loop, which complains of what is open at its end
