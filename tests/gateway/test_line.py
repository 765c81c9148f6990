"""Requests that wait for an engine: they begin in turn, and whatever ends them leaves every seat free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from gateway.errors import NoTurn
from gateway.fleet.fair_share import Asker
from gateway.fleet.homes import Homes
from gateway.fleet.line import Line, Lines, Seat
from gateway.fleet.view import EngineView, FleetView
from gateway.fleet.wishes import OnEngine
from tests.support.fleet_parts import engine_view
from tests.support.waiting import DEADLINE_S

A, B = "http://a:1", "http://b:1"
ACME = Asker("acme")


def view_of(*urls: str) -> FleetView:
    return FleetView(tuple(engine_view(url) for url in urls), Homes(dict.fromkeys(urls, 16)), {})


@dataclass
class Fleet:
    """Engines with so many seats."""

    most: dict[str, int]
    lines: Lines = field(default_factory=Lines)
    waited: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lines.room.on_waited = self.waited.append
        self.lines.allow(self.most)

    @property
    def line(self) -> Line:
        return self.lines.of("sha256:0")

    @property
    def where(self) -> str:
        return "anywhere"

    def engine(self) -> EngineView | None:
        return next((one for one in view_of(*self.most).engines if self.lines.room.has_seat(one)), None)

    def hopeless(self) -> bool:
        return not self.most

    def take(self, asker: Asker = ACME) -> Seat:
        """At once."""
        engine = self.engine()
        assert engine is not None
        return Seat(self.line, engine, asker)

    def wait(self, asker: Asker = ACME) -> asyncio.Task[Seat | None]:
        return asyncio.create_task(self.line.wait(asker, self))

    def on(self, url: str) -> OnEngine:
        return OnEngine(lambda: view_of(*self.most), self.lines.room.has_seat, url)


async def turn() -> None:
    """Let every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    async with asyncio.timeout(DEADLINE_S):
        yield


async def test_who_waits_begins_when_somebody_ends_and_tells_how_long_it_was() -> None:
    fleet = Fleet({A: 1})
    first = fleet.take()
    second, third = fleet.wait(), fleet.wait()
    await turn()
    assert fleet.line.waiting == 2
    first.let_go()
    await turn()
    assert (second.done(), third.done()) == (True, False)
    seat = second.result()
    assert seat is not None
    seat.let_go()
    async with in_time():
        last = await third
    assert last is not None
    last.let_go()
    assert fleet.lines.room.used == {}
    assert len(fleet.waited) == 2


async def test_nobody_waits_while_an_engine_has_room() -> None:
    fleet = Fleet({A: 1, B: 1})
    first, second = fleet.take(), fleet.take()
    assert {first.engine.url, second.engine.url} == {A, B}
    waiting = fleet.wait()
    await turn()
    second.let_go()
    async with in_time():
        seat = await waiting
    assert seat is not None
    assert seat.engine.url == B


@pytest.mark.parametrize("gives_up", [True, False])
async def test_a_request_that_is_cancelled_at_any_turn_leaves_no_slot(gives_up: bool) -> None:
    """Before and behind the moment in which its turn comes, and in that very moment."""
    for before in range(4):
        for behind in range(4):
            fleet = Fleet({A: 1})
            held, waiting = fleet.take(), fleet.wait()
            for _ in range(before):
                await asyncio.sleep(0)
            if gives_up:
                waiting.cancel()
            held.let_go()
            for _ in range(behind):
                await asyncio.sleep(0)
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                if (seat := await waiting) is not None:
                    seat.let_go()
            assert fleet.lines.room.used == {}, (before, behind)
            assert fleet.line.waiting == 0
            fleet.take().let_go()


async def test_whoever_leaves_in_its_turn_is_passed_over() -> None:
    fleet = Fleet({A: 1})
    held, leaving, next_one = fleet.take(), fleet.wait(), fleet.wait()
    await turn()
    leaving.cancel()
    held.let_go()
    async with in_time():
        seat = await next_one
    assert seat is not None
    assert fleet.lines.room.used == {A: 1}


