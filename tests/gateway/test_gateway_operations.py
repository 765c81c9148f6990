"""What operators and their probes see: health, readiness, metrics, unknown addresses, limits."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import Gateway
from gateway.fleet.sources import declared_base
from gateway.serving.protocol import Cycle
from registry.errors import InvalidInput
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.stack import House, Stack, run_engines, run_stack, served
from tests.support.waiting import DEADLINE_S, wait_until


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=DEADLINE_S, headers=stack.operator) as http:
        yield http


def metric(http: httpx.Client, name: str, labels: str = "") -> float:
    pattern = rf"^{name}{re.escape(labels)} ([0-9.e+-]+)$"
    found = re.search(pattern, http.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_running_process_is_healthy_and_ready_with_its_engine(stack: Stack, http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    answer = http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["ready"] is True
    assert answer.json()["engines"] == {stack.engine.url: "ok"}
    assert answer.json()["catalog_revision"] == stack.house.registry.db.catalog_revision()


def test_without_an_engine_the_process_is_healthy_and_not_ready(stack: Stack, http: httpx.Client) -> None:
    stack.faults(unhealthy=True)
    wait_until("the gateway to notice", lambda: http.get("/readyz").status_code == 503)
    assert http.get("/readyz").json()["ready"] is False
    assert http.get("/healthz").status_code == 200
    assert metric(http, "switchyard_engine_up", f'{{engine="{stack.engine.url}"}}') == 0


def test_metrics_count_requests_by_answer_and_tokens_by_kind(stack: Stack, http: httpx.Client) -> None:
    good = '{endpoint="chat",outcome="ok",status="200"}'
    bad = '{endpoint="chat",outcome="refused",status="404"}'
    names = ("switchyard_requests_total", "switchyard_requests_total", "switchyard_tokens_total")
    labels = (good, bad, '{kind="completion"}')
    before = [metric(http, *pair) for pair in zip(names, labels, strict=True)]
    stack.wait_resident("acme/triage@1.0", "acme/triage@1.1", "globex/sentiment@1.0", "initech/forms@1.0")
    stack.chat("triage", max_tokens=5)
    stack.chat("triage", max_tokens=6, stream=True)
    stack.chat("nothing")
    after = [metric(http, *pair) for pair in zip(names, labels, strict=True)]
    assert [new - old for new, old in zip(after, before, strict=True)] == [2, 1, 11]
    assert metric(http, "switchyard_in_flight_requests") == 0
    assert metric(http, "switchyard_engine_up", f'{{engine="{stack.engine.url}"}}') == 1
    assert metric(http, "switchyard_resident_adapters", f'{{engine="{stack.engine.url}"}}') >= 4
    assert metric(http, "switchyard_catalog_revision") == stack.house.registry.db.catalog_revision()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("POST", "/v1/images/generations", 404),
        ("POST", "/v1/load_lora_adapter", 404),
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("PUT", "/v1/models/acme/triage", 405),
        ("POST", "/healthz", 405),
    ],
)
def test_an_unknown_address_is_answered_in_openais_envelope(
    http: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = http.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "unknown_url", None)
    assert f"{method} {path}" in error["message"]
    assert (answer.headers.get("allow") is not None) == (status == 405)


def test_the_api_is_described(http: httpx.Client) -> None:
    assert http.get("/docs").status_code == 200
    assert "/v1/models" in http.get("/openapi.json").json()["paths"]


def test_a_tenant_at_its_limit_is_told_to_wait_and_others_are_not_affected(house: House) -> None:
    for tenant in ("acme", "globex"):
        house.publish(f"{tenant}/task")
        house.point(f"{tenant}/task", "1.0")
    with run_stack(house, max_in_flight_per_tenant=2, max_in_flight=3) as stack:
        stack.wait_resident("acme/task", "globex/task")
        stack.faults(token_ms=150)
        with ThreadPoolExecutor(3) as callers:
            running = [callers.submit(lambda: stack.chat("task", max_tokens=8, min_tokens=8)) for _ in range(2)]
            wait_until("both to run", lambda: stack.state()["running"] == 2)
            limited = stack.chat("task")
            assert (limited.status_code, limited.json()["error"]["code"]) == (429, "concurrency_limit")
            assert limited.json()["error"]["type"] == "rate_limit_error"
            assert int(limited.headers["retry-after"]) > 0
            running.append(callers.submit(lambda: stack.chat("task", key="globex", max_tokens=8, min_tokens=8)))
            wait_until("the third to run", lambda: stack.state()["running"] == 3)
            full = stack.chat("task", key="globex")
            assert (full.status_code, full.json()["error"]["code"]) == (503, "gateway_full")
            assert [one.result().status_code for one in running] == [200] * 3
        stack.faults(token_ms=0)
        assert stack.chat("task").status_code == 200


def test_a_change_of_the_catalog_is_soon_in_force(stack: Stack) -> None:
    key = stack.house.key("acme")
    wait_until("the new key to work", lambda: stack.chat("triage", key=key).status_code == 200)


def test_a_gateway_that_stops_leaves_the_list_of_workers(house: House) -> None:
    with run_engines(house, {}) as mocks:
        house.settings = house.settings.model_copy(update={"engines": [mocks[0].url]})
        with served(Gateway(house.settings)):
            wait_until("the worker to report", lambda: len(house.registry.workers.live()) == 1)
        assert house.registry.workers.live() == []


async def test_requests_before_the_gateway_is_open_are_told_to_come_back(house: House) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nobody should read the body")

    await Gateway(house.settings)(
        {"type": "http", "method": "POST", "path": "/v1/completions", "headers": []}, receive, send
    )
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"1") in sent[0]["headers"]


def test_a_gateway_without_a_registered_base_says_what_to_do(tmp_path: Path, house: House) -> None:
    with (
        Registry.open(RegistrySettings(state_dir=tmp_path / "empty")) as empty,
        pytest.raises(InvalidInput, match="SWITCHYARD_ENGINE_BASE"),
    ):
        declared_base(empty, None)
    assert declared_base(house.registry, None).name == "tiny"
    assert declared_base(house.registry, "tiny").name == "tiny"


def test_a_request_that_has_ended_leaves_nothing_for_the_garbage_collector(stack: Stack) -> None:
    def cycles() -> int:
        return sum(type(one) is Cycle for one in gc.get_objects())

    stack.chat("acme/triage")
    gc.collect()
    gc.disable()
    try:
        before = cycles()  # every open connection keeps its last one
        for _ in range(5):
            assert stack.chat("acme/triage").status_code == 200
        assert cycles() <= before + 1
    finally:
        gc.enable()
