"""Streams of background responses that are taken up again, with the official client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI, omit

from gateway.api import resumed
from registry.responses.rows import ResponseEvents, StoredResponse
from tests.support.background import slowly
from tests.support.stack import Stack
from tests.support.waiting import wait_until

TOKENS = 60


@pytest.fixture
def slow(stack: Stack) -> Iterator[Stack]:
    """An engine that takes its time."""
    with slowly(stack):
        yield stack


def begin(client: OpenAI, tokens: int = TOKENS) -> Any:
    return client.responses.create(
        model="triage",
        input="My parcel is late.",
        max_output_tokens=tokens,
        background=True,
        stream=True,
        extra_body={"min_tokens": tokens},
    )


def left(client: OpenAI, number: int, tokens: int = TOKENS) -> tuple[str, list[Any]]:
    """The id of a response whose client goes after so many events, and those."""
    stream = begin(client, tokens)
    seen = [next(stream) for _ in range(number)]
    stream.close()
    return seen[0].response.id, seen


def taken_up(client: OpenAI, id_: str, after: int | None = None) -> list[Any]:
    with client.responses.retrieve(id_, stream=True, starting_after=omit if after is None else after) as stream:
        return list(stream)


def text_of(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def test_a_stream_that_is_taken_up_while_it_is_made_goes_on_where_it_was_left(client: OpenAI, slow: Stack) -> None:
    id_, seen = left(client, 8)
    seen += taken_up(client, id_, seen[-1].sequence_number)
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert seen[-1].type == "response.incomplete"
    ended = client.responses.retrieve(id_)
    assert (text_of(seen), seen[-1].response) == (ended.output_text, ended)
    assert len(ended.output_text.split()) == TOKENS


def test_when_it_has_ended_all_of_it_is_told_again_as_it_was(client: OpenAI, stack: Stack) -> None:
    with begin(client) as stream:
        told = list(stream)
    id_ = told[0].response.id
    for after in (None, 0, 7, len(told) - 2, len(told) - 1, len(told) + 5):
        assert taken_up(client, id_, after) == told[0 if after is None else after + 1 :]


def test_who_reads_long_after_the_response_has_ended_is_told_every_event(
    client: OpenAI, slow: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = list(begin(client))
    id_ = told[0].response.id
    streams = slow.house.registry.response_streams
    wait_until("its end to be written down", lambda: streams.read("acme", id_, 0, len(told)).ended)
    monkeypatch.setattr("registry.responses.streams.READ_AT_ONCE", 1)
    monkeypatch.setattr(resumed, "GRACE_S", 0.0)
    assert not streams.read("acme", id_, 0, 0).ended, "there are several rows"
    assert taken_up(client, id_) == told


def test_the_clients_own_helper_takes_one_up(client: OpenAI, slow: Stack) -> None:
    id_, _ = left(client, 3)
    with client.responses.stream(response_id=id_, starting_after=10) as stream:
        numbers = [event.sequence_number for event in stream]
    assert numbers[0] == 11
    assert numbers == list(range(11, 11 + len(numbers)))


def test_several_clients_read_one_stream_and_none_of_them_is_missed(client: OpenAI, slow: Stack) -> None:
    assert slow.gateway.house is not None
    places = slow.gateway.house.admission.resumed
    id_, _ = left(client, 3)
    gone, stays = (client.responses.retrieve(id_, stream=True) for _ in range(2))
    next(gone)
    gone.close()
    assert text_of(list(stays)) == client.responses.retrieve(id_).output_text
    wait_until("their places to be free", lambda: not places.taken)


def test_what_has_no_stream_and_what_is_no_number_is_a_400(client: OpenAI, stack: Stack) -> None:
    plain = client.responses.create(model="triage", input="Hi", max_output_tokens=2)
    streamed = list(client.responses.create(model="triage", input="Hi", max_output_tokens=2, stream=True))[-1]
    quiet = client.responses.create(model="triage", input="Hi", max_output_tokens=2, background=True)
    for one in (plain, streamed.response, quiet):  # type: ignore[union-attr]
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.retrieve(one.id, stream=True)
        assert (refused.value.code, refused.value.param) == ("not_streamed", "stream")
    url, key = f"{stack.url}/v1/responses/{plain.id}", {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    for query in ("starting_after=1", "stream=true&starting_after=-1", "stream=true&starting_after=x"):
        answer = stack.http.get(f"{url}?{query}", headers=key)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "starting_after")


def test_another_tenants_stream_is_none(client: OpenAI, stack: Stack) -> None:
    id_ = list(begin(client, 2))[-1].response.id
    with (
        OpenAI(base_url=f"{stack.url}/v1", api_key=stack.house.keys["globex"], max_retries=0) as stranger,
        pytest.raises(openai.NotFoundError) as refused,
    ):
        stranger.responses.retrieve(id_, stream=True)
    assert refused.value.code == "response_not_found"


def test_a_tenant_has_so_many_open_at_once(client: OpenAI, slow: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert slow.gateway.house is not None
    monkeypatch.setattr(slow.gateway.house.admission.resumed, "most_of_tenant", 1)
    id_, _ = left(client, 3)
    with client.responses.retrieve(id_, stream=True), pytest.raises(openai.RateLimitError, match="resumed streams"):
        client.responses.retrieve(id_, stream=True)
    client.responses.cancel(id_)


def test_one_that_is_cancelled_ends_with_an_error_that_clients_raise(client: OpenAI, slow: Stack) -> None:
    id_, seen = left(client, 3, 400)
    again = client.responses.retrieve(id_, stream=True, starting_after=seen[-1].sequence_number)
    seen.append(next(again))
    client.responses.cancel(id_)
    with pytest.raises(openai.APIError, match="cancelled or deleted"):
        seen.extend(again)
    assert (seen[-1].type, seen[-1].response.error.message) == (
        "response.failed",
        "The response was cancelled or deleted.",
    )
    assert [event.sequence_number for event in seen] == list(range(len(seen)))


def test_one_that_is_deleted_ends_with_an_error_too(client: OpenAI, slow: Stack) -> None:
    id_, _ = left(client, 3, 400)
    again = client.responses.retrieve(id_, stream=True)
    next(again)
    client.responses.delete(id_)
    with pytest.raises(openai.APIError, match="deleted"):
        list(again)
    with slow.house.registry.db.read() as session:
        assert session.query(ResponseEvents).filter_by(id=id_).count() == 0


def test_one_whose_key_is_revoked_ends(client: OpenAI, slow: Stack) -> None:
    tenants = slow.house.registry.tenants
    made = tenants.create_key("acme", scopes=("inference",))
    slow.wait_revision()
    id_, _ = left(client, 3, 200)
    with OpenAI(base_url=f"{slow.url}/v1", api_key=made.secret, max_retries=0) as brief:
        again = brief.responses.retrieve(id_, stream=True)
        next(again)
        tenants.revoke_key(made.id)
        with pytest.raises(openai.APIError, match="API key"):
            list(again)
    client.responses.cancel(id_)


def test_one_whose_gateway_was_killed_ends_with_what_is_known_of_it(
    client: OpenAI, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumed, "GRACE_S", 0.0)
    told = list(begin(client))
    id_ = told[0].response.id
    streams = stack.house.registry.response_streams
    wait_until("its end to be written down", lambda: streams.read("acme", id_, 0, 0).ended)
    with stack.house.registry.db.write() as session:  # as it is when the last events were not
        row = session.query(ResponseEvents).filter_by(id=id_).order_by(ResponseEvents.first.desc()).first()
        assert row is not None
        first = row.first
        session.delete(row)
        session.get_one(StoredResponse, ("acme", id_)).status = "failed"
    seen: list[Any] = []
    with pytest.raises(openai.APIError, match="gateway that made this response has ended"):
        seen.extend(client.responses.retrieve(id_, stream=True))
    *before, last = seen
    assert before == told[:first]
    assert (last.type, last.sequence_number, last.response.status) == ("response.failed", first, "failed")
