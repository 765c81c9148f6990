"""JSONL as people really write it: every line that is no row becomes a fault with its number, whatever is in the file.

A file may also be one JSON list of rows (`arrays.py`).

Nothing that a file can hold ends in another error than DataError: not other encodings, not nesting without end, not
numbers of a million digits, not one line of a hundred megabytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from trainer.data.faults import DataError, Fault

MAX_LINE_BYTES = 4 * 2**20
"""No base's context holds a row of more."""
MAX_FILE_BYTES = 4 * 2**30
MAX_FAULTS = 10_000
"""Of one file; a file with more is not read to its end."""
MAX_SHOWN_CHARACTERS = 60
EXACT_DIGITS = 18
UTF8_BOM = b"\xef\xbb\xbf"
WIDE = (b"\xff\xfe", b"\xfe\xff", b"{\x00", b"\x00{", b"\x00\x00")
PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
EACH_LINE = "one JSON object per line"
FOREIGN = (
    (WIDE, "is not UTF-8 text but UTF-16 or UTF-32", f"save it as UTF-8, {EACH_LINE}"),
    (PACKED, "is compressed", f"unpack it, {EACH_LINE}"),
    ((b"PAR1", b"ARROW1"), "is a table of columns (Parquet or Arrow)", f"export it as JSONL, {EACH_LINE}"),
    (
        (b"version https://git-lfs",),
        "is a pointer of Git LFS and not what it stands for",
        "get that with `git lfs pull`",
    ),
)
"""First bytes of files that are no JSONL, what they are, and what to do."""


@dataclass(frozen=True, slots=True)
class Line:
    """One JSON object and its 1-based line."""

    number: int
    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lines:
    """A file that has been read. `digest` is the sha256 (hex) of its bytes, `rows` counts lines that are not blank.

    `listed` says that numbers count the rows of a JSON list whose rows share lines.
    """

    digest: str
    rows: int
    lines: tuple[Line, ...]
    faults: tuple[Fault, ...]
    listed: bool = False


def read_lines(file: Path) -> Lines:
    """The JSON objects of a file, one a line, with a fault for every line that is none. DataError: no file to read."""
    from trainer.data.arrays import begins_a_list, read_array

    try:
        with file.open("rb") as stream:
            return read_array(stream) if begins_a_list(stream) else _read_jsonl(stream)
    except (OSError, ValueError) as failed:
        reason = getattr(failed, "strerror", None) or str(failed)
        text = f"cannot be read ({reason}); give the path of a JSONL file that you may read"
        raise DataError((str(file), [Fault(1, "unreadable", text)])) from failed


ENDS = ("not_jsonl", "file_too_large")
EMPTY = Fault(1, "empty_file", "no row at all; write one JSON object per line")


def _read_jsonl(stream: BinaryIO) -> Lines:
    lines: list[Line] = []
    faults: list[Fault] = []
    digest = hashlib.sha256()
    rows = 0
    for number, line in _raw_lines(stream, digest):
        if isinstance(line, Fault):
            found: Line | Fault = line
        elif line.strip():
            found = parse_line(number, line)
        else:
            continue
        rows += 1
        if isinstance(found, Line):
            lines.append(found)
            continue
        faults.append(found)
        if found.code in ENDS:
            break
        if len(faults) >= MAX_FAULTS:
            text = f"{MAX_FAULTS} lines before this one are faulty, so the rest is not read; correct these first"
            faults.append(Fault(number, "too_many_faults", text))
            break
    if not rows:
        faults.append(EMPTY)
    return Lines(digest.hexdigest(), rows, tuple(lines), tuple(faults))


def shown(value: Any) -> str:
    """A value of a row for a message: one short line, whatever it is."""
    if isinstance(value, str):
        return repr(value if len(value) <= MAX_SHOWN_CHARACTERS else value[:MAX_SHOWN_CHARACTERS] + "…")
    return repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else kind(value)


def kind(value: Any) -> str:
    """The JSON name of a value's type, with its article."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names[type(value)]


def text_fault(number: int, where: str, text: str) -> Fault | None:
    """What makes a string of a row no text; `where` is its field."""
    lone = re.search("[\ud800-\udfff]", text)
    if lone is None:
        return None
    place = f"character {lone.start() + 1}"
    return Fault(
        number,
        "lone_surrogate",
        f"{where} has half of a character (\\u{ord(lone.group()):04x}) at {place}, which is no text; "
        "write the whole character, or remove the row",
    )


def _raw_lines(stream: BinaryIO, digest: Any) -> Iterator[tuple[int, bytes | Fault]]:
    number = 0
    while piece := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if stream.tell() > MAX_FILE_BYTES:
            yield number, Fault(number, "file_too_large", f"a file holds at most {MAX_FILE_BYTES >> 30} GiB; split it")
            return
        digest.update(piece)
        if number == 1:
            piece = piece.removeprefix(UTF8_BOM)
            foreign = foreign_fault(piece)
            if foreign is not None:
                yield number, foreign
                return
        if len(piece) <= MAX_LINE_BYTES:
            yield number, piece
            continue
        length = len(piece)
        while not piece.endswith(b"\n") and (piece := stream.readline(MAX_LINE_BYTES)):
            digest.update(piece)
            length += len(piece)
        text = f"{length} bytes in one line, and {MAX_LINE_BYTES} is the most; write one JSON object per line"
        yield number, Fault(number, "line_too_long", text)


def foreign_fault(first: bytes) -> Fault | None:
    """What a file is that begins so, if it is no JSONL."""
    for beginnings, what, remedy in FOREIGN:
        if first.startswith(beginnings):
            return Fault(1, "not_jsonl", f"the file {what}; {remedy}")
    return None


def parse_line(number: int, line: bytes) -> Line | Fault:
    """The row on one line."""
    try:
        row = decoder.decode(line.decode("utf-8").strip())
    except UnicodeDecodeError as failed:
        return Fault(number, "invalid_utf8", f"not UTF-8 text (byte {failed.start + 1}); save the file as UTF-8")
    except (ValueError, RecursionError) as failed:
        return json_fault(number, failed)
    if isinstance(row, list):
        return Fault(
            number, "data_type", "the row is a list; write one JSON object per line, without a list around them"
        )
    return row_or_fault(number, row)


def row_or_fault(number: int, row: Any) -> Line | Fault:
    """A row must be an object."""
    if not isinstance(row, dict):
        return Fault(number, "data_type", f"the row is {kind(row)}; it must be an object")
    return Line(number, row)


class TwiceKey(ValueError):
    """An object has a key twice."""


def json_fault(number: int, failed: Exception) -> Fault:
    """Why a text is no JSON."""
    if isinstance(failed, TwiceKey):
        return Fault(number, "duplicate_key", f"{failed}; leave one of them")
    if isinstance(failed, RecursionError):
        return Fault(number, "bad_json", "lists or objects are nested without end; a row needs three levels")
    return Fault(number, "bad_json", f"not JSON: {failed}; write one JSON object per line")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise TwiceKey(f"the key {shown(twice)} is there twice")
    return row


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


decoder = json.JSONDecoder(
    object_pairs_hook=_once,
    parse_constant=_refuse_constant,
    parse_int=lambda digits: int(digits) if len(digits) <= EXACT_DIGITS else float(digits),
)
