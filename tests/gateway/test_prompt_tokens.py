"""Near a budget's end an engine counts prompts as it is going to serve them: a hold is what the ledger books."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.engines.vllm.prompt_counting import questions
from gateway.fleet.homes import Homes
from gateway.fleet.view import FleetView
from gateway.handoffs import Arm
from gateway.limits.prompt_tokens import MOST_BYTES, PromptTokens
from loadtest.mock_engine.options import Options
from loadtest.testing import MockEngine
from tests.gateway.test_chat_template import measured
from tests.support.fleet_parts import engine_view
from tests.support.raw_server import Connection, raw_server
from tests.support.stack import CHAT, MESSAGES, TEXT, House, Stack, open_house, run_engines, run_gateway
from tests.support.waiting import DEADLINE_S, wait_until

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"tool_{number}",
            "description": "Look something up and say what was found there.",
            "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
        },
    }
    for number in range(30)
]
CALL = {"id": "c", "type": "function", "function": {"name": "tool_1", "arguments": '{"word": "a b c", "n": [1, 2]}'}}
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "a word": (CHAT, {"messages": [{"role": "user", "content": "hi"}]}),
    "a system message": (CHAT, {"messages": [{"role": "system", "content": "Be brief. " * 40}, *MESSAGES]}),
    "parts": (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "Grüße 🙂"}] * 5}]}),
    "30 tools": (CHAT, {"messages": MESSAGES, "tools": TOOLS}),
    "tools that may not be called": (CHAT, {"messages": MESSAGES, "tools": TOOLS[:5], "tool_choice": "none"}),
    "an earlier call": (
        CHAT,
        {
            "messages": [
                *MESSAGES,
                {"role": "assistant", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c", "content": "d e f"},
            ],
            "tools": TOOLS[:2],
        },
    ),
    "thoughts": (
        CHAT,
        {"messages": [*MESSAGES, {"role": "assistant", "content": "x", "reasoning_content": "y z"}, *MESSAGES]},
    ),
    "documents and an effort": (
        CHAT,
        {"messages": MESSAGES, "documents": [{"title": "a", "text": "b c d"}], "reasoning_effort": "low"},
    ),
    "several answers": (CHAT, {"messages": MESSAGES, "n": 3}),
    "what is never read": (CHAT, {"messages": MESSAGES, "metadata": {"trail": "x" * 500}}),
    "a prompt": (TEXT, {"prompt": "the parcel is late " * 50}),
    "prompts": (TEXT, {"prompt": ["the parcel is late " * 50, "a b"]}),
    "token ids": (TEXT, {"prompt": [[5, 6, 7], [8] * 300]}),
    "a prompt that is cut": (TEXT, {"prompt": "the parcel is late " * 50, "truncate_prompt_tokens": 9}),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An engine whose template knows tools, a tenant without limits (`rich`), and one with a budget (`poor`)."""
    with open_house(tmp_path_factory.mktemp("counted")) as house:
        for name in ("rich", "poor", "other", "hasty"):
            house.tenant(name)
            house.publish(f"{name}/triage")
            house.point(f"{name}/triage", "1.0")
        options = {"tool_call_parser": "hermes", "max_model_len": 4_096}
        with run_engines(house, options) as mocks, run_gateway(house, mocks) as stack:
            stack.wait_resident(*(f"{name}/triage@1.0" for name in house.keys))
            yield stack


def allow(stack: Stack, tokens: int, tenant: str = "poor") -> None:
    """Let a tenant use so many tokens more today."""
    assert stack.gateway.house is not None
    limits = stack.gateway.house.limits
    scope = f"tenant:{tenant}"
    if (counter := limits.counter(scope)) is not None:
        wait_until("nothing to be held", lambda: not counter.held_tokens)
        (budget,) = counter.budgets
        tokens += budget.spent()
    stack.house.registry.limits.set(scope, {"daily_tokens": tokens})
    stack.wait_revision()
    wait_until("the books to be read", lambda: (found := limits.counter(scope)) is not None and found.books_read)


