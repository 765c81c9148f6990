"""A key that is revoked, or reaches its end, while answers are under way: they end, say so, and are paid so far."""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx
import orjson
import pytest

from registry.db import now_ms
from registry.ledger.usage_report import report_usage
from tests.support.stack import CHAT, MESSAGES, House, Stack, run_stack
from tests.support.waiting import DEADLINE_S, wait_until

LONG = 900
"""Tokens, of 50 ms each: most of a minute, which no test waits for."""
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": MESSAGES, "max_tokens": LONG, "min_tokens": LONG},
    "/v1/completions": {"prompt": "x", "max_tokens": LONG, "min_tokens": LONG},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": LONG},
    "/v1/responses": {"input": "x", "max_output_tokens": LONG, "min_tokens": LONG},
}
EVENTS = {
    CHAT: b'data: {"error":',
    "/v1/completions": b'data: {"error":',
    "/v1/messages": b"event: error",
    "/v1/responses": b"event: response.failed",
}


class Asking(threading.Thread):
    """Who asks for a long answer, and reads it to whatever end it has."""

    def __init__(self, stack: Stack, key: str, path: str, *, stream: bool) -> None:
        super().__init__(daemon=True)
        self._ask = {
            "url": f"{stack.url}{path}",
            "headers": {"Authorization": f"Bearer {key}"},
            "json": {"model": "triage", "stream": stream, **BODIES[path]},
        }
        self.status = 0
        self.id = ""
        self.got = b""
        self.start()

    def run(self) -> None:
        with httpx.stream("POST", **self._ask, timeout=DEADLINE_S) as answer:  # type: ignore[arg-type]
            self.id = answer.headers["x-request-id"]
            self.status = answer.status_code
            for piece in answer.iter_raw():
                self.got += piece

    def ended(self) -> bytes:
        self.join(DEADLINE_S)
        assert not self.is_alive(), "it is under way still"
        return self.got


@pytest.fixture
def slow(stack: Stack) -> Stack:
    """An engine that takes its time."""
    stack.faults(token_ms=50)
    return stack


def made(stack: Stack) -> tuple[str, str]:
    """A key's id and secret."""
    key = stack.house.registry.tenants.create_key("acme", scopes=("inference",))
    stack.wait_revision()
    return key.id, key.secret


@pytest.mark.parametrize("path", BODIES)
def test_a_revoked_key_ends_its_streams_with_an_error_event_of_their_dialect(slow: Stack, path: str) -> None:
    if path == "/v1/messages":
        slow.faults(token_ms=500)  # whose answers here are short
    key_id, secret = made(slow)
    asking = Asking(slow, secret, path, stream=True)
    wait_until("some tokens", lambda: asking.got.count(b"data:") > 3)
    slow.house.registry.tenants.revoke_key(key_id)
    last = asking.ended()
    assert EVENTS[path] in last
    assert b"revoked_api_key" in last or path == "/v1/messages"
    assert b"was revoked while this was under way" in last
    (row,) = slow.house.usage_of(asking.id)
    assert row["outcome"] == "key_revoked"
    wait_until("the engine to be idle", lambda: not slow.state()["running"])


@pytest.mark.parametrize("stream", [True, False])
def test_what_was_made_until_then_is_counted_and_paid(house: House, stream: bool) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    house.registry.tariffs.add("tenant:acme", input_dollars="0", output_dollars="1000000", source="test")
    with run_stack(house) as stack:
        stack.faults(token_ms=50)
        key_id, secret = made(stack)
        asking = Asking(stack, secret, CHAT, stream=stream)
        wait_until("some tokens", lambda: asking.got.count(b"data:") > 5 or (not stream and stack.state()["running"]))
        stack.house.registry.tenants.revoke_key(key_id)
        assert b"revoked_api_key" in asking.ended()
        (row,) = stack.house.usage_of(asking.id)
        assert row["outcome"] == "key_revoked"
        assert row["cost_nano"] == row["completion_tokens"] * 10**9
        assert row["completion_tokens"] > 5 or not stream
        (line,) = [
            one for one in report_usage(house.registry.db, "key", until_ms=now_ms() + 1_000).lines if one.name == key_id
        ]
        assert (line.attempts, line.key_revoked, line.failed, line.client_aborted) == (1, 1, 0, 0)
        assert (line.payable, line.unpriced, line.cost_nano) == (1, 0, row["cost_nano"])


