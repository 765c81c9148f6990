"""An engine is taken out of traffic and back in by order, and nobody's answer breaks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry import backends
from registry.tenants.rows import Tenant
from tests.support.admin_calls import Admin
from tests.support.stack import House, Stack, run_stack
from tests.support.waiting import wait_until


@pytest.fixture
def stack(house: House) -> Iterator[Stack]:
    """Two engines, one adapter."""
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_stack(house, engines=({}, {})) as stack:
        stack.wait_resident("acme/triage@1.0")
        yield stack


def answered(stack: Stack, number: int) -> int:
    return int(sum(stack.state_of(stack.engines[number])["answered"].values()))


def home_of(stack: Stack) -> int:
    """The number of the engine on which the adapter is resident."""
    (url,) = (engine.url for engine in stack.worker.view().engines if engine.resident)
    return [engine.url for engine in stack.engines].index(url)


def state_of(admin: Admin, url: str) -> str:
    return str(next(one["state"] for one in admin.get("/engines")["engines"] if one["url"] == url))


def test_a_drained_engine_finishes_its_stream_takes_nothing_new_and_comes_back_by_order(
    stack: Stack, admin: Admin
) -> None:
    home = home_of(stack)
    url = stack.engines[home].url
    stack.faults(token_ms=200)
    with ThreadPoolExecutor(1) as callers:
        long = callers.submit(lambda: stack.chat("triage", max_tokens=40, min_tokens=40))
        wait_until("the request to run", lambda: stack.state_of(stack.engines[home])["running"] == 1)
        order = admin.post("/engines/drain", url=url, reason="new driver", actor="kim")
        assert (order["url"], order["actor"], order["reason"]) == (url, "kim", "new driver")
        wait_until("it to leave the routes", lambda: state_of(admin, url) == "draining")
        wait_until("the worker to know", lambda: len(stack.worker.view().engines) == 1)
        before = answered(stack, home)
        assert [stack.chat("triage").status_code for _ in range(3)] == [200] * 3
        assert not long.done()
        assert answered(stack, home) == before, "new requests went to the other engine"
        stack.faults(token_ms=0)
        assert long.result().status_code == 200
    shown = next(one for one in admin.get("/engines")["engines"] if one["url"] == url)
    assert shown["drain"]["reason"] == "new driver"
    assert admin.post("/engines/resume", url=url) == {"url": url, "was_drained": True}
    wait_until("it to be back", lambda: state_of(admin, url) == "up")
    wait_until("the worker to know", lambda: len(stack.worker.view().engines) == 2)
    assert stack.chat("triage").status_code == 200
    assert admin.post("/engines/resume", url=url) == {"url": url, "was_drained": False}


def test_an_engine_that_is_drained_twice_keeps_the_first_order(admin: Admin, stack: Stack) -> None:
    first = admin.post("/engines/drain", url=stack.engine.url, reason="first")
    assert admin.post("/engines/drain", url=f"{stack.engine.url}/", reason="second") == first


def test_an_unknown_engine_is_a_404_that_names_the_known_ones(admin: Admin, stack: Stack) -> None:
    for path in ("/engines/drain", "/engines/resume"):
        status, error = admin.refused("POST", path, json={"url": "http://127.0.0.1:1"})
        assert (status, error["code"], error["param"]) == (404, "not_found", "url")
        assert all(engine.url in error["message"] for engine in stack.engines)


def test_a_mistyped_field_of_an_order_is_refused_and_not_dropped(admin: Admin, stack: Stack) -> None:
    status, error = admin.refused("POST", "/engines/drain", json={"url": stack.engine.url, "raeson": "x"})
    assert (status, error["code"], error["param"]) == (400, "invalid_request", "raeson")
    status, error = admin.refused("POST", "/engines/drain", json=None)
    assert (status, error["code"]) == (400, "invalid_request")


def test_a_database_that_cannot_be_used_is_a_503_without_its_sql_and_requests_go_on(admin: Admin, stack: Stack) -> None:
    with stack.house.registry.db.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE engine_drains")
    for method, path, order in (("GET", "/engines", None), ("POST", "/engines/drain", {"url": stack.engine.url})):
        answer = admin.ask(method, path, json=order)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], answer.headers["retry-after"]) == (503, "registry_away", "2")
        assert "engine_drains" not in error["message"]
    assert stack.chat("triage").status_code == 200


def test_a_change_that_another_one_is_in_the_way_of_is_a_503_that_says_busy(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "LOCK_WAIT_S", 0.1)
    with run_stack(house) as stack, house.registry.db.write() as session:
        session.get_one(Tenant, "acme", with_for_update=True)
        status, error = Admin(house, stack.url, stack.http).refused("POST", "/tenants", json={"name": "initech"})
    assert (status, error["code"]) == (503, "registry_away")
    assert error["message"] == "The registry is busy with another change, and nothing was changed. Try again."