def ask(stack: Stack, shape: str, tenant: str = "poor") -> httpx.Response:
    path, body = SHAPES[shape]
    return stack.post(path, {"model": f"{tenant}/triage", "max_tokens": 3, **body}, tenant)


def used(answer: httpx.Response) -> int:
    assert answer.status_code == 200, answer.text
    return int(answer.json()["usage"]["total_tokens"])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_request_fits_into_a_budget_of_what_the_ledger_books_for_it_and_into_no_smaller_one(
    stack: Stack, shape: str
) -> None:
    truth = used(ask(stack, shape, "rich"))
    allow(stack, truth - 1)
    assert ask(stack, shape).json()["error"]["code"] == "insufficient_quota"
    allow(stack, truth)
    answer = ask(stack, shape)
    assert used(answer) == truth
    (row,) = stack.house.usage_of(answer.headers["x-request-id"])
    assert row["prompt_tokens"] + row["completion_tokens"] == truth


def test_requests_at_once_near_a_budgets_end_are_all_served_that_it_has_room_for(stack: Stack) -> None:
    truth = used(ask(stack, "30 tools", "rich"))
    allow(stack, 4 * truth)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: ask(stack, "30 tools"), range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [429] * 2


def test_nobody_is_asked_where_no_budget_is_near_its_end_or_no_count_could_help(stack: Stack) -> None:
    allow(stack, 10_000_000)
    before = stack.state()["tokenized"]
    assert [ask(stack, "30 tools", name).status_code for name in ("rich", "poor")] == [200, 200]
    allow(stack, 3)
    assert ask(stack, "30 tools").status_code == 429
    allow(stack, 2_000)
    long = {"model": "poor/triage", "prompt": "a " * MOST_BYTES, "max_tokens": 1}
    assert stack.post(TEXT, long, "poor").status_code == 429
    assert stack.state()["tokenized"] == before


def test_a_prompt_holds_no_more_than_engines_take(stack: Stack) -> None:
    prompt = {"model": "poor/triage", "prompt": "a" * MOST_BYTES, "max_tokens": 1}
    allow(stack, 4_096)
    assert stack.post(TEXT, prompt, "poor").status_code == 429
    allow(stack, 4_097)
    assert used(stack.post(TEXT, prompt, "poor")) == 2


def test_a_field_that_nobody_knows_may_change_a_prompt_and_bytes_count(stack: Stack) -> None:
    body = {"messages": MESSAGES, "max_tokens": 3}
    chat, completions = (DIALECTS[name].forwarded.keys() for name in ("chat", "completions"))
    assert questions(body, chat) is not None
    assert questions({**body, "new_in_vllm": 1}, chat) is None
    assert questions({"prompt": "x", "suffix": "y"}, completions) is None


