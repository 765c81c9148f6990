"""`"usage": {"include": true}`: the answer says what it costs, in the ledger's own figure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from openai import OpenAI

from registry.money import NANO
from tests.support.stack import CHAT, MESSAGES, TEXT, House, Stack, open_house, run_stack

LONG: list[Any] = [{"role": "user", "content": "word " * 100}]
ASKED: dict[str, Any] = {"usage": {"include": True}}


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with open_house(tmp_path_factory.mktemp("priced")) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        house.registry.tariffs.add(
            "base:tiny",
            input_dollars="0.333333",
            cached_dollars="0.077777",
            output_dollars="1.234567",
            source="a test",
        )
        with run_stack(house) as stack:
            stack.wait_resident("acme/triage@1.0")
            yield stack


def usage_in(answer: Any) -> dict[str, Any]:
    """The usage of an answer, or of the last event of a stream that has one; numbers as decimals."""
    texts = [answer.text]
    if answer.headers["content-type"].startswith("text/event-stream"):
        events = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
        assert events[-1] == "[DONE]"
        texts = [event for event in events if '"usage"' in event]
        assert len(texts) == 1, "only the last event has it"
    usage: dict[str, Any] = json.loads(texts[0], parse_float=Decimal)["usage"]
    return usage


SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "one answer": (CHAT, {"messages": MESSAGES}),
    "three answers": (CHAT, {"messages": MESSAGES, "n": 3, "temperature": 1}),
    "a prompt that is cached the second time": (CHAT, {"messages": LONG}),
    "two prompts with two answers each": (TEXT, {"prompt": ["one two", "three"], "n": 2}),
}


def test_what_the_client_reads_is_what_the_ledger_has(priced: Stack) -> None:
    answers = [
        (shape, priced.post(path, {"model": "triage", "max_tokens": 7, "stream": stream, **body, **ASKED}))
        for shape, (path, body) in SHAPES.items()
        for stream in (False, True)
    ]
    cached = []
    for shape, answer in answers:
        usage = usage_in(answer)
        (row,) = priced.house.usage_of(answer.headers["x-request-id"])
        assert usage["cost"] * NANO == row["cost_nano"] > 0, shape
        cached.append(row["cached_tokens"])
    assert any(cached)
    assert not all(cached)


def test_the_sdk_reads_the_cost(priced: Stack) -> None:
    with OpenAI(base_url=f"{priced.url}/v1", api_key=priced.house.keys["acme"], max_retries=0) as client:
        answer = client.chat.completions.create(model="triage", messages=MESSAGES, max_tokens=4, extra_body=ASKED)
        *_, last = client.chat.completions.create(
            model="triage", messages=MESSAGES, max_tokens=4, stream=True, extra_body=ASKED
        )
    for usage in (answer.usage, last.usage):
        assert usage is not None
        assert usage.model_extra is not None
        assert 0 < usage.model_extra["cost"] < 0.001


def test_who_does_not_ask_sees_no_cost(priced: Stack) -> None:
    unasked: list[dict[str, Any]] = [{}, {"usage": {"include": False}}]
    for more in unasked:
        assert "cost" not in priced.chat("triage", **more).json()["usage"]
        assert '"usage"' not in priced.chat("triage", stream=True, **more).text


def test_what_has_no_price_costs_null_and_not_nothing(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_stack(house) as stack:
        for stream in (False, True):
            answer = stack.chat("triage", stream=stream, **ASKED)
            assert usage_in(answer)["cost"] is None
            (row,) = stack.house.usage_of(answer.headers["x-request-id"])
            assert row["cost_nano"] is None
