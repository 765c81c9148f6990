"""Thoughts that clients carry from turn to turn, sealed for their tenant."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import openai
import orjson
import pytest
import zstandard
from openai import OpenAI

from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.handoffs import EngineCount
from gateway.keeping import SEALED
from gateway.responses.thoughts import Thoughts
from registry.responses.sealing import Keyring
from tests.gateway.test_responses_reader import EVERYTHING, events_in
from tests.support.admitted import admitted
from tests.support.stack import Stack, open_house, run_stack

KEY = base64.b64encode(bytes(range(32))).decode()
TEXT = "The parcel is late, so I say sorry."


@pytest.fixture(scope="module", params=[None, KEY], ids=["no key", "key"])
def carrying(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A gateway with and without a key."""
    with open_house(tmp_path_factory.mktemp("thoughts"), store_key=request.param) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house) as stack:
            yield stack


@pytest.fixture
def carrier(carrying: Stack) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{carrying.url}/v1", api_key=carrying.house.keys["acme"], max_retries=0) as client:
        yield client


def sealed_for(stack: Stack, tenant: str, text: str = TEXT) -> str:
    assert stack.gateway.house is not None
    return stack.gateway.house.archive.thoughts.seal(tenant, text)


def carried(sealed: str) -> Any:
    """As clients send it that keep nothing else of it."""
    return {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed}


def turns(*thoughts: Any) -> Any:
    answer = {"role": "assistant", "content": "Sorry."}
    return [{"role": "user", "content": "Hi"}, *thoughts, answer, {"role": "user", "content": "?"}]


def test_a_client_carries_thoughts_that_it_need_not_read(carrying: Stack, carrier: OpenAI) -> None:
    def read(*thoughts: Any) -> int:
        answer = carrier.responses.create(
            model="triage", input=turns(*thoughts), store=False, include=["reasoning.encrypted_content"]
        )
        assert answer.usage is not None
        return answer.usage.input_tokens

    open_thought = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": TEXT}]}
    sealed = sealed_for(carrying, "acme")
    assert TEXT not in sealed
    assert read(carried(sealed)) == read(open_thought)
    assert read(carried("gAAAAof_another_vendor")) == read()
    kept = carrier.responses.create(model="triage", input=turns(carried(sealed)))
    (listed,) = (one for one in carrier.responses.input_items.list(kept.id) if one.type == "reasoning")
    assert listed.content is not None
    assert listed.content[0].text == TEXT


def test_what_was_sealed_for_another_tenant_or_by_nobody_is_refused(carrying: Stack, carrier: OpenAI) -> None:
    bomb = b"\0" + zstandard.compress(bytes(50_000_000))
    forged = [
        SEALED,
        f"{SEALED}!",
        SEALED + base64.b64encode(bomb).decode(),
        SEALED + base64.b64encode(b"\1x").decode(),
    ]
    if carrying.house.settings.store_key is not None:
        forged.append(sealed_for(carrying, "globex"))
    for sealed in forged:
        with pytest.raises(openai.BadRequestError, match="not what a model thought for this tenant") as refused:
            carrier.responses.create(model="triage", input=turns(carried(sealed)))
        assert (refused.value.code, refused.value.param) == (
            "invalid_encrypted_content",
            "input[1].encrypted_content",
        )


def test_many_thoughts_together_are_bounded_too(carrying: Stack, carrier: OpenAI) -> None:
    sealed = carried(sealed_for(carrying, "acme", "x" * (Caps().max_body_bytes // 3)))
    with pytest.raises(openai.BadRequestError) as refused:
        carrier.responses.create(model="triage", input=turns(sealed, sealed, sealed, sealed))
    assert refused.value.param == "input[4].encrypted_content"


@pytest.mark.parametrize("asked", [True, False])
def test_an_answers_thoughts_have_one_seal_in_all_events_if_their_client_asks(asked: bool) -> None:
    include = ["reasoning.encrypted_content"] if asked else []
    body = orjson.dumps({"model": "m", "input": "Hi", "stream": True, "store": False, "include": include})
    request = DIALECTS["responses"].parse(body, caps=Caps(), allow_unknown=False)
    thoughts = Thoughts(Keyring(KEY))
    if asked:
        assert request.keeping is not None
        request = request._replace(keeping=request.keeping._replace(seal=lambda text: thoughts.seal("acme", text)))
    else:
        assert request.keeping is None
    reading = request.dialect.reader(admitted(request), EngineCount())
    told = b"".join(reading.events(block)[0] for block in EVERYTHING) + reading.rest()
    events = events_in(told)
    (done,) = (
        e["item"] for e in events if e["type"] == "response.output_item.done" and e["item"]["type"] == "reasoning"
    )
    assert events[-1]["response"]["output"][0] == done
    if asked:
        opened, _ = thoughts.opened("acme", [done], 1_000)
        assert opened[0]["content"] == done["content"]
    else:
        assert "encrypted_content" not in done
