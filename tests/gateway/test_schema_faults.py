"""A JSON schema that no grammar can be made of: the refusal says which key of it is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.api.fields.schema_faults import MOST_BYTES, schema_fault
from tests.support.stack import CHAT, Stack, open_house, run_stack


@pytest.fixture(scope="module")
def reads_calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An engine that has a parser for calls of tools."""
    with open_house(tmp_path_factory.mktemp("calls")) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house, engines=[{"tool_call_parser": "hermes"}]) as stack:
            stack.wait_resident("acme/triage@1.0")
            yield stack


HI = [{"role": "user", "content": "Hi"}]
SCHEMA = "response_format.json_schema.schema"


def formatted(schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}


def tool(parameters: Any, name: str = "f", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters, **more}}


STRIN = {"type": "object", "properties": {"x": {"type": "strin"}}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (formatted(STRIN), f"{SCHEMA}.properties.x.type"),
        ({"structured_outputs": {"json": STRIN}}, "structured_outputs.json.properties.x.type"),
        (
            {"structured_outputs": {"json": '{"anyOf": [{"type": "strin"}]}'}},
            "structured_outputs.json.anyOf[0].type",
        ),
        (
            {"tools": [tool({}, "a"), tool(STRIN)], "tool_choice": "required"},
            "tools[1].function.parameters.properties.x.type",
        ),
        ({**formatted(STRIN), "stream": True}, f"{SCHEMA}.properties.x.type"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_schema_that_the_engine_refuses_is_refused_by_the_path_of_what_is_wrong(
    reads_calls: Stack, fields: dict[str, Any], param: str
) -> None:
    answer = reads_calls.post(CHAT, {"model": "triage", "messages": HI, **fields})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, "invalid_json_schema")
    assert error["message"].startswith(f"'{param}' is 'strin'; in a JSON schema it must be one of string, number")
    assert "/project/" not in error["message"]


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"type": 5}, ".type"),
        ({"type": ["string", "x"]}, ".type[1]"),
        ({"properties": []}, ".properties"),
        ({"properties": {"x": "string"}}, ".properties.x"),
        ({"properties": {"x": False}}, ".properties.x"),
        ({"required": "x"}, ".required"),
        ({"enum": []}, ".enum"),
        ({"enum": 5}, ".enum"),
        ({"items": 5}, ".items"),
        ({"items": {"items": {"type": "foo"}}}, ".items.items.type"),
        ({"anyOf": {}}, ".anyOf"),
        ({"prefixItems": 5}, ".prefixItems"),
        ({"additionalProperties": 5}, ".additionalProperties"),
        ({"$ref": "#/nowhere"}, ".$ref"),
        ({"$ref": 5}, ".$ref"),
        ({"anyOf": [{"$ref": f"#/anyOf/{'9' * 5_000}"}]}, ".anyOf[0].$ref"),
        ({"$defs": {"a": {"type": "foo"}}}, ".$defs.a.type"),
        ({"pattern": "["}, ".pattern"),
        ({"pattern": 5}, ".pattern"),
        ({"patternProperties": {"[": {}}}, ".patternProperties"),
        ({"minLength": 5, "maxLength": 1}, ".minLength"),
        ({"minLength": "x"}, ".minLength"),
        ({"minimum": "x"}, ".minimum"),
        ({"minimum": 5, "maximum": 1}, ".minimum"),
        ({"minItems": 5, "maxItems": 1}, ".minItems"),
        ({"minProperties": -1}, ".minProperties"),
        ({"format": 5}, ".format"),
    ],
    ids=str,
)
def test_whatever_xgrammar_calls_wrong_is_found(schema: dict[str, Any], path: str) -> None:
    fault = schema_fault(formatted(schema))
    assert fault is not None
    assert fault.param == SCHEMA + path


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": ["string", "null"], "enum": ["a", None], "const": 1, "title": 5, "description": []},
        {"type": "object", "properties": {"type": {"type": "string"}, "required": {}}, "required": ["type"]},
        {"$defs": {"a/b": {"type": "string"}}, "$ref": "#/$defs/a~1b"},
        {"$ref": "#", "anyOf": [True, {"not": {}}], "additionalProperties": False, "format": "nope"},
        {"items": {"$ref": "http://elsewhere/x.json"}, "minLength": 0, "maximum": 1.5},
    ],
    ids=str,
)
def test_nothing_is_called_wrong_in_a_sound_schema(schema: dict[str, Any]) -> None:
    assert schema_fault(formatted(schema)) is None


@pytest.mark.timeout(10)
def test_patterns_that_take_long_to_compile_hold_nobody_up() -> None:
    pattern = "(?i:" + "[ -\uffff]" * 1_800 + ")"
    fault = schema_fault(formatted({"type": "strin", "pattern": pattern}))
    assert fault is not None
    assert fault.param == f"{SCHEMA}.type"


def test_no_more_of_schemas_is_looked_at_than_takes_a_moment() -> None:
    long = tool({"anyOf": [{} for _ in range(MOST_BYTES // 3)]}, strict=True)
    bad = tool({"type": "strin"}, strict=True)
    assert schema_fault({"tools": [long, bad]}) is None
    fault = schema_fault({"tools": [bad, long]})
    assert fault is not None
    assert fault.param == "tools[0].function.parameters.type"


def test_every_fault_is_named_and_only_of_schemas_that_are_compiled() -> None:
    fault = schema_fault(formatted({"type": "a", "properties": {"x": {"enum": []}, "y": {"minLength": -1}}}))
    assert fault is not None
    for path in (".type", ".properties.x.enum", ".properties.y.minLength"):
        assert f"'{SCHEMA}{path}'" in fault.message
    bad = {"type": "a"}
    named = {"type": "function", "function": {"name": "f"}}
    assert schema_fault({"tools": [tool(bad)]}) is None
    assert schema_fault({"tools": [tool(bad)], "tool_choice": "none"}) is None
    assert schema_fault({"tools": [tool(bad, "g"), tool({})], "tool_choice": named}) is None
    assert schema_fault({"tools": [tool(bad, strict=True)]}) is not None
