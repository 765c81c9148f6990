"""Seats of nearly full engines that are kept for tenants that have less than their share: in a line by itself, and on
real sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from gateway.fleet import line as line_module
from gateway.fleet.fair_share import Asker, FairShare
from gateway.fleet.homes import Homes
from gateway.fleet.line import MOST_TOLD, Line, Lines, Seat
from gateway.fleet.room import kept
from gateway.fleet.view import EngineView, FleetView
from tests.support.fleet_parts import engine_view
from tests.support.link_parts import office, real_worker
from tests.support.stack import CHAT, MESSAGES, House, Stack, open_house, run_stack
from tests.support.waiting import DEADLINE_S, wait_until, wait_until_async

A, B = "http://a:1", "http://b:1"
SEATS = 8
KEPT_SHARE = 0.25
OPEN = 6
NOISY, QUIET = Asker("noisy"), Asker("quiet")


@pytest.mark.parametrize(
    ("most", "share", "number"), [(3, 0.5, 0), (4, 0.125, 1), (32, 0.125, 4), (39, 0.125, 4), (32, 0.0, 0)]
)
def test_a_part_of_an_engines_seats_is_kept_and_at_least_one_of_four(most: int, share: float, number: int) -> None:
    assert kept(most, share) == number


@dataclass(frozen=True)
class One:
    """A request that waits."""

    asker: Asker
    number: int
    where: str = "anywhere"


@dataclass
class Wish:
    """Any engine on which its asker may have a seat, in the order of their names."""

    line: Line
    view: FleetView
    asker: Asker
    where: str = "anywhere"

    def engine(self) -> EngineView | None:
        return next((one for one in self.view.engines if self.line.has_seat(self.asker, one)), None)

    def hopeless(self) -> bool:
        return False


@dataclass
class Fleet:
    """One worker's line at engines of `SEATS` each."""

    urls: tuple[str, ...] = (A,)
    lines: Lines = field(default_factory=lambda: Lines(KEPT_SHARE))
    asked: list[asyncio.Task[Seat | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lines.allow(dict.fromkeys(self.urls, SEATS))
        self.view = FleetView(tuple(engine_view(url) for url in self.urls), Homes(dict.fromkeys(self.urls, 16)), {})

    @property
    def line(self) -> Line:
        return self.lines.of("sha256:0")

    def used(self) -> int:
        return sum(self.lines.room.used.values())

    async def ask(self, asker: Asker, number: int = 1) -> list[Seat]:
        """So many more of its requests; seats of those that have begun at once."""
        tasks = [asyncio.create_task(self.line.wait(asker, Wish(self.line, self.view, asker))) for _ in range(number)]
        self.asked += tasks
        await turn()
        return seats(tasks)

    def begun(self, asker: Asker) -> list[Seat]:
        """Seats that its requests have had so far."""
        return [seat for seat in seats(self.asked) if seat.asker == asker]

    async def close(self) -> None:
        for task in self.asked:
            task.cancel()
        await asyncio.gather(*self.asked, return_exceptions=True)
        for seat in seats(self.asked):
            seat.let_go()
        assert self.lines.room.used == {}
        assert self.line.waiting == 0
        assert not any(vars(share_of(self.line))["_held"].values())


def share_of(line: Line) -> FairShare[One]:
    found = vars(line)["_share"]
    assert isinstance(found, FairShare)
    return found


def seats(tasks: list[asyncio.Task[Seat | None]]) -> list[Seat]:
    ended = [task.result() for task in tasks if task.done() and not task.cancelled()]
    return [seat for seat in ended if seat is not None]


async def turn() -> None:
    """Let every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


def end(some: list[Seat]) -> None:
    for seat in some:
        seat.let_go()


async def test_who_is_alone_has_all_seats() -> None:
    fleet = Fleet()
    assert len(await fleet.ask(NOISY, 2 * SEATS)) == SEATS
    await fleet.close()


async def test_beside_another_of_lately_a_flood_leaves_what_is_kept_and_the_other_has_it_at_once() -> None:
    fleet = Fleet()
    end(await fleet.ask(QUIET))
    await fleet.ask(NOISY, 8 * SEATS)
    for _ in range(5):  # waves that begin and end together
        running = [seat for seat in fleet.begun(NOISY) if seat.held]
        assert len(running) == OPEN
        first, second = await fleet.ask(QUIET, 2)
        assert fleet.used() == SEATS
        end([first, *running])
        await turn()
        assert fleet.used() == OPEN, "with the one of the other that goes on"
        second.let_go()
        await turn()
    await fleet.close()


async def test_kept_seats_are_of_each_engine() -> None:
    fleet = Fleet((A, B))
    end(await fleet.ask(QUIET))
    await fleet.ask(NOISY, 4 * SEATS)
    assert fleet.lines.room.used == {A: OPEN, B: OPEN}
    await fleet.close()


async def test_tenants_below_their_shares_use_all_seats_and_nobody_has_more_than_his() -> None:
    fleet = Fleet()
    for _ in range(SEATS):
        await fleet.ask(NOISY)
        await fleet.ask(Asker("other"))
    assert (len(fleet.begun(NOISY)), len(fleet.begun(Asker("other")))) == (SEATS // 2, SEATS // 2)
    await fleet.close()


async def test_shares_are_by_weight() -> None:
    fleet, heavy = Fleet(), Asker("heavy", weight=7)
    end(await fleet.ask(QUIET))
    assert len(await fleet.ask(heavy, 2 * SEATS)) == SEATS * 7 // 8
    assert len(await fleet.ask(QUIET)) == 1
    await fleet.close()


async def test_a_tenants_new_weight_counts_from_its_next_request_on() -> None:
    fleet = Fleet()
    end(await fleet.ask(QUIET))
    end(await fleet.ask(NOISY))
    end(await fleet.ask(Asker("noisy", weight=7)))
    assert len(await fleet.ask(Asker("noisy", weight=7), 2 * SEATS)) == SEATS * 7 // 8
    await fleet.close()


async def test_what_nobody_waits_for_has_no_kept_seat_and_keeps_none() -> None:
    fleet, night = Fleet(), Asker("night", batch=True)
    end(await fleet.ask(night))
    day = await fleet.ask(NOISY, SEATS)
    assert len(day) == SEATS, "nothing is kept for who only asks for what nobody waits for"
    end(day)
    assert len(await fleet.ask(night, 2 * SEATS)) == OPEN
    assert len(await fleet.ask(Asker("night"), 2)) == 0, "its own interactive ones have no more than its share"
    assert len(await fleet.ask(NOISY, 2)) == 2
    await fleet.close()


async def test_when_the_other_is_quiet_for_long_the_flood_has_all_seats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "WHILE_S", 0.01)
    fleet = Fleet()
    (quiet,) = await fleet.ask(QUIET)
    await fleet.ask(NOISY, 2 * SEATS)
    assert len(fleet.begun(NOISY)) == OPEN - 1, "what is kept is free beside what the other has"
    quiet.let_go()
    async with asyncio.timeout(DEADLINE_S):
        while len(fleet.begun(NOISY)) < SEATS:
            await asyncio.wait(fleet.asked, return_when=asyncio.FIRST_COMPLETED, timeout=0.01)
    await fleet.close()
    async with asyncio.timeout(DEADLINE_S):
        while vars(fleet.line)["_timer"] is not None:
            await asyncio.sleep(0.01)
    assert share_of(fleet.line).lately.weights == {}, "nobody is remembered for ever"
    assert vars(share_of(fleet.line))["_held"] == {}


def test_a_tenant_is_remembered_while_it_runs_and_for_one_while_more() -> None:
    share = FairShare[One]()
    share.begin(QUIET, A)
    share.begin(NOISY, A)
    assert share.turn()
    share.end(QUIET, A)
    share.turn()
    assert not share.may_have_kept(NOISY, A, 1)
    share.turn()
    assert share.may_have_kept(NOISY, A, 1)
    share.end(NOISY, A)
    assert share.turn()
    assert not share.turn()


async def test_who_is_known_by_another_worker_alone_finds_kept_seats_here_too() -> None:
    fleet = Fleet()
    fleet.lines.hear({"sha256:0": {"quiet": 1, "noisy": 1}})
    await fleet.ask(NOISY, 2 * SEATS)
    assert fleet.used() == OPEN
    assert len(await fleet.ask(QUIET)) == 1
    assert fleet.lines.told().lately == (("sha256:0", "noisy", 1), ("sha256:0", "quiet", 1))
    await fleet.close()
    fleet.asked.clear()
    fleet.lines.hear({"sha256:1": {"quiet": 1}})
    share_of(fleet.line).turn()
    share_of(fleet.line).turn()
    assert len(await fleet.ask(NOISY, 2 * SEATS)) == SEATS, "what is told of another base keeps nothing here"
    await fleet.close()


async def test_of_many_tenants_few_are_told_of() -> None:
    fleet = Fleet()
    for number in range(3 * MOST_TOLD):
        end(await fleet.ask(Asker(f"t{number}")))
    assert len(fleet.lines.told().lately) == MOST_TOLD


async def test_workers_hear_of_each_others_tenants_from_the_controller(house: House) -> None:
    async with office(house), real_worker(house, "a") as one, real_worker(house, "b") as other:
        share, heard = share_of(one.lines.of("sha256:0")), share_of(other.lines.of("sha256:0")).lately
        share.begin(QUIET, A)
        await wait_until_async("it to be heard of", lambda: heard.others("noisy") == 1)
        share.end(QUIET, A)
        share.turn()
        share.turn()
        await wait_until_async("it to be forgotten", lambda: heard.others("noisy") == 0)


# On real sockets


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An engine that runs eight requests at a time."""
    settings = {"engine_max_num_seqs": SEATS, "engine_kept_seat_share": KEPT_SHARE}
    with open_house(tmp_path_factory.mktemp("kept"), **settings) as house:
        for tenant in ("noisy", "quiet"):
            house.tenant(tenant)
            house.publish(f"{tenant}/triage")
            house.point(f"{tenant}/triage", "1.0")
        with run_stack(house, engines=({"max_num_seqs": SEATS},)) as stack:
            stack.wait_resident("noisy/triage@1.0", "quiet/triage@1.0")
            wait_until("what is kept", lambda: stack.worker.lines.room.open == {stack.engine.url: OPEN})
            yield stack


@contextmanager
def flood(stack: Stack, running: int) -> Iterator[None]:
    """Requests of one tenant, more than the engine runs, which hangs; so many have begun."""
    lines, number = stack.worker.lines, 3 * SEATS
    stack.faults(hang=True)
    with ThreadPoolExecutor(number) as pool:
        try:
            asked = [pool.submit(ask, stack, "noisy") for _ in range(number)]
            wait_until("the line", lambda: lines.waiting() == number - running)
            yield
        finally:
            stack.heal()
        assert {one.result().status_code for one in asked} == {200}
    wait_until("all seats to be free", lambda: lines.room.used == {})


def ask(stack: Stack, tenant: str) -> httpx.Response:
    return httpx.post(
        f"{stack.url}{CHAT}",
        json={"model": "triage", "messages": MESSAGES, "max_tokens": 4},
        headers={"Authorization": f"Bearer {stack.house.keys[tenant]}"},
        timeout=DEADLINE_S,
    )


def test_alone_a_flood_uses_all_seats_and_beside_another_the_other_has_one_at_once(stack: Stack) -> None:
    with flood(stack, running=SEATS):
        assert stack.state()["running"] == SEATS
    assert ask(stack, "quiet").status_code == 200
    with flood(stack, running=OPEN), ThreadPoolExecutor(1) as pool:
        quiet = pool.submit(ask, stack, "quiet")
        wait_until("it to run", lambda: stack.state()["running"] == OPEN + 1)
        assert stack.worker.lines.waiting() == 3 * SEATS - OPEN, "it is beside those that wait, who came before"
        stack.heal()
        assert quiet.result().status_code == 200
