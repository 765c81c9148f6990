"""What takes long about large bodies is done by a process of its own, and comes back as if it had been done here."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import orjson
import pytest

from gateway.api.bounds import RECORD
from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.api.fields.faults import SeveralFaults
from gateway.bytes_in_flight import NOT_COUNTED
from gateway.clerk import Clerk
from gateway.desk import HERE_BYTES, LARGE_BYTES, Desk
from gateway.errors import ApiError, BadRequest, ModelNotFound, Overloaded
from gateway.handoffs import Call, InferenceRequest, Principal
from gateway.steps.parse import parse
from tests.support.errands import fall, refuse, unspeakable
from tests.support.stack import CHAT, Stack
from tests.support.waiting import DEADLINE_S, wait_until

TEXT = "é" * LARGE_BYTES
BODIES: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": TEXT}], "metadata": {"user_id": "u"}, "stream": True},
    "completions": {"prompt": [*range(LARGE_BYTES)], "max_tokens": 3, "n": 2},
    "responses": {"input": TEXT, "previous_response_id": "resp_" + "0" * 32, "instructions": "Be brief."},
    "messages": {"messages": [{"role": "user", "content": TEXT}], "max_tokens": 2},
    "embeddings": {"input": [TEXT]},
    "rerank": {"query": "q", "documents": [TEXT, "x"]},
}
NOBODY = Principal("acme", "k", frozenset(), allow_unknown_fields=False)


@pytest.fixture(scope="module")
def clerk() -> Iterator[Clerk]:
    """One whose process reads."""
    clerk = Clerk()
    try:
        wait_until("the process to read", lambda: clerk.do(os.getpid) != os.getpid())
        yield clerk
    finally:
        clerk.close()


def raw_of(endpoint: str, **more: Any) -> bytes:
    return orjson.dumps({"model": "m", **BODIES[endpoint], **more})


def parsed(endpoint: str, raw: bytes, clerk: Clerk | None) -> InferenceRequest:
    """As the path has it: by a clerk, or without one by this process."""

    async def body(_held: object) -> bytes:
        return raw

    async def once() -> InferenceRequest:
        desk = Desk()
        try:
            if clerk is not None:
                desk.clerk = clerk
            else:
                desk.clerk.child.is_closed = True
            call = Call(DIALECTS[endpoint], None, None, body, "r", "r")
            return await parse(desk, NOBODY, call, raw, Caps(), NOT_COUNTED)
        finally:
            desk._thread.shutdown()

    return asyncio.run(once())


@pytest.mark.parametrize("endpoint", BODIES)
def test_a_request_comes_back_as_it_would_have_been_made_here(clerk: Clerk, endpoint: str) -> None:
    raw = raw_of(endpoint)
    here, there = parsed(endpoint, raw, None), parsed(endpoint, raw, clerk)
    assert there.dialect is here.dialect is DIALECTS[endpoint]
    assert dict(there.body) == dict(here.body)
    assert there.keeping is None or [*there.keeping.items] == [*(here.keeping.items if here.keeping else ())]
    assert there._replace(body={}, keeping=None) == here._replace(body={}, keeping=None)


def faults(endpoint: str, raw: bytes, clerk: Clerk | None) -> tuple[Any, ...]:
    with pytest.raises(ApiError) as caught:
        parsed(endpoint, raw, clerk)
    error = caught.value
    several = [one.message for one in error.faults] if isinstance(error, SeveralFaults) else []
    return type(error), error.message, error.param, error.code, error.model, error.status, several, str(error)


@pytest.mark.parametrize("more", [{"temperature": "hot"}, {"temperature": "hot", "n": -1}, {"nonsense": 1}])
def test_a_refusal_says_what_it_would_have_said_here(clerk: Clerk, more: dict[str, Any]) -> None:
    raw = raw_of("completions", **more)
    assert faults("completions", raw, clerk) == faults("completions", raw, None)


def test_an_error_of_any_kind_is_made_again(clerk: Clerk) -> None:
    with pytest.raises(ModelNotFound, match="'acme/x' does not exist") as caught:
        clerk.do(refuse)
    assert caught.value.param == "model"


def test_what_fails_there_fails_here_and_the_process_goes_on(clerk: Clerk) -> None:
    pid = clerk.do(os.getpid)
    with pytest.raises(ZeroDivisionError, match="of ours"):
        clerk.do(fall)
    with pytest.raises(AttributeError, match="pickle"):
        clerk.do(unspeakable)
    assert clerk.do(os.getpid) == pid


@pytest.mark.starts_anew
def test_a_process_that_is_lost_is_told_and_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.clerk.AGAIN_S", 0.0)
    clerk = Clerk()
    try:
        wait_until("the process to read", lambda: clerk.do(os.getpid) != os.getpid())
        with pytest.raises(Overloaded) as caught:
            clerk.do(partial(os._exit, 3))
        assert (caught.value.code, caught.value.retry_after_s) == ("body_not_read", 1)
        wait_until("another to read", lambda: clerk.do(os.getpid) != os.getpid())
    finally:
        clerk.close()
    assert clerk.do(os.getpid) == os.getpid()
    assert clerk.child.process is None


def test_work_that_cannot_be_told_leaves_no_half_of_it_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.clerk.AGAIN_S", 0.0)
    clerk = Clerk()
    try:
        wait_until("the process to read", lambda: clerk.do(os.getpid) != os.getpid())
        with pytest.raises(Exception, match="pickle"):
            clerk.do(lambda: sys.exit(1))
        wait_until("another to read", lambda: clerk.do(os.getpid) != os.getpid())
    finally:
        clerk.close()


async def test_the_first_bodies_are_worked_on_here_while_they_are_short_and_others_wait_for_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.desk.STARTS_WITHIN_S", DEADLINE_S)  # machines are busy
    desk = Desk()
    try:
        assert await desk.ask("acme", HERE_BYTES, os.getpid) == os.getpid()
        doing = [await_pid(desk, tenant, LARGE_BYTES) for tenant in ("acme", "globex")]
        pids = await asyncio.gather(*doing)
        assert os.getpid() not in pids
        assert len({*pids}) == 1
        desk.clerk.rest()
        assert await desk.ask("acme", LARGE_BYTES, os.getpid) == os.getpid(), "and so again, when it has rested"
    finally:
        desk.close()


async def await_pid(desk: Desk, tenant: str, body_bytes: int) -> int:
    """Of who does work about such a body."""
    async with asyncio.timeout(DEADLINE_S):
        return await desk.ask(tenant, body_bytes, os.getpid)


@pytest.mark.parametrize("command", [("/nowhere/to/be/found",), (sys.executable, "-c", "0")])
async def test_where_no_process_can_be_had_bodies_are_worked_on_here(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.clerk.COMMAND", command)
    monkeypatch.setattr("gateway.desk.STARTS_WITHIN_S", 0.3)
    desk = Desk()
    try:
        assert await await_pid(desk, "acme", 2 * HERE_BYTES) == os.getpid()
        assert await await_pid(desk, "acme", 2 * HERE_BYTES) == os.getpid()
    finally:
        desk.close()


def test_the_gateway_itself_does_not_parse_large_bodies(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stack.gateway.house is not None
    clerk, body = stack.gateway.house.desk.clerk, raw_of("chat", model="triage", stream=False, max_tokens=1)

    def ask() -> httpx.Response:
        return stack.post(CHAT, body)

    wait_until("the clerk to read", lambda: ask().status_code == 200 and clerk._reads)

    def parse_here(*_: object, **__: object) -> InferenceRequest:
        raise BadRequest("it was parsed here")

    monkeypatch.setattr("gateway.api.dialects.dialect.parse_request", parse_here)
    assert ask().status_code == 200
    assert stack.post(CHAT, b"{}").json()["error"]["message"] == "it was parsed here"


def test_large_bodies_that_no_model_reads_are_read_there_too(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stack.gateway.house is not None
    clerk, item = stack.gateway.house.desk.clerk, {"type": "message", "role": "user", "content": TEXT}
    body = orjson.dumps({"items": [item]})

    def ask() -> int:
        return stack.post("/v1/conversations", body).status_code

    wait_until("the clerk to read", lambda: ask() == 200 and clerk._reads)
    monkeypatch.setattr("gateway.api.request.orjson", None)  # without which this process reads nothing
    assert ask() == 200
    heavy = stack.post("/v1/conversations", b'{"items":[' + b"0," * RECORD.values + b"0,0]}")
    assert (heavy.status_code, heavy.json()["error"]["code"]) == (400, "invalid_value")
    assert f"the most is {RECORD.values}" in heavy.json()["error"]["message"]
