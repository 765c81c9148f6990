"""What the controller asks engines is booked under `_system`; with it, every token that an engine counts is known."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from gateway.admin_key import admin_key
from gateway.cost.reconcile import Balance, Tokens, reconcile
from gateway.engines.faults import Unreachable
from gateway.fleet.books import Books
from loadtest.ports import free_port
from registry.db import now_ms
from registry.names import SYSTEM
from tests.support.admin_calls import Admin
from tests.support.fleet_parts import managed_engine
from tests.support.stack import House, Stack, proof, run_engines, run_gateway, run_stack
from tests.support.waiting import wait_until


def total(balances: list[Balance], part: str) -> Tokens:
    return sum((getattr(one, part) for one in balances), Tokens())


def probes(house: House) -> list[dict[str, Any]]:
    return house.registry.ledger.recent(1_000, SYSTEM)


def test_proofs_and_requests_of_two_gateways_in_turn_are_all_that_an_engine_counted(house: House) -> None:
    house.publish("acme/triage", proof=proof())
    house.point("acme/triage", "1.0")
    with run_engines(house, {}) as mocks:
        for _ in range(2):
            with run_gateway(house, mocks) as stack:
                stack.wait_resident("acme/triage@1.0")
                assert stack.chat("triage").status_code == 200
                assert stack.chat("triage", n=3).status_code == 200
                assert stack.chat("triage", n=2, stream=True).status_code == 200
    booked = probes(house)
    assert {row["served_model"] for row in booked} == {"probes"}
    assert {(row["outcome"], row["usage_source"]) for row in booked} == {("ok", "engine")}
    (found,) = reconcile(house.registry.readings, 0, now_ms() + 1)
    assert found.system == Tokens(
        sum(row["prompt_tokens"] for row in booked), sum(row["completion_tokens"] for row in booked)
    )
    assert found.system.total > 0
    assert found.reread.prompt > 0
    assert found.unexplained == found.abort_overrun == found.in_flight == Tokens()


def test_each_boot_of_an_engine_has_a_balance_of_its_own(house: House) -> None:
    with run_stack(house) as stack:
        house.publish("acme/triage", proof=proof())
        house.point("acme/triage", "1.0")
        stack.wait_revision()
        assert stack.chat("triage").status_code == 200
        seen = stack.controller.engines[0]
        counted = stack.state()["answered"]
        wait_until(
            "a look after the request", lambda: seen.health.look and seen.health.look.generation_tokens >= len(counted)
        )
        stack.restart_engine()
        assert stack.chat("triage").status_code == 200
    boots = reconcile(house.registry.readings, 0, now_ms() + 1)
    assert len({one.boot_ms for one in boots}) == 2
    assert total(boots, "unexplained") == Tokens()


async def test_a_probe_that_breaks_off_is_booked_as_a_guess_that_it_cannot_exceed(house: House) -> None:
    engine = managed_engine(f"http://127.0.0.1:{free_port()}")
    books = Books(house.registry, term=3)
    try:
        with pytest.raises(Unreachable):
            await engine.control.answers_as("base", salt="s")
        await books.keep([engine])
        await books.keep([engine])
    finally:
        await engine.close()
    (row,) = probes(house)
    assert (row["outcome"], row["usage_source"], row["prompt_tokens"]) == ("engine_failed", "estimated", 3)
    assert row["attempt_id"].startswith("probe-3-")
    assert row["completion_tokens"] is None


async def test_probes_of_an_engine_that_left_and_came_back_in_one_term_are_all_booked(house: House) -> None:
    url, books = f"http://127.0.0.1:{free_port()}", Books(house.registry, term=3)
    for _ in range(2):
        engine = managed_engine(url)
        try:
            with pytest.raises(Unreachable):
                await engine.control.answers_as("base", salt="s")
            await books.part_with(engine)
        finally:
            await engine.close()
    booked = probes(house)
    assert [row["engine"] for row in booked] == [url, url]
    assert len({row["attempt_id"] for row in booked}) == 2


def test_operators_see_probes_counters_and_usage(stack: Stack) -> None:
    admin = Admin(stack.house, stack.url, stack.http)
    (before,) = admin.get("/engines")["engines"]
    answer = stack.chat("triage")
    assert answer.status_code == 200

    def looked_at() -> Any:
        (engine,) = admin.get("/engines")["engines"]
        probed = engine["probes"]["completion_tokens"] - before["probes"]["completion_tokens"]
        return engine if engine["generation_tokens"] > before["generation_tokens"] + probed else None

    engine = wait_until("a look after the request", looked_at)
    assert engine["probes"]["asked"] > 0
    assert engine["probes"]["prompt_tokens"] > 0
    assert engine["prompt_tokens"] > before["prompt_tokens"]
    stack.house.usage_of(answer.headers["x-request-id"])
    document = admin.get("/usage", by="version", tenant="acme")
    assert (document["by"], document["next"]) == ("version", None)
    assert {"acme/triage@1.0"} <= {line["name"] for line in document["lines"]}
    both = admin.get("/usage", tenant="acme,_system")
    assert ({line["tenant"] for line in both["lines"]}, both["tenant"]) == ({"_system", "acme"}, None)
    first = admin.get("/usage", by="version", limit=1)
    assert [line["name"] for line in first["lines"]] != [
        line["name"] for line in admin.get("/usage", by="version", limit=1, after=first["next"])["lines"]
    ]


def test_spreadsheets_get_csv_by_header_or_by_name(stack: Stack) -> None:
    admin = Admin(stack.house, stack.url, stack.http)
    assert stack.chat("triage").status_code == 200
    wait_until("usage to be shipped", lambda: stack.house.usage(tenant="acme"))
    headers = {"Authorization": f"Bearer {admin_key(stack.house.settings)}", "Accept": "text/csv"}
    asked = stack.http.get(f"{stack.url}/admin/v1/usage", headers=headers)
    assert asked.headers["content-type"] == "text/csv; charset=utf-8"
    named = admin.ask("GET", "/usage", params={"format": "csv", "tenant": "acme"})
    for answer in (asked, named):
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert "acme" in {row["tenant"] for row in rows}
    assert admin.refused("GET", "/usage", params={"from": "yesterday"})[1]["param"] == "from"
