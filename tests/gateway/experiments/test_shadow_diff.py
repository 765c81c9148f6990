"""Two answers compared, and read from the bytes that clients get."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.experiments.shadow.diff import diff, fits_format, has_shape, is_json
from gateway.experiments.shadow.texts import read_answer
from registry.shadows.judging import verdict_of
from registry.shadows.pairs import AnswerText
from registry.shadows.summary import quantile


@pytest.mark.parametrize(
    ("control", "candidate", "exact", "same_words", "similarity"),
    [
        ("", "", True, True, 1.0),
        ("Late.", "Late.", True, True, 1.0),
        ("It is late.", "it is  LATE", False, True, 1.0),
        ("the parcel is late", "the parcel is lost", False, False, 0.75),
        ("a a a b", "a b b b", False, False, 0.5),
        ("yes", "no", False, False, 0.0),
        ("yes", "", False, False, 0.0),
    ],
)
def test_answers_are_compared_by_their_words(
    control: str, candidate: str, exact: bool, same_words: bool, similarity: float
) -> None:
    found = diff(AnswerText(control), AnswerText(candidate), (4, 6))
    assert (found.exact, found.same_words, found.similarity) == (exact, same_words, similarity)
    assert found.length_ratio == 1.5


def test_calls_of_tools_are_a_part_of_an_answer_and_no_tokens_give_no_ratio() -> None:
    found = diff(AnswerText("", ('look({"id":1})',)), AnswerText("", ('look({"id":2})',)), (0, 3))
    assert (found.exact, found.length_ratio) == (False, None)
    assert 0 < found.similarity < 1


SCHEMA = {
    "type": "object",
    "required": ["label"],
    "additionalProperties": False,
    "properties": {
        "label": {"enum": ["late", "lost"]},
        "days": {"type": ["integer", "null"]},
        "tags": {"type": "array", "items": {"type": "string", "pattern": "(a+)+$"}},
    },
}


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ({"label": "late"}, True),
        ({"label": "late", "days": None, "tags": ["a" * 40 + "b"]}, True),
        ({"label": "late", "days": True}, False),
        ({"label": "gone"}, False),
        ({"days": 2}, False),
        ({"label": "late", "more": 1}, False),
        ({"label": "late", "tags": [1]}, False),
        (["late"], False),
    ],
)
def test_the_shape_of_a_schema_is_looked_at_and_no_pattern_is_run(value: Any, fits: bool) -> None:
    assert has_shape(value, SCHEMA) == fits


def test_a_schema_that_goes_deeper_than_anybody_looks_ends() -> None:
    schema: dict[str, Any] = {"type": "array"}
    schema["items"] = schema
    value: list[Any] = []
    for _ in range(100):
        value = [value]
    assert has_shape(value, schema)


def test_what_the_request_asked_for_decides_whether_a_format_is_looked_at() -> None:
    asked = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
    assert [fits_format(AnswerText(text), asked) for text in ('{"label":"late"}', '{"label":1}', "late")] == [
        True,
        False,
        False,
    ]
    assert [fits_format(AnswerText(text), {"type": "json_object"}) for text in ("{}", "[]")] == [True, False]
    assert fits_format(AnswerText("late"), None) is None
    assert [is_json(AnswerText(text)) for text in ("", "{}", "late")] == [None, True, False]


def test_a_stream_with_calls_of_tools_is_put_together() -> None:
    data = (
        b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"Let me "}}]}\n\n'
        b'data: {"choices":[{"index":0,"delta":{"content":"look."}},{"index":1,"delta":{"content":"No."}}]}\n\n'
        b'data: {"choices":[{"index":0,"delta":{"tool_calls":'
        b'[{"index":0,"function":{"name":"look","arguments":"{"}}]}}]}\n\n'
        b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]},'
        b'"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n'
    )
    read = read_answer("chat", data, stream=True)
    assert (read.said.text, read.said.calls, read.finish_reason) == ("Let me look.\nNo.", ("look({})",), "tool_calls")


def test_a_message_with_a_tool_is_the_same_in_pieces_and_as_a_document() -> None:
    events = (
        b'event: content_block_start\ndata: {"type":"content_block_start","index":1,'
        b'"content_block":{"type":"tool_use","name":"look","input":{}}}\n\n'
        b'data: {"type":"content_block_delta","index":1,'
        b'"delta":{"type":"input_json_delta","partial_json":"{\\"id\\":1}"}}\n\n'
        b'data: {"type":"message_delta","delta":{"stop_reason":"tool_use"}}\n\n'
    )
    document = (
        b'{"content":[{"type":"text","text":""},{"type":"tool_use","name":"look","input":{"id":1}}],'
        b'"stop_reason":"tool_use"}'
    )
    assert read_answer("messages", events, stream=True) == read_answer("messages", document, stream=False)


def test_a_verdict_that_turns_with_the_order_is_a_tie_and_an_unreadable_word_is_none() -> None:
    assert verdict_of("j", control_first="B", candidate_first="A").verdict == "candidate"
    assert verdict_of("j", control_first="A", candidate_first="B").verdict == "control"
    assert verdict_of("j", control_first="A", candidate_first="A").verdict == "tie"
    assert verdict_of("j", control_first="tie", candidate_first="A").verdict == "tie"
    assert verdict_of("j", control_first=None, candidate_first="A").verdict == "unreadable"


def test_a_quantile_is_a_value_that_was_seen() -> None:
    assert [quantile([1.0, 2.0, 3.0, 4.0], part) for part in (0.0, 0.25, 0.5, 0.51, 0.95, 1.0)] == [1, 1, 2, 3, 4, 4]
    assert quantile([], 0.5) is None
