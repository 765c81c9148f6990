"""Promotes while requests run, promotes that fail, and rollbacks."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from registry.adapters.aliases import move_alias
from registry.errors import AdapterRefused, Conflict, InvalidInput, NotFound
from registry.names import AdapterRef, parse_ref
from registry.swaps.infos import SwapInfo
from registry.swaps.store import Swaps
from tests.support.stack import CHAT, MESSAGES, TEXT, House, Stack, proof, run, run_stack
from tests.support.waiting import DEADLINE_S, wait_until, wait_until_async

TRIAGE = AdapterRef("acme", "triage", None, "production")


@pytest.fixture
def swapping(house: House) -> Iterator[Stack]:
    """acme/triage in two versions, 1.0 in production, both with an effect proof; one engine."""
    house.publish("acme/triage", proof=proof(seed=1))
    house.publish("acme/triage", proof=proof(seed=2))
    house.point("acme/triage", "1.0")
    with run_stack(house) as stack:
        stack.wait_resident("acme/triage@1.0")
        yield stack


def folder_of(stack: Stack, version: str) -> str:
    """What the folder of a version's files is called."""
    return stack.house.registry.adapters.get(parse_ref(version)).manifest_digest.removeprefix("sha256:")


@dataclass
class Asked:
    """One request: when it ran, and the versions that its answer names."""

    began: float
    ended: float
    models: set[str]
    whole: bool


async def ask(http: httpx.AsyncClient, turn: int) -> Asked:
    stream, chat = turn % 2 == 0, turn % 4 < 2
    prompt: dict[str, Any] = {"messages": MESSAGES} if chat else {"prompt": f"case {turn}"}
    began = time.monotonic()
    answer = await http.post(
        CHAT if chat else TEXT, json={"model": "acme/triage", "max_tokens": 8, "stream": stream, **prompt}
    )
    ended = time.monotonic()
    assert answer.status_code == 200, answer.text
    if not stream:
        return Asked(began, ended, {answer.json()["model"]}, whole=True)
    events = answer.text.removesuffix("\n\n").split("\n\n")
    documents = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    return Asked(began, ended, {document["model"] for document in documents}, events[-1] == "data: [DONE]")


async def keep_asking(stack: Stack, stop: asyncio.Event, done: list[Asked]) -> None:
    """Fifty callers at once, without a pause, until `stop`; what was answered is added to `done`."""
    headers = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    limits = httpx.Limits(max_connections=60)

    async def caller(http: httpx.AsyncClient, turn: int) -> None:
        while not stop.is_set():
            done.append(await ask(http, turn))

    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30, limits=limits) as http:
        await asyncio.gather(*(caller(http, turn) for turn in range(50)))


async def hundred_more(done: list[Asked], load: asyncio.Task[None]) -> None:
    """So that at least fifty of them also began after now."""
    target = len(done) + 100
    await wait_until_async("more answers", lambda: len(done) >= target or load.done())


async def test_a_promote_under_load_fails_no_request_and_every_answer_is_of_a_version_that_was_current(
    swapping: Stack,
) -> None:
    swapping.faults(token_ms=5)
    stop = asyncio.Event()
    asked: list[Asked] = []
    load = asyncio.create_task(keep_asking(swapping, stop, asked))
    await hundred_more(asked, load)
    requested = time.monotonic()
    swap = await asyncio.to_thread(swapping.house.promote, "acme/triage", "1.1")
    finished = time.monotonic()
    await hundred_more(asked, load)
    stop.set()
    await load

    assert swap.state == "done"
    assert all(one.whole and len(one.models) == 1 for one in asked)
    before = [one for one in asked if one.ended < requested]
    after = [one for one in asked if one.began > finished]
    assert len(before) >= 50
    assert len(after) >= 50
    assert {model for one in before for model in one.models} == {"acme/triage@1.0"}
    assert {model for one in after for model in one.models} == {"acme/triage@1.1"}
    assert {model for one in asked for model in one.models} == {"acme/triage@1.0", "acme/triage@1.1"}
    assert swapping.state()["failed"] == 0
    assert swapping.state()["unknown_model"] == 0


def test_a_promote_reports_each_of_its_steps(swapping: Stack) -> None:
    swap = swapping.house.promote("acme/triage", "1.1")
    assert swap.state == "done"
    assert swap.detail["from"] == "acme/triage@1.0"
    assert swap.detail["engines"] == [swapping.engine.url]
    assert len(swap.detail["acknowledged_by"]) == 1
    assert swap.detail["requests_left_on_old_version"] == 0
    assert swap.finished_at_ms is not None
    assert swap.requested_at_ms <= swap.detail["flipped_at_ms"] <= swap.finished_at_ms
    last = swapping.house.registry.adapters.history(TRIAGE)[-1]
    assert (last.from_version, last.to_version) == ("acme/triage@1.0", "acme/triage@1.1")


