"""Items of stored responses that stand in an input by their ids."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.gateway.test_responses_state import ASKED, ask, read
from tests.support.stack import Stack


def test_an_item_that_is_kept_is_sent_by_its_id_alone(client: OpenAI) -> None:
    first = ask(client, ASKED)
    (said,) = first.output
    (asked,) = client.responses.input_items.list(first.id)
    whole = client.responses.create(
        model="triage",
        max_output_tokens=5,
        input=[
            {"role": "user", "content": ASKED},
            {"role": "assistant", "content": first.output_text},
            {"role": "user", "content": "And now?"},
        ],
    )
    by_id: list[Any] = [
        {"type": "item_reference", "id": asked.id},
        {"id": said.id},
        {"role": "user", "content": "And now?"},
    ]
    for store in (True, False):
        short = client.responses.create(model="triage", max_output_tokens=5, input=by_id, store=store)
        assert (read(short), short.output_text) == (read(whole), whole.output_text)
        if store:
            listed = client.responses.input_items.list(short.id, order="asc").data
            assert [item.id for item in listed[:2]] == [asked.id, said.id]
            client.responses.delete(first.id)
            assert read(ask(client, "And?", previous_response_id=short.id)) > read(short)
            first = ask(client, ASKED)
            by_id[:2] = [{"id": client.responses.input_items.list(first.id).data[0].id}, {"id": first.output[0].id}]


def test_an_item_of_nobody_or_of_another_tenant_is_none_with_the_same_words(client: OpenAI, stack: Stack) -> None:
    id_ = ask(client).output[0].id
    assert id_ is not None

    def refusal(item_id: str) -> str:
        body = {"model": "sentiment", "input": [{"id": item_id}, {"role": "user", "content": "x"}], "store": False}
        answer = stack.post("/v1/responses", body, "globex")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "item_not_found")
        assert answer.json()["error"]["param"] == "input"
        return answer.text.replace(item_id, "ID")

    assert refusal(id_) == refusal(f"{id_[:-3]}fff") == refusal("msg_x") == refusal("rs_'; DROP")
    with pytest.raises(openai.BadRequestError, match="Send the item itself"):
        client.conversations.create(items=[{"type": "item_reference", "id": id_}])
