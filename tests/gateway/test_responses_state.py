"""The state of Responses with the official client: what is kept, gone on from, listed, deleted, and whose it is."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from openai import OpenAI
from openai.types.responses import Response

from gateway.errors import NotStored
from registry.responses import conversations
from tests.support.stack import Stack, locked
from tests.support.waiting import wait_until

ASKED = "My parcel is late."
KEPT = {"model": "triage", "input": ASKED}


def ask(client: OpenAI, text: str = ASKED, **fields: Any) -> Response:
    answer: Response = client.responses.create(model="triage", input=text, max_output_tokens=5, **fields)
    return answer


@pytest.fixture
def stranger(stack: Stack) -> Any:
    """globex's client."""
    with OpenAI(base_url=f"{stack.url}/v1", api_key=stack.house.keys["globex"], max_retries=0) as client:
        yield client


def read(answer: Response) -> int:
    assert answer.usage is not None
    return answer.usage.input_tokens


def test_a_response_is_kept_unless_it_is_not_to_be(client: OpenAI) -> None:
    kept = ask(client)
    assert kept.store is True  # type: ignore[attr-defined]
    assert client.responses.retrieve(kept.id) == kept
    other = ask(client, store=False)
    with pytest.raises(openai.NotFoundError, match="'store': false"):
        client.responses.retrieve(other.id)


def test_a_streamed_response_is_there_when_its_last_event_is(client: OpenAI) -> None:
    with client.responses.stream(model="triage", input=ASKED) as stream:
        for event in stream:
            if event.type == "response.completed":
                assert client.responses.retrieve(event.response.id).output_text == event.response.output_text
        whole = stream.get_final_response()
    assert client.responses.retrieve(whole.id).output_text == whole.output_text


def test_a_conversation_goes_on_from_a_response_and_leaves_its_instructions_behind(client: OpenAI) -> None:
    first = ask(client, instructions="Answer in the style of a pirate, at great length, with many words.")
    without = ask(client, "And now?")
    second = ask(client, "And now?", previous_response_id=first.id)
    third = ask(client, "And then?", previous_response_id=second.id)
    assert second.previous_response_id == first.id
    assert read(without) < read(second) < read(third)
    as_one = client.responses.create(
        model="triage",
        max_output_tokens=5,
        input=[
            {"role": "user", "content": ASKED},
            {"role": "assistant", "content": first.output_text},
            {"role": "user", "content": "And now?"},
        ],
    )
    assert (read(as_one), as_one.output_text) == (read(second), second.output_text)


def test_input_items_are_those_of_the_response_alone_in_pages(client: OpenAI) -> None:
    first = ask(client)
    second = client.responses.create(
        model="triage",
        max_output_tokens=5,
        previous_response_id=first.id,
        input=[{"role": "user", "content": str(number)} for number in range(5)],
    )
    listed = client.responses.input_items.list(second.id, limit=2, order="asc")
    assert listed.has_more
    every: list[Any] = list(listed)
    assert [item.content[0].text for item in every] == list("01234")
    assert len({item.id for item in every}) == 5
    (newest,) = client.responses.input_items.list(second.id, limit=1).data
    assert newest == every[-1]
    with pytest.raises(openai.BadRequestError, match="'limit' must be a whole number from 1 to 100"):
        client.responses.input_items.list(second.id, limit=0)
    with pytest.raises(openai.BadRequestError, match="no such item"):
        client.responses.input_items.list(second.id, after="msg_other")


def test_a_deleted_response_is_gone_and_nothing_goes_on_from_it(client: OpenAI) -> None:
    first = ask(client)
    second = ask(client, previous_response_id=first.id)
    client.responses.delete(first.id)
    for again in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
        with pytest.raises(openai.NotFoundError) as missing:
            again(first.id)
        assert missing.value.code == "response_not_found"
    for previous in (first.id, second.id):
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, previous_response_id=previous)
        assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")
        assert first.id in refused.value.message


