"""How much structure a body may have is known before any of it is made, and large bodies hold up nobody else."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from gateway.api.bounds import BODY, WITHIN
from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.desk import LARGE_BYTES, Desk
from gateway.errors import BadRequest
from tests.support.stack import Stack
from tests.support.waiting import DEADLINE_S, wait_until

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
NOT_JSON = b"!"


def heavy(unit: bytes, times: int, begin: bytes = b"[", end: bytes = b"]") -> bytes:
    """`{"model": [unit, unit, …]!}`: an object with so many units in it, which is no JSON at its end."""
    return b'{"model":' + begin + b",".join([unit] * times) + end + NOT_JSON + b"}"


@pytest.mark.parametrize(
    "raw",
    [
        heavy(b"[]", BODY.containers),
        heavy(b"{}", BODY.containers),
        heavy(b"[[[[", BODY.containers // 4),
        heavy(b'{"a":[]}', BODY.containers // 2),
        heavy(b'"a":0', BODY.pairs + 1, b"{", b"}"),
        heavy(b'""', BODY.strings + 1),
        heavy(b'"]["', BODY.strings + 1),
        heavy(b'"\\""', BODY.strings + 1),
        heavy(b"0", BODY.values + 2),
        heavy(b"null", BODY.values + 2),
        heavy(b'"\\\\",[]', BODY.containers),
    ],
)
def test_a_body_with_too_much_structure_is_refused_before_it_is_read_as_json(raw: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        DIALECTS["chat"].parse(raw, caps=Caps(max_body_bytes=2**24), allow_unknown=False)
    assert caught.value.code == "invalid_value", caught.value.message
    most = (BODY.containers, BODY.pairs, BODY.strings, BODY.values)
    assert any(str(bound) in caught.value.message for bound in most), caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "{[" * BODY.containers,
        ', "k": [1, 2]' * BODY.containers,
        '"' * BODY.strings,
        "\\" * BODY.strings + "[" * BODY.containers,
        '\\"[' * BODY.containers,
        "\n\t:," * BODY.values,
    ],
)
def test_structure_in_text_is_text(text: str) -> None:
    raw = orjson.dumps(CHAT | {"messages": [{"role": "user", "content": text}]})
    request = DIALECTS["chat"].parse(raw, caps=Caps(max_body_bytes=2**24), allow_unknown=False)
    assert request.body["messages"][0]["content"] == text


def test_a_long_prompt_of_token_ids_is_not_refused() -> None:
    raw = orjson.dumps({"model": "m", "prompt": [1234] * 500_000})
    assert len(DIALECTS["completions"].parse(raw, caps=Caps(), allow_unknown=False).body["prompt"]) == 500_000


def tool_call(arguments: str) -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"messages": [*CHAT["messages"], {"role": "assistant", "tool_calls": [call]}]}


LISTS = "[" + "[]," * WITHIN.containers + "[]]"
FREE = Caps().max_free_values


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (tool_call(LISTS), "messages[1].tool_calls[0].function.arguments"),
        (tool_call("[" + "1," * WITHIN.values + "1,1]"), "messages[1].tool_calls[0].function.arguments"),
        (tool_call("[" * WITHIN.containers * 2), "messages[1].tool_calls[0].function.arguments"),
        ({"structured_outputs": {"json": LISTS}}, "structured_outputs.json"),
        ({"prompt_cache_options": [[]] * (FREE + 1)}, "prompt_cache_options"),
        ({"prompt_cache_options": {"a": {str(n): 0 for n in range(FREE)}}}, "prompt_cache_options"),
        ({"prompt_cache_options": [[[]] * 1_000] * 20}, "prompt_cache_options"),
        ({"of_another_vendor": {"x": [0] * (FREE + 1)}}, "of_another_vendor"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"logit_bias": {str(n): 0 for n in range(301)}}, "logit_bias"),
        ({"stop": ["x"] * 5}, "stop"),
        ({"chat_template_kwargs": {f"a{n}": 1 for n in range(33)}}, "chat_template_kwargs"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"enum": [0] * 20_000}}}},
         "response_format.json_schema.schema"),
    ],
)  # fmt: skip
def test_a_field_with_too_much_in_it_is_refused_with_its_name_and_the_limit(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        DIALECTS["chat"].parse(orjson.dumps(CHAT | fields), caps=Caps(), allow_unknown=True)
    assert caught.value.param == param
    assert "the most is" in caught.value.message


class Other:
    """Other work of the thread for large bodies, until `end` is set."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self.begun, self.end = threading.Event(), threading.Event()
        thread.submit(self._work)

    def _work(self) -> None:
        self.begun.set()
        self.end.wait(DEADLINE_S)


def test_large_bodies_are_parsed_beside_the_event_loop(stack: Stack) -> None:
    assert stack.gateway.house is not None
    stack.wait_ready()
    other = Other(stack.gateway.house.desk._thread)
    assert other.begun.wait(DEADLINE_S)
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(stack.chat, "triage", "acme", metadata={}, user="u", tools=None, stop=["x" * LARGE_BYTES])
        assert stack.chat("sentiment", "globex").status_code == 200
        assert not large.done()
        other.end.set()
        assert large.result().status_code == 400


def test_what_large_prompts_count_for_budgets_is_found_beside_the_event_loop(stack: Stack) -> None:
    assert stack.gateway.house is not None
    stack.house.registry.limits.set("tenant:acme", {"daily_tokens": 10**9})
    stack.wait_revision()
    stack.wait_ready()
    thread = stack.gateway.house.desk._thread
    first = Other(thread)
    assert first.begun.wait(DEADLINE_S)
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(stack.chat, "triage", "acme", messages=[{"role": "user", "content": "é" * LARGE_BYTES}])
        wait_until("the body waits for its parsing", lambda: thread._work_queue.qsize() or None)
        second = Other(thread)
        first.end.set()
        assert second.begun.wait(DEADLINE_S)
        wait_until("its prompt waits for its counting", lambda: thread._work_queue.qsize() or None)
        second.end.set()
        assert large.result().status_code == 200


async def test_tenants_take_turns_with_large_bodies() -> None:
    desk, order, gate = Desk(), [], threading.Event()

    def work(name: str) -> None:
        gate.wait(DEADLINE_S)
        order.append(name)

    try:
        tasks = [asyncio.create_task(desk.do("mallory", LARGE_BYTES, lambda: work("mallory"))) for _ in range(4)]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(desk.do("alice", LARGE_BYTES, lambda: work("alice"))))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*tasks)
    finally:
        desk.close()
    assert order.index("alice") == 1


def test_the_message_of_a_heavy_body_says_what_to_do() -> None:
    with pytest.raises(BadRequest) as caught:
        DIALECTS["chat"].parse(json.dumps(CHAT | {"x": [[]] * 40_000}).encode(), caps=Caps(), allow_unknown=True)
    assert caught.value.message.startswith("The body has 40004 objects and lists; the most is 32768.")
