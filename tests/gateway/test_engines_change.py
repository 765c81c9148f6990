"""The set of engines changes while the gateway serves, and no request fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from gateway.engines.address import engine_url
from gateway.engines.engine import Engine
from gateway.fleet.sources import document_of
from gateway.fleet.wire import Engines, encode
from gateway.settings import EngineSettings
from loadtest.testing import MockEngine
from registry.names import SYSTEM
from tests.bars.support.gateways import gateway_process
from tests.support.admin_calls import Admin
from tests.support.stack import House, Stack, run, run_engines, run_gateway
from tests.support.waiting import DEADLINE_S, wait_until

KEY_VARIABLE = "SWITCHYARD_ENGINE_KEY_EAST"


def admin_of(stack: Stack) -> Admin:
    return Admin(stack.house, stack.url, stack.http)


def urls_of(admin: Admin) -> list[str]:
    return [engine["url"] for engine in admin.get("/engines")["engines"]]


def alone(stack: Stack, engine: MockEngine) -> None:
    """Every other engine is out of traffic."""
    for other in stack.engines:
        if other is not engine:
            stack.house.registry.drains.order(other.url, actor="test")
            stack.wait_state(other, "draining")


def test_an_engine_that_is_added_takes_traffic_and_one_that_is_removed_finishes_what_runs_on_it(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with (
        run_engines(house, {}, {}) as (first, second),
        run_gateway(house, [first]) as stack,
        ThreadPoolExecutor(1) as callers,
    ):
        admin = admin_of(stack)
        stack.wait_resident("acme/triage@1.0")
        added = admin.post("/engines", url=f"{second.url}/", base="tiny", actor="kim")
        assert (added["url"], added["actor"], added["places"]) == (second.url, "kim", 16)
        assert admin.post("/engines", url=second.url, base="tiny") == added, "to repeat it is no error"
        stack.wait_state(second, "up")
        alone(stack, second)
        assert [stack.chat("triage").status_code for _ in range(3)] == [200] * 3
        assert sum(stack.state_of(second)["answered"].values()) >= 3

        run(second.faults(token_ms=40))
        long = callers.submit(lambda: stack.chat("triage", max_tokens=40, min_tokens=40))
        wait_until("the request to run", lambda: stack.state_of(second)["running"] == 1)
        house.registry.drains.lift(first.url)
        stack.wait_state(first, "up")
        removed = admin.ask("DELETE", "/engines", params={"url": second.url})
        assert (removed.status_code, removed.json()["url"]) == (200, second.url)
        stack.wait_state(second, "draining")
        (shown,) = [engine for engine in admin.get("/engines")["engines"] if engine["url"] == second.url]
        assert (shown["source"], shown["removed"]) == ("admin", True)
        assert [stack.chat("triage").status_code for _ in range(3)] == [200] * 3
        assert not long.done(), "what runs on it goes on"
        assert long.result().status_code == 200
        wait_until("it to leave", lambda: urls_of(admin) == [first.url])
        wait_until("the worker to follow", lambda: set(stack.worker.states()) == {first.url})
        assert house.registry.added_engines.all() == []
        assert stack.chat("triage").status_code == 200
        assert second.url not in stack.http.get(f"{stack.url}/metrics", headers=stack.operator).text


def test_an_engine_that_was_removed_can_be_added_anew_as_another(house: House) -> None:
    with run_engines(house, {}, {}) as (first, second), run_gateway(house, [first]) as stack:
        admin = admin_of(stack)
        admin.post("/engines", url=second.url, max_cpu_loras=4)
        stack.wait_state(second, "up")
        status, error = admin.refused("POST", "/engines", json={"url": second.url, "max_cpu_loras": 8})
        assert (status, error["param"]) == (409, "url")
        admin.ask("DELETE", "/engines", params={"url": second.url})
        wait_until("it to leave", lambda: urls_of(admin) == [first.url])
        admin.post("/engines", url=second.url, max_cpu_loras=8)
        wait_until("the new one", lambda: [one["places"] for one in admin.get("/engines")["engines"]] == [16, 8])
        stack.wait_state(second, "up")


def test_an_added_engine_runs_as_many_at_once_as_was_said_of_it_or_as_the_settings_say_of_all(house: House) -> None:
    house.settings = house.settings.model_copy(update={"engine_max_num_seqs": 3})
    with run_engines(house, {}, {}, {}) as (first, second, third), run_gateway(house, [first]) as stack:
        admin = admin_of(stack)
        added = admin.post("/engines", url=second.url, max_num_seqs=2, pool="night")
        assert (added["max_num_seqs"], added["pool"]) == (2, "night")
        assert admin.post("/engines", url=third.url)["max_num_seqs"] == 3
        stack.wait_state(second, "up")
        stack.wait_state(third, "up")
        assert [one["max_num_seqs"] for one in admin.get("/engines")["engines"]] == [3, 2, 3]
        wait_until("its seats to be known", lambda: stack.worker.lines.room.most.get(second.url) == 2)
        status, _ = admin.refused("POST", "/engines", json={"url": second.url, "max_num_seqs": 0})
        assert status == 400


def test_a_removal_is_taken_back_by_adding_the_engine_again(house: House) -> None:
    key = house.key("acme", "base")
    with run_engines(house, {}, {}) as (first, second), run_gateway(house, [first]) as stack:
        admin = admin_of(stack)
        admin.post("/engines", url=second.url)
        stack.wait_state(second, "up")
        alone(stack, second)
        run(second.faults(token_ms=40))
        with ThreadPoolExecutor(1) as callers:
            long = callers.submit(lambda: stack.chat("tiny", key=key, max_tokens=40))
            wait_until("the request to run", lambda: stack.state_of(second)["running"] == 1)
            admin.ask("DELETE", "/engines", params={"url": second.url})
            stack.wait_state(second, "draining")
            admin.post("/engines", url=second.url)
            stack.wait_state(second, "up")
            assert long.result().status_code == 200
        assert urls_of(admin) == [first.url, second.url]


def test_what_settings_declare_no_order_changes_and_what_is_wrong_is_said(house: House) -> None:
    with run_engines(house, {}) as (first,), run_gateway(house, [first]) as stack:
        admin = admin_of(stack)
        status, error = admin.refused("DELETE", "/engines", params={"url": first.url})
        assert status == 409
        assert "SWITCHYARD_ENGINES" in error["message"]
        assert "engines drain" in error["message"]
        assert admin.refused("POST", "/engines", json={"url": first.url})[0] == 409
        status, error = admin.refused("DELETE", "/engines", params={"url": "http://127.0.0.1:9"})
        assert status == 404
        assert first.url in error["message"]
        for url in ("https://engine:8000", "engine:8000", "http://engine:8000/v1", "http://kim:secret@engine:8000"):
            status, error = admin.refused("POST", "/engines", json={"url": url})
            assert (status, error["param"]) == (400, "url")
            assert "secret" not in error["message"]
        status, error = admin.refused("POST", "/engines", json={"url": "http://a:1", "base": "nobody"})
        assert status == 404
        assert "nobody" in error["message"]
        assert house.registry.added_engines.all() == []


def test_an_engine_is_one_however_its_host_is_spelled(house: House) -> None:
    with run_engines(house, {}, {}) as (first, second), run_gateway(house, [first]) as stack:
        admin = admin_of(stack)
        by_name = second.url.replace("127.0.0.1", "LocalHost")
        added = admin.post("/engines", url=by_name)
        assert added["url"] == by_name.lower()
        assert admin.post("/engines", url=by_name.lower()) == added
        wait_until("the gateway to know it", lambda: by_name.lower() in urls_of(admin))
        assert admin.post("/engines/drain", url=by_name.upper())["url"] == by_name.lower()
        assert admin.post("/engines/resume", url=by_name)["was_drained"]
        assert admin.ask("DELETE", "/engines", params={"url": by_name}).json()["url"] == by_name.lower()


def test_the_port_that_http_has_anyway_names_no_other_engine() -> None:
    assert {engine_url(one) for one in ("http://h", "HTTP://H/", "http://h:80", "http://h:80/")} == {"http://h"}
    assert engine_url("http://h:8080") == "http://h:8080"


def test_an_engines_id_is_given_to_no_other(house: House) -> None:
    with (
        run_engines(house, {}, {}, {}) as (first, second, third),
        run_gateway(house, [first], engines=[EngineSettings(url=first.url, id="gpu-1")]) as stack,
    ):
        admin = admin_of(stack)
        added = admin.post("/engines", url=second.url, id="gpu-2")
        assert (added["id"], added["kind"]) == ("gpu-2", "vllm")
        wait_until("the gateway to know it", lambda: second.url in urls_of(admin))
        for taken in ("gpu-1", "gpu-2"):
            status, error = admin.refused("POST", "/engines", json={"url": third.url, "id": taken})
            assert (status, error["param"]) == (409, "id")
        status, error = admin.refused("POST", "/engines", json={"url": third.url, "kind": "other"})
        assert (status, error["param"]) == (400, "kind")
        admin.ask("DELETE", "/engines", params={"url": second.url, "actor": "lee"}).raise_for_status()
        newest = house.registry.actions.page(None, 1, SYSTEM)[0]
        assert (newest.actor, newest.action, newest.subject) == ("lee", "engine.removed", second.url)


def test_an_added_engine_is_asked_with_the_key_in_its_variable_which_nothing_stores_or_sends(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "key-of-the-east")
    key = house.key("acme", "base")
    with (
        run_engines(house, {"api_key": "common"}, {"api_key": "key-of-the-east"}) as (first, second),
        run_gateway(house, [first], engine_api_key="common") as stack,
    ):
        admin = admin_of(stack)
        for name in ("SWITCHYARD_ADMIN_KEY", "HOME", "SWITCHYARD_ENGINE_KEY_"):
            status, error = admin.refused("POST", "/engines", json={"url": second.url, "key_variable": name})
            assert (status, error["param"]) == (400, "key_variable"), "no other secret goes to an engine"
        order = {"url": second.url, "key_variable": f"{KEY_VARIABLE}ERN"}
        status, error = admin.refused("POST", "/engines", json=order)
        assert status == 400
        assert "environment has no key there" in error["message"]
        admin.post("/engines", url=second.url, key_variable=KEY_VARIABLE)
        stack.wait_state(second, "up")
        alone(stack, second)
        assert stack.chat("tiny", key=key).status_code == 200
        (row,) = house.registry.added_engines.all()
        assert "key-of-the-east" not in str(row)
        assert b"key-of-the-east" not in encode(Engines(stack.worker.engines()))


def test_workers_of_other_processes_follow_and_so_does_the_next_gateway(house: House) -> None:
    key = house.key("acme", "base")
    body = {"model": "tiny", "prompt": "x", "max_tokens": 2}
    with run_engines(house, {}, {}) as (first, second):
        for number in range(2):
            with (
                gateway_process(house.settings.state_dir, [first.url], workers=2) as gateway,
                httpx.Client(timeout=DEADLINE_S, limits=httpx.Limits(max_keepalive_connections=0)) as http,
            ):
                admin = Admin(house, gateway.url, http)
                if number == 0:
                    admin.post("/engines", url=second.url, base="tiny", platform="cpu")

                def both_up(admin: Admin = admin) -> bool:
                    states = {one["url"]: one["state"] for one in admin.get("/engines")["engines"]}
                    return states == {first.url: "up", second.url: "up"}

                wait_until("both to be up", both_up)
                house.registry.drains.order(first.url, actor="test")

                def confirmed(admin: Admin = admin) -> bool:
                    """Both workers know that the first engine is out of traffic."""
                    fleet = admin.get("/fleet")
                    out = next(one for one in fleet["engines"] if one["url"] == first.url)["state"] == "draining"
                    revision = fleet["controller"]["view_revision"]
                    seen = [worker["linked"] and worker["view_revision"] == revision for worker in fleet["workers"]]
                    return out and len(seen) == 2 and all(seen)

                wait_until("both workers to know", confirmed)
                for _ in range(8):  # whichever worker accepts
                    answer = http.post(
                        f"{gateway.url}/v1/completions", json=body, headers={"Authorization": f"Bearer {key}"}
                    )
                    assert answer.status_code == 200, answer.text
                house.registry.drains.lift(first.url)


def test_a_removal_that_a_controller_did_not_live_to_see_is_completed_by_the_next(house: House) -> None:
    key = house.key("acme", "base")
    base = house.registry.bases.get("tiny")
    with run_engines(house, {}, {}) as (first, second):
        engine = Engine(second.url, base.digest, "cpu", 16, source="admin")
        house.registry.added_engines.add(second.url, document_of(engine), actor="kim")
        house.registry.added_engines.remove(second.url, actor="kim")
        with run_gateway(house, [first], waits=False) as stack:
            wait_until("it to leave", lambda: not house.registry.added_engines.all())
            wait_until("the fleet to be known", lambda: urls_of(admin_of(stack)) == [first.url])
            stack.wait_ready()
            assert stack.chat("tiny", key=key).status_code == 200
