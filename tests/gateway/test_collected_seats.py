"""Requests of several answers: seats are collected for them, and nobody's are taken that are kept."""

from __future__ import annotations

import random

import pytest

from gateway.fleet import line as line_module
from gateway.fleet.fair_share import Asker
from tests.gateway.test_kept_seats import NOISY, OPEN, QUIET, SEATS, A, B, Fleet, end, seats, share_of, turn
from tests.support.waiting import wait_until_async


async def test_requests_of_many_answers_take_nothing_that_is_kept() -> None:
    fleet, wide = Fleet(), Asker("noisy", size=2)
    end(await fleet.ask(QUIET))
    assert len(await fleet.ask(wide, SEATS)) == OPEN // 2
    assert len(await fleet.ask(QUIET, 2)) == 2
    await fleet.close()


async def test_a_wide_request_takes_what_is_kept_if_it_fits_and_else_waits_until_there_are_as_many() -> None:
    fleet, wide = Fleet(), Asker("quiet", size=4)
    end(await fleet.ask(QUIET))
    flood = await fleet.ask(NOISY, 2 * SEATS)
    assert not await fleet.ask(wide)
    assert len(await fleet.ask(Asker("third", size=SEATS - OPEN))) == 1, "it fits, and nobody had taken it"
    end(fleet.begun(Asker("third", size=SEATS - OPEN)))
    for left in (5, 4, 3):
        flood.pop().let_go()
        await turn()
        assert (fleet.used(), len(fleet.begun(wide))) == (left, 0), "what falls free is for it, and not for the flood"
    flood.pop().let_go()
    await turn()
    assert len(fleet.begun(wide)) == 1, "it goes before the flood"
    assert fleet.used() == OPEN + 1, "it takes nothing kept: of that the flood has one, as it is below its share now"
    assert not await fleet.ask(wide), "the flood has less now"
    await fleet.close()


async def test_what_is_kept_is_there_for_others_while_seats_are_collected() -> None:
    fleet, wide = Fleet(), Asker("wide", size=4)
    end(await fleet.ask(QUIET))
    flood = await fleet.ask(NOISY, 2 * SEATS)
    await fleet.ask(wide)
    (first,) = await fleet.ask(QUIET)
    assert len(await fleet.ask(Asker("other"))) == 1
    end(flood[:2])
    assert not await fleet.ask(Asker("fifth")), "of the others' seats and the kept ones none is free"
    first.let_go()
    await turn()
    assert len(fleet.begun(Asker("fifth"))) == 1, "a kept seat is there again"
    end(flood[2:4])
    await turn()
    assert (len(fleet.begun(wide)), fleet.used()) == (1, SEATS), "it does not wait for those on kept seats"
    await fleet.close()


async def test_whose_turn_it_is_before_a_wide_request_is_not_kept_back_by_it() -> None:
    fleet, wide = Fleet(), Asker("noisy", size=4)
    end(await fleet.ask(QUIET))
    await fleet.ask(NOISY, 2)
    third = await fleet.ask(Asker("third"), 2)
    assert not await fleet.ask(wide)
    assert len(await fleet.ask(QUIET, 2)) == 2, "it has less"
    end(third)
    await turn()
    assert not fleet.begun(wide), "those seats are still in use"
    end(fleet.begun(QUIET)[-2:])
    await turn()
    assert (len(fleet.begun(wide)), fleet.used()) == (1, OPEN)
    await fleet.close()


async def test_who_leaves_while_seats_are_collected_leaves_them_to_all() -> None:
    fleet, wide = Fleet(), Asker("wide", size=4)
    end(await fleet.ask(QUIET))
    flood = await fleet.ask(NOISY, 2 * SEATS)
    await fleet.ask(wide)
    end(flood[:2])
    await turn()
    assert fleet.used() == OPEN - 2, "the flood has its share, and so nothing that is kept"
    fleet.asked[-1].cancel()
    await turn()
    assert fleet.used() == OPEN
    assert fleet.lines.room.open == {A: OPEN}
    await fleet.close()