def test_another_tenants_response_is_none_with_the_same_words(client: OpenAI, stranger: OpenAI, stack: Stack) -> None:
    own = ask(client)
    missing = f"resp_{'0' * (len(own.id) - 5)}"

    def refusals(id_: str) -> list[str]:
        key = {"Authorization": f"Bearer {stack.house.keys['globex']}"}
        url = f"{stack.url}/v1/responses/{id_}"
        answers = [
            stack.http.get(url, headers=key),
            stack.http.delete(url, headers=key),
            stack.http.post(f"{url}/cancel", headers=key),
            stack.http.get(f"{url}/input_items", headers=key),
            stack.post("/v1/responses", {"model": "sentiment", "input": "x", "previous_response_id": id_}, "globex"),
        ]
        assert [answer.status_code for answer in answers] == [404, 404, 404, 404, 400]
        return [answer.text.replace(id_, "ID") for answer in answers]

    assert refusals(own.id) == refusals(missing)
    assert client.responses.retrieve(own.id).id == own.id


@pytest.mark.parametrize("id_", ["resp_%ED%A0%80", "x" * 500, "resp_a%2Fb", "..", "'; DROP TABLE responses"])
def test_what_no_id_can_be_is_not_found(id_: str, stack: Stack) -> None:
    key = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    assert stack.http.get(f"{stack.url}/v1/responses/{id_}", headers=key).status_code == 404
    body = {"model": "triage", "input": "x", "previous_response_id": f"{id_}\0"}
    assert stack.post("/v1/responses", body).json()["error"]["code"] == "previous_response_not_found"


def test_state_is_nobodys_without_a_key(stack: Stack) -> None:
    for method, path in (
        ("GET", "/v1/responses/resp_1"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", "/v1/conversations"),
        ("GET", "/v1/conversations/conv_1/items"),
    ):
        assert stack.http.request(method, f"{stack.url}{path}").status_code == 401


def test_paths_of_state_are_found_however_the_base_url_is_written(client: OpenAI, stack: Stack) -> None:
    own = ask(client)
    key = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    for prefix in ("/v1", "", "/v1/v1", "//v1/"):
        assert stack.http.get(f"{stack.url}{prefix}/responses/{own.id}", headers=key).json()["id"] == own.id
    assert stack.http.get(f"{stack.url}/v1/responses/{own.id}?stream=true", headers=key).status_code == 400
    assert stack.http.get(f"{stack.url}/v1/responses/{own.id}?include[]=nothing", headers=key).status_code == 400
    included = stack.http.get(f"{stack.url}/v1/responses/{own.id}?include[]=message.output_text.logprobs", headers=key)
    assert included.status_code == 200


def test_a_tenant_that_keeps_nothing_is_answered_and_nothing_is_written(client: OpenAI, stack: Stack) -> None:
    before = ask(client)
    stack.house.registry.tenants.change("acme", {"response_days": 0})
    stack.wait_revision()
    try:
        answer = ask(client)
        assert answer.store is False  # type: ignore[attr-defined]
        for id_ in (answer.id, before.id):
            with pytest.raises(openai.NotFoundError, match="this tenant keeps no responses"):
                client.responses.retrieve(id_)
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, background=True)
        assert refused.value.param == "background"
        with pytest.raises(openai.BadRequestError, match="Nothing is kept for this tenant"):
            client.conversations.create()
    finally:
        stack.house.registry.tenants.change("acme", {"response_days": None})
        stack.wait_revision()
    assert client.responses.retrieve(before.id).id == before.id
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(answer.id)


