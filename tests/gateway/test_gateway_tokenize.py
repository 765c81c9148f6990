"""/v1/tokenize and /v1/detokenize: as inference for key, model and requests, and for no tokens."""

from __future__ import annotations

from typing import Any

import pytest

from registry.db import now_ms
from registry.ledger.usage_report import report_usage
from registry.money import NANO
from tests.support.stack import BASE, CHAT, MESSAGES, House, Stack, run_stack

TOKENIZE, DETOKENIZE = "/v1/tokenize", "/v1/detokenize"
TEXT_OF = {"prompt": "three little words"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def ask(stack: Stack, path: str, body: dict[str, Any], tenant: str = "acme") -> Any:
    return stack.post(path, {"model": "triage", **body}, tenant)


@pytest.mark.parametrize("path", [TOKENIZE, "/tokenize", "/v1/v1/tokenize/"])
def test_a_text_is_counted_under_each_address_and_the_answer_has_nothing_that_was_not_asked_for(
    stack: Stack, path: str
) -> None:
    answer = ask(stack, path, TEXT_OF)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-switchyard-model"].startswith("acme/triage@")
    assert answer.json().keys() == {"count", "max_model_len", "tokens"}
    assert answer.json()["count"] == len(answer.json()["tokens"]) == 3


def test_words_of_tokens_come_when_they_are_asked_for(stack: Stack) -> None:
    assert len(ask(stack, TOKENIZE, {**TEXT_OF, "return_token_strs": True}).json()["token_strs"]) == 3


def test_ids_become_a_text_again(stack: Stack) -> None:
    for path in (DETOKENIZE, "/detokenize"):
        answer = ask(stack, path, {"tokens": [1_000, 1_001]})
        assert answer.json() == {"prompt": " bal bam"}


@pytest.mark.parametrize(
    "chat",
    [
        {"messages": MESSAGES},
        {"messages": MESSAGES, "tools": [TOOL]},
        {"messages": [*MESSAGES, {"role": "assistant", "content": "Hi.", "reasoning_content": "A greeting."}]},
        {"messages": [*MESSAGES, {"role": "assistant", "content": "Hel"}], "continue_final_message": True},
    ],
    ids=["a word", "tools", "thoughts", "continued"],
)
def test_a_conversation_has_as_many_tokens_as_it_is_billed_for(stack: Stack, chat: dict[str, Any]) -> None:
    served = ask(stack, CHAT, {**chat, "max_tokens": 1, **({"tool_choice": "none"} if "tools" in chat else {})})
    assert served.status_code == 200, served.text
    assert ask(stack, TOKENIZE, chat).json()["count"] == served.json()["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    ("path", "body", "param", "code"),
    [
        (TOKENIZE, {}, "messages", "missing_required_parameter"),
        (TOKENIZE, {"prompt": ["a", "b"]}, "prompt", "invalid_type"),
        (TOKENIZE, {"prompt": ""}, "prompt", "invalid_value"),
        (TOKENIZE, {"prompt": "x", "messages": MESSAGES}, "prompt", "invalid_value"),
        (TOKENIZE, {"prompt": "x", "tools": [TOOL]}, "tools", "invalid_value"),
        (TOKENIZE, {"messages": "x"}, "messages", "invalid_type"),
        (TOKENIZE, {"messages": MESSAGES, "chat_template": "{{ x }}"}, "chat_template", "reserved_parameter"),
        (TOKENIZE, {"prompt": "x", "add_special_token": True}, "add_special_token", "unknown_parameter"),
        (DETOKENIZE, {}, "tokens", "missing_required_parameter"),
        (DETOKENIZE, {"tokens": []}, "tokens", "invalid_value"),
        (DETOKENIZE, {"tokens": [1, -1]}, "tokens[1]", "invalid_value"),
        (DETOKENIZE, {"tokens": "1"}, "tokens", "invalid_type"),
    ],
)
def test_a_bad_body_is_refused_by_the_name_of_the_field(
    stack: Stack, path: str, body: dict[str, Any], param: str, code: str
) -> None:
    answer = ask(stack, path, body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code), error["message"]
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(("path", "body"), [(TOKENIZE, TEXT_OF), (DETOKENIZE, {"tokens": [5]})])
def test_who_may_not_use_a_model_learns_nothing_of_its_tokens(stack: Stack, path: str, body: dict[str, Any]) -> None:
    assert stack.post(path, {"model": "acme/triage", **body}, "globex").status_code == 404
    assert stack.post(path, {"model": BASE, **body}, "acme").status_code == 403
    keyless = stack.http.post(f"{stack.url}{path}", json={"model": "triage", **body})
    assert keyless.status_code == 401
    assert keyless.json()["error"]["code"] == "missing_api_key"


def test_a_request_is_on_record_with_no_tokens_and_its_metrics_have_its_name(stack: Stack) -> None:
    answer = ask(stack, TOKENIZE, TEXT_OF)
    (row,) = stack.house.usage_of(answer.headers["x-request-id"])
    assert (row["endpoint"], row["outcome"], row["served_model"]) == (
        "tokenize",
        "ok",
        answer.headers["x-switchyard-model"],
    )
    assert (row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == (0, 0, "engine")


def test_it_counts_as_a_request_and_needs_none_of_the_tokens_that_are_left(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    house.registry.limits.set("tenant:acme", {"requests_per_minute": 3, "daily_tokens": 1})
    with run_stack(house) as stack:
        assert stack.chat("triage").json()["error"]["code"] == "insufficient_quota"
        for path, body in ((TOKENIZE, TEXT_OF), (DETOKENIZE, {"tokens": [5]})):
            assert ask(stack, path, body).status_code == 200
        refused = ask(stack, TOKENIZE, TEXT_OF)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")


def test_it_costs_nothing_where_its_model_has_no_price_and_is_not_counted_as_unpriced(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_stack(house) as stack:
        asked = [ask(stack, TOKENIZE, TEXT_OF), ask(stack, DETOKENIZE, {"tokens": [5]})]
        rows = [house.usage_of(answer.headers["x-request-id"])[0] for answer in asked]
        assert [(row["endpoint"], row["outcome"], row["cost_nano"]) for row in rows] == [
            ("tokenize", "ok", 0),
            ("detokenize", "ok", 0),
        ]
        (line,) = report_usage(house.registry.db, "tenant", until_ms=now_ms() + 1, tenants=["acme"]).lines
        assert (line.attempts, line.unpriced, line.cost_dollars) == (2, 0, "0")


def test_a_budget_in_dollars_is_kept_without_a_price_for_it(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    house.registry.limits.set("tenant:acme", {"daily_nano": NANO})
    with run_stack(house) as stack:
        assert stack.chat("triage").json()["error"]["code"] == "unpriced"
        for path, body in ((TOKENIZE, TEXT_OF), (DETOKENIZE, {"tokens": [5]})):
            answer = ask(stack, path, body)
            assert answer.status_code == 200, answer.text


def test_a_cold_adapter_is_loaded_for_it_and_an_engine_that_fails_it_is_booked_for_no_tokens(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_stack(house, engines=({}, {})) as stack:
        assert ask(stack, TOKENIZE, TEXT_OF).json()["count"] == 3
        for mock in stack.engines:
            stack.http.post(f"{mock.url}/mock/faults", json={"fail_tokenize": 503})
        down = ask(stack, TOKENIZE, TEXT_OF)
        assert (down.status_code, down.json()["error"]["code"]) == (503, "engine_unavailable")
        (row, *_) = stack.house.usage_of(down.headers["x-request-id"])
        assert row["prompt_tokens"] == 0
