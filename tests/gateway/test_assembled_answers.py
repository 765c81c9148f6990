"""Answers in one piece to who pays or is counted: asked for as streams, and what is left half way is paid for."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.api.dialects.engine_events import STREAM_INTERVAL_TOKENS
from registry.catalog.snapshot import TariffEntry
from registry.money import cost_nano
from tests.support.stack import BASE, CHAT, MESSAGES, TEXT, Stack, open_house, run_stack
from tests.support.waiting import DEADLINE_S, wait_until

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
PRICE = TariffEntry(0, 1_000_000_000, 500_000_000, 2_000_000_000)
LONG = {"max_tokens": 500, "min_tokens": 500}


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Acme pays, globex does not, and initech pays nothing but has a budget of tokens."""
    with open_house(tmp_path_factory.mktemp("priced"), engine_prompt_logprobs=True) as house:
        for tenant in ("acme", "globex", "initech"):
            house.tenant(tenant)
            house.keys[tenant] = house.key(tenant, "inference", "base")
            house.publish(f"{tenant}/triage")
            house.point(f"{tenant}/triage", "1.0")
        house.registry.tariffs.add(
            "tenant:acme", input_dollars="1", cached_dollars="0.5", output_dollars="2", source="a million tokens"
        )
        house.registry.limits.set("tenant:initech", {"daily_tokens": 10**9})
        engine = {"tool_call_parser": "hermes"}
        with run_stack(house, engines=[engine, engine]) as stack:
            for tenant in ("acme", "globex", "initech"):
                assert stack.chat("triage", tenant).status_code == 200
            yield stack


@pytest.fixture(autouse=True)
def healed(priced: Stack) -> Iterator[None]:
    yield
    priced.heal()


def asked_for(stack: Stack, body: dict[str, Any], tenant: str) -> tuple[str, Any]:
    path = CHAT if "messages" in body else TEXT
    answer = stack.post(path, {"model": "triage", **body}, tenant)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-request-id"], answer


SHAPES: dict[str, dict[str, Any]] = {
    "one token": {"messages": MESSAGES, "max_tokens": 1},
    "a chunk and its first token": {"messages": MESSAGES, "max_tokens": 1 + STREAM_INTERVAL_TOKENS, "ignore_eos": True},
    "three chunks": {"messages": MESSAGES, "max_tokens": 3 * STREAM_INTERVAL_TOKENS, "ignore_eos": True},
    "several answers": {"messages": MESSAGES, "n": 3, "max_tokens": 40, "ignore_eos": True},
    "scores": {"messages": MESSAGES, "logprobs": True, "top_logprobs": 3, "max_tokens": 40, "ignore_eos": True},
    "ids": {"messages": MESSAGES, "return_token_ids": True, "max_tokens": 40, "ignore_eos": True},
    "ids in scores": {"messages": MESSAGES, "logprobs": True, "return_tokens_as_token_ids": True},
    "an echo": {"messages": [*MESSAGES, {"role": "assistant", "content": "Well, "}], "echo": True, "max_tokens": 4},
    "a schema": {"messages": MESSAGES, "response_format": {"type": "json_object"}},
    "a text": {"prompt": "x", "max_tokens": 40, "ignore_eos": True},
    "texts": {"prompt": ["x", "y y"], "n": 2, "max_tokens": 20},
    "a text's scores": {"prompt": "x", "logprobs": 2, "max_tokens": 40, "ignore_eos": True},
    "a text's ids": {"prompt": ["x", "y"], "return_token_ids": True, "max_tokens": 20},
    "a prompt alone": {"prompt": "a b c", "max_tokens": 0, "echo": True},
    "a text and its prompt": {"prompt": ["a b", "c"], "max_tokens": 20, "echo": True, "return_token_ids": True},
    "a prompt's scores": {"prompt": "a b c", "max_tokens": 2, "echo": True, "logprobs": 1},
    "tools": {"messages": MESSAGES, "tools": [TOOL]},
    "tools that may not be called": {"messages": MESSAGES, "tools": [TOOL], "tool_choice": "none"},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_who_pays_gets_what_who_does_not_pay_gets(priced: Stack, shape: str) -> None:
    """The engine writes globex's document itself."""
    documents = set()
    for tenant in ("globex", "acme", "initech"):
        _, answer = asked_for(priced, {"max_tokens": 6, **SHAPES[shape], "model": BASE}, tenant)
        documents.add(re.sub(r'"(?:id|created|cached_tokens)":(?:"[^"]*"|\d+)', "", answer.text))
    assert len(documents) == 1, documents


def leave(stack: Stack, body: dict[str, Any], tokens: int, tenant: str = "acme") -> dict[str, Any]:
    """The usage of a request whose client goes when its engine has made so many more tokens, or has begun."""
    path = CHAT if "messages" in body else TEXT
    data = json.dumps({"model": "triage", **body})
    known = {row["attempt_id"] for row in stack.house.usage(outcome="client_aborted")}
    made = generated(stack)
    with socket.create_connection((stack.house.settings.host, stack.house.settings.port), timeout=DEADLINE_S) as client:
        client.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.house.keys[tenant]}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n{data}".encode()
        )
        wait_until("the engine to begin", lambda: running(stack))
        wait_until("the engine to make them", lambda: generated(stack) >= made + tokens)
    wait_until("the engine to stop", lambda: not running(stack))
    new = wait_until(
        "the usage",
        lambda: [row for row in stack.house.usage(outcome="client_aborted") if row["attempt_id"] not in known],
    )
    (row,) = new
    return {**row, "made": generated(stack) - made}


