"""/tokenize, asked as the gateway asks it, counts of a request what the engine counts that answers it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.api.dialects import DIALECTS
from gateway.engines.vllm.prompt_counting import questions
from tests.contract.contract_engine import MESSAGES, PROMPT, EngineUnderTest, error

TOOLS = [
    {"type": "function", "function": {"name": f"look_up_{number}", "parameters": {"type": "object", "properties": {}}}}
    for number in range(3)
]
CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up_0", "arguments": '{"word": "Übung"}'}}
CHATS: dict[str, dict[str, Any]] = {
    "a word": {"messages": [{"role": "user", "content": "hi"}]},
    "a system message and parts": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Grüße 🙂"}, {"type": "text", "text": "\n\n  x"}]},
        ]
    },
    "tools that may not be called": {"messages": MESSAGES, "tools": TOOLS, "tool_choice": "none"},
    "an earlier call": {
        "messages": [
            *MESSAGES,
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "practice"},
        ]
    },
    "thoughts": {
        "messages": [*MESSAGES, {"role": "assistant", "content": "Hi.", "reasoning_content": "A greeting."}, *MESSAGES]
    },
    "what is in the template's variables": {
        "messages": MESSAGES,
        "documents": [{"title": "a", "text": "b c"}],
        "reasoning_effort": "low",
        "chat_template_kwargs": {"date_string": "01 Jan 2026"},
    },
    "an answer that is continued": {
        "messages": [*MESSAGES, {"role": "assistant", "content": "Hel"}],
        "add_generation_prompt": False,
        "continue_final_message": True,
    },
    "special tokens": {"messages": MESSAGES, "add_special_tokens": True},
    "a schema for the answer": {"messages": MESSAGES, "response_format": {"type": "json_object"}},
}


async def counted(engine: EngineUnderTest, endpoint: Any, body: dict[str, Any]) -> int:
    asked = questions(body, DIALECTS[endpoint].forwarded.keys())
    assert asked is not None
    total = asked.known
    for one in asked.bodies:
        answer = await engine.http.post("/tokenize", content=one, headers={"Content-Type": "application/json"})
        assert answer.status_code == 200, answer.text
        assert answer.content.startswith(b'{"count":%d,' % answer.json()["count"])
        total += answer.json()["count"]
    return total


@pytest.mark.parametrize("what", CHATS)
async def test_tokenize_counts_a_conversation_as_it_is_served(engine: EngineUnderTest, what: str) -> None:
    body = {"max_tokens": 1, **CHATS[what]}
    answer = await engine.http.post("/v1/chat/completions", json={"model": engine.base, **body})
    assert answer.status_code == 200, answer.text
    assert await counted(engine, "chat", body) == answer.json()["usage"]["prompt_tokens"]


@pytest.mark.parametrize("prompt", [PROMPT, "Grüße\n", [PROMPT, "x"], [5, 6, 7], [[5, 6], [7]]], ids=repr)
async def test_tokenize_counts_prompts_as_they_are_served(engine: EngineUnderTest, prompt: Any) -> None:
    answer = await engine.complete(prompt=prompt, max_tokens=1)
    assert await counted(engine, "completions", {"prompt": prompt}) == answer.json()["usage"]["prompt_tokens"]


async def test_a_prompt_that_may_be_cut_is_served_with_no_more_tokens(engine: EngineUnderTest) -> None:
    for prompt in (PROMPT, [5, 6, 7, 8, 9]):
        answer = await engine.complete(prompt=prompt, max_tokens=1, truncate_prompt_tokens=2)
        assert answer.json()["usage"]["prompt_tokens"] == 2


async def test_detokenize_gives_a_text_for_ids_of_base_and_adapter(engine: EngineUnderTest) -> None:
    for model in (engine.base, await engine.loaded()):
        tokens = (await engine.http.post("/tokenize", json={"model": model, "prompt": PROMPT})).json()["tokens"]
        answer = await engine.http.post("/detokenize", json={"model": model, "tokens": tokens})
        assert answer.status_code == 200, answer.text
        assert answer.content.startswith(b'{"prompt":"')
        assert answer.json().keys() == {"prompt"}
        again = await engine.http.post("/detokenize", json={"model": model, "tokens": tokens})
        assert again.json() == answer.json()


async def test_tokenize_and_detokenize_know_no_model_that_is_not_loaded(engine: EngineUnderTest) -> None:
    for path, body in (("/tokenize", {"prompt": PROMPT}), ("/detokenize", {"tokens": [5]})):
        answer = await engine.http.post(path, json={"model": engine.new_name(), **body})
        assert error(answer) == (404, "NotFoundError", "model")


async def test_tokenize_has_words_when_they_are_asked_for_and_null_else(engine: EngineUnderTest) -> None:
    for asked in (True, False):
        body = {"model": engine.base, "prompt": PROMPT, "return_token_strs": asked}
        answer = (await engine.http.post("/tokenize", json=body)).json()
        assert answer.keys() == {"count", "max_model_len", "tokens", "token_strs"}
        assert (answer["token_strs"] is None) is not asked


@pytest.mark.parametrize("tokens", ["x", [-1], ["x"]], ids=repr)
async def test_detokenize_refuses_what_are_no_ids(engine: EngineUnderTest, tokens: Any) -> None:
    answer = await engine.http.post("/detokenize", json={"model": engine.base, "tokens": tokens})
    assert answer.status_code == 400
