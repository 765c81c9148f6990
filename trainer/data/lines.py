"""JSONL as people really write it: every line that is no row becomes a fault with its number, whatever is in the file.

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
MAX_SHOWN_CHARACTERS = 60
EXACT_DIGITS = 18
UTF8_BOM = b"\xef\xbb\xbf"
WIDE = (b"\xff\xfe", b"\xfe\xff", b"{\x00", b"\x00{", b"\x00\x00")
PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
FOREIGN = (
    (WIDE, "is not UTF-8 text but UTF-16 or UTF-32", "save it as UTF-8"),
    (PACKED, "is compressed", "unpack it"),
    ((b"PAR1", b"ARROW1"), "is a table of columns (Parquet or Arrow)", "export it as JSONL"),
)
"""First bytes of files that are no JSONL, what they are, and what to do."""


@dataclass(frozen=True, slots=True)
class Line:
    """One JSON object and its 1-based line."""

    number: int
    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lines:
    """A file that has been read. `digest` is the sha256 (hex) of its bytes, `rows` counts lines that are not blank."""

    digest: str
    rows: int
    lines: tuple[Line, ...]
    faults: tuple[Fault, ...]


def read_lines(file: Path) -> Lines:
    """The JSON objects of a file, one a line, with a fault for every line that is none. DataError: no file to read."""
    lines: list[Line] = []
    faults: list[Fault] = []
    digest = hashlib.sha256()
    rows = 0
    try:
        with file.open("rb") as stream:
            for number, line in _raw_lines(stream, digest):
                if isinstance(line, Fault):
                    found: Line | Fault = line
                elif line.strip():
                    found = _parse(number, line)
                else:
                    continue
                rows += 1
                (faults if isinstance(found, Fault) else lines).append(found)  # type: ignore[arg-type]
                if isinstance(found, Fault) and found.code == "not_jsonl":
                    break
    except (OSError, ValueError) as failed:
        reason = getattr(failed, "strerror", None) or str(failed)
        text = f"cannot be read ({reason}); give the path of a JSONL file that you may read"
        raise DataError((str(file), [Fault(1, "unreadable", text)])) from failed
    if not rows:
        faults.append(Fault(1, "empty_file", "no row at all; write one JSON object per line"))
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
        digest.update(piece)
        if number == 1:
            piece = piece.removeprefix(UTF8_BOM)
            foreign = _foreign(piece)
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


def _foreign(first: bytes) -> Fault | None:
    for beginnings, what, remedy in FOREIGN:
        if first.startswith(beginnings):
            return Fault(1, "not_jsonl", f"the file {what}; {remedy}, one JSON object per line")
    return None


def _parse(number: int, line: bytes) -> Line | Fault:
    try:
        row = _decoder.decode(line.decode("utf-8").strip())
    except UnicodeDecodeError as failed:
        return Fault(number, "bad_json", f"not UTF-8 text (byte {failed.start + 1}); save the file as UTF-8")
    except RecursionError:
        return Fault(number, "bad_json", "lists or objects are nested without end; a row needs three levels")
    except ValueError as failed:
        return Fault(number, "bad_json", f"not JSON: {failed}; write one JSON object per line")
    if isinstance(row, list):
        return Fault(
            number, "data_type", "the row is a list; write one JSON object per line, without a list around them"
        )
    if not isinstance(row, dict):
        return Fault(number, "data_type", f"the row is {kind(row)}; it must be an object")
    return Line(number, row)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shown(twice)} is there twice")
    return row


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


_decoder = json.JSONDecoder(
    object_pairs_hook=_once,
    parse_constant=_refuse_constant,
    parse_int=lambda digits: int(digits) if len(digits) <= EXACT_DIGITS else float(digits),
)
