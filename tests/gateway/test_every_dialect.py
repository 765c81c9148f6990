"""What the gateway promises of every dialect in which a model writes: the same cases, asked in each."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support.stack import CHAT, TEXT, Stack, open_house, run_stack
from tests.support.waiting import DEADLINE_S, wait_until

TURN = "My parcel is late."
CANARY, PRODUCTION = "acme/triage@1.1", "acme/triage@1.0"


@dataclass(frozen=True)
class Form:
    """How a dialect asks."""

    path: str
    prompt: Mapping[str, Any]
    bound: str
    """Its field for the most tokens."""
    delta: bytes
    """What each event with some more text has."""

    def body(self, model: str, *, tokens: int = 4, **more: Any) -> dict[str, Any]:
        return {"model": model, **self.prompt, self.bound: tokens, **more}


MESSAGES = {"messages": [{"role": "user", "content": TURN}]}
FORMS = {
    "chat": Form(CHAT, MESSAGES, "max_tokens", b'"delta":{"content":'),
    "completions": Form(TEXT, {"prompt": TURN}, "max_tokens", b'"text":"'),
    "responses": Form(
        "/v1/responses", {"input": TURN, "store": False}, "max_output_tokens", b"event: response.output_text.delta"
    ),
    "messages": Form("/v1/messages", MESSAGES, "max_tokens", b"event: content_block_delta"),
}
CHATS = ("chat", "responses", "messages")
every = pytest.mark.parametrize("name", FORMS)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two engines, and tenants with limits of their own; `split` has one alias that is split in halves."""
    with open_house(tmp_path_factory.mktemp("dialects")) as house:
        for tenant in ("acme", "globex", "poor", "quick", "split"):
            house.tenant(tenant)
            house.publish(f"{tenant}/triage")
            house.point(f"{tenant}/triage", "1.0")
        house.publish("acme/triage")
        house.point("acme/triage", "1.1", "canary")
        house.registry.model_names.map("acme", "gpt-4o-mini", "acme/triage")
        house.publish("split/triage")
        house.split("split/triage", {"1.0": 5_000, "1.1": 5_000})
        house.registry.limits.set("tenant:poor", {"daily_tokens": 500})
        house.registry.limits.set("tenant:quick", {"requests_per_minute": 1})
        with run_stack(house, engines=({}, {}), head_timeout_s=2.0) as stack:
            stack.wait_resident(PRODUCTION)
            yield stack


@pytest.fixture
def stack(two: Stack) -> Iterator[Stack]:
    yield two
    two.heal()


def asked(stack: Stack, form: Form, model: str = "triage", key: str = "acme", **more: Any) -> httpx.Response:
    return stack.post(form.path, form.body(model, **more), key)


def rows_of(stack: Stack, answer: httpx.Response) -> list[dict[str, Any]]:
    return stack.house.usage_of(answer.headers["x-request-id"])


@every
def test_a_key_is_needed_and_what_is_anothers_does_not_exist(stack: Stack, name: str) -> None:
    form = FORMS[name]
    assert asked(stack, form, key="sk-none").status_code == 401
    theirs, none = (asked(stack, form, model) for model in ("globex/triage", "globex/nothing"))
    assert (theirs.status_code, none.status_code) == (404, 404)
    assert theirs.text.replace("triage", "nothing").replace(theirs.headers["x-request-id"], "") == none.text.replace(
        none.headers["x-request-id"], ""
    )


@every
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "version"), [("acme/triage@canary", CANARY), ("gpt-4o-mini", PRODUCTION)])
def test_names_lead_to_versions_and_answers_name_them(
    stack: Stack, name: str, stream: bool, model: str, version: str
) -> None:
    answer = asked(stack, FORMS[name], model, stream=stream)
    assert answer.status_code == 200, answer.text
    assert f'"model":"{version}"' in answer.text
    assert answer.headers["x-switchyard-model"] == version
    (row,) = rows_of(stack, answer)
    assert (row["endpoint"], row["requested_model"], row["served_model"]) == (name, model, version)
    assert (row["outcome"], row["usage_source"], row["completion_tokens"]) == ("ok", "engine", 4)