def test_a_key_that_reaches_its_end_ends_its_streams_too(slow: Stack) -> None:
    key_id, secret = made(slow)
    asking = Asking(slow, secret, CHAT, stream=True)
    wait_until("some tokens", lambda: asking.got.count(b"data:") > 3)
    slow.house.registry.tenants.rotate_key(key_id, keep_old_s=1)
    assert b"reached its end while this was under way" in asking.ended()
    assert slow.house.usage_of(asking.id)[0]["outcome"] == "key_revoked"


def test_an_answer_in_one_piece_becomes_a_401(slow: Stack) -> None:
    key_id, secret = made(slow)
    before = slow.asked()
    asking = Asking(slow, secret, CHAT, stream=False)
    wait_until("the engine to be asked", lambda: slow.asked() > before)
    slow.house.registry.tenants.revoke_key(key_id)
    error = orjson.loads(asking.ended())["error"]
    assert (asking.status, error["code"]) == (401, "revoked_api_key")


def test_keys_of_others_and_other_keys_of_the_tenant_go_on(slow: Stack) -> None:
    key_id, secret = made(slow)
    _, other = made(slow)
    asking, going_on = (Asking(slow, one, CHAT, stream=True) for one in (secret, other))
    wait_until("both to have begun", lambda: asking.got and going_on.got)
    slow.house.registry.tenants.revoke_key(key_id)
    asking.ended()
    read = len(going_on.got)
    wait_until("more of the other", lambda: len(going_on.got) > read + 500)
    assert b"error" not in going_on.got
    slow.faults(token_ms=0)
    assert going_on.ended().endswith(b"data: [DONE]\n\n")


def test_a_response_in_the_background_ends_and_says_why(slow: Stack) -> None:
    key_id, secret = made(slow)
    body = {"model": "triage", "background": True, **BODIES["/v1/responses"]}
    answer = httpx.post(f"{slow.url}/v1/responses", json=body, headers={"Authorization": f"Bearer {secret}"})
    id_ = answer.json()["id"]
    other = {"Authorization": f"Bearer {slow.house.keys['acme']}"}

    def found() -> Any:
        return httpx.get(f"{slow.url}/v1/responses/{id_}", headers=other).json()

    wait_until("it to be made", lambda: found()["status"] == "in_progress")
    slow.house.registry.tenants.revoke_key(key_id)
    ended = wait_until("it to end", lambda: (one := found())["status"] == "failed" and one)
    assert "revoked" in json.dumps(ended["error"])


def test_a_key_that_was_rotated_without_an_overlap_ends_and_with_one_goes_on(slow: Stack) -> None:
    at_once, later = made(slow), made(slow)
    ending, going_on = (Asking(slow, secret, CHAT, stream=True) for _, secret in (at_once, later))
    wait_until("both to have begun", lambda: ending.got and going_on.got)
    slow.house.registry.tenants.rotate_key(later[0], keep_old_s=3_600)
    slow.house.registry.tenants.rotate_key(at_once[0])
    assert b"was revoked" in ending.ended()
    slow.faults(token_ms=0)
    assert going_on.ended().endswith(b"data: [DONE]\n\n")


def test_where_the_setting_is_off_answers_finish(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_stack(house, end_streams_of_keys=False) as stack:
        stack.faults(token_ms=50)
        key_id, secret = made(stack)
        asking = Asking(stack, secret, CHAT, stream=True)
        wait_until("it to have begun", lambda: asking.got)
        stack.house.registry.tenants.revoke_key(key_id)
        stack.wait_revision()
        refused = httpx.post(f"{stack.url}{CHAT}", json={}, headers={"Authorization": f"Bearer {secret}"})
        assert refused.status_code == 401
        tokens = asking.got.count(b"data:")
        wait_until("twice the time in which it would end", lambda: asking.got.count(b"data:") > tokens + 10)
        stack.faults(token_ms=0)
        assert asking.ended().endswith(b"data: [DONE]\n\n")


def test_what_is_over_is_forgotten_whoever_has_asked(slow: Stack) -> None:
    assert slow.gateway.house is not None
    at_work = slow.gateway.house.keys_at_work
    _, secret = made(slow)
    asking = Asking(slow, secret, CHAT, stream=True)
    wait_until("it to have begun", lambda: asking.got)
    assert secret in {client.key for client in at_work.clients}
    slow.faults(token_ms=0)
    assert asking.ended().endswith(b"data: [DONE]\n\n")
    assert httpx.post(f"{slow.url}{CHAT}", json={}).status_code == 401
    wait_until("both to be forgotten", lambda: not at_work.clients)
