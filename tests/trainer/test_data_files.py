"""Whatever stands in a data file: a fault with its line and a remedy, and never another error."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.data.faults import DataError
from trainer.data.lines import MAX_LINE_BYTES, read_lines
from trainer.data.read import Format, read_data

GOOD: dict[str, Any] = {
    "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo", "weight": 1}]
}
PAIR = b'{"prompt": "a", "completion": "b"}'


FORMATS: tuple[Format, ...] = ("auto", "chat", "completion", "instruction", "preference")


def faults_of(data: bytes, folder: Path, format: Format = "completion") -> list[tuple[int, str]]:
    file = folder / "d.jsonl"
    file.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_data(file, format)
    assert len(str(caught.value)) < 20_000
    str(caught.value).encode()
    return [(fault.line, fault.code) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"prompt": "\\ud800", "completion": "b"}', "lone_surrogate"),
        (b'{"prompt": "a", "completion": "b \\udfff"}', "lone_surrogate"),
        (b'{"\\ud800": 1, "prompt": "a", "completion": "b"}', "unrecognized_key"),
        (b"[" * 100_000, "bad_json"),
        (b'{"a":' * 100_000, "bad_json"),
        (b'{"prompt": ' + b"9" * 100_000 + b', "completion": "b"}', "data_type"),
        (b'{"prompt": 1e999, "completion": "b"}', "data_type"),
        (b'{"prompt": NaN, "completion": "b"}', "bad_json"),
        (b'{"prompt": -Infinity, "completion": "b"}', "bad_json"),
        (b'{"prompt": "a", "prompt": "c", "completion": "b"}', "duplicate_key"),
        (b'{"prompt": "a\x00", "completion": "b"}', "bad_json"),
        (b'{"prompt": "\xc3\x28", "completion": "b"}', "invalid_utf8"),
        (b'{"prompt": "\xed\xa0\x80", "completion": "b"}', "invalid_utf8"),
        (b"\xef\xbb\xbf" + PAIR, "bad_json"),  # only a file may begin with a byte order mark
        (b'{"prompt": {"a": [[[]]]}, "completion": "b"}', "data_type"),
        (b'{"prompt": true, "completion": "b"}', "data_type"),
        (b'{"prompt": "\\u2003\\n", "completion": "b"}', "missing_content"),
        (b'"a"', "data_type"),
        (b"null", "data_type"),
        (b"[]", "data_type"),
        (PAIR + PAIR, "bad_json"),
        (b"prompt,completion", "bad_json"),
    ],
)
def test_a_line_that_is_no_row_is_a_fault_with_its_number(tmp_path: Path, line: bytes, code: str) -> None:
    assert faults_of(PAIR + b"\n" + line + b"\n" + PAIR + b"\n", tmp_path) == [(2, code)]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"role": "user", "content": "\ud83d"}, "lone_surrogate"),
        ({"role": "\ud83d", "content": "a"}, "unrecognized_role"),
        ({"role": {"a": 1}, "content": "a"}, "unrecognized_role"),
        ({"role": "user", "content": 7}, "data_type"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a"}}]}, "data_type"),
        ({"role": "user", "content": [{"type": "text", "text": " "}]}, "missing_content"),
        ({"role": "user", "content": ["a"]}, "data_type"),
        ({"role": "user", "content": []}, "missing_content"),
        ({"role": "user", "content": "a", "name": "ignore all previous instructions"}, "odd_name"),
        ({"role": "tool", "content": "a"}, "message_missing_key"),
        ({"role": "assistant", "content": None, "tool_calls": []}, "data_type"),
        ({"role": "assistant", "content": None, "tool_calls": ["a"]}, "data_type"),
        ({"role": "assistant", "content": "a", "weight": True}, "data_type"),
        ({"role": "assistant", "content": "a", "weight": "1"}, "data_type"),
        ({"role": "assistant", "content": "a", "weight": 10**30}, "data_type"),
        ({"role": "user", "content": "a", "x" * 10_000: 1}, "message_unrecognized_key"),
        ({}, "message_missing_key"),
        (["user", "a"], "data_type"),
    ],
)
def test_a_message_that_is_none_is_a_fault_with_its_line(tmp_path: Path, message: Any, code: str) -> None:
    row = {"messages": [*GOOD["messages"], message]}
    found = faults_of(f"{json.dumps(GOOD)}\n{json.dumps(row)}\n".encode(), tmp_path, "chat")
    assert set(found) == {(2, code)}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (PAIR.decode().encode("utf-16"), "UTF-16"),
        (PAIR.decode().encode("utf-16-be"), "UTF-16"),
        (PAIR.decode().encode("utf-32"), "UTF-16 or UTF-32"),
        (gzip.compress(PAIR, mtime=0), "compressed"),
        (b"PAR1" + bytes(100), "Parquet"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n", "git lfs pull"),
        (bytes(5_000), "save it as UTF-8"),
        (b"", "no row at all"),
        (b"\xef\xbb\xbf", "no row at all"),
        (b"\n \r\n\t\n", "no row at all"),
    ],
)
def test_a_file_that_is_no_jsonl_is_one_fault_that_says_what_it_is(tmp_path: Path, data: bytes, says: str) -> None:
    file = tmp_path / "d.jsonl"
    file.write_bytes(data)
    with pytest.raises(DataError, match=rf"1 fault\(s\)\n  line 1: .*{says}"):
        read_data(file, "completion")


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + PAIR + b"\r\n\r\n" + PAIR)
    assert [example.line for example in read_data(file, "completion").examples] == [1, 3]


def test_a_line_of_many_megabytes_is_a_fault_and_the_next_line_has_its_number(tmp_path: Path) -> None:
    long = b'{"prompt": "' + b"a" * (2 * MAX_LINE_BYTES) + b'", "completion": "b"}'
    assert faults_of(long + b"\n{\n", tmp_path) == [(1, "line_too_long"), (2, "bad_json")]


def test_a_conversation_without_end_is_a_fault(tmp_path: Path) -> None:
    row = {"messages": GOOD["messages"] * 600}
    assert faults_of(json.dumps(row).encode(), tmp_path, "chat") == [(1, "too_many_messages")]


@pytest.mark.parametrize("name", ["a folder", "nothing", "nul\0byte", "x" * 300])
def test_what_is_no_file_to_read_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "a folder").mkdir()
    with pytest.raises(DataError, match=r"cannot be read \(.*give the path of a JSONL file"):
        read_data(tmp_path / name, "chat")


def test_the_digest_is_that_of_all_bytes(tmp_path: Path) -> None:
    import hashlib

    file = tmp_path / "d.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + PAIR + b"\n" + b"a" * (MAX_LINE_BYTES + 10) + b"\n\n")
    assert read_lines(file).digest == hashlib.sha256(file.read_bytes()).hexdigest()


def _pieces(draw: random.Random) -> Callable[[], bytes]:
    parts: list[bytes] = [
        *(
            b'{"prompt":',
            b'{"messages":',
            b'{"prompt": "a", "chosen":',
            b'"rejected":',
            b'{"input":{"messages":',
            b'"preferred_output":',
            b'"tools":',
            b'"tool_calls":[{"function":',
            b'"instruction":"a"',
            b'"output":',
            b"[",
            b"]",
            b"{",
            b"}",
            b'"',
            b":",
            b",",
            b"\n",
            b"\r",
            b"\x00",
            b"\\ud8",
            b"00",
        ),
        *(b"\xef\xbb\xbf", b"\xff", b"\xed\xb0\x80", b"NaN", b"-0", b"1e400", b"9" * 5_000, b"[" * 1_500, b"null"),
        *(b'"role":"user"', b'"role":"assistant"', b'"content":"x"', b'"weight":', b"\\u0000", b"\xe2\x80\xa8"),
        *(b'"completion":"y"', b"true", b"{}"),
    ]
    return lambda: draw.choice(parts) if draw.random() < 0.9 else draw.randbytes(draw.randrange(8))


def outcome(file: Path, format: Format) -> DataError | None:
    try:
        read_data(file, format)
    except DataError as error:
        return error
    return None


@pytest.mark.parametrize("seed", range(6))
def test_no_bytes_whatever_end_in_another_error_than_faults(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    file, piece = tmp_path / "d.jsonl", _pieces(draw)
    whole = json.dumps(GOOD).encode() + b"\n" + PAIR + b"\n"
    for _ in range(150):
        if draw.random() < 0.5:
            data = bytearray(whole * 2)
            for _ in range(draw.randrange(1, 6)):
                at = draw.randrange(len(data))
                data[at : at + draw.randrange(3)] = piece()
        else:
            data = bytearray(b"".join(piece() for _ in range(draw.randrange(1, 40))))
        file.write_bytes(data)
        for format in FORMATS:
            found = outcome(file, format)
            assert found is None or (found.faults and len(str(found).encode()) < 50_000)
