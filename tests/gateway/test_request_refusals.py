"""Bodies that must not reach an engine, each with the field that its refusal names."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from gateway.api.request import Caps, parse_request
from gateway.errors import ApiError, BadRequest, PayloadTooLarge
from gateway.handoffs import Endpoint

USER: dict[str, Any] = {"role": "user", "content": "Hi"}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL: dict[str, Any] = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
GOOD: dict[Endpoint, dict[str, Any]] = {
    "chat": {"model": "m", "messages": [USER]},
    "completions": {"model": "m", "prompt": "x"},
}


def refusal(endpoint: Endpoint, raw: bytes, *, allow_unknown: bool = False) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse_request(endpoint, raw, caps=Caps(), allow_unknown=allow_unknown)
    return caught.value


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


NO_JSON = {
    "an empty body": b"",
    "only white space": b"  \n",
    "broken JSON": b'{"model": "m", "messages": [',
    "a trailing comma": b'{"model": "m",}',
    "two objects": b'{"model": "m"}{"model": "n"}',
    "a list": b"[]",
    "a string": b'"hello"',
    "null": b"null",
    "NaN": b'{"model": "m", "prompt": "x", "temperature": NaN}',
    "Infinity": b'{"model": "m", "prompt": "x", "temperature": Infinity}',
    "a number beyond doubles": b'{"model": "m", "prompt": "x", "temperature": 1e999}',
    "bytes that are no UTF-8": b'{"model": "m", "prompt": "\xff\xfe"}',
    "a lone surrogate": b'{"model": "m", "prompt": "\\ud800"}',
    "a byte order mark alone": b"\xef\xbb\xbf",
    "two byte order marks": b'\xef\xbb\xbf\xef\xbb\xbf{"model": "m", "prompt": "x"}',
    "UTF-16": '{"model": "m", "prompt": "x"}'.encode("utf-16"),
    "JSON nested 2,000 deep": b"[" * 2000 + b"]" * 2000,
}


@pytest.mark.parametrize("raw", NO_JSON.values(), ids=NO_JSON.keys())
def test_a_body_that_is_no_json_object_is_a_400_without_a_field(raw: bytes) -> None:
    error = refusal("completions", raw)
    assert (error.status, error.param, error.code) == (400, None, "invalid_json")
    assert error.message.startswith("The body ")


def test_a_body_above_the_cap_is_a_413() -> None:
    raw = b'{"model":"m","prompt":"' + b"x" * Caps().max_body_bytes + b'"}'
    error = refusal("completions", raw)
    assert isinstance(error, PayloadTooLarge)
    assert (error.status, error.code) == (413, "payload_too_large")


MISSING, TYPE, VALUE = "missing_required_parameter", "invalid_type", "invalid_value"
UNKNOWN, UNSUPPORTED_VALUE, RESERVED = "unknown_parameter", "unsupported_value", "reserved_parameter"
UNSUPPORTED = "unsupported_parameter"


def said(*messages: Any) -> dict[str, Any]:
    return {"messages": list(messages)}


def part(**fields: Any) -> dict[str, Any]:
    return said(USER, {"role": "user", "content": [fields]})


CHAT: list[tuple[str, dict[str, Any], str, str]] = [
    ("no model", {"model": None}, "model", MISSING),
    ("an empty model, for which vLLM would serve the base", {"model": ""}, "model", VALUE),
    ("a model that is a number", {"model": 3}, "model", TYPE),
    ("a model that is a list", {"model": ["m"]}, "model", TYPE),
    ("a model of 257 characters", {"model": "m" * 257}, "model", VALUE),
    ("no messages", {"messages": None}, "messages", MISSING),
    ("an empty conversation", {"messages": []}, "messages", VALUE),
    ("messages that are a string", {"messages": "Hi"}, "messages", TYPE),
    ("too many messages", {"messages": [USER] * 2_049}, "messages", VALUE),
    ("a message that is a string", said("Hi"), "messages[0]", TYPE),
    ("a message without a role", said({"content": "Hi"}), "messages[0].role", VALUE),
    ("an unknown role", said(USER, {"role": "root", "content": "Hi"}), "messages[1].role", VALUE),
    ("a role that is a list", said({"role": [], "content": "Hi"}), "messages[0].role", VALUE),
    ("the old function role", said({"role": "function", "content": "1"}), "messages[0].role", VALUE),
    ("a user message without content", said({"role": "user"}), "messages[0].content", MISSING),
    ("a user message whose content is null", said({"role": "user", "content": None}), "messages[0].content", MISSING),
    ("content that is a number", said({"role": "user", "content": 5}), "messages[0].content", TYPE),
    ("content that is an object", said({"role": "user", "content": {}}), "messages[0].content", TYPE),
    ("content without parts", said({"role": "user", "content": []}), "messages[0].content", VALUE),
    ("too many parts", said(USER | {"content": [{"type": "text", "text": ""}] * 257}), "messages[0].content", VALUE),
    ("a part that is a number", said(USER | {"content": [7]}), "messages[0].content[0]", TYPE),
    (
        "an image URL",
        part(type="image_url", image_url={"url": "http://10.0.0.1"}),
        "messages[1].content[0].type",
        UNSUPPORTED_VALUE,
    ),
    (
        "an image URL without a type",
        part(image_url={"url": "http://x"}),
        "messages[1].content[0].type",
        UNSUPPORTED_VALUE,
    ),
    (
        "an image beside text",
        part(type="text", text="Hi", image_url="http://x"),
        "messages[1].content[0].image_url",
        UNKNOWN,
    ),
    ("audio", part(type="input_audio", input_audio={}), "messages[1].content[0].type", UNSUPPORTED_VALUE),
    ("video", part(type="video_url", video_url={}), "messages[1].content[0].type", UNSUPPORTED_VALUE),
    ("a file", part(type="file", file={}), "messages[1].content[0].type", UNSUPPORTED_VALUE),
    ("a part whose type is a list", part(type=["text"], text="Hi"), "messages[1].content[0].type", UNSUPPORTED_VALUE),
    ("a refusal by the user", part(type="refusal", refusal="No"), "messages[1].content[0].type", UNSUPPORTED_VALUE),
    ("a text part without text", part(type="text"), "messages[1].content[0].text", TYPE),
    (
        "a text part with a uuid for the media cache",
        part(type="text", text="Hi", uuid="a"),
        "messages[1].content[0].uuid",
        UNKNOWN,
    ),
    ("a name that is a number", said(USER | {"name": 1}), "messages[0].name", TYPE),
    ("an unknown key of a message", said(USER | {"task": "x"}), "messages[0].task", UNKNOWN),
    ("tool calls of the user", said(USER | {"tool_calls": [CALL]}), "messages[0].tool_calls", UNKNOWN),
    ("an answer of a tool to no call", said({"role": "tool", "content": "1"}), "messages[0].tool_call_id", MISSING),
    (
        "an old function call",
        said({"role": "assistant", "content": "", "function_call": {"name": "f"}}),
        "messages[0].function_call",
        UNSUPPORTED,
    ),
    ("an earlier answer in audio", said({"role": "assistant", "audio": {"id": "a"}}), "messages[0].audio", UNSUPPORTED),
    ("tool calls that are an object", said({"role": "assistant", "tool_calls": {}}), "messages[0].tool_calls", TYPE),
    (
        "a tool call that is a string",
        said({"role": "assistant", "tool_calls": ["f"]}),
        "messages[0].tool_calls[0]",
        TYPE,
    ),
    (
        "a tool call without an id",
        said({"role": "assistant", "tool_calls": [CALL | {"id": None}]}),
        "messages[0].tool_calls[0].id",
        TYPE,
    ),
    (
        "arguments that are an object",
        said({"role": "assistant", "tool_calls": [CALL | {"function": {"name": "f", "arguments": {}}}]}),
        "messages[0].tool_calls[0].function.arguments",
        TYPE,
    ),
    (
        "arguments nested 100,000 deep",
        said({"role": "assistant", "tool_calls": [CALL | {"function": {"name": "f", "arguments": "[" * 100_000}}]}),
        "messages[0].tool_calls[0].function.arguments",
        VALUE,
    ),
    (
        "arguments nested 65 deep",
        said(
            {"role": "assistant", "tool_calls": [CALL | {"function": {"name": "f", "arguments": "[" * 65 + "]" * 65}}]}
        ),
        "messages[0].tool_calls[0].function.arguments",
        VALUE,
    ),
    ("a temperature of 2.1", {"temperature": 2.1}, "temperature", VALUE),
    ("a negative temperature", {"temperature": -0.1}, "temperature", VALUE),
    ("a temperature that is true", {"temperature": True}, "temperature", TYPE),
    ("a temperature that is a string", {"temperature": "1"}, "temperature", TYPE),
    ("a top_k of -2", {"top_k": -2}, "top_k", VALUE),
    ("a top_k that is a float", {"top_k": 40.5}, "top_k", TYPE),
    ("a min_p above 1", {"min_p": 1.5}, "min_p", VALUE),
    ("no answers at all", {"n": 0}, "n", VALUE),
    ("nine answers", {"n": 9}, "n", VALUE),
    ("an n that is true", {"n": True}, "n", TYPE),
    ("no tokens", {"max_tokens": 0}, "max_tokens", VALUE),
    ("a fraction of a token", {"max_tokens": 1.5}, "max_tokens", TYPE),
    ("more tokens than an int32", {"max_completion_tokens": 2**31}, "max_completion_tokens", VALUE),
    ("two different limits", {"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens", VALUE),
    ("a minimum above the maximum", {"min_tokens": 5, "max_tokens": 4}, "min_tokens", VALUE),
    ("a seed of 64 unsigned bits", {"seed": 2**63}, "seed", VALUE),
    ("a seed that is a float", {"seed": 1.5}, "seed", TYPE),
    ("an empty stop string", {"stop": ""}, "stop", VALUE),
    ("an empty string among the stops", {"stop": ["a", ""]}, "stop[1]", VALUE),
    ("a stop that is a number", {"stop": ["a", 3]}, "stop[1]", TYPE),
    ("five stops", {"stop": list("abcde")}, "stop", VALUE),
    ("a stop of 1,025 characters", {"stop": "x" * 1_025}, "stop", VALUE),
    ("a presence penalty of 3", {"presence_penalty": 3}, "presence_penalty", VALUE),
    ("a repetition penalty of 0", {"repetition_penalty": 0}, "repetition_penalty", VALUE),
    ("a bias on a word", {"logit_bias": {"hello": 1}}, "logit_bias", VALUE),
    ("a bias on a negative token", {"logit_bias": {"-1": 1}}, "logit_bias", VALUE),
    ("a bias on a token of Arabic digits", {"logit_bias": {"١": 1}}, "logit_bias", VALUE),
    ("a bias of 101", {"logit_bias": {"1": 101}}, "logit_bias.1", VALUE),
    ("a bias that is true", {"logit_bias": {"1": True}}, "logit_bias.1", TYPE),
    ("301 biases", {"logit_bias": {str(i): 1 for i in range(301)}}, "logit_bias", VALUE),
    ("a list of biases", {"logit_bias": []}, "logit_bias", TYPE),
    ("logprobs that are a number", {"logprobs": 1}, "logprobs", TYPE),
    ("21 alternatives", {"logprobs": True, "top_logprobs": 21}, "top_logprobs", VALUE),
    ("the whole vocabulary as alternatives", {"logprobs": True, "top_logprobs": -1}, "top_logprobs", VALUE),
    ("alternatives without logprobs", {"top_logprobs": 2}, "top_logprobs", VALUE),
    ("a document of alternatives", {"logprobs": True, "top_logprobs": 20, "n": 3}, "top_logprobs", VALUE),
    ("log-probabilities of the prompt in a stream", {"prompt_logprobs": 0, "stream": True}, "prompt_logprobs", VALUE),
    ("the whole vocabulary for each token of the prompt", {"prompt_logprobs": -1}, "prompt_logprobs", VALUE),
    *(
        (
            f"{param} with a grammar",
            {param: value, "structured_outputs": {"choice": ["yes", "no"]}},
            param,
            VALUE,
        )
        for param, value in (("allowed_token_ids", [5]), ("bad_words", ["yes"]), ("stop_token_ids", [5]))
    ),
    ("logprobs of tokens without logprobs", {"logprob_token_ids": [1]}, "logprob_token_ids", VALUE),
    ("a negative token id", {"stop_token_ids": [1, -1]}, "stop_token_ids[1]", VALUE),
    ("a token id of 2³¹", {"allowed_token_ids": [2**31]}, "allowed_token_ids[0]", VALUE),
    ("a token id that is true", {"allowed_token_ids": [3, True]}, "allowed_token_ids[1]", VALUE),
    ("no allowed token", {"allowed_token_ids": []}, "allowed_token_ids", VALUE),
    ("1,025 allowed tokens", {"allowed_token_ids": [1] * 1_025}, "allowed_token_ids", VALUE),
    ("an empty bad word", {"bad_words": [""]}, "bad_words[0]", VALUE),
    ("one bad word without a list", {"bad_words": "damn"}, "bad_words", TYPE),
    ("a stream that is a string", {"stream": "true"}, "stream", TYPE),
    ("stream options without a stream", {"stream_options": {"include_usage": True}}, "stream_options", VALUE),
    ("stream options that are a list", {"stream": True, "stream_options": []}, "stream_options", TYPE),
    ("an unknown stream option", {"stream": True, "stream_options": {"x": 1}}, "stream_options.x", UNKNOWN),
    ("usage that is true", {"usage": True}, "usage", TYPE),
    ("usage that is included by a word", {"usage": {"include": "yes"}}, "usage.include", TYPE),
    ("an unknown entry of usage", {"usage": {"cost": True}}, "usage.cost", UNKNOWN),
    ("an unknown format", {"response_format": {"type": "xml"}}, "response_format.type", VALUE),
    ("a format that is a string", {"response_format": "json"}, "response_format", TYPE),
    ("a structural tag", {"response_format": {"type": "structural_tag"}}, "response_format.type", VALUE),
    ("a format without its schema", {"response_format": {"type": "json_schema"}}, "response_format.json_schema", TYPE),
    (
        "a schema without a name",
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
        "response_format.json_schema.name",
        VALUE,
    ),
    (
        "a schema that is null",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
        "response_format.json_schema.schema",
        TYPE,
    ),
    (
        "a schema nested 65 deep",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": nested(65)}}},
        "response_format.json_schema.schema",
        VALUE,
    ),
    (
        "a schema of 65 KB",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"title": "x" * 65_536}}}},
        "response_format.json_schema.schema",
        VALUE,
    ),
    ("no constraint", {"structured_outputs": {}}, "structured_outputs", VALUE),
    ("two constraints", {"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs", VALUE),
    (
        "a constraint in two fields",
        {"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}},
        "structured_outputs",
        VALUE,
    ),
    ("an unknown constraint", {"structured_outputs": {"_backend": "a"}}, "structured_outputs._backend", UNKNOWN),
    ("a regex of 16 KB", {"structured_outputs": {"regex": "a" * 16_385}}, "structured_outputs.regex", VALUE),
    (
        "a grammar of 16 KB in two-byte letters",
        {"structured_outputs": {"grammar": "é" * 8_193}},
        "structured_outputs.grammar",
        VALUE,
    ),
    ("no choice", {"structured_outputs": {"choice": []}}, "structured_outputs.choice", VALUE),
    ("a schema that is no JSON", {"structured_outputs": {"json": "{"}}, "structured_outputs.json", VALUE),
    ("129 tools", {"tools": [TOOL] * 129}, "tools", VALUE),
    ("a custom tool", {"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type", UNSUPPORTED_VALUE),
    ("a tool without a function", {"tools": [{"type": "function"}]}, "tools[0].function", TYPE),
    (
        "a tool whose name has two lines",
        {"tools": [{"type": "function", "function": {"name": "a\nb"}}]},
        "tools[0].function.name",
        VALUE,
    ),
    ("a call that must be without tools", {"tools": [], "tool_choice": "required"}, "tool_choice", VALUE),
    ("an unknown choice of tools", {"tools": [TOOL], "tool_choice": "any"}, "tool_choice", VALUE),
    (
        "a choice of a tool that is not there",
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        "tool_choice",
        VALUE,
    ),
    ("a chat template, which is a program", {"chat_template": "{{ x }}"}, "chat_template", RESERVED),
    (
        "a chat template among its arguments",
        {"chat_template_kwargs": {"chat_template": "x"}},
        "chat_template_kwargs.chat_template",
        RESERVED,
    ),
    ("a template argument that is a list", {"chat_template_kwargs": {"a": []}}, "chat_template_kwargs.a", TYPE),
    (
        "a final message to be continued, and a new turn",
        {"continue_final_message": True, "add_generation_prompt": True},
        "continue_final_message",
        VALUE,
    ),
    ("a document that is a string", {"documents": ["a"]}, "documents[0]", TYPE),
    (
        "a pattern of 65 tokens",
        {"repetition_detection": {"max_pattern_size": 65}},
        "repetition_detection.max_pattern_size",
        VALUE,
    ),
    ("17 pairs of metadata", {"metadata": {str(i): "" for i in range(17)}}, "metadata", VALUE),
    ("metadata that is a number", {"metadata": {"a": 1}}, "metadata.a", TYPE),
    ("metadata of 513 characters", {"metadata": {"a": "x" * 513}}, "metadata.a", VALUE),
    ("answers in audio", {"modalities": ["text", "audio"]}, "modalities", UNSUPPORTED_VALUE),
    ("an unknown service tier", {"service_tier": "first"}, "service_tier", VALUE),
    ("old functions", {"functions": [{"name": "f"}]}, "functions", UNSUPPORTED),
    ("web search", {"web_search_options": {}}, "web_search_options", UNSUPPORTED),
    ("guided decoding, which vLLM would ignore", {"guided_json": {}}, "guided_json", UNSUPPORTED),
    ("beam search", {"use_beam_search": True}, "use_beam_search", RESERVED),
    ("a priority of one's own", {"priority": -1}, "priority", RESERVED),
    ("a cache salt of one's own", {"cache_salt": "a"}, "cache_salt", RESERVED),
    ("a prompt for chat", {"prompt": "x"}, "prompt", UNKNOWN),
    ("a misspelt field", {"temprature": 1}, "temprature", UNKNOWN),
]

COMPLETIONS: list[tuple[str, dict[str, Any], str, str]] = [
    ("no prompt", {"prompt": None}, "prompt", MISSING),
    ("an empty prompt", {"prompt": ""}, "prompt", VALUE),
    ("an empty list of prompts", {"prompt": []}, "prompt", VALUE),
    ("a prompt that is an object", {"prompt": {"text": "x"}}, "prompt", TYPE),
    ("an empty prompt among others", {"prompt": ["a", ""]}, "prompt[1]", VALUE),
    ("an empty list of token ids", {"prompt": [[1], []]}, "prompt[1]", VALUE),
    ("prompts of two kinds", {"prompt": ["a", [1]]}, "prompt[1]", TYPE),
    ("a null prompt among others", {"prompt": [None]}, "prompt[0]", TYPE),
    ("a prompt of true", {"prompt": [True, True]}, "prompt[0]", TYPE),
    ("a token that is a float", {"prompt": [1, 2.5]}, "prompt[1]", VALUE),
    ("a token that is true", {"prompt": [[1, True]]}, "prompt[0][1]", VALUE),
    ("a negative token", {"prompt": [[1], [-2]]}, "prompt[1][0]", VALUE),
    ("a token beyond 64 bits", {"prompt": [1, 2**63]}, "prompt[1]", VALUE),
    ("129 prompts", {"prompt": ["x"] * 129}, "prompt", VALUE),
    ("three answers to each of 43 prompts", {"prompt": ["x"] * 43, "n": 3}, "n", VALUE),
    ("a minimum above the default of 16", {"min_tokens": 17}, "min_tokens", VALUE),
    ("no tokens and no echo", {"max_tokens": 0}, "max_tokens", VALUE),
    ("logprobs as chat has them", {"logprobs": True}, "logprobs", TYPE),
    ("21 alternatives", {"logprobs": 21}, "logprobs", VALUE),
    (
        "a document of alternatives",
        {"prompt": ["x"] * 100, "max_tokens": 500, "logprobs": 20},
        "logprobs",
        VALUE,
    ),
    ("the best of three", {"best_of": 3}, "best_of", VALUE),
    ("two limits", {"max_tokens": 2, "max_completion_tokens": 3}, "max_tokens", VALUE),
    ("a limit of nothing under its newer name", {"max_completion_tokens": 0}, "max_completion_tokens", VALUE),
    ("more at least than at most", {"max_completion_tokens": 3, "min_tokens": 4}, "min_tokens", VALUE),
    ("embeddings of a prompt", {"prompt_embeds": "AAAA"}, "prompt_embeds", RESERVED),
    ("messages for completions", {"messages": [USER]}, "messages", UNKNOWN),
]

REFUSED = [("chat", *row) for row in CHAT] + [("completions", *row) for row in COMPLETIONS]


@pytest.mark.parametrize(
    ("endpoint", "fields", "param", "code"),
    [pytest.param(row[0], row[2], row[3], row[4], id=f"{row[0]}: {row[1]}") for row in REFUSED],
)
def test_is_refused_by_the_name_of_the_field(endpoint: Endpoint, fields: dict[str, Any], param: str, code: str) -> None:
    error = refusal(endpoint, orjson.dumps(GOOD[endpoint] | fields))
    assert isinstance(error, BadRequest)
    assert (error.param, error.code) == (param, code)
    assert len(error.message) < 400
    assert error.message.endswith((".", "?"))


def test_parameters_of_a_tool_that_could_be_read_but_not_written_are_refused() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": nested(300)}}
    error = refusal("chat", json.dumps(GOOD["chat"] | {"tools": [tool]}).encode())
    assert error.param == "tools[0].function.parameters"


def test_an_integer_beyond_64_bits_is_too_large() -> None:
    error = refusal("completions", b'{"model":"m","prompt":"x","seed":1' + b"0" * 30 + b"}")
    assert (error.param, error.code) == ("seed", "invalid_value")


def test_a_misspelt_field_is_answered_with_the_right_one() -> None:
    error = refusal("chat", orjson.dumps(GOOD["chat"] | {"max_token": 1}))
    assert error.message == "'max_token' is not a known field. Did you mean 'max_tokens'?"


def test_a_refusal_says_what_was_sent_in_few_words() -> None:
    error = refusal("chat", orjson.dumps(GOOD["chat"] | {"temperature": "hot" * 100_000}))
    assert error.message == "'temperature' must be a number from 0 to 2, not '" + ("hot" * 14)[:40] + "…'."


def test_unknown_fields_that_could_not_be_written_are_refused_even_where_unknown_ones_pass() -> None:
    error = refusal("chat", json.dumps(GOOD["chat"] | {"new": nested(300)}).encode(), allow_unknown=True)
    assert error.param == "new"


def test_a_stream_may_have_any_number_of_alternatives_because_nobody_holds_it_whole() -> None:
    asked = {"logprobs": True, "top_logprobs": 20, "n": 8, "stream": True}
    body = orjson.dumps(GOOD["chat"] | asked)
    assert parse_request("chat", body, caps=Caps(), allow_unknown=False).body["top_logprobs"] == 20