def test_a_running_stream_finishes_on_its_version_and_the_swap_waits_for_it(swapping: Stack) -> None:
    swapping.faults(token_ms=100)
    body = {"model": "acme/triage", "messages": MESSAGES, "max_tokens": 15, "stream": True}
    headers = {"Authorization": f"Bearer {swapping.house.keys['acme']}"}
    with httpx.stream("POST", swapping.url + CHAT, json=body, headers=headers, timeout=DEADLINE_S) as answer:
        lines = answer.iter_lines()
        seen = [next(lines)]
        swap_id = swapping.house.registry.swaps.request(parse_ref("acme/triage@1.1"), actor="test").id
        wait_until("the swap to drain", lambda: swapping.house.registry.swaps.get(swap_id).state == "draining")
        swapping.faults(token_ms=0)
        assert swapping.chat("acme/triage").json()["model"] == "acme/triage@1.1"
        seen += list(lines)
    documents = [json.loads(line.removeprefix("data: ")) for line in seen if line and "[DONE]" not in line]
    assert {document["model"] for document in documents} == {"acme/triage@1.0"}
    assert len(documents) == 16
    assert swapping.house.finished(swap_id).detail["requests_left_on_old_version"] == 0


def test_an_adapter_that_the_engine_refuses_is_quarantined_and_the_alias_stays(swapping: Stack) -> None:
    swapping.faults(fail_next_load=[500] * 3)
    swap = swapping.house.promote("acme/triage", "1.1")
    assert swap.state == "failed"
    assert "Injected failure of the load" in swap.detail["error"]
    assert swapping.chat("acme/triage").json()["model"] == "acme/triage@1.0"
    bad = swapping.house.registry.adapters.get(parse_ref("acme/triage@1.1"))
    assert bad.quarantined is not None
    assert "Injected failure of the load" in bad.quarantined
    swapping.wait_revision()
    answer = swapping.chat("acme/triage@1.1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_quarantined")
    assert "Injected failure of the load" in answer.json()["error"]["message"]
    with pytest.raises(InvalidInput, match="quarantined"):
        swapping.house.promote("acme/triage", "1.1")
    headers = {"Authorization": f"Bearer {swapping.house.keys['acme']}"}
    listed = httpx.get(f"{swapping.url}/v1/models", headers=headers).json()["data"]
    assert [card["id"] for card in listed] == ["acme/triage", "acme/triage@1.0"]


def test_an_adapter_without_its_trained_effect_is_quarantined_and_taken_off_the_engine(swapping: Stack) -> None:
    swapping.faults(noop_folder=folder_of(swapping, "acme/triage@1.1"))
    swap = swapping.house.promote("acme/triage", "1.1")
    assert swap.state == "failed"
    assert "0.00 of the trained effect" in swap.detail["error"]
    bad = swapping.house.registry.adapters.get(parse_ref("acme/triage@1.1"))
    assert "effect proof failed" in (bad.quarantined or "")
    digest = bad.manifest_digest.removeprefix("sha256:")[:16]
    assert not [name for name in swapping.state()["loaded"] if digest in name]
    assert swapping.chat("acme/triage").json()["model"] == "acme/triage@1.0"


def test_a_promote_replays_every_probe_of_a_version_that_was_loaded_with_the_first_only(swapping: Stack) -> None:
    assert swapping.chat("acme/triage@1.1").status_code == 200  # cold: one probe
    swapping.faults(noop_folder=folder_of(swapping, "acme/triage@1.1"))
    swap = swapping.house.promote("acme/triage", "1.1")
    assert swap.state == "failed"
    bad = swapping.house.registry.adapters.get(parse_ref("acme/triage@1.1"))
    assert "effect proof failed" in (bad.quarantined or "")
    digest = bad.manifest_digest.removeprefix("sha256:")[:16]
    assert not [name for name in swapping.state()["loaded"] if digest in name], "its slot is free again"


def test_a_proof_that_cannot_be_read_is_refused_at_publish(swapping: Stack) -> None:
    broken = proof(seed=3)
    broken["probes"][0]["positions"] = [99]
    with pytest.raises(AdapterRefused, match=r"effect_proof_unreadable.*positions"):
        swapping.house.publish("acme/triage", proof=broken)


def test_a_promote_without_a_healthy_engine_fails_and_can_be_repeated(swapping: Stack) -> None:
    run(swapping.engine.stop())
    wait_until("the gateway to notice", lambda: not swapping.readiness()["ready"])
    swap = swapping.house.promote("acme/triage", "1.1")
    assert swap.state == "failed"
    assert "no healthy engine" in swap.detail["error"]
    assert swapping.house.registry.adapters.get(TRIAGE).name == "acme/triage@1.0"
    run(swapping.engine.start())
    swapping.wait_ready()
    assert swapping.house.promote("acme/triage", "1.1").state == "done"


