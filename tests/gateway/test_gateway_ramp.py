"""Splits that begin, change and end while requests run: every arm is resident before the first unit moves to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from registry.errors import Conflict
from registry.names import AdapterRef, parse_ref
from registry.swaps.infos import SwapInfo
from registry.swaps.report import report_swap
from tests.support.stack import CHAT, MESSAGES, House, Stack, run, run_stack
from tests.support.waiting import wait_until, wait_until_async

TRIAGE = AdapterRef("acme", "triage", None, "production")
ONE, TWO = "acme/triage@1.0", "acme/triage@1.1"
HALVES = {"1.0": 5_000, "1.1": 5_000}
LOAD_MS = 4_000
CALLERS = 8
PAUSE_S = 0.02
"""Between two requests of a user: what waits must wait for a load, and not for the CPU."""


@pytest.fixture
def shop(house: House) -> House:
    """acme/triage in two versions, 1.0 in production."""
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    return house


@pytest.fixture
def ramping(shop: House) -> Iterator[Stack]:
    """The same on an engine, where only 1.0 is resident."""
    with run_stack(shop) as stack:
        stack.wait_resident(ONE)
        yield stack


def requested(house: House, weights: dict[str, int]) -> SwapInfo:
    return house.registry.swaps.request_ramp(TRIAGE, weights, actor="test")


@dataclass
class Turn:
    """One request of a unit: the status, the version that answered, and how long it took."""

    unit: str
    status: int
    model: str
    seconds: float


async def keep_asking(stack: Stack, stop: asyncio.Event, turns: list[Turn]) -> None:
    """A few users, each with one request after another, until `stop`; what was answered is added to `turns`."""
    headers = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    body = {"model": "acme/triage", "messages": MESSAGES, "max_tokens": 4}

    async def user(http: httpx.AsyncClient, unit: str) -> None:
        while not stop.is_set():
            began = time.monotonic()
            answer = await http.post(CHAT, json=body, headers={"X-Switchyard-Unit": unit})
            model = answer.json().get("model", answer.text)
            turns.append(Turn(unit, answer.status_code, model, time.monotonic() - began))
            await asyncio.sleep(PAUSE_S)

    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30) as http:
        await asyncio.gather(*(user(http, f"user-{number}") for number in range(CALLERS)))


async def rounds_more(turns: list[Turn], load: asyncio.Task[None], rounds: int = 3) -> None:
    target = len(turns) + rounds * CALLERS
    await wait_until_async("more answers", lambda: len(turns) >= target or load.done())


async def test_a_ramp_to_a_cold_version_under_traffic_fails_no_request_and_none_waits_for_its_load(
    ramping: Stack,
) -> None:
    house = ramping.house
    ramping.faults(token_ms=2, load_ms=LOAD_MS)
    loads = ramping.state()["loads"]
    stop = asyncio.Event()
    turns: list[Turn] = []
    load = asyncio.create_task(keep_asking(ramping, stop, turns))
    await rounds_more(turns, load)
    swaps = [
        await asyncio.to_thread(house.split, "acme/triage", {"1.0": 10_000 - weight, "1.1": weight})
        for weight in (3_000, 7_000, 10_000)
    ]
    await rounds_more(turns, load)
    stop.set()
    await load

    assert {turn.status for turn in turns} == {200}
    assert max(turn.seconds for turn in turns) < LOAD_MS / 1000, "one that waits for the load takes longer"
    assert ramping.state()["loads"] == loads + 1, "the first ramp brought it in; the others found it there"
    assert swaps[0].detail["preload_s"] >= LOAD_MS / 1000 > swaps[1].detail["preload_s"]
    for unit in {turn.unit for turn in turns}:
        arms = [turn.model for turn in turns if turn.unit == unit]
        assert arms == sorted(arms), "units move to the arm that grows, and no other way"
        assert (arms[0], arms[-1]) == (ONE, TWO)
    wait_until("usage to be shipped", lambda: len(house.usage(tenant="acme")) == len(turns))
    report = report_swap(house.registry.db, swaps[0].id)
    (moved,) = (part for part in report.versions if part.version == TWO)
    assert moved.first_ms >= swaps[0].detail["flipped_at_ms"]
    assert sum(part.failed for part in report.versions) == 0


def test_a_ramp_and_the_end_of_a_split_are_recorded_with_every_acknowledgement(ramping: Stack) -> None:
    house = ramping.house
    began = house.split("acme/triage", {"1.0": 0, "1.1": 10_000})
    assert ramping.chat("acme/triage").json()["model"] == TWO, "it is in force when the swap is done"
    ended = house.end_split("acme/triage")
    assert ramping.chat("acme/triage").json()["model"] == ONE
    (worker,) = house.registry.workers.live()
    for swap in (began, ended):
        report = report_swap(house.registry.db, swap.id)
        assert (report.swap.kind, report.swap.state, report.swap.to_version) == ("ramp", "done", ONE)
        assert [one.worker for one in report.acknowledged] == [worker.id]
        assert report.cutover_s is not None
        assert 0 <= report.acknowledged[0].after_flip_s <= report.cutover_s
        assert report.preload_s is not None
        assert (report.late_on_old, report.left_on_old, report.drain_s) == (None, None, None)
        assert report.swap.detail["engines"] == [ramping.engine.url]
        assert swap.finished_at_ms is not None
        assert swap.requested_at_ms <= swap.detail["flipped_at_ms"] <= swap.finished_at_ms
    (split,) = house.registry.splits.history(TRIAGE)
    assert began.detail["split"] == ended.detail["ended_split"] == split.id
    assert [(arm.version, arm.weight) for arm in ended.arms] == [(ONE, 10_000)]
    assert len(house.registry.adapters.history(TRIAGE)) == 1, "the alias itself was never moved by it"


def test_a_ramp_whose_arm_cannot_be_loaded_changes_nothing_and_says_why(ramping: Stack) -> None:
    house = ramping.house
    house.publish("acme/triage")
    house.split("acme/triage", HALVES)
    ramping.faults(fail_next_load=[500] * 3)
    swap = house.finished(requested(house, {"1.0": 4_000, "1.1": 3_000, "1.2": 3_000}).id)
    assert swap.state == "failed"
    assert "Injected failure of the load" in swap.detail["error"]
    assert "flipped_at_ms" not in swap.detail
    assert "Injected failure" in (house.registry.adapters.get(parse_ref("acme/triage@1.2")).quarantined or "")
    (split,) = house.registry.splits.history(TRIAGE)
    assert (split.arms, split.ended_at_ms) == ((("1.0", 5_000), ("1.1", 5_000)), None)
    ramping.wait_revision()
    models = {
        ramping.chat("acme/triage", headers={"X-Switchyard-Unit": f"user-{number}"}).json()["model"]
        for number in range(16)
    }
    assert models == {ONE, TWO}


def test_an_arm_without_traffic_is_not_loaded_for_the_split(ramping: Stack) -> None:
    loads = ramping.state()["loads"]
    swap = ramping.house.split("acme/triage", {"1.0": 10_000, "1.1": 0})
    assert swap.detail["engines"] == [ramping.engine.url]
    assert ramping.state()["loads"] == loads


def test_without_a_healthy_engine_a_ramp_fails_and_can_be_repeated(ramping: Stack) -> None:
    run(ramping.engine.stop())
    wait_until("the gateway to notice", lambda: not ramping.readiness()["ready"])
    swap = ramping.house.finished(requested(ramping.house, HALVES).id)
    assert swap.state == "failed"
    assert "no healthy engine" in swap.detail["error"]
    assert ramping.house.registry.splits.history(TRIAGE) == []
    run(ramping.engine.start())
    ramping.wait_ready()
    ramping.house.split("acme/triage", HALVES)


def test_of_two_ramps_at_once_the_second_is_a_conflict(ramping: Stack) -> None:
    ramping.faults(load_ms=300)
    first = requested(ramping.house, HALVES)
    with pytest.raises(Conflict, match=f"swap {first.id} of acme/triage@production is still"):
        requested(ramping.house, {"1.0": 9_000, "1.1": 1_000})
    with pytest.raises(Conflict, match="is still"):
        ramping.house.registry.swaps.request(parse_ref(TWO), actor="test")
    assert ramping.house.finished(first.id).state == "done"


def test_a_ramp_with_an_arm_that_is_quarantined_while_it_is_brought_in_changes_nothing(ramping: Stack) -> None:
    ramping.faults(load_ms=500)
    swap = requested(ramping.house, HALVES)
    wait_until("the load to begin", lambda: ramping.controller.loading.tasks)
    bad = ramping.house.registry.adapters.get(parse_ref(TWO))
    ramping.house.registry.adapters.quarantine(bad.id, "it swears")
    swap = ramping.house.finished(swap.id)
    assert (swap.state, swap.detail["error"]) == ("failed", f"{TWO} was quarantined meanwhile: it swears")
    assert ramping.house.registry.splits.history(TRIAGE) == []


@pytest.mark.parametrize("state", ["preloading", "verified", "flipped"])
def test_a_new_gateway_finishes_the_ramp_that_a_dead_one_left(shop: House, state: str) -> None:
    swap = requested(shop, {"1.0": 0, "1.1": 10_000})
    if state == "flipped":
        shop.registry.swaps.flip(swap.id)
    else:
        shop.registry.swaps.advance(swap.id, state)
    with run_stack(shop) as stack:
        done = shop.finished(swap.id)
        assert (done.state, len(done.detail["acknowledged_by"])) == ("done", 1)
        assert stack.chat("acme/triage").json()["model"] == TWO
        (split,) = shop.registry.splits.history(TRIAGE)
        assert (split.id, split.ended_at_ms) == (done.detail["split"], None)
