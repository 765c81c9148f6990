"""Anthropic's official client against a gateway whose engines call tools: calls, failures, limits, signs of life."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import ToolUseBlock
from pydantic import BaseModel

from loadtest.mock_engine.pace import STEP_S
from tests.support.stack import MESSAGES, Stack, open_house, run_stack
from tests.support.waiting import wait_until

MODEL = "acme/triage"
TOKEN_MS = 300
"""Of an answer that is left: it takes five seconds then."""
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "cache_control": {"type": "ephemeral"},
}
TIME: Any = {"name": "get_time", "input_schema": {"type": "object", "properties": {}}}
ASKED: Any = [{"role": "user", "content": "Ask get_weather and get_time."}]
INPUT = {"city": "text"}
"""The plainest one that fits, as the mock writes it."""


@pytest.fixture(scope="module")
def calling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An engine with a parser for calls, and a gateway that waits a fifth of a second before it pings."""
    with open_house(tmp_path_factory.mktemp("calling")) as house:
        house.tenant("acme")
        house.tenant("poor")
        for name in ("acme", "poor"):
            house.publish(f"{name}/triage")
            house.point(f"{name}/triage", "1.0")
        house.registry.limits.set("tenant:acme", {"daily_tokens": 10**9})
        house.registry.limits.set("tenant:poor", {"daily_tokens": 200})
        engine = {"tool_call_parser": "hermes"}
        with run_stack(house, engines=(engine,), stream_ping_s=0.2, head_timeout_s=2.0) as stack:
            stack.wait_resident("acme/triage@1.0", "poor/triage@1.0")
            yield stack


@pytest.fixture
def stack(calling: Stack) -> Iterator[Stack]:
    yield calling
    calling.heal()


@pytest.fixture
def claude(stack: Stack) -> Iterator[Anthropic]:
    """acme's client, which retries nothing."""
    with Anthropic(base_url=stack.url, api_key=stack.house.keys["acme"], max_retries=0) as client:
        yield client


def test_tools_are_called_and_their_results_are_answered(claude: Anthropic) -> None:
    message = claude.messages.create(model=MODEL, messages=ASKED, max_tokens=50, tools=[WEATHER, TIME])
    weather, time = message.content
    assert isinstance(weather, ToolUseBlock)
    assert isinstance(time, ToolUseBlock)
    assert (weather.name, weather.input, time.name, time.input) == ("get_weather", INPUT, "get_time", {})
    assert message.stop_reason == "tool_use"
    results: Any = [{"type": "tool_result", "tool_use_id": one.id, "content": "Rain."} for one in (weather, time)]
    turns: Any = [*ASKED, message.to_param(), {"role": "user", "content": results}]
    answer = claude.messages.create(model=MODEL, messages=turns, max_tokens=50, tools=[WEATHER, TIME])
    assert [block.type for block in answer.content] == ["text"]
    assert answer.stop_reason == "end_turn"


def test_a_stream_of_calls_ends_with_the_same_message(claude: Anthropic) -> None:
    whole = claude.messages.create(model=MODEL, messages=ASKED, max_tokens=50, tools=[WEATHER, TIME])
    with claude.messages.stream(model=MODEL, messages=ASKED, max_tokens=50, tools=[WEATHER, TIME]) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_message()
    assert "input_json" in kinds
    calls = [(block.name, block.input) for block in message.content if block.type == "tool_use"]
    assert calls == [(block.name, block.input) for block in whole.content if block.type == "tool_use"]
    assert (message.stop_reason, message.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({"type": "tool", "name": "get_time"}, ["get_time"]),
        ({"type": "any"}, ["get_weather"]),
        ({"type": "auto", "disable_parallel_tool_use": True}, ["get_weather"]),
        ({"type": "none"}, []),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_client_chooses_what_is_called(claude: Anthropic, choice: Any, called: list[str]) -> None:
    message = claude.messages.create(
        model=MODEL, messages=ASKED, max_tokens=50, tools=[WEATHER, TIME], tool_choice=choice
    )
    assert [block.name for block in message.content if block.type == "tool_use"] == called
    assert message.stop_reason == ("tool_use" if called else "end_turn")


def test_a_call_that_is_cut_short_is_no_use_of_a_tool(claude: Anthropic) -> None:
    message = claude.messages.create(model=MODEL, messages=ASKED, max_tokens=1, tools=[WEATHER])
    assert message.stop_reason == "max_tokens"
    assert [block.input for block in message.content if block.type == "tool_use"] == [{}]


class Answer(BaseModel):
    word: str
    count: int


def test_an_answer_of_a_schema_is_parsed_by_the_client(claude: Anthropic) -> None:
    message = claude.messages.parse(model=MODEL, messages=MESSAGES, max_tokens=50, output_format=Answer)
    assert message.parsed_output == Answer(word="text", count=7)


def test_the_betas_of_the_client_are_served_by_the_same_address(claude: Anthropic) -> None:
    message = claude.beta.messages.create(
        model=MODEL,
        messages=MESSAGES,
        max_tokens=4,
        betas=["context-management-2025-06-27", "interleaved-thinking-2025-05-14"],
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
    )
    assert message.stop_reason == "max_tokens"
    count = claude.beta.messages.count_tokens(model=MODEL, messages=MESSAGES)
    assert count.input_tokens == message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)


