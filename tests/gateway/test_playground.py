"""An operator asks a version: its answer comes as a stream, no tenant pays for it or is held back by it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.api.admin import playground
from tests.support.stack import MESSAGES, Stack, open_house, run_stack
from tests.support.waiting import DEADLINE_S, wait_until

PATH = "/admin/v1/playground"
VERSION = "acme/triage@1.0"


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with open_house(tmp_path_factory.mktemp("playground")) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        house.registry.limits.set("tenant:acme", {"daily_tokens": 1, "requests_per_minute": 1})
        with run_stack(house) as stack:
            stack.wait_resident(VERSION)
            yield stack


@pytest.fixture
def stack(two_versions: Stack) -> Iterator[Stack]:
    yield two_versions
    two_versions.heal()


def ask(stack: Stack, version: str = VERSION, **more: Any) -> httpx.Response:
    body = {"version": version, "messages": MESSAGES, "max_tokens": 4, **more}
    return stack.http.post(f"{stack.url}{PATH}", json=body, headers=stack.operator)


def chunks_of(answer: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.parametrize("version", [VERSION, "acme/triage@1.1"])
def test_a_version_answers_in_a_stream_also_one_that_was_cold(stack: Stack, version: str) -> None:
    answer = ask(stack, version)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    chunks = chunks_of(answer)
    assert {chunk["model"] for chunk in chunks} == {version}
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert chunks[-1]["usage"]["completion_tokens"] == 4


def test_it_is_booked_as_nobodys_use_and_neither_limited_nor_billed(stack: Stack) -> None:
    for _ in range(3):  # the tenant may ask once a minute, and for one token a day
        assert ask(stack).status_code == 200
    rows = stack.house.usage_of(ask(stack).headers["x-request-id"])
    assert [(row["shadow"], row["key_id"], row["served_model"]) for row in rows] == [(True, "playground", VERSION)]
    assert rows[0]["completion_tokens"] == 4
    budget = stack.http.get(f"{stack.url}/admin/v1/limits", headers=stack.operator).json()
    assert budget
    assert stack.gateway.house is not None
    counter = stack.gateway.house.limits.counter("tenant:acme")
    assert counter is None or not any(window.used for window in getattr(counter, "windows", ()))


@pytest.mark.parametrize(
    ("patch", "status", "code"),
    [
        ({"version": "acme/triage@9.9"}, 404, "not_found"),
        ({"version": "acme/triage"}, 400, "invalid_input"),
        ({"messages": []}, 400, None),
        ({"max_tokens": 100_000}, 400, None),
        ({"stop": "x"}, 400, None),
    ],
)
def test_what_cannot_be_asked_is_refused_by_its_field(
    stack: Stack, patch: dict[str, Any], status: int, code: str | None
) -> None:
    answer = ask(stack, **patch)
    assert answer.status_code == status, answer.text
    assert next(iter(patch)) in (answer.json()["error"]["param"] or "")
    assert code is None or answer.json()["error"]["code"] == code


def test_a_tenants_key_opens_no_playground(stack: Stack) -> None:
    answer = stack.post(PATH, {"version": VERSION, "messages": MESSAGES})
    assert answer.status_code == 403


def test_an_engine_that_fails_is_an_error_before_the_answer_and_an_event_in_it(stack: Stack) -> None:
    stack.faults(fail_next=[500])
    answer = ask(stack)
    assert answer.status_code == 502
    assert answer.headers["x-request-id"]
    stack.faults(die_after_chunks=2)
    answer = ask(stack)
    assert answer.status_code == 200
    assert '"error"' in answer.text


def test_only_a_few_are_answered_at_a_time_and_their_places_come_back(stack: Stack) -> None:
    stack.faults(hang=True)
    with httpx.Client(timeout=DEADLINE_S) as http:
        url, body = f"{stack.url}{PATH}", {"version": VERSION, "messages": MESSAGES}
        for _ in range(playground.MOST_AT_ONCE):
            with pytest.raises(httpx.ReadTimeout):
                http.post(url, json=body, headers=stack.operator, timeout=0.2)
        stack.faults(hang=False)
        wait_until("places to come back", lambda: http.post(url, json=body, headers=stack.operator).status_code == 200)


def test_a_place_is_given_up_when_a_tenants_requests_need_it(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.faults(token_ms=100)
    monkeypatch.setattr(playground, "why_stop", lambda *_: "tenants_wait")
    answer = ask(stack, max_tokens=64)
    said = answer.text
    assert "playground_yields" in said