def running(stack: Stack) -> int:
    return sum(stack.state_of(engine)["running"] for engine in stack.engines)


def generated(stack: Stack) -> int:
    texts = (stack.http.get(f"{engine.url}/metrics").text for engine in stack.engines)
    return sum(
        int(float(re.findall(r"^vllm:generation_tokens_total\{[^}]*\} (\S+)$", text, re.M)[0])) for text in texts
    )


@pytest.mark.parametrize("body", [{"messages": MESSAGES}, {"prompt": "x"}], ids=["chat", "completions"])
@pytest.mark.parametrize(("tenant", "dollars"), [("acme", True), ("initech", False)])
def test_who_hangs_up_has_used_what_was_made_until_then(
    priced: Stack, body: dict[str, Any], tenant: str, dollars: bool
) -> None:
    """Up to the last chunk: the first has one token, each further one an interval's."""
    priced.faults(token_ms=5)
    row = leave(priced, {**body, **LONG}, 2 * STREAM_INTERVAL_TOKENS, tenant)
    assert row["usage_source"] == "partial"
    assert 1 <= row["completion_tokens"] <= row["made"]
    assert row["completion_tokens"] % STREAM_INTERVAL_TOKENS == 1
    cost = cost_nano(row["prompt_tokens"], 0, row["completion_tokens"], PRICE)
    assert row["cost_nano"] == (cost if dollars else None)


def test_all_answers_of_who_hangs_up_are_counted(priced: Stack) -> None:
    priced.faults(token_ms=5)
    row = leave(priced, {"prompt": ["x", "y y"], "n": 2, **LONG}, 4 * (1 + STREAM_INTERVAL_TOKENS))
    assert row["usage_source"] == "partial"
    assert 4 <= row["completion_tokens"] <= row["made"]


def test_before_the_first_token_and_with_tools_only_the_prompt_is_known(priced: Stack) -> None:
    priced.faults(ttft_ms=10_000)
    for body in ({"messages": MESSAGES}, {"messages": MESSAGES, "tools": [TOOL], **LONG}):
        row = leave(priced, body, 0)
        assert (row["usage_source"], row["completion_tokens"]) == ("estimated", None)
        assert row["cost_nano"] > 0
        priced.faults(ttft_ms=0, token_ms=5)


@pytest.mark.parametrize("fault", [{"die_after_chunks": 3}, {"error_after_chunks": 3}, {"abort_after_tokens": 20}])
def test_when_an_engine_breaks_in_the_middle_another_answers_and_its_part_is_booked_for_nothing(
    priced: Stack, fault: dict[str, int]
) -> None:
    first = asked_for(priced, {"messages": MESSAGES, "max_tokens": 4}, "acme")[0]
    url = priced.house.usage_of(first)[0]["engine"]
    home = next(engine for engine in priced.engines if engine.url == url)
    priced.http.post(f"{home.url}/mock/faults", json=fault)
    request_id, answer = asked_for(priced, {"messages": MESSAGES, "max_tokens": 60, "ignore_eos": True}, "acme")
    assert answer.json()["usage"]["completion_tokens"] == 60
    broke, served = priced.house.usage_of(request_id)
    assert (broke["outcome"], broke["usage_source"], broke["cost_nano"]) == ("engine_failed", "partial", 0)
    assert broke["completion_tokens"] >= 1
    assert (served["outcome"], served["completion_tokens"]) == ("ok", 60)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": [99_999_999]}, None),
        ({"messages": MESSAGES, "response_format": {"type": "json_object"}, "max_tokens": 100_000}, "max_tokens"),
        ({"messages": MESSAGES, "structured_outputs": {"json": {"type": "nonsense"}}}, "structured_outputs.json.type"),
    ],
)
def test_what_an_engine_refuses_behind_the_head_of_its_stream_is_the_same_refusal(
    priced: Stack, body: dict[str, Any], param: str | None
) -> None:
    path = CHAT if "messages" in body else TEXT
    free, paid = (priced.post(path, {"model": "triage", **body}, tenant) for tenant in ("globex", "acme"))
    assert (paid.status_code, paid.json()["error"]["param"]) == (400, param)
    assert paid.json() == json.loads(free.text.replace("globex", "acme"))
    rows = [priced.house.usage_of(one.headers["x-request-id"])[0] for one in (free, paid)]
    assert [row["outcome"] for row in rows] == ["rejected", "rejected"]
    assert [row["prompt_tokens"] for row in rows] == [None, None], "nothing was worked on"
