"""The official client against the gateway: what works as it does at OpenAI."""

from __future__ import annotations

import re
import time

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.support.stack import MESSAGES, Stack

VERSION = "acme/triage@1.0"


def test_a_chat_answer_names_the_version_that_gave_it_and_what_it_used(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="acme/triage", messages=MESSAGES, max_tokens=5)
    assert answer.model == VERSION
    assert answer.choices[0].message.role == "assistant"
    assert len((answer.choices[0].message.content or "").split()) == 5
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5


def test_a_completion_answers_every_prompt_as_often_as_asked(client: OpenAI) -> None:
    answer = client.completions.create(model="acme/triage", prompt=["one", "two"], n=2, max_tokens=3)
    assert answer.model == VERSION
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert len({choice.text for choice in answer.choices}) == 4
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12


def test_every_chunk_of_a_stream_names_the_version_and_usage_stays_hidden(client: OpenAI) -> None:
    with client.chat.completions.create(model="triage", messages=MESSAGES, max_tokens=6, stream=True) as stream:
        chunks = list(stream)
    assert {chunk.model for chunk in chunks} == {VERSION}
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "length"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    whole = client.chat.completions.create(model="triage", messages=MESSAGES, max_tokens=6)
    assert text == whole.choices[0].message.content


def test_the_usage_chunk_is_shown_to_whom_asks_for_it(client: OpenAI) -> None:
    with client.completions.create(
        model="triage", prompt="x y z", max_tokens=4, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert {chunk.model for chunk in chunks} == {VERSION}
    assert [chunk.usage is not None for chunk in chunks] == [False] * 4 + [True]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (3, 4)


def test_a_stream_of_several_answers_keeps_them_apart(client: OpenAI) -> None:
    with client.chat.completions.create(model="triage", messages=MESSAGES, max_tokens=4, n=3, stream=True) as stream:
        chunks = list(stream)
    texts = {
        index: "".join(c.choices[0].delta.content or "" for c in chunks if c.choices[0].index == index)
        for index in range(3)
    }
    assert all(len(text.split()) == 4 for text in texts.values())
    assert len(set(texts.values())) == 3


def test_a_stream_ends_with_done_and_is_not_to_be_buffered(stack: Stack) -> None:
    answer = stack.chat("triage", stream=True)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.text.endswith("\n\ndata: [DONE]\n\n")
    assert answer.text.count("[DONE]") == 1


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("acme/triage", "acme/triage@1.0"),
        ("acme/triage@production", "acme/triage@1.0"),
        ("acme/triage@canary", "acme/triage@1.1"),
        ("acme/triage@1.2", "acme/triage@1.2"),
        ("triage", "acme/triage@1.0"),
        ("triage@canary", "acme/triage@1.1"),
        ("triage@1.1", "acme/triage@1.1"),
        ("ft:gpt-4o-mini:acme::7", "acme/triage@1.0"),
    ],
)
def test_a_model_can_be_named_in_many_ways(client: OpenAI, name: str, version: str) -> None:
    answer = client.chat.completions.create(model=name, messages=MESSAGES, max_tokens=3)
    assert answer.model == version


def test_each_version_answers_with_its_own_weights_and_always_the_same(client: OpenAI) -> None:
    def ask(model: str) -> str | None:
        return client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=8).choices[0].message.content

    answers = [ask(f"triage@1.{minor}") for minor in range(3)]
    assert len(set(answers)) == 3
    assert [ask(f"triage@1.{minor}") for minor in range(3)] == answers


@pytest.mark.parametrize("name", ["tiny", "gpt-4o-mini"])
def test_the_base_model_answers_under_its_public_name_to_a_key_with_the_scope(base_client: OpenAI, name: str) -> None:
    answer = base_client.chat.completions.create(model=name, messages=MESSAGES, max_tokens=3)
    assert answer.model == "tiny"
    with base_client.chat.completions.create(model=name, messages=MESSAGES, max_tokens=3, stream=True) as stream:
        assert {chunk.model for chunk in stream} == {"tiny"}


def test_on_a_cpu_the_base_is_served_through_the_zero_adapter_and_never_directly(
    stack: Stack, base_client: OpenAI
) -> None:
    before = stack.state()["requests"]
    base_client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=3)
    after = stack.state()["requests"]
    moved = [name for name in after if after[name] != before.get(name, 0)]
    assert len(moved) == 1
    assert re.fullmatch(r"a-0{16}-\d+-\d+", moved[0])
    assert "base" not in after


def test_models_list_is_what_the_key_can_call(client: OpenAI, base_client: OpenAI) -> None:
    every = [model.id for model in client.models.list()]
    names = [name for name in every if name.startswith("acme/triage") or name.startswith("ft:gpt-4o-mini")]
    assert names == [
        "acme/triage@canary",
        "acme/triage",
        "acme/triage@1.0",
        "acme/triage@1.1",
        "acme/triage@1.2",
        "ft:gpt-4o-mini:acme::7",
    ]
    assert [model.id for model in base_client.models.list()] == [*every, "gpt-4o-mini", "tiny"]
    for name in names:
        assert client.chat.completions.create(model=name, messages=MESSAGES, max_tokens=1).id


@pytest.mark.parametrize("name", ["acme/triage", "acme/triage@1.1", "triage", "ft:gpt-4o-mini:acme::7"])
def test_a_model_is_retrieved_by_any_of_its_names(stack: Stack, client: OpenAI, name: str) -> None:
    model = client.models.retrieve(name)
    assert (model.id, model.object, model.owned_by) == (name, "model", "acme")
    headers = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    with httpx.Client(base_url=stack.url, headers=headers) as http:
        plain = http.get(f"/v1/models/{name}")
        encoded = http.get("/v1/models/" + name.replace("/", "%2F").replace("@", "%40").replace(":", "%3A"))
    assert plain.json() == encoded.json()
    assert plain.json()["root"].startswith("acme/triage@1.")


def test_the_request_id_is_in_the_header_and_in_the_answers_id(stack: Stack, client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="triage", messages=MESSAGES, max_tokens=1)
    request_id = raw.headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{32}", request_id)
    assert abs(int(request_id[:12], 16) - time.time() * 1000) < 60_000, "they ascend with time"
    answer = raw.parse()
    assert answer.id == f"chatcmpl-{request_id}"
    assert answer._request_id == request_id
    assert raw.headers["x-switchyard-model"] == VERSION
    streamed = stack.chat("triage", stream=True)
    assert f'"id":"chatcmpl-{streamed.headers["x-request-id"]}"' in streamed.text


async def test_the_async_client_streams_and_asks_at_once(stack: Stack) -> None:
    key = stack.house.keys["acme"]
    async with AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=key, max_retries=0) as client:
        stream = await client.chat.completions.create(model="triage", messages=MESSAGES, max_tokens=7, stream=True)
        async with stream:
            models = [chunk.model async for chunk in stream]
        answer = await client.completions.create(model="triage@1.1", prompt="x", max_tokens=2)
    assert set(models) == {VERSION}
    assert answer.model == "acme/triage@1.1"


def test_the_same_prompt_is_cached_within_a_tenant_and_the_client_sees_how_much(client: OpenAI) -> None:
    prompt = " ".join(f"word{number}" for number in range(100))
    first = client.completions.create(model="triage", prompt=prompt, max_tokens=1)
    second = client.completions.create(model="triage", prompt=prompt, max_tokens=1)
    assert first.usage is not None
    assert second.usage is not None
    assert first.usage.prompt_tokens_details is not None
    assert second.usage.prompt_tokens_details is not None
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    assert second.usage.prompt_tokens_details.cached_tokens == 96
