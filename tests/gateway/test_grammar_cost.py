"""What grammars cost is counted by what takes the engine's time, and only for what it compiles."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.api.fields.grammar_cost import pattern_cost, schema_cost
from gateway.errors import BadRequest
from gateway.handoffs import InferenceRequest

MOST = Caps().max_schema_cost


def strings(*bounds: dict[str, Any]) -> dict[str, Any]:
    properties = {f"p{number}": {"type": "string", **bound} for number, bound in enumerate(bounds)}
    return {"type": "object", "properties": properties, "required": list(properties)}


def optional(count: int) -> dict[str, Any]:
    return {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(count)}}


def tool(parameters: dict[str, Any], **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "write", "parameters": parameters} | function}


def chat(**fields: Any) -> InferenceRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}
    return DIALECTS["chat"].parse(orjson.dumps(body), caps=Caps(), allow_unknown=False)


@pytest.mark.parametrize("most", [8, 5_000, 65_536, 524_288, 10**9, 1e300, -5])
def test_a_long_string_is_no_dearer_than_one_of_256_characters(most: float) -> None:
    assert schema_cost([strings({"maxLength": most})]) <= 257


def test_the_same_bound_costs_once_and_different_ones_each() -> None:
    same = schema_cost([strings(*[{"maxLength": 524_288}] * 30)])
    different = schema_cost([strings(*({"maxLength": 524_288 + number} for number in range(30)))])
    assert same < 300
    assert different > MOST


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 1_000_000},
        {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 100_000},
        {"enum": [f"value {number}" for number in range(3_000)]},
        {"anyOf": [{"const": number} for number in range(1_000)]},
        optional(500),
        {"type": "object", "properties": {"maxLength": {"type": "integer"}, "pattern": {"type": "string"}}},
    ],
)
def test_what_compiles_quickly_is_not_counted_for_much(schema: dict[str, Any]) -> None:
    assert schema_cost([schema]) < MOST / 10


@pytest.mark.parametrize(
    ("pattern", "cost"),
    [
        ("^[a-z]{1,64}$", 64),
        (r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$", 19),
        ("(ab{3}){10}", 40),
        ("([a-z]{1,100}x){1,100}", 10_100),
        (r"[\]{9}a-z]{3}", 3),
        (r"\{9\}", 3),
        ("x{50,}", 50),
        (".*", 1),
        ("((a{9}){9}){9}", 2 * 9**3),
        ("(((a{99}){99}){99}){99}", 4 * 99**4),
        (")){7}", 8),
    ],
)
def test_repetitions_in_patterns_multiply(pattern: str, cost: int) -> None:
    assert pattern_cost(pattern) == min(cost, 2**31)


@pytest.mark.parametrize(
    ("pattern", "cost"),
    [
        ("^.{0,65536}$", 256),
        ("[a-z]{1,5000}", 256),
        (r"^(?:[\s\S]){0,9999}$", 258),
        ("(ab){0,5000}", 512),
        ("a{0,5000}b{0,5000}", 512),
    ],
)
def test_a_repetition_by_itself_is_no_dearer_than_a_long_string(pattern: str, cost: int) -> None:
    assert pattern_cost(pattern) <= cost * 2
    chat(structured_outputs={"json": strings({"pattern": pattern})})


@pytest.mark.parametrize(
    "pattern",
    [
        "(a(b(c(d[a-z]{0,30})?){0,10}){0,10})?",
        "(a(b(c[a-z]{0,30}){0,10}){0,10})?",
        "(.{0,65536}){0,10}",
        "(x{5}y){0,65536}",
        "((a{0,12}){0,12}b){0,16}",
    ],
)
def test_repetitions_within_repetitions_are_not_made_cheaper_by_it(pattern: str) -> None:
    assert pattern_cost(pattern) > MOST


@pytest.mark.parametrize("piece", ["[", "[^", "\\p{", "{1,", "(", "\\", "[\\", "{9", "(?:", ")", "[]", "|"])
@pytest.mark.parametrize("end", ["", "\\", "{2}"])
def test_patterns_that_are_none_are_read_in_one_pass(piece: str, end: str) -> None:
    """A pattern that is read again from each of its pieces would take minutes here."""
    assert pattern_cost(piece * (65_536 // len(piece)) + end) >= 0


def test_no_more_patterns_are_read_than_it_takes_to_refuse_them() -> None:
    many = [{"pattern": f"{number}" + "^" * 60_000} for number in range(10_000)]
    assert MOST < schema_cost(many, MOST) < 3 * MOST


def test_patterns_of_keys_count_too() -> None:
    assert schema_cost([{"patternProperties": {"^([a-z]{1,100}x){1,100}$": {}}}]) > MOST


@pytest.mark.parametrize(
    "fields",
    [
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": strings({"pattern": "(a{99}){99}"})},
            }
        },
        {"structured_outputs": {"json": strings({"pattern": "(a{99}){99}"})}},
        {"structured_outputs": {"json": {"properties": {f"p{n}": {} for n in range(4_000)}, "required": [{}, 3]}}},
        {"tools": [tool(strings({"pattern": "(a{99}){99}"}), strict=True)]},
        {"tools": [tool(strings({"pattern": "(a{99}){99}"}))], "tool_choice": "required"},
        {
            "tools": [tool(strings({"pattern": "(a{99}){99}"}))],
            "tool_choice": {"type": "function", "function": {"name": "write"}},
        },
        {
            "tools": [
                tool(strings(*({"maxLength": 9_999 + number + 8 * which} for number in range(8)))) for which in range(3)
            ],
            "tool_choice": "required",
        },
        {"structured_outputs": {"regex": "x".join(f".{{0,{300 + number}}}" for number in range(20))}},
        {"structured_outputs": {"regex": "|".join(f"[a-z]{{{300 + number}}}" for number in range(20))}},
        {"structured_outputs": {"grammar": "root ::= " + " ".join(f"[a-z]{{1,{300 + n}}}" for n in range(20))}},
    ],
    ids=lambda fields: str(fields)[:60],
)
def test_a_grammar_that_would_keep_everybody_waiting_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(
        BadRequest, match=r"takes too long to compile: at least \d+ states, and the most is 4096\. Repeat less"
    ):
        chat(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [tool(strings({"maxLength": 524_288}, {"maxLength": 5_000}))], "tool_choice": "required"},
        {"tools": [tool(strings({"pattern": "(a{99}){99}"}))]},
        {"tools": [tool(strings({"pattern": "(a{99}){99}"}), strict=False)], "tool_choice": "auto"},
        {"tools": [tool(strings({"pattern": "(a{99}){99}"}), strict=True)], "tool_choice": "none"},
        {
            "tools": [tool(strings({"pattern": "(a{99}){99}"}), name="other"), tool({})],
            "tool_choice": {"type": "function", "function": {"name": "write"}},
        },
        {"structured_outputs": {"regex": "([0-9a-f]{1,1000}:){1,1000}"}},
        {"structured_outputs": {"grammar": "root ::= [a-z]{1,100000}"}},
    ],
    ids=lambda fields: str(fields)[:60],
)
def test_what_is_cheap_or_is_not_compiled_goes_to_the_engine(fields: dict[str, Any]) -> None:
    sent = chat(**fields).body
    assert {name: sent[name] for name in fields} == fields