async def test_who_is_alone_again_collects_no_seats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "WHILE_S", 0.01)
    fleet, wide = Fleet(), Asker("noisy", size=4)
    end(await fleet.ask(QUIET))
    one, *_ = await fleet.ask(NOISY, OPEN)
    await fleet.ask(wide)
    await wait_until_async("the other to be forgotten", lambda: share_of(fleet.line).is_alone("noisy"))
    one.let_go()
    await wait_until_async("it to begin", lambda: len(fleet.begun(wide)) == 1)
    await fleet.close()


async def test_who_needs_more_seats_than_an_engine_has_for_all_begins_with_one_of_them_and_once() -> None:
    fleet, wide = Fleet(), Asker("wide", size=2 * SEATS)
    end(await fleet.ask(QUIET))
    flood = await fleet.ask(NOISY, 2 * SEATS)
    assert not await fleet.ask(wide, 2)
    flood[0].let_go()
    await turn()
    assert len(fleet.begun(wide)) == 1
    end(flood[1:])
    await turn()
    assert len(fleet.begun(wide)) == 1, "one at a time of those that fit nowhere"
    await fleet.close()


async def test_the_line_is_told_in_seats() -> None:
    fleet = Fleet()
    end(await fleet.ask(QUIET))
    await fleet.ask(NOISY, SEATS)
    await fleet.ask(Asker("wide", size=4))
    assert fleet.lines.told().waiting == {"sha256:0": SEATS - OPEN + 4}
    assert fleet.line.waiting == SEATS - OPEN + 1
    await fleet.close()


@pytest.mark.parametrize("seed", range(12))
async def test_however_wide_requests_are_no_engine_runs_more_than_it_can_and_everybody_begins(seed: int) -> None:
    draw, fleet = random.Random(seed), Fleet((A, B))
    end([seat for name in "xyz" for seat in await fleet.ask(Asker(name))])
    asked = 0
    for _ in range(300):
        if draw.random() < 0.5:
            await fleet.ask(
                Asker(draw.choice("xyz"), size=draw.choice((1, 1, 2, 3, 4, OPEN)), batch=draw.random() < 0.2)
            )
            asked += 1
        elif running := [seat for seat in seats(fleet.asked) if seat.held]:
            draw.choice(running).let_go()
            await turn()
        elif draw.random() < 0.2:
            fleet.asked[-1].cancel()
            await turn()
        assert max(fleet.lines.room.used.values(), default=0) <= SEATS
    while running := [seat for seat in seats(fleet.asked) if seat.held]:
        draw.choice(running).let_go()
        await turn()
    assert fleet.line.waiting == 0
    assert fleet.lines.room.open == {A: OPEN, B: OPEN}
    await fleet.close()


async def test_with_a_wide_request_a_tenant_has_no_more_than_its_share() -> None:
    fleet = Fleet()
    end(await fleet.ask(QUIET))
    await fleet.ask(Asker("third"), 3)
    await fleet.ask(NOISY, 2)
    assert not await fleet.ask(Asker("noisy", size=3)), "it fits into what is kept; a third of eight seats is less"
    assert len(await fleet.ask(QUIET, 3)) == 3
    await fleet.close()


async def test_alone_a_wide_request_begins_with_one_free_seat() -> None:
    fleet = Fleet()
    await fleet.ask(NOISY, SEATS - 1)
    assert len(await fleet.ask(Asker("noisy", size=4))) == 1
    await fleet.close()


async def test_wide_requests_that_nobody_waits_for_get_on_beside_a_flood() -> None:
    fleet = Fleet()
    end(await fleet.ask(QUIET))
    flood = await fleet.ask(NOISY, 4 * SEATS)
    assert not await fleet.ask(Asker("night", batch=True, size=4))
    end(flood[:4])
    await turn()
    assert len(fleet.begun(Asker("night", batch=True, size=4))) == 1
    assert fleet.used() == SEATS, "with two of the flood that are kept, as it is below its share now"
    await fleet.close()
