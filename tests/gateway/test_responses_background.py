"""Responses that are made in the background: answered at once, run on, cancelled from anywhere, never left open."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import openai
import orjson
import pytest
from openai import OpenAI
from openai.types.responses import Response

from gateway.steps.admit import Places
from tests.support.background import archive, slowly
from tests.support.stack import Stack, locked
from tests.support.waiting import wait_until

FINAL = ("completed", "incomplete", "failed", "cancelled")
LONG = 200
"""Tokens: 4 s at `tests.support.background.SLOW_MS` each."""


@pytest.fixture
def slow(stack: Stack) -> Iterator[Stack]:
    """An engine that takes its time."""
    with slowly(stack):
        yield stack


def begin(client: OpenAI, tokens: int = LONG, **fields: Any) -> Response:
    answer: Response = client.responses.create(
        model="triage",
        input="My parcel is late.",
        max_output_tokens=tokens,
        background=True,
        extra_body={"min_tokens": tokens},
        **fields,
    )
    return answer


def at_the_end(client: OpenAI, id_: str) -> Response:
    def final() -> Response | None:
        found = client.responses.retrieve(id_)
        return found if found.status in FINAL else None

    return wait_until(f"{id_} to end", final)


def test_it_is_answered_at_once_and_made_meanwhile(client: OpenAI, slow: Stack) -> None:
    queued = begin(client, 20)
    assert (queued.status, queued.output, queued.background) == ("queued", [], True)
    assert client.responses.retrieve(queued.id).status in ("queued", "in_progress")
    ended = at_the_end(client, queued.id)
    assert ended.id == queued.id
    assert len(ended.output_text.split()) == 20
    assert ended.created_at == queued.created_at
    (row,) = slow.house.usage_of(queued.id.removeprefix("resp_"))
    assert (row["outcome"], row["completion_tokens"]) == ("ok", 20)


def test_a_turn_goes_on_from_it_when_it_is_complete_and_not_before(client: OpenAI, slow: Stack) -> None:
    queued = begin(client, 30)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="triage", input="And now?", previous_response_id=queued.id)
    assert refused.value.code == "response_not_completed"
    at_the_end(client, queued.id)
    assert client.responses.create(model="triage", input="And now?", previous_response_id=queued.id).output_text


@pytest.fixture
def counted(slow: Stack) -> Iterator[None]:
    """Tokens of acme are counted, so its answers are asked for as streams."""
    limits = slow.house.registry.limits
    limits.set("tenant:acme", {"daily_tokens": 10**9})
    slow.wait_revision()
    yield
    limits.clear("tenant:acme")
    slow.wait_revision()


@pytest.mark.usefixtures("counted")
def test_it_is_cancelled_within_about_a_second_and_billed_for_what_was_made(client: OpenAI, slow: Stack) -> None:
    queued = begin(client)
    wait_until("it to be made", lambda: client.responses.retrieve(queued.id).status == "in_progress")
    assert client.responses.cancel(queued.id).status == "cancelled"
    wait_until("the engine to stop", lambda: not archive(slow).runs._tasks)
    (row,) = slow.house.usage_of(queued.id.removeprefix("resp_"))
    assert row["outcome"] == "client_aborted"
    assert row["completion_tokens"] < LONG
    assert client.responses.retrieve(queued.id).status == "cancelled"
    assert client.responses.cancel(queued.id).status == "cancelled"


def test_what_is_deleted_while_it_is_made_ends_too(client: OpenAI, slow: Stack) -> None:
    queued = begin(client)
    client.responses.delete(queued.id)
    wait_until("the engine to stop", lambda: not archive(slow).runs._tasks)
    (row,) = slow.house.usage_of(queued.id.removeprefix("resp_"))
    assert row["outcome"] == "client_aborted"
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(queued.id)


def test_only_what_is_made_in_the_background_can_be_cancelled(client: OpenAI, stack: Stack) -> None:
    answer = client.responses.create(model="triage", input="Hi", max_output_tokens=2)
    with pytest.raises(openai.BadRequestError, match="'background': true"):
        client.responses.cancel(answer.id)


def test_a_stream_of_it_outlives_its_client(client: OpenAI, slow: Stack) -> None:
    stream = client.responses.create(
        model="triage",
        input="My parcel is late.",
        max_output_tokens=60,
        background=True,
        stream=True,
        extra_body={"min_tokens": 60},
    )
    first = next(iter(stream))
    assert first.type == "response.created"
    stream.close()
    ended = at_the_end(client, first.response.id)
    assert len(ended.output_text.split()) == 60, ended.error


def test_a_stream_that_is_read_to_its_end_is_a_stream(client: OpenAI, stack: Stack) -> None:
    with client.responses.create(
        model="triage", input="Hi", max_output_tokens=3, background=True, stream=True
    ) as stream:
        events = list(stream)
    last = events[-1]
    assert last.type == "response.incomplete"
    assert client.responses.retrieve(last.response.id).output_text == last.response.output_text


def test_what_fails_in_the_background_is_failed_with_the_reason(client: OpenAI, stack: Stack) -> None:
    stack.faults(refuse_requests=500)
    queued = begin(client, 5)
    failed = at_the_end(client, queued.id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code == "server_error"


def test_what_is_wrong_with_it_is_said_at_once(client: OpenAI, stack: Stack) -> None:
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="nothing", input="Hi", background=True)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="triage", input="Hi", background=True, store=False)
    assert refused.value.param == "background"


def places(stack: Stack) -> Places:
    assert stack.gateway.house is not None
    return stack.gateway.house.admission.background


def test_however_many_a_tenant_begins_others_can_begin_one(
    client: OpenAI, slow: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places(slow), "most", 2)
    queued = begin(client)
    with pytest.raises(openai.RateLimitError, match="1 responses in the background of this tenant are in flight"):
        begin(client)
    with places(slow).place("globex"):
        client.responses.cancel(queued.id)


def test_who_goes_while_it_is_stored_leaves_none_that_nobody_makes(stack: Stack) -> None:
    stored = archive(stack)
    body = orjson.dumps({"model": "triage", "input": "Hi", "background": True})
    head = f"POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.house.keys['acme']}\r\n"
    address = urlsplit(stack.url)
    with locked(stack.house):
        with socket.create_connection((address.hostname, address.port)) as gone:
            gone.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            wait_until("it to be stored", lambda: stored.writer._writes_since_s is not None)
        wait_until("the gateway to know", lambda: not places(stack).taken)
    wait_until("all to be stored", lambda: not stored.writer._waiting)
    assert not stored.responses.going_on(stored.runs.worker)


def test_it_takes_its_place_among_the_tenants_requests(client: OpenAI, slow: Stack) -> None:
    slow.house.registry.limits.set("tenant:acme", {"concurrency": 1})
    slow.wait_revision()
    try:
        queued = begin(client)
        with pytest.raises(openai.RateLimitError):
            client.responses.create(model="triage", input="Hi")
        client.responses.cancel(queued.id)
    finally:
        slow.house.registry.limits.clear("tenant:acme")
        slow.wait_revision()


def test_what_ran_in_a_gateway_that_is_gone_has_failed(client: OpenAI, stack: Stack) -> None:
    registry = stack.house.registry
    answer = client.responses.create(model="triage", input="Hi", max_output_tokens=2)
    with registry.db.write() as session:
        from registry.responses.rows import BackgroundRun, StoredResponse

        row = session.get_one(StoredResponse, ("acme", answer.id))
        row.status = "in_progress"
        session.add(BackgroundRun(tenant="acme", id=answer.id, worker="one that was killed"))
    failed = at_the_end(client, answer.id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.message == "The gateway that made this response has ended."
