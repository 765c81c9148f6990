"""A tenant that has stored as much as it may stores nothing more, and is served all the same."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI

from tests.gateway.test_responses_state import ask
from tests.support.stack import Stack
from tests.support.waiting import wait_until


@pytest.fixture
def most(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """acme may have two records."""
    monkeypatch.setattr("gateway.responses.quota.LOOK_S", 0.02)
    house = stack.house
    house.registry.retention.delete("acme")
    house.registry.tenants.change("acme", {"max_stored_records": 2})
    stack.wait_revision()
    yield stack
    house.registry.tenants.change("acme", {"max_stored_records": None, "max_stored_bytes": None})
    house.registry.retention.delete("acme")
    stack.wait_revision()


def test_what_is_full_takes_nothing_more_until_something_is_deleted(most: Stack, client: OpenAI) -> None:
    kept = []

    def refusal() -> openai.RateLimitError | None:
        try:
            kept.append(ask(client))
        except openai.RateLimitError as error:
            return error if kept else None  # the gateway may not know yet that what other tests have stored is gone
        return None

    refused = wait_until("it to be full", refusal)
    assert refused.code == "storage_quota_exceeded"
    assert refused.response.headers["x-should-retry"] == "false"
    assert "send 'store': false" in refused.message
    assert len(kept) >= 2
    for refused_too in (lambda: ask(client, background=True), client.conversations.create):
        with pytest.raises(openai.RateLimitError, match="records of stored responses"):
            refused_too()
    assert ask(client, store=False).output_text
    assert ask(client, store=False, previous_response_id=kept[0].id).output_text
    with OpenAI(base_url=f"{most.url}/v1", api_key=most.house.keys["globex"], max_retries=0) as other:
        assert other.responses.create(model="sentiment", input="Hi", max_output_tokens=2).id
    for one in kept:
        client.responses.delete(one.id)
    assert wait_until("room", lambda: refusal() is None)


def test_bytes_are_bounded_too(most: Stack, client: OpenAI) -> None:
    most.house.registry.tenants.change("acme", {"max_stored_records": None, "max_stored_bytes": 0})
    most.wait_revision()
    with pytest.raises(openai.RateLimitError, match="bytes of stored responses"):
        ask(client)
