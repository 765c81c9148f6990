"""Requests without a valid key: slowed by address, told of, and nobody else waits for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from gateway import door, told_together
from gateway.door import MOST_ADDRESSES, Door
from gateway.metrics.families import Family
from gateway.turns import LoopTurns
from tests.support.stack import CHAT, Stack, open_house, run_stack
from tests.support.waiting import DEADLINE_S, wait_until

GUESSES = 5


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A gateway that answers five guesses an hour at once, and others soon."""
    monkeypatch.setattr(door, "LATE_S", 0.01)
    monkeypatch.setattr(door, "MINUTE_S", 3_600.0)  # so that none is forgotten while a busy machine asks
    monkeypatch.setattr(told_together, "EVERY_S", 0.05)
    with open_house(tmp_path_factory.mktemp("guarded")) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house, invalid_keys_per_minute=GUESSES) as stack:
            yield stack


def guess(stack: Stack, path: str, number: int) -> Any:
    headers = {"Authorization": f"Bearer sk-admin-{number:032}"}
    if path == CHAT:
        return stack.chat("triage", f"sk-guess-{number}")
    return stack.http.get(f"{stack.url}{path}", headers=headers)


@pytest.mark.parametrize("path", ["/admin/v1/tenants", "/v1/models", "/metrics", "/v1/nothing", CHAT])
def test_guesses_of_an_address_are_slowed_and_its_valid_keys_are_not(
    guarded: Stack, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [guess(guarded, path, number) for number in range(GUESSES + 3)]
    first = 404 if path == "/v1/nothing" else 401
    assert [one.status_code for one in answers] == [first] * GUESSES + [429] * 3
    last = answers[-1]
    assert last.json()["error"]["code"] == "too_many_invalid_keys"
    assert (last.headers["connection"], int(last.headers["retry-after"]) > 0) == ("close", True)
    assert last.headers["x-request-id"]
    assert guarded.chat("triage").status_code == 200
    assert guarded.http.get(f"{guarded.url}/admin/v1/me", headers=guarded.operator).status_code == 200
    assert guarded.http.get(f"{guarded.url}/healthz").status_code == 200
    api = "admin" if path.startswith("/admin") else "tenant"
    series = f'switchyard_strangers_total{{api="{api}",answer="slowed"}} 3'
    metrics = f"{guarded.url}/metrics"
    wait_until("them to be told", lambda: series in guarded.http.get(metrics, headers=guarded.operator).text)
    with caplog.at_level(logging.WARNING, "switchyard.door"):
        wait_until("a line in the log", lambda: "requests without a valid key" in caplog.text)
    assert "sk-" not in caplog.text


def test_a_probe_with_a_guessed_key_is_a_guess_and_one_without_is_none(guarded: Stack) -> None:
    for number in range(GUESSES):
        assert guarded.http.get(f"{guarded.url}/readyz").status_code == 200
        assert guess(guarded, "/readyz", number).status_code == 200
    assert guess(guarded, "/readyz", GUESSES).status_code == 429
    assert guarded.http.get(f"{guarded.url}/readyz").status_code == 200


def test_addresses_are_forgotten(guarded: Stack) -> None:
    assert guarded.gateway.house is not None
    counted: list[tuple[Family, tuple[str, ...]]] = []
    own = Door(
        guarded.gateway.house.catalog, "k" * 32, GUESSES, (), lambda family, labels: counted.append((family, labels))
    )

    async def many() -> None:
        for number in range(3 * MOST_ADDRESSES):
            own.note({"path": "/v1/models", "client": (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1),
                      "headers": []})  # fmt: skip

    asyncio.run(many())
    assert len(own._full_at_s) <= MOST_ADDRESSES
    assert len(own.told.seen) <= MOST_ADDRESSES + 2
    assert len(counted) == 3 * MOST_ADDRESSES


async def test_of_each_name_one_begins_in_each_turn_of_the_loop() -> None:
    turns, begun = LoopTurns(), list[str]()

    async def work(name: str) -> None:
        await turns.take(name)
        begun.append(name)

    async with asyncio.TaskGroup() as group:
        for name in ("a", "a", "a", "a", "b"):
            group.create_task(work(name))
        await asyncio.sleep(0)
        assert begun == ["a", "b"], "the others of a wait for it alone"
    assert begun == ["a", "b", "a", "a", "a"]
    await asyncio.sleep(0)
    assert not turns._waiting


async def test_who_goes_while_it_waits_holds_up_nobody() -> None:
    turns = LoopTurns()
    await turns.take("a")
    gone, stays = asyncio.create_task(turns.take("a")), asyncio.create_task(turns.take("a"))
    await asyncio.sleep(0)
    gone.cancel()
    async with asyncio.timeout(DEADLINE_S):
        await stays
