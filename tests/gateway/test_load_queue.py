"""Whose adapter is loaded next, and which one makes room: rules alone."""

from __future__ import annotations

import asyncio

import pytest

from gateway.fleet.eviction import RECENT_S, Claims, first_to_go
from gateway.fleet.load_pace import WINDOW_S, LoadPace
from gateway.fleet.load_queue import LoadQueue

A, B, C = "acme", "bolt", "cord"


class Loads:
    """Loads that end when the test says so, on a clock of the test's."""

    def __init__(self) -> None:
        self.queue = LoadQueue(lambda: self.now)
        self.began: list[str] = []
        self.now = 0.0
        self.ends: asyncio.Event = asyncio.Event()

    async def load(self, tenant: str) -> None:
        async with self.queue.turn(tenant):
            self.began.append(tenant)
            self.ends.clear()
            await self.ends.wait()

    async def start(self, *tenants: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.load(tenant)) for tenant in tenants]
        await self.settle()
        return tasks

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def end(self, took_s: float = 1.0) -> None:
        self.now += took_s
        self.ends.set()
        await self.settle()


async def test_another_tenant_waits_for_the_load_that_runs_and_for_no_queue() -> None:
    run = Loads()
    tasks = await run.start(*[A] * 5, B, C)
    for _ in tasks:
        await run.end()
    await asyncio.gather(*tasks)
    assert run.began == [A, B, C, A, A, A, A]


async def test_whose_loads_take_long_gets_fewer_of_them() -> None:
    run = Loads()
    tasks = await run.start(*[A] * 3, *[B] * 6)
    for _ in tasks:
        await run.end(4.0 if run.began[-1] == A else 1.0)
    await asyncio.gather(*tasks)
    assert run.began == [A, B, B, B, B, A, B, B, A]


async def test_time_without_loads_gives_nobody_a_claim() -> None:
    run = Loads()
    for _ in range(3):
        (task,) = await run.start(A)
        await run.end()
        await task
    tasks = await run.start(B, B, B, A)
    for _ in tasks:
        await run.end()
    await asyncio.gather(*tasks)
    assert run.began[3:] == [B, A, B, B], "what it had while nobody waited does not count against it"


async def test_a_load_that_is_given_up_takes_no_turn() -> None:
    run = Loads()
    first, given_up, last = await run.start(A, B, C)
    given_up.cancel()
    await run.settle()
    await run.end()
    await run.end()
    await asyncio.gather(first, last)
    assert run.began == [A, C]
    assert len(run.queue) == 0


async def test_a_load_that_is_given_up_as_its_turn_comes_hands_it_on() -> None:
    run = Loads()
    first, given_up, last = await run.start(A, B, C)
    run.ends.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    given_up.cancel()
    await run.settle()
    await run.end()
    await asyncio.gather(first, last)
    assert run.began in ([A, C], [A, B, C])
    assert run.began[-1] == C


async def test_a_tenant_that_must_pause_is_passed_by_and_goes_on_when_it_need_not() -> None:
    queue, began, pauses = LoadQueue(), list[str](), {A: 60.0}

    async def load(tenant: str) -> None:
        async with queue.turn(tenant, lambda: pauses.get(tenant, 0.0)):
            began.append(tenant)

    async with asyncio.timeout(60):
        paused = asyncio.create_task(load(A))
        await asyncio.sleep(0)
        await load(B)
        assert (began, queue.waiting(A)) == ([B], 1)
        pauses.clear()
        await paused
    assert began == [B, A]


def test_a_tenant_loads_a_few_at_once_and_then_its_share() -> None:
    pace, share, now, began = LoadPace(0.1), 0.1, 0.0, list[float]()
    while now < 1000:
        now += pace.pause_s(A, now)
        began.append(now)
        now += 0.5
        pace.took(A, 0.5, now)
    assert began[:3] == [0.0, 0.5, 1.0], "as long as it has taken no more than its share of the last while"
    assert 0.5 * len(began) == pytest.approx(share * (now + WINDOW_S), rel=0.02)
    assert pace.pause_s(B, now) == 0, "nor does another pay for it"


def test_what_one_has_loaded_is_forgotten_and_whoever_may_take_all_never_pauses() -> None:
    pace = LoadPace(0.1)
    pace.took(A, 2.0, 0.0)
    assert pace.pause_s(A, 0.0) == pytest.approx(8.0)
    assert pace.pause_s(A, 8.0) == pytest.approx(0.0)
    pace.took(B, 0.1, 100.0)
    assert set(pace._taken) == {B}
    free = LoadPace(1.0)
    free.took(A, 100.0, 100.0)
    assert free.pause_s(A, 100.0) == 0


def claims(owners: dict[int, str], kept: tuple[int, ...] = (), spare: tuple[int, ...] = ()) -> Claims:
    return Claims(lambda: kept, lambda: spare, lambda version_id: owners[version_id])


OWNERS = {1: A, 2: A, 3: A, 10: B, 11: B}


@pytest.mark.parametrize(
    ("idle_s", "tenant", "first"),
    [
        ({1: 5, 2: 9, 3: 1, 10: 100, 11: 50}, A, 2),
        ({1: 5, 2: 9, 3: 1, 10: 100, 11: 50}, C, 2),
        ({10: 7, 11: 50}, A, 11),
        ({1: 5, 2: RECENT_S + 1, 10: RECENT_S + 2}, A, 10),
        ({}, A, None),
    ],
    ids=["from itself", "from who has most", "from another when all of its own run", "what rests for long", "all run"],
)
def test_room_is_made_by(idle_s: dict[int, float], tenant: str, first: int | None) -> None:
    assert first_to_go(idle_s, OWNERS.keys(), tenant, claims(OWNERS)) == first


def test_what_a_swap_needs_makes_no_room_and_what_gets_copies_alone_does_so_first() -> None:
    idle_s = {1: 50.0, 2: 40.0, 10: 1.0}
    assert first_to_go(idle_s, OWNERS.keys(), A, claims(OWNERS, kept=(1,))) == 2
    assert first_to_go(idle_s, OWNERS.keys(), A, claims(OWNERS, spare=(10,))) == 10


def test_what_an_earlier_controller_has_left_goes_before_all_else_unless_a_swap_needs_it() -> None:
    idle_s = {1: RECENT_S + 5, 2: 3.0, 10: 1.0}
    assert first_to_go(idle_s, OWNERS.keys(), A, claims(OWNERS, spare=(1,)), left={2, 10}) == 2
    assert first_to_go(idle_s, OWNERS.keys(), A, claims(OWNERS, kept=(2, 10)), left={2, 10}) == 1