@every
def test_requests_above_the_rate_are_refused(stack: Stack, name: str) -> None:
    answer = wait_until(
        "a refusal", lambda: None if (one := asked(stack, FORMS[name], key="quick")).status_code == 200 else one
    )
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 60


@every
def test_a_budget_that_does_not_suffice_names_the_bound_by_which_less_is_asked(stack: Stack, name: str) -> None:
    form = FORMS[name]
    answer = asked(stack, form, key="poor", tokens=1_000)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (429, "false")
    assert f"by {form.bound}" in answer.text
    assert asked(stack, form, key="poor").status_code == 200


@every
@pytest.mark.parametrize("stream", [False, True])
def test_another_engine_answers_when_one_fails_before_the_first_byte(stack: Stack, name: str, stream: bool) -> None:
    for engine in stack.engines:  # one of them is asked first
        stack.http.post(f"{engine.url}/mock/faults", json={"fail_next": [500]}).raise_for_status()
        answer = asked(stack, FORMS[name], stream=stream)
        stack.heal()
        assert answer.status_code == 200, answer.text
        if len(rows := rows_of(stack, answer)) > 1:
            break
    assert [(row["outcome"], row["engine"] == engine.url) for row in rows] == [("engine_failed", True), ("ok", False)]


@every
def test_a_stream_that_breaks_off_is_booked_as_far_as_it_came_and_ends_with_an_error(stack: Stack, name: str) -> None:
    stack.faults(die_after_chunks=4)
    answer = asked(stack, FORMS[name], tokens=12, stream=True)
    assert answer.status_code == 200
    assert "engine" in answer.text[-1_000:]
    row = rows_of(stack, answer)[-1]
    assert (row["outcome"], row["usage_source"]) == ("engine_failed", "partial")
    assert row["completion_tokens"] >= answer.content.count(FORMS[name].delta) > 0


@every
def test_a_stream_whose_client_goes_is_booked_as_far_as_it_came(stack: Stack, name: str) -> None:
    form = FORMS[name]
    stack.faults(token_ms=20)
    known = {row["attempt_id"] for row in stack.house.usage(outcome="client_aborted")}
    body = json.dumps(
        form.body("triage", tokens=400, stream=True) | ({"ignore_eos": True} if name != "messages" else {})
    )
    with socket.create_connection((stack.house.settings.host, stack.house.settings.port), timeout=DEADLINE_S) as client:
        client.sendall(
            f"POST {form.path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.house.keys['acme']}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        got = b""
        while got.count(form.delta) < 2:
            got += client.recv(65_536)
    (row,) = wait_until(
        "the usage row",
        lambda: [row for row in stack.house.usage(outcome="client_aborted") if row["attempt_id"] not in known],
    )
    assert (row["endpoint"], row["usage_source"]) == (name, "partial")
    assert row["completion_tokens"] >= 2


def test_a_conversation_stays_on_its_arm_in_whatever_dialect_it_is_continued(stack: Stack) -> None:
    """Of so many, all on one arm is one case in 30,000."""
    arms = set()
    for number in range(16):
        turn = f"{TURN} It is number {number}."
        prompts = ({"messages": [{"role": "user", "content": turn}]}, {"input": turn, "store": False})
        for name in CHATS:
            form = FORMS[name]
            prompt = prompts["input" in form.prompt]
            answer = stack.post(form.path, form.body("triage") | prompt, "split")
            assert answer.status_code == 200, answer.text
            arms.add((number, answer.headers["x-switchyard-arm"]))
    assert len(arms) == 16
    assert {arm for _, arm in arms} == {"1.0", "1.1"}


@every
def test_a_version_that_is_on_no_engine_is_loaded_for_the_request(stack: Stack, name: str) -> None:
    version = stack.house.publish("acme/triage").version
    stack.wait_revision()
    answer = asked(stack, FORMS[name], f"triage@{version}")
    assert answer.status_code == 200, answer.text
    assert f'"model":"acme/triage@{version}"' in answer.text