def test_an_engine_that_dies_during_the_preload_fails_the_promote_and_quarantines_nothing(swapping: Stack) -> None:
    swapping.faults(load_ms=60_000)
    swap_id = swapping.house.registry.swaps.request(parse_ref("acme/triage@1.1"), actor="test").id
    wait_until("the load to begin", lambda: swapping.controller.loading.tasks)
    run(swapping.engine.crash())
    swap = swapping.house.finished(swap_id)
    assert swap.state == "failed"
    assert "no healthy engine" in swap.detail["error"], "which is what the last of several rounds found"
    assert swapping.house.registry.adapters.get(parse_ref("acme/triage@1.1")).quarantined is None


def test_a_rollback_goes_back_to_where_the_alias_was(swapping: Stack) -> None:
    assert swapping.house.promote("acme/triage", "1.1").state == "done"
    swap = swapping.house.registry.swaps.request_rollback(TRIAGE, actor="test")
    assert swapping.house.finished(swap.id).state == "done"
    assert swapping.chat("acme/triage").json()["model"] == "acme/triage@1.0"
    moves = [(move.from_version, move.to_version) for move in swapping.house.registry.adapters.history(TRIAGE)]
    one, two = "acme/triage@1.0", "acme/triage@1.1"
    assert moves == [(None, one), (one, two), (two, one)]


def test_of_two_promotes_at_once_the_second_is_a_conflict(swapping: Stack) -> None:
    swapping.faults(load_ms=200)
    first = swapping.house.registry.swaps.request(parse_ref("acme/triage@1.1"), actor="one")
    with pytest.raises(Conflict, match="is still"):
        swapping.house.registry.swaps.request(parse_ref("acme/triage@1.0"), actor="two")
    assert swapping.house.finished(first.id).state == "done"


def test_a_swap_loses_against_an_alias_that_moved_meanwhile(swapping: Stack) -> None:
    swapping.faults(load_ms=500)
    swap = swapping.house.registry.swaps.request(parse_ref("acme/triage@1.1"), actor="slow")
    wait_until("the load to begin", lambda: swapping.controller.loading.tasks)
    with swapping.house.registry.db.write() as session:
        move_alias(
            session, adapter_id=1, alias="production", to_version_id=1, expected_etag=1, actor="quick", reason=""
        )
    done = swapping.house.finished(swap.id)
    assert done.state == "failed"
    assert "moved by somebody else" in done.detail["error"]


def test_a_rollback_of_an_alias_that_never_moved_is_refused(house: House) -> None:
    house.publish("acme/triage")
    with pytest.raises(NotFound, match="no earlier version"):
        house.registry.swaps.request_rollback(TRIAGE, actor="test")


def test_a_new_gateway_finishes_the_swap_that_a_dead_one_left(house: House) -> None:
    house.publish("acme/triage")
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    swap = house.registry.swaps.request(parse_ref("acme/triage@1.1"), actor="test")
    house.registry.swaps.advance(swap.id, "preloading")
    with run_stack(house) as stack:
        assert house.finished(swap.id).state == "done"
        assert stack.chat("acme/triage").json()["model"] == "acme/triage@1.1"


def test_a_body_that_was_under_way_during_a_promote_is_answered_by_the_new_version(swapping: Stack) -> None:
    body = json.dumps({"model": "acme/triage", "messages": MESSAGES, "max_tokens": 4}).encode()
    settings, key = swapping.house.settings, swapping.house.keys["acme"]
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((settings.host, settings.port), timeout=DEADLINE_S) as client:
        client.sendall(head.encode() + body[:10])
        time.sleep(0.2)  # the key was looked up by now
        assert swapping.house.promote("acme/triage", "1.1").state == "done"
        client.sendall(body[10:])
        answer = client.recv(65_536)
    assert b"x-switchyard-model: acme/triage@1.1" in answer


def test_a_swap_that_ends_while_the_queue_is_read_is_not_begun_again(
    swapping: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runner, read, late = swapping.controller.swaps, Swaps.pending, threading.Event()

    def read_slowly(swaps: Swaps) -> list[SwapInfo]:
        found = read(swaps)
        if any(swap.id in runner.ids() for swap in found):
            wait_until("the swaps to end", lambda: not runner.ids())
            late.set()
        return found

    monkeypatch.setattr(Swaps, "pending", read_slowly)
    swapping.faults(token_ms=100)  # so that the swap drains for as long as a few rounds take
    body = {"model": "acme/triage", "messages": MESSAGES, "max_tokens": 15, "stream": True}
    headers = {"Authorization": f"Bearer {swapping.house.keys['acme']}"}
    with httpx.stream("POST", swapping.url + CHAT, json=body, headers=headers, timeout=DEADLINE_S) as answer:
        lines = answer.iter_lines()
        assert next(lines)
        swap_id = swapping.house.registry.swaps.request(parse_ref("acme/triage@1.1"), actor="test").id
        assert list(lines)
    assert swapping.house.finished(swap_id).state == "done"
    assert late.wait(DEADLINE_S)
    swapping.faults(token_ms=0)
    assert swapping.house.promote("acme/triage", "1.0").state == "done"
    assert "failed" not in caplog.text
