from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from trainer.data.encode import IGNORED, Rules, encode_all, truncation
from trainer.data.faults import DataError
from trainer.data.read import Format, read_data
from trainer.data.rows import Example, Message

USER = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": "yo"}
STOP = 0


class ByteTokenizer:
    """One token per byte plus one, `<e>` as the stop token; renders chats like SmolLM2, without generation markers."""

    eos_token_id = STOP
    all_special_ids = (STOP,)

    def get_vocab(self) -> dict[str, int]:
        return {"<e>": STOP} | {f"{byte:02x}": byte + 1 for byte in range(256)}

    def convert_ids_to_tokens(self, token: int) -> str:
        return "<e>" if token == STOP else f"{token - 1:02x}"

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        ids: list[int] = []
        for index, part in enumerate(text.split("<e>")):
            ids += ([STOP] if index else []) + [byte + 1 for byte in part.encode()]
        return {"input_ids": ids}

    def apply_chat_template(self, turns: list[dict[str, str]], tokenize: bool, add_generation_prompt: bool) -> str:
        text = "".join(f"[{turn['role']}]{turn['content']}<e>\n" for turn in turns)
        return text + ("[assistant]" if add_generation_prompt else "")


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def faults_of(path: Path, format: Format) -> list[tuple[int, str]]:
    with pytest.raises(DataError) as caught:
        read_data(path, format)
    return [(fault.line, fault.code) for fault in caught.value.faults]


def test_completion_rows_keep_their_text_and_line(tmp_path: Path) -> None:
    file = write(tmp_path / "d.jsonl", {"prompt": "a", "completion": " b"}, "", {"prompt": "c", "completion": " d"})
    data = read_data(file, "completion")
    assert data.examples == (Example(1, "a", " b"), Example(3, "c", " d"))
    assert data.rows == 2
    assert data.digest == hashlib.sha256(file.read_bytes()).hexdigest()


def test_every_assistant_turn_of_weight_one_is_an_example(tmp_path: Path) -> None:
    muted = {**ANSWER, "weight": 0}
    file = write(tmp_path / "d.jsonl", {"messages": [USER, ANSWER, USER, muted, USER, ANSWER]})
    user, answer = Message("user", "hi"), Message("assistant", "yo")
    assert read_data(file, "chat").examples == (
        Example(1, (user,), "yo"),
        Example(1, (user, answer, user, answer, user), "yo"),
    )


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("{oops", "bad_json"),
        ("[1]", "data_type"),
        ({"messages": "hi"}, "missing_messages_list"),
        ({"messages": []}, "missing_messages_list"),
        ({"messages": [USER, ANSWER], "n": 1}, "unrecognized_key"),
        ({"messages": [USER]}, "example_missing_assistant_message"),
        ({"messages": [USER, {**ANSWER, "weight": 0}]}, "example_missing_assistant_message"),
        ({"messages": [ANSWER]}, "missing_prompt"),
        ({"messages": [USER, "yo"]}, "data_type"),
        ({"messages": [USER, {"role": "assistant"}]}, "message_missing_key"),
        ({"messages": [{"content": "hi"}, ANSWER]}, "message_missing_key"),
        ({"messages": [{**USER, "role": "human"}, ANSWER]}, "unrecognized_role"),
        ({"messages": [{**USER, "role": ["user"]}, ANSWER]}, "unrecognized_role"),
        ({"messages": [{**USER, "colour": 1}, ANSWER]}, "message_unrecognized_key"),
        ({"messages": [USER, {**ANSWER, "content": "  "}]}, "missing_content"),
        ({"messages": [USER, {**ANSWER, "content": None}]}, "data_type"),
        ({"messages": [USER, {**ANSWER, "weight": 2}]}, "data_type"),
    ],
)
def test_a_faulty_chat_row_is_named_by_line_and_code(tmp_path: Path, row: Any, code: str) -> None:
    file = write(tmp_path / "d.jsonl", {"messages": [USER, ANSWER]}, row)
    assert faults_of(file, "chat") == [(2, code)]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"prompt": "a"}, "missing_completion"),
        ({"completion": "a"}, "missing_prompt"),
        ({"prompt": "a", "completion": ""}, "missing_content"),
        ({"prompt": 1, "completion": "b"}, "data_type"),
        ({"prompt": "a", "completion": "b", "label": "c"}, "unrecognized_key"),
    ],
)
def test_a_faulty_completion_row_is_named_by_line_and_code(tmp_path: Path, row: Any, code: str) -> None:
    file = write(tmp_path / "d.jsonl", {"prompt": "a", "completion": "b"}, row)
    assert faults_of(file, "completion") == [(2, code)]