def test_conversations_are_made_read_changed_and_deleted(client: OpenAI, stranger: OpenAI) -> None:
    made = client.conversations.create(
        items=[{"type": "message", "role": "user", "content": "Hi"}], metadata={"topic": "parcels"}
    )
    assert made.metadata == {"topic": "parcels"}
    assert client.conversations.retrieve(made.id) == made
    assert client.conversations.update(made.id, metadata={"topic": "late"}).metadata == {"topic": "late"}
    for refused in (stranger.conversations.retrieve, stranger.conversations.delete):
        with pytest.raises(openai.NotFoundError):
            refused(made.id)
    gone = client.conversations.delete(made.id)
    assert (gone.id, gone.deleted, gone.object) == (made.id, True, "conversation.deleted")
    with pytest.raises(openai.NotFoundError) as missing:
        client.conversations.retrieve(made.id)
    assert missing.value.code == "conversation_not_found"


def test_items_of_a_conversation_are_added_listed_and_deleted(client: OpenAI) -> None:
    made = client.conversations.create()
    added = client.conversations.items.create(
        made.id, items=[{"type": "message", "role": "user", "content": str(number)} for number in range(3)]
    )
    assert [item.id for item in added.data] == [added.first_id, added.data[1].id, added.last_id]
    assert [item.id for item in client.conversations.items.list(made.id, order="asc", limit=2)] == [
        item.id for item in added.data
    ]
    first = client.conversations.items.retrieve(added.first_id, conversation_id=made.id)
    assert first == added.data[0]
    assert client.conversations.items.delete(added.first_id, conversation_id=made.id).id == made.id
    with pytest.raises(openai.NotFoundError) as missing:
        client.conversations.items.retrieve(added.first_id, conversation_id=made.id)
    assert missing.value.code == "item_not_found"
    with pytest.raises(openai.BadRequestError, match="items"):
        client.conversations.items.create(made.id, items=[{"role": "user", "content": "x"}] * 21)
    nobody: Any = [{"role": "nobody", "content": "x"}]
    with pytest.raises(openai.BadRequestError, match="role"):
        client.conversations.items.create(made.id, items=nobody)


def test_a_conversation_takes_part_in_responses(client: OpenAI) -> None:
    made = client.conversations.create(items=[{"type": "message", "role": "developer", "content": "Be short."}])
    first = ask(client, conversation=made.id)
    second = ask(client, "And now?", conversation={"id": made.id})
    assert second.conversation is not None
    assert second.conversation.id == made.id
    assert read(first) < read(second)
    roles = [item.role for item in client.conversations.items.list(made.id, order="asc")]  # type: ignore[union-attr]
    assert roles == ["developer", "user", "assistant", "user", "assistant"]
    unkept = ask(client, "And then?", conversation=made.id, store=False)
    assert read(unkept) > read(second)
    assert len(list(client.conversations.items.list(made.id))) == 5
    with pytest.raises(openai.NotFoundError) as missing:
        ask(client, conversation="conv_other")
    assert (missing.value.code, missing.value.param) == ("conversation_not_found", "conversation")


def test_what_is_recalled_counts_for_the_bound_of_a_conversation(client: OpenAI) -> None:
    made = client.conversations.create()
    for _ in range(5):
        client.conversations.items.create(
            made.id, items=[{"type": "message", "role": "user", "content": "x" * 1_000_000}]
        )
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, conversation=made.id)
    assert refused.value.code == "conversation_too_long"


def test_what_is_put_down_counts_among_the_requests_of_a_minute_and_what_is_read_does_not(
    client: OpenAI, stack: Stack
) -> None:
    made = client.conversations.create()
    stack.house.registry.limits.set("tenant:acme", {"requests_per_minute": 2})
    stack.wait_revision()
    try:
        codes = [stack.post("/v1/conversations", {}).status_code for _ in range(3)]
        assert (codes.count(200), codes[-1]) == (2, 429)
        with pytest.raises(openai.RateLimitError):
            client.conversations.items.create(made.id, items=[{"role": "user", "content": "x"}])
        for _ in range(3):
            assert client.conversations.retrieve(made.id) == made
    finally:
        stack.house.registry.limits.clear("tenant:acme")
        stack.wait_revision()