async def test_whose_time_is_up_hears_its_place_and_when_to_come_back() -> None:
    fleet = Fleet({A: 1})
    held, before = fleet.take(), fleet.wait()
    others = fleet.wait(Asker("other"))
    await turn()
    with pytest.raises(NoTurn, match="1 requests of this tenant are before it") as refused:
        await fleet.line.wait(Asker("acme", patience_s=0.01), fleet)
    assert refused.value.status == 503
    assert refused.value.retry_after_s == 1
    assert fleet.line.waiting == 2
    for task in (before, others):
        task.cancel()
    await asyncio.gather(before, others, return_exceptions=True)
    held.let_go()
    assert fleet.lines.room.used == {}


async def test_without_an_engine_that_could_take_it_nobody_waits_on() -> None:
    fleet = Fleet({A: 1})
    held, waiting = fleet.take(), fleet.wait()
    await turn()
    fleet.most.clear()
    fleet.lines.allow({})
    async with in_time():
        assert await waiting is None
    held.let_go()


async def test_more_slots_are_used_at_once() -> None:
    fleet = Fleet({A: 1})
    fleet.take()
    waiting = fleet.wait()
    await turn()
    assert fleet.lines.waits_at("sha256:0")
    fleet.most[A] = 2
    fleet.lines.allow(fleet.most)
    async with in_time():
        assert await waiting is not None
    assert not fleet.lines.waits_at("sha256:0")


async def test_who_waits_for_one_base_is_in_nobodys_way_at_another() -> None:
    fleet = Fleet({A: 1})
    fleet.take()
    waiting = fleet.wait()
    await turn()
    assert not fleet.lines.waits_at("sha256:1")
    assert (fleet.lines.waiting(), fleet.lines.oldest_s() > 0) == (1, True)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (fleet.lines.waiting(), fleet.lines.oldest_s()) == (0, 0.0)


async def test_while_it_waits_for_a_load_others_have_its_slot_and_then_it_is_before_who_came_later() -> None:
    fleet = Fleet({A: 1})
    held, early = fleet.take(), fleet.wait()
    await turn()
    later = fleet.wait()
    held.let_go()
    async with in_time():
        seat = await early
    assert seat is not None
    seat.let_go()  # its adapter is loaded
    async with in_time():
        another = await later
    assert another is not None
    last = fleet.wait()
    again = asyncio.create_task(seat.take_again(fleet.on(A)))
    await turn()
    another.let_go()
    async with in_time():
        assert await again
    assert not last.done()
    seat.let_go()
    async with in_time():
        end = await last
    assert end is not None
    end.let_go()
    assert fleet.lines.room.used == {}


async def test_a_slot_is_had_again_at_once_where_there_is_room_and_only_once() -> None:
    fleet = Fleet({A: 2})
    seat = fleet.take()
    seat.let_go()
    assert await seat.take_again(fleet.on(A))
    assert await seat.take_again(fleet.on(A))
    assert fleet.lines.room.used == {A: 1}
    with seat:
        pass
    assert fleet.lines.room.used == {}


async def test_a_slot_on_an_engine_that_has_left_cannot_be_had_again() -> None:
    fleet = Fleet({A: 1, B: 1})
    seat = fleet.take()
    seat.let_go()
    del fleet.most[seat.engine.url]
    fleet.lines.allow({**fleet.most, seat.engine.url: 0})
    async with in_time():
        waiting = asyncio.create_task(seat.take_again(fleet.on(seat.engine.url)))
        await turn()
        fleet.lines.look_anew()
        assert not await waiting
    assert fleet.lines.room.used == {}


async def test_what_an_engine_does_beside_its_batch_takes_no_slot() -> None:
    fleet = Fleet({A: 1})
    engine = fleet.engine()
    assert engine is not None
    with Seat(None, engine, ACME) as seat:
        assert await seat.take_again(fleet.on(A))
        assert fleet.lines.room.used == {}