def test_all_faults_of_all_lines_are_collected(tmp_path: Path) -> None:
    file = write(tmp_path / "d.jsonl", "{", {"messages": [{"role": "robot", "content": ""}]}, {"messages": [USER]})
    assert faults_of(file, "chat") == [
        (1, "bad_json"),
        (2, "unrecognized_role"),
        (2, "missing_content"),
        (3, "example_missing_assistant_message"),
    ]


def test_a_long_list_of_faults_is_cut_in_the_message_only(tmp_path: Path) -> None:
    file = write(tmp_path / "d.jsonl", *({"messages": [USER, ANSWER], chr(65 + n) * 5: n} for n in range(25)))
    with pytest.raises(DataError, match=r"25 fault\(s\)[\s\S]*and 5 more") as caught:
        read_data(file, "chat")
    assert len(caught.value.faults) == 25


def test_text_that_is_not_utf8_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_bytes(b'{"prompt": "\xff", "completion": "b"}\n')
    assert faults_of(file, "completion") == [(1, "invalid_utf8")]


def test_an_empty_file_is_a_fault(tmp_path: Path) -> None:
    assert faults_of(write(tmp_path / "d.jsonl", "", "  "), "chat") == [(1, "empty_file")]


def test_only_the_answer_and_its_stop_token_are_labels() -> None:
    example = Example(1, (Message("user", "hi"),), "yo")
    (row,) = encode_all(ByteTokenizer(), [example], file="f", rules=Rules(99))
    answer = [byte + 1 for byte in b"yo"] + [STOP]
    assert list(row.completion_ids) == answer  # not the newline that the template writes after the stop token
    assert bytes(token - 1 if token else 33 for token in row.prompt_ids) == b"[user]hi!\n[assistant]"
    assert row.labels == [IGNORED] * len(row.prompt_ids) + answer
    assert len(row.labels) == len(row.input_ids)


def test_a_plain_completion_gets_a_stop_token() -> None:
    (row,) = encode_all(ByteTokenizer(), [Example(1, "a", " b")], file="f", rules=Rules(99))
    assert row.input_ids == [98, 33, 99, STOP]


def test_rows_that_are_too_long_are_all_refused_with_their_lines() -> None:
    rows = [Example(1, "a", "b"), Example(2, "a" * 5, "b" * 5), Example(3, "a" * 9, "b")]
    with pytest.raises(DataError) as caught:
        encode_all(ByteTokenizer(), rows, file="f", rules=Rules(8))
    assert [(fault.line, fault.code) for fault in caught.value.faults] == [(2, "too_long"), (3, "no_label_tokens")]


def test_truncation_by_choice_is_told_and_still_refuses_rows_without_a_label() -> None:
    long, short = Example(2, "a" * 5, "b" * 5), Example(3, "a", "b")
    rows = encode_all(ByteTokenizer(), [long, short], file="f", rules=Rules(8, "truncate"))
    assert [(len(row.prompt_ids), len(row.completion_ids), row.cut) for row in rows] == [(5, 3, True), (1, 2, False)]
    assert [(found.code, found.lines) for found in truncation(rows, 8)] == [("truncated", (2,))]
    with pytest.raises(DataError, match="no_label_tokens"):
        encode_all(ByteTokenizer(), [Example(3, "a" * 8, "b")], file="f", rules=Rules(8, "truncate"))


def test_a_set_of_which_every_answer_is_cut_is_refused() -> None:
    with pytest.raises(DataError, match=r"\[all_truncated\]"):
        encode_all(ByteTokenizer(), [Example(2, "a" * 5, "b" * 5)], file="f", rules=Rules(8, "truncate"))


def test_a_base_without_a_stop_token_is_refused() -> None:
    class Endless(ByteTokenizer):
        eos_token_id = None  # type: ignore[assignment]

    with pytest.raises(DataError, match=r"\[no_stop_token\]"):
        encode_all(Endless(), [Example(1, "a", "b")], file="f", rules=Rules(8))


def test_a_template_that_hides_the_answer_is_refused() -> None:
    class Reversed(ByteTokenizer):
        def apply_chat_template(self, turns: list[dict[str, str]], tokenize: bool, add_generation_prompt: bool) -> str:
            return super().apply_chat_template(turns[::-1], tokenize, add_generation_prompt)

    with pytest.raises(DataError, match="cannot_render"):
        encode_all(Reversed(), [Example(1, (Message("user", "hi"),), "yo")], file="f", rules=Rules(99))