def test_what_its_client_wrote_counts_while_an_answer_waits_to_be_stored(
    client: OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.responses.writer.MOST_WAITING_BYTES", 4_000)
    assert ask(client, "x" * 100).id
    with pytest.raises(openai.InternalServerError) as refused:
        ask(client, "x" * 4_000)
    assert refused.value.code == "store_unavailable"


def test_who_reads_slowly_keeps_a_place_of_its_tenant(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stack.gateway.house is not None
    places = stack.gateway.house.admission.documents
    made = stack.post("/v1/conversations", {"items": [{"role": "user", "content": "x" * 3_500_000}]}).json()["id"]
    page, key = f"/v1/conversations/{made}/items", f"Bearer {stack.house.keys['acme']}"
    monkeypatch.setattr(places, "most_of_tenant", 1)
    address = urlsplit(stack.url)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.connect((address.hostname, address.port))
        slow.sendall(f"GET {page} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n\r\n".encode())
        wait_until("it to be answered", lambda: places.by_tenant.get("acme"))
        assert stack.http.get(stack.url + page, headers={"Authorization": key}).status_code == 429
    wait_until("it to be gone", lambda: not places.by_tenant)
    assert stack.http.get(stack.url + page, headers={"Authorization": key}).status_code == 200


def cannot_store(stack: Stack) -> bool:
    """Whether the gateway knows it by now: the writer has been at it for longer than a request would wait."""
    assert stack.gateway.house is not None
    try:
        stack.gateway.house.archive.writer.look()
    except NotStored:
        return True
    return False


def test_nobody_streams_for_nothing_in_a_conversation_that_is_full(
    client: OpenAI, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "MOST_ITEMS", 3)
    made = client.conversations.create(items=[{"role": "user", "content": "Hi"}] * 2)
    with client.responses.stream(model="triage", input=ASKED, conversation=made.id) as stream:
        ended = stream.get_final_response()
    (row,) = stack.house.usage_of(ended.id.removeprefix("resp_"))
    assert row["outcome"] == "ok"
    before = stack.asked()
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="triage", input=ASKED, conversation=made.id, stream=True)
    assert (refused.value.code, stack.asked()) == ("conversation_too_long", before)


def test_a_database_that_lets_nobody_write_fails_those_who_have_something_to_store_and_nobody_else(
    client: OpenAI, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stack.gateway.house is not None
    before = ask(client)
    monkeypatch.setattr(stack.gateway.house.archive.writer, "_patience_s", 0.3)
    with locked(stack.house):
        refused = stack.post("/v1/responses", {"model": "triage", "input": ASKED})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
        assert int(refused.headers["retry-after"]) > 0
        assert stack.post("/v1/responses", {"model": "triage", "input": ASKED, "store": False}).status_code == 200
        assert stack.chat("triage").status_code == 200
        assert client.responses.retrieve(before.id).id == before.id
        wait_until("the gateway to know", lambda: cannot_store(stack))
        asked = stack.asked()
        again = stack.post("/v1/responses", {"model": "triage", "input": ASKED})
        assert (again.status_code, stack.asked()) == (503, asked), "an engine worked for what cannot be stored"
        with client.responses.create(model="triage", input=ASKED, store=False, stream=True) as stream:
            assert list(stream)[-1].type == "response.completed"
    (row,) = stack.house.usage_of(refused.headers["x-request-id"])
    assert row["outcome"] == "not_stored"
    wait_until("the database to be written to", lambda: stack.post("/v1/responses", KEPT).status_code == 200)


def test_a_call_of_a_function_goes_on_with_its_output(client: OpenAI) -> None:
    first = client.responses.create(
        model="triage",
        input=[
            {"role": "user", "content": "Look it up."},
            {"type": "function_call", "call_id": "call_1", "name": "look_up", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "It is late."},
        ],
        max_output_tokens=5,
    )
    second = ask(client, previous_response_id=first.id)
    assert read(second) > read(first)
    types = [item.type for item in client.responses.input_items.list(first.id, order="asc")]
    assert types == ["message", "function_call", "function_call_output"]
