"""What an engine cannot do is said in our words, and asked of an engine that can."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import CHAT, MESSAGES, TEXT, Stack, open_house, run_stack

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
IDS = [[504, 3575, 282, 4649, 314], [12, 13]]
HARNESS = {"max_tokens": 1, "logprobs": 1, "echo": True, "temperature": 0, "seed": 1_234}


def stack_of(folder: Path, engines: list[dict[str, Any]], **settings: Any) -> Iterator[Stack]:
    with open_house(folder) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house, engines=engines, **settings) as stack:
            stack.wait_resident("acme/triage@1.0")  # its proof asks the engine too
            yield stack


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An engine on a CPU, started without a parser for tools."""
    yield from stack_of(tmp_path_factory.mktemp("plain"), [{"max_model_len": 64}])


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The second of two engines has a parser; both can score prompts."""
    engines: list[dict[str, Any]] = [{"max_model_len": 4_096}, {"tool_call_parser": "hermes", "max_model_len": 4_096}]
    yield from stack_of(tmp_path_factory.mktemp("mixed"), engines, engine_prompt_logprobs=True)


def error(answer: Any) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()["error"]
    return body


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tool_choice": "auto"},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"stream": True},
    ],
    ids=str,
)
def test_tools_on_engines_without_a_parser_are_refused_with_the_remedy(plain: Stack, fields: dict[str, Any]) -> None:
    before = plain.asked()
    answer = plain.chat("acme/triage", tools=[TOOL], **fields)
    assert (answer.status_code, error(answer)["param"], error(answer)["code"]) == (
        400,
        "tools",
        "unsupported_by_engine",
    )
    assert error(answer)["message"].startswith(
        "'tools' cannot be used with acme/triage@1.0: its engines run without a "
    )
    assert "--tool-call-parser" in error(answer)["message"]
    assert "`switchyard up --base-model ORG/NAME` takes one that does" in error(answer)["message"]
    assert plain.asked() == before


def test_tools_that_may_not_be_called_need_no_parser(plain: Stack) -> None:
    assert plain.chat("acme/triage", tools=[TOOL], tool_choice="none").status_code == 200
    assert plain.chat("acme/triage", tools=[], tool_choice="auto").status_code == 200


def test_finding_out_what_an_engine_can_do_generates_nothing(plain: Stack, mixed: Stack) -> None:
    for stack in (plain, mixed):
        said = [engine.profile.lacks for engine in stack.controller.engines]
        assert said[0] == {"tool_calls", "reasoning"} | ({"prompt_logprobs"} if stack is plain else set())
    assert mixed.controller.engines[1].profile.lacks == {"reasoning"}
    system = [row for row in mixed.house.usage(tenant="_system") if row["endpoint"] == "chat"]
    assert system == []


def test_tools_go_to_the_engine_that_can_read_their_calls(mixed: Stack) -> None:
    engines = set()
    for number in range(6):
        message = {"role": "user", "content": f"Call {number}"}
        answer = mixed.chat("acme/triage", tools=[TOOL], tool_choice="required", messages=[message])
        assert answer.status_code == 200, answer.text
        engines |= {row["engine"] for row in mixed.house.usage_of(answer.headers["x-request-id"])}
    assert engines == {mixed.engines[1].url}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (TEXT, {"prompt": IDS, **HARNESS}),
        (TEXT, {"prompt": "Hi", "prompt_logprobs": 0}),
        (CHAT, {"messages": MESSAGES, "echo": True, "logprobs": True, "top_logprobs": 0}),
    ],
    ids=str,
)
def test_scores_of_prompts_are_refused_where_they_would_kill_the_engine(
    plain: Stack, path: str, fields: dict[str, Any]
) -> None:
    before = plain.asked()
    answer = plain.post(path, {"model": "acme/triage", "max_tokens": 1, **fields})
    assert (answer.status_code, error(answer)["code"]) == (400, "unsupported_by_engine")
    assert "CPU engines (0.32)" in error(answer)["message"]
    assert "SWITCHYARD_ENGINE_PROMPT_LOGPROBS=true" in error(answer)["message"]
    assert plain.asked() == before


def test_an_evaluation_harness_gets_the_scores_of_its_prompts(mixed: Stack) -> None:
    answer = mixed.post(TEXT, {"model": "acme/triage", "prompt": IDS, **HARNESS})
    assert answer.status_code == 200, answer.text
    reply = answer.json()
    assert reply["usage"]["prompt_tokens"] == 7
    for ids, choice in zip(IDS, reply["choices"], strict=True):
        scores = choice["logprobs"]
        assert [len(scores[name]) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")] == [
            len(ids) + 1
        ] * 4
        assert scores["token_logprobs"][0] is None
        assert all(value <= 0 for value in scores["token_logprobs"][1:])
        assert choice["text"] == "".join(scores["tokens"])


def test_a_stream_can_echo_with_scores_too(mixed: Stack) -> None:
    body = {"model": "acme/triage", "prompt": IDS[0], "stream": True, **HARNESS}
    events = [line for line in mixed.post(TEXT, body).text.splitlines() if line.startswith("data: {")]
    assert len(json.loads(events[0].removeprefix("data: "))["choices"][0]["logprobs"]["tokens"]) == 6


def test_tokens_can_be_named_by_their_ids(mixed: Stack) -> None:
    body = {"prompt": IDS[0], "return_tokens_as_token_ids": True, **HARNESS}
    (choice,) = mixed.post(TEXT, {"model": "acme/triage", **body}).json()["choices"]
    assert choice["logprobs"]["tokens"][:5] == [f"token_id:{token}" for token in IDS[0]]
    answer = mixed.chat("acme/triage", logprobs=True, return_tokens_as_token_ids=True)
    assert answer.json()["choices"][0]["logprobs"]["content"][0]["token"].startswith("token_id:")


def test_log_probabilities_of_the_prompt_reach_who_asks_for_them(mixed: Stack) -> None:
    body = {"model": "acme/triage", "prompt": IDS[0], "max_tokens": 1, "prompt_logprobs": 2}
    (choice,) = mixed.post(TEXT, body).json()["choices"]
    assert [entry is None for entry in choice["prompt_logprobs"]] == [True, False, False, False, False]
    assert error(mixed.post(TEXT, {**body, "stream": True}))["param"] == "prompt_logprobs"


@pytest.mark.parametrize("prompt", [IDS[0], "a b c d", ["x y", "z"]], ids=str)
def test_a_prompt_can_be_scored_without_an_answer(mixed: Stack, prompt: Any) -> None:
    body = {"model": "acme/triage", "prompt": prompt, "max_tokens": 0, "echo": True, "logprobs": 1}
    reply = mixed.post(TEXT, body).json()
    assert all(choice["text"] == "".join(choice["logprobs"]["tokens"]) for choice in reply["choices"])


@pytest.mark.parametrize(
    "fields",
    [{"prompt": ["x" * 100_000] * 6}, {"prompt": "x" * 600_000}, {"prompt": "x" * 200_000, "n": 3, "max_tokens": 1}],
)
def test_the_scores_of_one_request_are_bounded(mixed: Stack, fields: dict[str, Any]) -> None:
    answer = mixed.post(TEXT, {"model": "acme/triage", **HARNESS, **fields})
    assert (answer.status_code, error(answer)["param"]) == (400, "echo")
    assert "the most is 1000000 in all" in error(answer)["message"]


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "word " * 100}]}, "messages"),
        (CHAT, {"messages": [{"role": "user", "content": "word " * 100}], "stream": True}, "messages"),
        (TEXT, {"prompt": "word " * 100}, "prompt"),
        (TEXT, {"prompt": [[7] * 65]}, "prompt"),
        (TEXT, {"prompt": [7] * 64}, "prompt"),
        (TEXT, {"prompt": "x", "max_tokens": 65}, "max_tokens"),
        (CHAT, {"messages": MESSAGES, "max_completion_tokens": 10_000}, "max_completion_tokens"),
        (CHAT, {"messages": MESSAGES, "max_tokens": 10_000}, "max_tokens"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_does_not_fit_the_context_is_said_as_openai_says_it(
    plain: Stack, path: str, fields: dict[str, Any], param: str
) -> None:
    answer = plain.post(path, {"model": "acme/triage", **fields})
    said = error(answer)
    assert (answer.status_code, said["type"], said["code"], said["param"]) == (
        400, "invalid_request_error", "context_length_exceeded", param,
    )  # fmt: skip
    assert "(parameter=" not in said["message"]
    assert "64 tokens for prompt and answer together." in said["message"], "the engine's own context"


@pytest.mark.parametrize("stream", [False, True])
def test_who_allows_thoughts_gets_an_answer_of_engines_that_have_none(mixed: Stack, stream: bool) -> None:
    assert mixed.chat("triage", thinking_token_budget=1_000).json()["error"]["code"] == "unsupported_by_engine"
    thinking = {"type": "enabled", "budget_tokens": 1_024}
    body = {"model": "triage", "messages": MESSAGES, "max_tokens": 1_500, "thinking": thinking, "stream": stream}
    answer = mixed.post("/v1/messages", body)
    assert answer.status_code == 200, answer.text
    assert "text" in answer.text