def test_an_engine_that_does_not_answer_costs_its_tenant_a_moment_and_others_nothing(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.limits.prompt_tokens.ANSWER_S", 0.2)
    truth = used(ask(stack, "30 tools", "rich"))
    allow(stack, truth)
    allow(stack, truth, "other")
    stack.faults(tokenize_ms=60_000)
    try:
        refused = ask(stack, "30 tools")
        assert refused.json()["error"]["code"] == "insufficient_quota"
        assert used(ask(stack, "30 tools", "rich")) == truth
        stack.faults(tokenize_ms=0)
        assert ask(stack, "30 tools").status_code == 429, "the engine is left alone for a while"
        assert used(ask(stack, "30 tools", "other")) == truth
        for failing in ({"fail_tokenize": 500}, {"fail_tokenize": 404}):
            stack.faults(**failing)
            allow(stack, truth, "other")
            assert ask(stack, "30 tools", "other").status_code == 429
    finally:
        stack.heal()


def test_what_is_guessed_of_a_request_that_is_given_up_is_no_more_than_was_held(stack: Stack) -> None:
    allow(stack, 60, "hasty")
    stack.faults(ttft_ms=20_000)  # before the first token nothing is known of the prompt
    prompt = {"model": "hasty/triage", "prompt": "a" * 4_000, "max_tokens": 50, "ignore_eos": True}
    body = json.dumps(prompt)
    running = stack.state()["running"]
    with socket.create_connection((stack.house.settings.host, stack.house.settings.port), timeout=DEADLINE_S) as client:
        client.sendall(
            f"POST {TEXT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.house.keys['hasty']}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        wait_until("the engine to begin", lambda: stack.state()["running"] > running)
    (row,) = wait_until("the usage row", lambda: stack.house.usage(tenant="hasty", outcome="client_aborted"))
    stack.heal()
    assert (row["usage_source"], row["prompt_tokens"]) == ("estimated", 1)


def test_an_engine_that_serves_other_prompts_than_it_counts_or_counts_none_serves_and_is_not_believed(
    house: House,
) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    house.registry.limits.set("tenant:acme", {"daily_tokens": 40})
    for engine, status in (({"renders_apart": True}, 429), ({"fail_tokenize": 500}, 429), ({}, 200)):
        with run_engines(house, engine) as mocks, run_gateway(house, mocks) as stack:
            stack.wait_resident("acme/triage@1.0")
            assert stack.chat("triage").status_code == status


def test_of_several_engines_one_counts_for_all_only_where_all_are_known_to_render_as_the_base(house: House) -> None:
    house.registry.limits.set("tenant:acme", {"daily_tokens": 40})
    with measured(house, "chatml", "chatml") as stack:
        stack.wait_ready()
        stack.wait_resident("acme/triage@1.0")
        assert stack.chat("triage").status_code == 200
        view = stack.worker.view()
        assert {engine.status.counts for engine in view.engines} == {"its base"}
    house.registry.limits.set("tenant:globex", {"daily_tokens": 40})
    house.publish("globex/triage")
    house.point("globex/triage", "1.0")
    with (
        run_engines(house, {"chat_template": "plain"}, {}) as mocks,
        run_gateway(house, mocks, engine_chat_template="warn") as stack,
    ):
        stack.wait_resident("globex/triage@1.0")
        assert stack.chat("triage", "globex").status_code == 429
        stack.house.registry.drains.order(mocks[1].url, actor="test")
        stack.wait_state(mocks[1], "draining")
        assert stack.chat("triage", "globex").status_code == 200, "one alone counts what it serves itself"


ARM = Arm("acme/triage@1.0", "sha256:0")
THREE_WORDS = DIALECTS["completions"].parse(b'{"model": "m", "prompt": "a b c"}', caps=Caps(), allow_unknown=False)


@contextmanager
def counting_by(url: str) -> Iterator[PromptTokens]:
    """Counts by one engine."""
    engine = engine_view(url, counts="itself")
    fleet: Any = SimpleNamespace(
        view=lambda: FleetView((engine,), Homes({}), {}), in_flight=SimpleNamespace(by_engine={})
    )
    yield PromptTokens(fleet)
    engine.client.close()


async def test_a_count_that_comes_in_two_pieces_is_read_whole() -> None:
    async def answer(connection: Connection) -> None:
        await connection.send(b'HTTP/1.1 200 OK\r\ncontent-length: 27\r\n\r\n{"count":12')
        await asyncio.sleep(0.02)
        await connection.send(b'34,"tokens":[1]}')

    async with raw_server(answer) as server:
        with counting_by(server.url) as prompts:
            assert await prompts.count("acme", ARM, THREE_WORDS) == 1234


async def test_a_tenants_next_count_waits_a_while_and_another_tenants_does_not() -> None:
    mock = MockEngine(Options())
    await mock.start()
    async with httpx.AsyncClient() as http:
        await http.post(f"{mock.url}/mock/faults", json={"tokenize_ms": 50.0})
    with counting_by(mock.url) as prompts:
        assert await prompts.count("acme", ARM, THREE_WORDS) == 3
        again = asyncio.create_task(prompts.count("acme", ARM, THREE_WORDS))
        await asyncio.sleep(0)
        assert await prompts.count("globex", ARM, THREE_WORDS) == 3
        assert not again.done()
        assert await again == 3
    await mock.stop()