async def test_the_async_client_reads_the_same(stack: Stack) -> None:
    async with AsyncAnthropic(base_url=stack.url, auth_token=stack.house.keys["acme"], max_retries=0) as client:
        whole = await client.messages.create(model=MODEL, messages=MESSAGES, max_tokens=6)
        async with client.messages.stream(model=MODEL, messages=MESSAGES, max_tokens=6) as stream:
            said = [text async for text in stream.text_stream]
            assert await stream.get_final_text() == "".join(said)
        assert "".join(said) == whole.content[0].to_dict()["text"]
        assert (await client.messages.count_tokens(model=MODEL, messages=MESSAGES)).input_tokens > 0


def test_the_client_reads_over_signs_of_life(stack: Stack, claude: Anthropic) -> None:
    stack.faults(ttft_ms=700, token_ms=300)
    with claude.messages.stream(model=MODEL, messages=MESSAGES, max_tokens=2) as stream:
        raw = stream.response
        assert stream.get_final_message().stop_reason == "max_tokens"
    assert raw.headers["x-switchyard-model"] == "acme/triage@1.0"
    body = {"model": MODEL, "messages": MESSAGES, "max_tokens": 2, "stream": True}
    assert stack.post("/v1/messages", body).text.startswith(": ping\n\n")


def test_a_stream_that_breaks_raises_the_clients_exception_and_is_booked_by_its_running_count(
    stack: Stack, claude: Anthropic
) -> None:
    stack.faults(error_after_chunks=4)
    with (
        claude.messages.stream(model=MODEL, messages=MESSAGES, max_tokens=9) as stream,
        pytest.raises(anthropic.APIStatusError) as broken,
    ):
        stream.until_done()
    assert (broken.value.type, broken.value.error_code) == ("api_error", "engine_error")
    (row,) = stack.house.usage_of(str(broken.value.request_id))
    assert (row["outcome"], row["usage_source"], row["completion_tokens"]) == ("engine_failed", "partial", 3)
    stack.faults(error_after_chunks=2)  # of few that have many tokens each
    with pytest.raises(anthropic.InternalServerError) as failed:
        claude.messages.create(model=MODEL, messages=MESSAGES, max_tokens=9)
    assert failed.value.type == "api_error"


@pytest.mark.parametrize("streams", [True, False])
def test_a_client_that_leaves_is_charged_what_was_made_for_it(stack: Stack, streams: bool) -> None:
    stack.faults(token_ms=TOKEN_MS)
    before = stack.state()["steps"]
    known = {row["attempt_id"] for row in stack.house.usage(outcome="client_aborted")}
    body = {"model": MODEL, "messages": MESSAGES, "max_tokens": 50, "stream": streams}
    head = {"x-api-key": stack.house.keys["acme"]}
    if streams:
        with stack.http.stream("POST", f"{stack.url}/v1/messages", json=body, headers=head) as answer:
            next(line for line in answer.iter_lines() if "text_delta" in line)
    else:
        asked = httpx.Request("POST", f"{stack.url}/v1/messages", json=body, headers=head)
        lines = "".join(f"{name}: {value}\r\n" for name, value in asked.headers.items())
        with socket.create_connection((stack.house.settings.host, stack.house.settings.port)) as leaving:
            leaving.sendall(f"POST /v1/messages HTTP/1.1\r\n{lines}\r\n".encode() + asked.read())
            made = 2.5 * TOKEN_MS / 1000 / STEP_S
            wait_until("two tokens to be made", lambda: stack.state()["steps"] >= before + made)
    (row,) = wait_until(
        "the usage row",
        lambda: [row for row in stack.house.usage(outcome="client_aborted") if row["attempt_id"] not in known],
    )
    assert (row["endpoint"], row["usage_source"]) == ("messages", "partial")
    assert 1 <= row["completion_tokens"] < 16
    assert row["prompt_tokens"] > 0


def test_a_budget_is_held_as_for_chats_and_says_what_bounds_the_answer(stack: Stack) -> None:
    with (
        Anthropic(base_url=stack.url, api_key=stack.house.keys["poor"], max_retries=5) as client,
        pytest.raises(anthropic.RateLimitError, match="max_tokens") as refused,
    ):
        client.messages.create(model="triage", messages=MESSAGES, max_tokens=1_000)
    assert (refused.value.type, refused.value.error_code) == ("rate_limit_error", "insufficient_quota")
    assert refused.value.response.headers["x-should-retry"] == "false"


def test_what_is_refused_before_or_beside_the_dialect_has_anthropics_form_too(stack: Stack) -> None:
    for path, method, status in (
        ("/v1/messages", "GET", 405),
        ("/v1/messages/count_tokens", "PUT", 405),
        ("/v1/messages/batches", "POST", 404),
        ("/messages/batches/x/cancel", "GET", 404),
    ):
        answer = stack.http.request(method, f"{stack.url}{path}")
        error = answer.json()
        assert (answer.status_code, error["type"], error["error"]["details"]["error_code"]) == (
            status,
            "error",
            "unknown_url",
        )
        assert error["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]
    assert stack.http.get(f"{stack.url}/v1/nothing").json()["error"]["type"] == "invalid_request_error"
