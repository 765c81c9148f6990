"""Bodies that must not reach an engine whatever their endpoint."""

from __future__ import annotations

import json

import orjson
import pytest

from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.errors import PayloadTooLarge
from tests.support.refusal_parts import GOOD, nested, refusal

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
    assert DIALECTS["chat"].parse(body, caps=Caps(), allow_unknown=False).body["top_logprobs"] == 20
