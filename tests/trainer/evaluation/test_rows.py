"""Rows of an evaluation: what is asked, what the right answer is, and which of them say the same thing twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.data.faults import DataError
from trainer.evaluation.rows import EvaluationSet, read_rows


def turn(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def read(tmp_path: Path, *rows: dict[str, Any], most: int = 100) -> EvaluationSet:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return read_rows(file, most)


def test_every_answer_of_weight_one_is_asked_for_with_what_was_said_before_it(tmp_path: Path) -> None:
    talk = [turn("user", "a"), turn("assistant", "b", weight=0), turn("user", "c"), turn("assistant", "d", weight=None)]
    (row,) = read(tmp_path, {"messages": talk}).rows
    assert row.reference == "d"
    assert row.prompt == (turn("user", "a"), turn("assistant", "b"), turn("user", "c"))


def test_turns_of_a_conversation_and_copies_of_it_are_one_unit(tmp_path: Path) -> None:
    talk = [turn("user", "a"), turn("assistant", "b"), turn("user", "c"), turn("assistant", "d")]
    other = [turn("user", "x"), turn("assistant", "y")]
    found = read(tmp_path, {"messages": talk}, {"messages": talk}, {"messages": other})
    assert (len(found.rows), found.units) == (5, 2)


def test_completions_and_questions_without_an_answer_are_rows_too(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {"prompt": "a", "completion": " b", "channel": "mail", "urgent": True, "parts": []},
        {"messages": [turn("user", "c")]},
        {"prompt": "d"},
    )
    assert [row.reference for row in found.rows] == [" b", None, None]
    assert found.rows[0].fields == {"channel": "mail", "urgent": "True"}


def test_the_better_answer_of_a_pair_is_the_right_one(tmp_path: Path) -> None:
    theirs = {
        "input": {"messages": [turn("user", "c")]},
        "preferred_output": [turn("assistant", "d")],
        "non_preferred_output": [turn("assistant", "e")],
    }
    found = read(tmp_path, {"prompt": "a", "chosen": "b", "rejected": "x", "channel": "mail"}, theirs)
    assert [(row.prompt, row.reference) for row in found.rows] == [
        ((turn("user", "a"),), "b"),
        ((turn("user", "c"),), "d"),
    ]
    assert found.rows[0].fields == {"channel": "mail"}
    with pytest.raises(DataError, match="missing_rejected"):
        read(tmp_path, {"prompt": "a", "chosen": "b"})


def test_functions_are_offered_as_tools(tmp_path: Path) -> None:
    function = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    called = turn("assistant", None, function_call={"name": "f", "arguments": "{}"}, weight=0)
    talk = [turn("user", "a"), called, turn("function", "12", name="f"), turn("assistant", "b")]
    (row,) = read(tmp_path, {"messages": talk, "functions": [function]}).rows
    assert (row.reference, row.tools) == ("b", ({"type": "function", "function": function},))
    assert [message["role"] for message in row.prompt if isinstance(message, dict)] == ["user", "assistant", "tool"]


def test_more_rows_than_may_be_asked_are_counted(tmp_path: Path) -> None:
    found = read(tmp_path, *({"prompt": f"{n}"} for n in range(5)), most=3)
    assert (len(found.rows), found.left_out) == (3, 2)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"messages": "hello"}, "missing_messages_list"),
        ({"messages": [{"content": "a"}]}, "data_type"),
        ({"messages": [turn("assistant", "b")]}, "missing_prompt"),
        ({"messages": [turn("user", "a"), turn("assistant", None)]}, "missing_content"),
        ({"messages": [turn("user", "a"), turn("assistant", "b", weight=0)]}, "example_missing_assistant_message"),
        ({"prompt": "  "}, "data_type"),
        ({}, "missing_messages_list"),
    ],
)
def test_a_line_that_is_no_row_is_named(tmp_path: Path, row: dict[str, Any], code: str) -> None:
    with pytest.raises(DataError) as refused:
        read(tmp_path, {"prompt": "fine"}, row)
    assert [(fault.line, fault.code) for fault in refused.value.faults] == [(2, code)]
